import type { AccessToken } from '../../identity/access-token.ts'
import type { JsonObject } from '../../identity/json.ts'
import { ConfigurationError } from '../../oauth/configuration-error.ts'
import { checkSecureUrl } from '../../resource-server/discovery.ts'
import { callerFacts, resourceTypes } from './decision-point.ts'
import type { PolicyCall, PolicyFunction } from './rule.ts'

export interface AuthzenOptions {
  /** The policy decision point: its evaluation endpoint is at `/access/v1/evaluation` below it. */
  readonly url: string
  /** Sent with each question, for instance `{ Authorization: 'Bearer …' }`. */
  readonly headers?: Readonly<Record<string, string>>
  /**
   * The question; by default the caller, with the id `<issuer>#<subject>`; `method` as the action; the tool, prompt or resource; and the arguments
   * as context.
   */
  readonly request?: (token: AccessToken, call: PolicyCall) => AuthzenRequest
  /** Milliseconds that an answer may take; at most 5000. Default 2000. */
  readonly timeout?: number
  readonly fetch?: (url: string, init: RequestInit) => Promise<Response>
}

/** @see OpenID AuthZEN Authorization API 1.0, section 5 */
export interface AuthzenRequest {
  readonly subject: AuthzenEntity
  readonly action: { readonly name: string; readonly properties?: JsonObject }
  readonly resource: AuthzenEntity
  readonly context?: JsonObject
}

interface AuthzenEntity {
  readonly type: string
  readonly id: string
  readonly properties?: JsonObject
}

/**
 * Asks an external decision point: `tools: { '*': { scopes: ['notes:read'], allow: authzen({ url }) } }`. It is asked for each item of a list as
 * well. What is no decision refuses, as trouble of our own.
 * @throws ConfigurationError for options that can't be right
 * @see OpenID AuthZEN Authorization API 1.0
 */
export const authzen = (options: AuthzenOptions): PolicyFunction => {
  const { headers = {}, request = evaluationOf, timeout = 2_000 } = options
  const fetch = options.fetch ?? ((url, init) => globalThis.fetch(url, init))
  checkSecureUrl(options.url, 'url')
  if (!(timeout > 0 && timeout <= 5_000)) throw new ConfigurationError('timeout', '1 to 5000 milliseconds')
  const endpoint = `${options.url.replace(/\/$/, '')}/access/v1/evaluation`

  return async (token, call) => {
    // An issuer has no fragment (RFC 8414 §2); one that had could stand for another's subject.
    if (token.issuer.includes('#')) return false
    const response = await fetch(endpoint, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Accept: 'application/json', ...headers },
      body: JSON.stringify(request(token, call)),
      signal: AbortSignal.timeout(timeout),
      redirect: 'manual',
    })
    if (response.status !== 200) {
      await response.body?.cancel()
      throw new Error(`the decision point answered ${response.status}`)
    }
    const { decision } = (await response.json()) as { decision?: unknown }
    if (typeof decision !== 'boolean') throw new Error('the decision point gave no decision')
    return decision
  }
}

const evaluationOf = (token: AccessToken, { method, kind, name, arguments: args }: PolicyCall): AuthzenRequest => ({
  // Unique for its type, as it must be: a subject is so only within its issuer.
  subject: { type: token.kind, id: `${token.issuer}#${token.subject}`, properties: callerFacts(token) },
  action: { name: method },
  resource: { type: resourceTypes[kind], id: name, properties: { server: token.resource } },
  context: args ? { arguments: args } : {},
})
