import { VerifierUnavailable } from '../identity/verifier.ts'
import { ConfigurationError } from '../oauth/configuration-error.ts'
import { isLoopbackHost } from '../oauth/loopback.ts'

/** What is used of `fetch`; a host may bring one that is guarded. */
export type Fetch = (
  url: string,
  init: FetchRequest & { readonly signal: AbortSignal; readonly redirect: 'manual' },
) => Promise<Response>

/** Without it: GET. */
export interface FetchRequest {
  readonly method?: 'POST'
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

/**
 * An `https` URL, or loopback `http`: keys that came over plain http would be anybody's.
 * @throws ConfigurationError names `path`, where the URL was configured
 */
export const checkSecureUrl = (url: string, path: string): URL => {
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  if (parsed?.protocol === 'https:' || (parsed?.protocol === 'http:' && isLoopbackHost(parsed.hostname))) return parsed
  throw new ConfigurationError(path, 'an https URL, or http on loopback')
}

/** What an issuer says of itself. */
export interface Discovered {
  readonly jwksUri: string
  /** The upstream claims that its access tokens may carry; undefined where it doesn't say. */
  readonly upstreamClaims: readonly string[] | undefined
}

/**
 * Where an issuer's keys are, and what its tokens carry.
 * @throws VerifierUnavailable there is no metadata now, or it is another issuer's
 */
export const discover = async (issuer: string, fetch: Fetch, signal: AbortSignal): Promise<Discovered> => {
  const { url, metadata } = await discoverUrl(issuer, 'jwks_uri', fetch, signal)
  const { upstream_claims_supported: claims } = metadata
  return {
    jwksUri: url,
    upstreamClaims: Array.isArray(claims) ? claims.filter((claim) => typeof claim === 'string') : undefined,
  }
}

/**
 * A URL that an issuer's metadata names: that of OAuth first, then OpenID's two places.
 * @see RFC 8414 §3.1 and §5
 * @throws VerifierUnavailable there is no metadata now, or it is another issuer's
 */
export const discoverUrl = async (
  issuer: string,
  member: 'jwks_uri' | 'introspection_endpoint',
  fetch: Fetch,
  signal: AbortSignal,
): Promise<{ url: string; metadata: Readonly<Record<string, unknown>> }> => {
  const { origin, pathname } = new URL(issuer)
  const path = pathname.replace(/\/$/, '')
  const places = [
    `${origin}/.well-known/oauth-authorization-server${path}`,
    `${origin}/.well-known/openid-configuration${path}`,
    `${origin}${path}/.well-known/openid-configuration`,
  ]
  const problems: string[] = []
  for (const place of new Set(places)) {
    const answer = await fetchJson(place, fetch, signal).catch((error: unknown) => {
      problems.push(error instanceof Error ? error.message : String(error))
      return undefined
    })
    if (answer === undefined) continue
    const metadata = answer as Readonly<Record<string, unknown>>
    const url = metadata[member]
    if (metadata.issuer !== issuer) {
      problems.push(`${place} is the metadata of another issuer`)
      continue
    }
    if (typeof url !== 'string') {
      problems.push(`${place} has no ${member}`)
      continue
    }
    try {
      checkSecureUrl(url, member)
    } catch (cause) {
      throw new VerifierUnavailable(`${issuer}: its ${member} can't be used`, { cause })
    }
    return { url, metadata }
  }
  throw new VerifierUnavailable(`no metadata of ${issuer} could be read: ${problems.join('; ')}`)
}

/** Bounded in size, and in time by the signal. Redirects are not followed but refused, as all that is not 200; `error` not every host knows. */
export const fetchText = async (
  url: string,
  fetch: Fetch,
  signal: AbortSignal,
  request: FetchRequest = {},
): Promise<{ readonly text: string; readonly type: string }> => {
  const response = await fetch(url, { ...request, signal, redirect: 'manual' })
  if (response.status !== 200) {
    await response.body?.cancel()
    throw new Error(`${url} answered ${response.status}`)
  }
  const type = (response.headers.get('content-type') ?? '').split(';', 1).join('').trim().toLowerCase()
  return { text: await boundedText(response, url), type }
}

/** As `fetchText`. */
export const fetchJson = async (
  url: string,
  fetch: Fetch,
  signal: AbortSignal,
  request: FetchRequest = {},
): Promise<object> => {
  const { text } = await fetchText(url, fetch, signal, request)
  const value: unknown = JSON.parse(text)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error(`${url} is no JSON object`)
  return value
}

const boundedText = async (response: Response, url: string): Promise<string> => {
  const decoder = new TextDecoder()
  const reader = response.body?.getReader()
  let text = ''
  let size = 0
  for (;;) {
    const { done, value } = (await reader?.read()) ?? { done: true, value: undefined }
    if (done || !value) return text + decoder.decode()
    size += value.byteLength
    if (size > maximumDocument) {
      void reader?.cancel().catch(() => {})
      throw new Error(`${url} is larger than ${maximumDocument} bytes`)
    }
    text += decoder.decode(value, { stream: true })
  }
}

const maximumDocument = 256 * 1024
