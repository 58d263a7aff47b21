import type { Json, JsonObject } from '../identity/json.ts'
import type { UpstreamTarget } from '../identity/upstream-target.ts'
import type { UpstreamTokens } from '../records/upstream-session.ts'
import type { BoundedFetch } from './bounded-fetch.ts'
import type { AuthenticateClient } from './client-credential.ts'
import { refreshFailure, unavailable } from './openid-errors.ts'
import type { OpenidServer } from './openid-server.ts'
import { type ExchangedToken, ProviderUnavailable, UpstreamRefused } from './provider.ts'

/**
 * How a provider gives a token for another audience in exchange for a person's: `token_exchange` as RFC 8693 says, `jwt_bearer` as Entra does
 * (its on-behalf-of flow).
 */
export type OnBehalfOf = 'token_exchange' | 'jwt_bearer'

export interface ExchangeClient {
  readonly clientId: string
  readonly authenticate: AuthenticateClient
  readonly style: OnBehalfOf
  readonly fetch: BoundedFetch
}

const tokenType = (name: string): string => `urn:ietf:params:oauth:token-type:${name}`

/**
 * Asks a provider for a token in exchange for a person's. Answers of it that are refusals say nothing of the person's session.
 * @throws UpstreamRefused the provider does not give this token; ProviderUnavailable for all else
 * @see RFC 8693 §2, draft-ietf-oauth-identity-assertion-authz-grant §4.3
 */
export const exchangeAt = async (
  { library, metadata }: OpenidServer,
  { clientId, authenticate, style, fetch }: ExchangeClient,
  tokens: UpstreamTokens,
  target: UpstreamTarget,
): Promise<ExchangedToken> => {
  const { token_endpoint: endpoint } = metadata
  if (endpoint === undefined) throw new ProviderUnavailable('the provider has no token endpoint', { nothingDone: true })
  const form = new URLSearchParams(formOf(style, tokens, target))
  for (const [name, value] of [
    ['audience', target.audience],
    ['resource', target.resource],
    ['scope', target.scopes?.join(' ')],
  ] as const) {
    if (value !== undefined && value !== '') form.set(name, value)
  }
  const headers = new Headers({ accept: 'application/json', 'content-type': 'application/x-www-form-urlencoded' })
  let answer: Response
  let body: JsonObject
  try {
    await authenticate(library, metadata)(metadata, { client_id: clientId }, form, headers)
    answer = await fetch(endpoint, { method: 'POST', headers, body: form.toString() })
    body = objectOf(await answer.text())
  } catch (error) {
    throw unavailable(error)
  }
  if (answer.ok) return exchangedOf(body, target)
  if (answer.status < 500 && typeof body.error === 'string' && !ourFault.has(body.error)) {
    throw new UpstreamRefused('the provider does not give this token')
  }
  throw refreshFailure(Object.assign(new Error(`status ${answer.status}`), { status: answer.status }))
}

const ourFault = new Set([
  'invalid_client',
  'unsupported_grant_type',
  'temporarily_unavailable',
  'server_error',
  'slow_down',
])

const formOf = (style: OnBehalfOf, { accessToken, idToken }: UpstreamTokens, { kind }: UpstreamTarget) => {
  if (kind === 'id_jag') {
    if (idToken === undefined) throw new UpstreamRefused('this sign-in brought no id_token to exchange')
    return {
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      requested_token_type: tokenType('id-jag'),
      subject_token: idToken,
      subject_token_type: tokenType('id_token'),
    }
  }
  return style === 'token_exchange'
    ? {
        grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
        requested_token_type: tokenType('access_token'),
        subject_token: accessToken,
        subject_token_type: tokenType('access_token'),
      }
    : {
        grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
        assertion: accessToken,
        requested_token_use: 'on_behalf_of',
      }
}

/** Believed only if it is what was asked for. */
const exchangedOf = (body: JsonObject, { kind }: UpstreamTarget): ExchangedToken => {
  const { access_token: token, expires_in: expiresIn, issued_token_type: issued } = body
  const wanted = tokenType(kind === 'id_jag' ? 'id-jag' : 'access_token')
  const other =
    kind === 'id_jag' ? issued !== wanted : issued !== undefined && issued !== wanted && issued !== tokenType('jwt')
  if (typeof token !== 'string' || token === '' || other) {
    throw new ProviderUnavailable('the provider answered an exchange with something else')
  }
  const seconds = typeof expiresIn === 'string' ? Number(expiresIn) : expiresIn
  return typeof seconds === 'number' && seconds > 0 ? { token, expiresIn: seconds } : { token }
}

const objectOf = (text: string): JsonObject => {
  try {
    const value: Json = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : {}
  } catch {
    return {}
  }
}
