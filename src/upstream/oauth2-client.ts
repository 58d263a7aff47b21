import type { Configuration } from 'openid-client'
import { requestTimeout } from './bounded-fetch.ts'
import type { AuthenticateClient } from './client-credential.ts'
import type { Library } from './openid-server.ts'
import { type ErrorCodes, objectOf, standardError } from './standard-answer.ts'

/** We as a client of a provider that has no discovery. */
export interface Oauth2Client {
  readonly library: Library
  readonly configuration: Configuration
}

export interface Oauth2Endpoints {
  readonly issuer: string
  readonly authorizationEndpoint: string
  readonly tokenEndpoint: string
  readonly clientId: string
  readonly scopeSeparator?: string
  readonly errors?: ErrorCodes
}

type Fetch = (url: string, init: RequestInit) => Promise<Response>

export const oauth2Client = async (
  options: Oauth2Endpoints,
  authenticate: AuthenticateClient,
  fetch: Fetch,
): Promise<Oauth2Client> => {
  const library = await import('openid-client')
  const { issuer, authorizationEndpoint, tokenEndpoint } = options
  const metadata = { issuer, authorization_endpoint: authorizationEndpoint, token_endpoint: tokenEndpoint }
  const configuration = new library.Configuration(metadata, options.clientId, {}, authenticate(library, metadata))
  configuration.timeout = requestTimeout / 1000
  configuration[library.customFetch] = async (url, init) =>
    standardAnswer(await fetch(url, init as RequestInit), options)
  if (new URL(tokenEndpoint).protocol === 'http:') library.allowInsecureRequests(configuration)
  return { library, configuration }
}

/**
 * A token endpoint's answer as RFC 6749 would have it: an error has an error's status, its code is one of OAuth's, and scopes are separated
 * by spaces. An id_token is left out: nothing here checks one, so nothing may read one.
 */
const standardAnswer = async (answer: Response, options: Oauth2Endpoints): Promise<Response> => {
  const text = await answer.text()
  const { status, statusText, headers } = answer
  const body = objectOf(text)
  if (!body) return new Response(text === '' ? null : text, { status, statusText, headers })
  const { id_token: _unchecked, ...rest } = body
  const failed = standardError(rest, status, options.errors)
  if (failed) return failed
  const separator = options.scopeSeparator ?? ' '
  const scope = typeof rest.scope === 'string' ? rest.scope.split(separator).join(' ') : undefined
  return new Response(JSON.stringify(scope === undefined ? rest : { ...rest, scope }), { status, statusText, headers })
}
