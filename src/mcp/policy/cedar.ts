import type { AccessToken } from '../../identity/access-token.ts'
import type { Json } from '../../identity/json.ts'
import { ConfigurationError } from '../../oauth/configuration-error.ts'
import { callerFacts, resourceTypes } from './decision-point.ts'
import type { PolicyCall, PolicyFunction } from './rule.ts'

/** What is used of the package `@cedar-policy/cedar-wasm`, by its form: `import * as engine from '@cedar-policy/cedar-wasm/nodejs'`. */
export interface CedarEngine {
  isAuthorized(call: CedarCall): CedarAnswer
  checkParsePolicySet(policies: { staticPolicies: string }): CedarParsed
}

interface CedarCall {
  principal: CedarId
  action: CedarId
  resource: CedarId
  context: Record<string, CedarValue>
  policies: { staticPolicies: string }
  entities: CedarEntity[]
}

type CedarAnswer =
  | { type: 'failure'; errors: { message: string }[] }
  | { type: 'success'; response: { decision: 'allow' | 'deny'; diagnostics: { errors: { policyId: string }[] } } }

type CedarParsed = { type: 'success' } | { type: 'failure'; errors: { message: string }[] }

interface CedarId {
  type: string
  id: string
}

export interface CedarEntity {
  uid: CedarId
  attrs: Record<string, CedarValue>
  parents: CedarId[]
}

type CedarValue = boolean | number | string | CedarValue[] | { [name: string]: CedarValue }

export interface CedarOptions {
  readonly engine: CedarEngine
  /** In Cedar's own language. */
  readonly policies: string
  /** More of what policies speak of, for instance groups; the caller and what is called are there in any case. */
  readonly entities?: (token: AccessToken, call: PolicyCall) => readonly CedarEntity[]
}

/**
 * Decides by Cedar policies: `tools: { '*': { allow: cedar({ engine, policies }) } }`. The principal is a `User` or a `Client` with the id
 * `<issuer>#<subject>` and the attributes `issuer`, `subject`, `client_id`, `scopes`, `actor`, `claims`; the action is the method, as
 * `Action::"tools/call"`; the resource a `Tool`, `Prompt` or `Resource` by its name. `context.arguments` is there for calls and not for lists. A policy
 * that fails refuses, whatever the others say.
 * @throws ConfigurationError for policies that can't be read
 */
export const cedar = ({ engine, policies, entities }: CedarOptions): PolicyFunction => {
  const set = { staticPolicies: policies }
  const parsed = engine.checkParsePolicySet(set)
  if (parsed.type === 'failure')
    throw new ConfigurationError('policies', `Cedar policies: ${messagesOf(parsed.errors)}`)

  return (token, call) => {
    const principal = { type: token.kind === 'user' ? 'User' : 'Client', id: `${token.issuer}#${token.subject}` }
    // An issuer has no fragment (RFC 8414 §2); one that had could stand for another's subject.
    if (token.issuer.includes('#')) return false
    const resource = { type: capital(resourceTypes[call.kind]), id: call.name }
    const args = call.arguments && cedarValue(call.arguments)
    // Nothing that a client sends may name an entity.
    if (call.arguments && args === undefined) return false
    const facts = cedarValue(callerFacts(token)) as Record<string, CedarValue> | undefined
    if (!facts) throw new Error('the caller’s claims can’t be said in Cedar')
    const answer = engine.isAuthorized({
      principal,
      action: { type: 'Action', id: call.method },
      resource,
      context: args === undefined ? {} : { arguments: args },
      policies: set,
      entities: [
        { uid: principal, attrs: facts, parents: [] },
        { uid: resource, attrs: { name: call.name, server: token.resource }, parents: [] },
        ...(entities?.(token, call) ?? []),
      ],
    })
    if (answer.type === 'failure') throw new Error(`Cedar could not decide: ${messagesOf(answer.errors)}`)
    const [failed] = answer.response.diagnostics.errors
    if (failed) throw new Error(`the Cedar policy ${failed.policyId} failed`)
    return answer.response.decision === 'allow'
  }
}

/**
 * JSON as Cedar's: null and fractions, for which it has no values, are left out. Undefined where an object has a member that Cedar reads as a reference
 * to an entity or as a call.
 */
const cedarValue = (value: Json | undefined): CedarValue | undefined => {
  if (Array.isArray(value)) {
    const items = (value as readonly Json[]).filter(isSayable).map(cedarValue)
    return items.every((item) => item !== undefined) ? items : undefined
  }
  if (typeof value !== 'object' || value === null) return value as CedarValue
  const members: Record<string, CedarValue> = {}
  for (const [name, member] of Object.entries(value)) {
    if (name.startsWith('__')) return undefined
    if (!isSayable(member)) continue
    const said = cedarValue(member)
    if (said === undefined) return undefined
    members[name] = said
  }
  return members
}

const isSayable = (value: Json | undefined): boolean =>
  value !== null && value !== undefined && (typeof value !== 'number' || Number.isSafeInteger(value))

const capital = (word: string): string => word.charAt(0).toUpperCase() + word.slice(1)

const messagesOf = (errors: readonly { message: string }[]): string => errors.map(({ message }) => message).join('; ')
