import { isThumbprint } from '../oauth/dpop-proof.ts'
import { OAuthError } from '../oauth/errors.ts'
import { readParameters } from '../oauth/parameters.ts'
import { isCodeChallenge } from '../oauth/pkce.ts'
import { findRedirectUri, type RedirectUri } from '../oauth/redirect-uri.ts'
import { findResource, type Resource } from '../oauth/resource.ts'
import { grantableScopes, parseScope } from '../oauth/scope.ts'
import { type Prompt, parseLocales, parseMaxAge, parsePrompt } from '../policy/sign-in.ts'
import type { Client } from '../records/client.ts'
import type { AuthorizationRequest } from '../records/interaction.ts'
import type { Arrival, ServerContext } from './context.ts'
import { findClient } from './find-client.ts'
import { PageProblem } from './pages.ts'
import { refused } from './refusal.ts'

/** A request whose client and redirect URI are known to belong together: from here on errors have somewhere to go. */
export interface AddressedRequest {
  readonly client: Client
  readonly redirectUri: RedirectUri
  /** Percent-encoded as it came. */
  readonly state: string | undefined
  readonly query: URLSearchParams
}

const maximumQuery = 24_576
const maximumState = 8192

/**
 * Finds out who asks, and where the answer would go. Until that is known nothing is redirected.
 * @throws PageProblem
 */
export const readAddress = async (server: ServerContext, url: URL, arrival: Arrival): Promise<AddressedRequest> => {
  if (url.search.length > maximumQuery) throw unreadable(server, 'the request is too long', 414)
  const query = url.searchParams
  const { client_id: clientId, redirect_uri: redirectUri } = readOrPage(server, query)
  if (clientId === undefined) {
    refused(server, 'client_id is missing')
    throw new PageProblem('client_unknown', 400)
  }
  const client = await findClient(server, clientId, arrival)
  const uri = findRedirect(server, client, redirectUri)
  const state = rawParameter(url.search, 'state')
  if (state === 'repeated') throw unreadable(server, 'state was sent more than once', 400, clientId)
  if (state !== undefined && state.raw.length > maximumState)
    throw unreadable(server, 'state is too long', 400, clientId)
  return { client, redirectUri: uri, state: state?.raw, query }
}

const readOrPage = (server: ServerContext, query: URLSearchParams) => {
  try {
    return readParameters(query, ['client_id', 'redirect_uri'])
  } catch (error) {
    if (error instanceof OAuthError) throw unreadable(server, error.description, 400)
    throw error
  }
}

const findRedirect = (server: ServerContext, client: Client, requested: string | undefined): RedirectUri => {
  const [only, ...more] = client.redirectUris
  // RFC 6749 §3.1.2.3: it may be left out where there is no choice.
  const text = requested ?? (more.length === 0 ? only : undefined)
  const uri = text === undefined ? undefined : findRedirectUri(client.redirectUris, text, server)
  if (uri) return uri
  const reason = requested === undefined ? 'redirect_uri is missing' : 'redirect_uri is not registered for this client'
  refused(server, reason, { clientId: client.id })
  throw new PageProblem('redirect_refused', 400, { detail: reason })
}

const unreadable = (server: ServerContext, detail: string, status: number, clientId?: string): PageProblem => {
  refused(server, detail, clientId === undefined ? {} : { clientId })
  return new PageProblem('request_refused', status, { detail })
}

/** A parameter as it stands in the query, not decoded: decoding would change bytes that are no UTF-8. */
const rawParameter = (search: string, name: string): { readonly raw: string } | 'repeated' | undefined => {
  const values = search
    .slice(1)
    .split('&')
    .filter((pair) => new URLSearchParams(pair).has(name))
    .map((pair) => pair.slice(pair.indexOf('=') + 1 || pair.length))
  if (values.length > 1) return 'repeated'
  const [raw] = values
  return raw ? { raw } : undefined
}

const names = [
  'response_type',
  'response_mode',
  'request',
  'request_uri',
  'code_challenge',
  'code_challenge_method',
  'dpop_jkt',
  'scope',
  'resource',
  'prompt',
  'max_age',
  'login_hint',
  'ui_locales',
] as const

