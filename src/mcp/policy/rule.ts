import type { AccessToken } from '../../identity/access-token.ts'
import type { Json, JsonObject } from '../../identity/json.ts'
import type { ScopeHierarchy } from '../../oauth/scope-hierarchy.ts'

/** What is asked for, as a rule's function sees it. */
export interface PolicyCall {
  /** JSON-RPC's, for instance `tools/call`; a list's where the question is whether to show it there. */
  readonly method: string
  readonly kind: Kind
  /** The tool's or prompt's name, or the resource's URI as the client wrote it. */
  readonly name: string
  /** As the client sent them, checked by no schema yet. Undefined where the question is whether a list shows it. */
  readonly arguments?: JsonObject
}

/** Allows exactly with `true`; whatever else it answers, or throws, refuses, and so does an answer that takes more than five seconds. */
export type PolicyFunction = (token: AccessToken, call: PolicyCall) => boolean | Promise<boolean>

/** One value, or several of which one must be met. */
type Expected = Scalar | readonly Scalar[]
type Scalar = string | number | boolean

/** What a caller must be and have: all that is named. Its members are those of the access token. */
export interface PolicyRule {
  readonly scopes?: readonly string[] | undefined
  /** `user`: a person, also one for whom an agent acts, but no client by itself. `client`: the contrary. */
  readonly kind?: 'user' | 'client' | undefined
  /** `false`: nobody may act for the subject; `true`: somebody must. */
  readonly actor?: boolean | undefined
  /** OAuth client ids, one of them. */
  readonly clients?: readonly string[] | undefined
  /** Members of the claim `groups`, one of them. */
  readonly groups?: readonly string[] | undefined
  /**
   * By name: what the claim must be, or have as a member. The provider's claims where the token has an upstream identity, otherwise
   * the token's own; a claim that is not there is not met.
   */
  readonly claims?: Readonly<Record<string, Expected>> | undefined
  /** By name: what an argument must be. One that was not sent is not met. Lists show the tool all the same. */
  readonly arguments?: Readonly<Record<string, Expected>> | undefined
  /** Is asked last. */
  readonly allow?: PolicyFunction | undefined
}

/** Scopes alone, a rule, or a function alone. */
export type Requirement = readonly string[] | PolicyRule | PolicyFunction

/**
 * Who may use what, by exact name or with `*` for any characters; a resource also by its URI template. An exact name's requirement stands
 * alone; otherwise every pattern that matches counts.
 */
export interface AccessPolicy {
  /** By the tool's name: `{ notes_add: ['notes:write'] }`. */
  readonly tools?: Readonly<Record<string, Requirement>> | undefined
  /** By URI: `{ 'notes://{id}': ['notes:read'] }`. */
  readonly resources?: Readonly<Record<string, Requirement>> | undefined
  readonly prompts?: Readonly<Record<string, Requirement>> | undefined
  /** What of those no requirement names: `allow` (default) for everyone with a valid token, or `deny`. */
  readonly unlisted?: 'allow' | 'deny' | undefined
  /**
   * What lists show: `reachable` (default), also what only a scope is missing for, since a client that never sees it never asks for the scope;
   * or `usable`, only what would be allowed as it is.
   */
  readonly lists?: 'reachable' | 'usable' | undefined
  /** What a scope allows besides itself: `{ 'notes:write': ['notes:read'] }`. */
  readonly implies?: ScopeHierarchy | undefined
}

export type Kind = 'tools' | 'resources' | 'prompts'

export const kinds: readonly Kind[] = ['tools', 'resources', 'prompts']

export const ruleOf = (requirement: Requirement): PolicyRule => {
  if (typeof requirement === 'function') return { allow: requirement }
  return isScopes(requirement) ? { scopes: requirement } : requirement
}

const isScopes = (requirement: Requirement): requirement is readonly string[] => Array.isArray(requirement)

/** @param several whether a list of values is met by one member that is expected */
export const meets = (value: Json | undefined, expected: Expected, several: boolean): boolean => {
  const wanted = Array.isArray(expected) ? (expected as readonly Scalar[]) : [expected as Scalar]
  if (several && Array.isArray(value)) return value.some((each) => wanted.includes(each as Scalar))
  return wanted.includes(value as Scalar)
}
