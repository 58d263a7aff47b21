import type { AccessToken } from '../../identity/access-token.ts'
import type { JsonObject } from '../../identity/json.ts'
import { type ScopeHierarchy, withImplied } from '../../oauth/scope-hierarchy.ts'
import { meets, type PolicyCall, type PolicyRule } from './rule.ts'

export type Verdict =
  | { readonly outcome: 'allow' }
  /** More scopes would help. */
  | { readonly outcome: 'insufficient_scope'; readonly scopes: readonly string[] }
  /** No scope would help; `reason` is for the operator. */
  | { readonly outcome: 'forbid'; readonly reason: string }

export type Question = 'call' | 'usable' | 'reachable'

/** The scopes that a token has, with what they imply. */
export type HeldScopes = (token: AccessToken) => ReadonlySet<string>

/**
 * Whether all rules are met. What no scope would change is decided first, so that nobody is sent to consent in vain.
 * @param question whether a call is allowed; or whether a list shows what is `usable`, or what a scope would make usable: then there are no
 * arguments
 * @throws what a rule's function throws
 */
export const evaluate = (
  rules: readonly PolicyRule[],
  token: AccessToken,
  call: PolicyCall,
  held: HeldScopes,
  question: Question,
): Verdict | Promise<Verdict> => {
  for (const rule of rules) {
    const reason = unmet(rule, token, call, question !== 'call')
    if (reason !== undefined) return { outcome: 'forbid', reason }
  }
  const missing: string[] = []
  for (const { scopes } of rules) {
    if (!scopes || scopes.length === 0) continue
    const have = held(token)
    for (const scope of scopes) if (!have.has(scope) && !missing.includes(scope)) missing.push(scope)
  }
  if (missing.length > 0 && question !== 'reachable') return { outcome: 'insufficient_scope', scopes: missing }
  return rules.some(({ allow }) => allow) ? ask(rules, token, call) : allowed
}

const ask = async (rules: readonly PolicyRule[], token: AccessToken, call: PolicyCall): Promise<Verdict> => {
  for (const { allow } of rules) {
    if (allow && (await inTime(allow(token, call))) !== true) return { outcome: 'forbid', reason: 'policy_function' }
  }
  return allowed
}

/** Who waits for ever answers nobody. @throws Error when it takes too long */
const inTime = (answer: boolean | Promise<boolean>): boolean | Promise<boolean> => {
  if (typeof answer === 'boolean') return answer
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('a policy function gave no answer in time')), timeLimit)
  })
  return Promise.race([answer, late]).finally(() => clearTimeout(timer))
}

/** Milliseconds. */
const timeLimit = 5_000

const unmet = (
  { kind, actor, clients, groups, claims, arguments: wanted }: PolicyRule,
  token: AccessToken,
  call: PolicyCall,
  listing: boolean,
): string | undefined => {
  if (kind !== undefined && token.kind !== kind) return 'policy_kind'
  if (actor !== undefined && (token.actor !== undefined) !== actor) return 'policy_actor'
  if (clients && !clients.includes(token.clientId)) return 'policy_client'
  if (groups && !meets(own(claimsOf(token), 'groups'), groups, true)) return 'policy_groups'
  for (const [name, expected] of Object.entries(claims ?? {})) {
    if (!meets(own(claimsOf(token), name), expected, true)) return 'policy_claims'
  }
  if (!wanted || listing) return undefined
  for (const [name, expected] of Object.entries(wanted)) {
    if (!meets(own(call.arguments ?? {}, name), expected, false)) return 'policy_arguments'
  }
  return undefined
}

/** Never both: a claim that the provider left out must not be found elsewhere under the same name. */
const claimsOf = (token: AccessToken): JsonObject =>
  ((token.kind === 'user' ? token.upstream?.claims : undefined) ?? token.claims) as JsonObject

const own = (values: JsonObject, name: string) => (Object.hasOwn(values, name) ? values[name] : undefined)

const allowed: Verdict = { outcome: 'allow' }

/** @param implies what a scope allows besides itself, in any number of steps */
export const scopeHierarchy = (implies: ScopeHierarchy): HeldScopes => {
  const known = new WeakMap<AccessToken, ReadonlySet<string>>()
  return (token) => {
    const remembered = known.get(token)
    if (remembered) return remembered
    const held = new Set(withImplied(token.scopes, implies))
    known.set(token, held)
    return held
  }
}