/**
 * Checks all the rest.
 * @throws OAuthError what to tell the client
 * @see RFC 6749 §4.1.1, RFC 7636 §4.3, RFC 8707 §2.1, OpenID Connect Core §3.1.2.1
 */
export const checkRequest = (
  server: ServerContext,
  { client, redirectUri, state, query }: AddressedRequest,
): AuthorizationRequest => {
  const parameters = readParameters(query, names)
  checkResponse(parameters)
  const codeChallenge = checkChallenge(parameters)
  if (!client.grantTypes.includes('authorization_code')) {
    throw new OAuthError('unauthorized_client', 'this client is not registered for authorization codes')
  }
  const resources = askedResources(server.resources, parameters.resource)
  const requested = parameters.scope === undefined ? [] : parseScope(parameters.scope)
  if (!requested) throw new OAuthError('invalid_scope', 'scope is malformed')
  const { prompt, maxAge } = askedSignIn(parameters)
  const { dpop_jkt: dpopJkt } = parameters
  if (dpopJkt !== undefined && !isThumbprint(dpopJkt)) {
    throw new OAuthError('invalid_request', 'dpop_jkt is not the thumbprint of a key')
  }
  const locales = parseLocales(parameters.ui_locales)
  return {
    clientId: client.id,
    redirectUri: redirectUri.text,
    redirectKind: redirectUri.kind,
    redirectHost: redirectUri.host,
    ...(state === undefined ? {} : { state }),
    codeChallenge,
    ...(dpopJkt === undefined ? {} : { dpopJkt }),
    resources: Object.fromEntries(
      resources.map((resource) => [resource.identifier, grantableScopes(requested, resource)]),
    ),
    prompt,
    ...(maxAge === undefined ? {} : { maxAge }),
    ...(parameters.login_hint === undefined ? {} : { loginHint: parameters.login_hint.slice(0, 320) }),
    ...(locales.length === 0 ? {} : { locales }),
  }
}

type Parameters = { readonly [Name in (typeof names)[number]]?: Name extends 'resource' ? readonly string[] : string }

const checkResponse = ({ response_type, response_mode, request, request_uri }: Parameters): void => {
  if (request !== undefined) throw new OAuthError('request_not_supported', 'request objects are not supported')
  if (request_uri !== undefined) throw new OAuthError('request_uri_not_supported', 'request_uri is not supported')
  if (response_type === undefined) throw new OAuthError('invalid_request', 'response_type is missing')
  if (response_type !== 'code') throw new OAuthError('unsupported_response_type', 'response_type: expected code')
  if (response_mode !== undefined && response_mode !== 'query') {
    throw new OAuthError('invalid_request', 'response_mode: expected query')
  }
}

const checkChallenge = ({ code_challenge: challenge, code_challenge_method: method }: Parameters): string => {
  if (challenge === undefined) throw new OAuthError('invalid_request', 'code_challenge is missing: PKCE is required')
  // Left out, it would mean `plain` (RFC 7636 §4.3).
  if (method !== 'S256') throw new OAuthError('invalid_request', 'code_challenge_method: expected S256')
  if (!isCodeChallenge(challenge)) throw new OAuthError('invalid_request', 'code_challenge is not an S256 challenge')
  return challenge
}

/** Each gets an access token of its own; the person is asked once. */
const askedResources = (resources: readonly Resource[], indicators: readonly string[] = []): readonly Resource[] => {
  // Clients from before RFC 8707 send none: they get the first that is configured.
  if (indicators.length === 0) return resources.slice(0, 1)
  const found = new Set(indicators.map((indicator) => findResource(resources, indicator)))
  return [...found].map((resource) => {
    if (resource) return resource
    throw new OAuthError('invalid_target', 'resource is not one of this server')
  })
}

const askedSignIn = (parameters: Parameters): { prompt: readonly Prompt[]; maxAge: number | undefined } => {
  const prompt = parsePrompt(parameters.prompt)
  if (!prompt.ok) throw new OAuthError(prompt.error, prompt.description)
  const maxAge = parseMaxAge(parameters.max_age)
  if (!maxAge.ok) throw new OAuthError(maxAge.error, maxAge.description)
  return { prompt: prompt.prompt, maxAge: maxAge.maxAge }
}
