import { assertedClientId, clientAssertionType } from './client-assertion.ts'
import type { ClientAuthenticationMethod } from './client-metadata.ts'
import { OAuthError } from './errors.ts'
import { readParameters } from './parameters.ts'

/** One reading of what was sent. `secret` is not enumerable, so that it is never logged or serialised by accident. */
export interface ClientCandidate {
  readonly clientId: string
  readonly secret?: string
}

export interface ClientCredentials {
  readonly method: ClientAuthenticationMethod
  /**
   * The readings that are possible, likeliest first, at most 8. Only `client_secret_basic` has more than one: it can be percent-encoded or
   * not, and a client id that is a URL has colons of its own. The client is the one whose id exists and whose secret is right.
   */
  readonly candidates: readonly [ClientCandidate, ...ClientCandidate[]]
  /** The JWT of `private_key_jwt`, not verified. Not enumerable either. */
  readonly assertion?: string
}

const maximumCandidates = 8
const maximumHeader = 8192

/**
 * How a client says who it is, at the token endpoint and its like. The secret is not checked here.
 * @param authorization the `Authorization` header
 * @throws OAuthError `invalid_request` where it can't be read, or where two methods are used at once
 * @see RFC 6749 §2.3.1
 */
export const readClientCredentials = (
  authorization: string | null | undefined,
  form: URLSearchParams,
): ClientCredentials => {
  const { client_id: clientId, client_secret: secret, ...asserted } = readParameters(form, parameterNames)
  if (asserted.client_assertion !== undefined) {
    if (authorization || secret !== undefined) throw twoWays()
    return readAssertion(asserted.client_assertion, asserted.client_assertion_type, clientId)
  }
  if (authorization === null || authorization === undefined || authorization === '') {
    if (clientId === undefined) throw new OAuthError('invalid_request', 'client_id is missing')
    return { method: secret === undefined ? 'none' : 'client_secret_post', candidates: [candidate(clientId, secret)] }
  }
  const basic = readBasic(authorization)
  if (basic.method !== 'none' && secret !== undefined) {
    throw twoWays()
  }
  const [first, ...others] = basic.candidates.filter((each) => clientId === undefined || each.clientId === clientId)
  if (!first) throw new OAuthError('invalid_request', 'client_id is not the one of the Authorization header')
  if (secret !== undefined) {
    return { method: 'client_secret_post', candidates: [candidate(first.clientId, secret)] }
  }
  return { method: basic.method, candidates: [first, ...others] }
}

const parameterNames = ['client_id', 'client_secret', 'client_assertion', 'client_assertion_type'] as const

const twoWays = (): OAuthError =>
  new OAuthError('invalid_request', 'the client authenticates in two ways: use one of them')

/** @see RFC 7521 §4.2 */
const readAssertion = (
  assertion: string,
  type: string | undefined,
  clientId: string | undefined,
): ClientCredentials => {
  if (type !== clientAssertionType) {
    throw new OAuthError('invalid_request', `client_assertion_type: expected ${clientAssertionType}`)
  }
  const asserted = assertedClientId(assertion)
  if (clientId !== undefined && clientId !== asserted) {
    throw new OAuthError('invalid_client', 'client_id is not the one of the client_assertion', {
      reason: 'assertion_of_other_client',
    })
  }
  const credentials: ClientCredentials = { method: 'private_key_jwt', candidates: [candidate(asserted, undefined)] }
  return Object.defineProperty(credentials, 'assertion', { value: assertion, enumerable: false })
}

const readBasic = (authorization: string): ClientCredentials => {
  const text = decodeBasic(authorization)
  if (text.endsWith(':')) {
    // No secret: some public clients send their id this way.
    const id = text.slice(0, -1)
    return { method: 'none', candidates: nonEmpty(distinct([...decoded(id, ''), candidate(id, undefined)])) }
  }
  // No more than can count: a header that is all colons must not cost more than another.
  const colons = firstColons(text, maximumCandidates)
  const [first] = colons
  const readings = [
    ...(first === undefined ? [] : decoded(text.slice(0, first), text.slice(first + 1))),
    ...colons.map((colon) => candidate(text.slice(0, colon), text.slice(colon + 1))),
  ]
  return { method: 'client_secret_basic', candidates: nonEmpty(distinct(readings).slice(0, maximumCandidates)) }
}

const firstColons = (text: string, most: number): number[] => {
  const colons: number[] = []
  for (let at = text.indexOf(':'); at >= 0 && colons.length < most; at = text.indexOf(':', at + 1)) colons.push(at)
  return colons
}

const decodeBasic = (authorization: string): string => {
  const [, scheme = '', encoded = ''] = /^([A-Za-z]+) +([A-Za-z0-9+/]+={0,2})$/.exec(authorization.trim()) ?? []
  if (authorization.length > maximumHeader || scheme.toLowerCase() !== 'basic') throw unreadable()
  try {
    const octets = atob(encoded)
    if (ascii.test(octets)) return octets
    return utf8.decode(Uint8Array.from(octets, (octet) => octet.charCodeAt(0)))
  } catch {
    throw unreadable()
  }
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: all of ASCII
const ascii = /^[\x00-\x7f]*$/
const utf8 = new TextDecoder('utf-8', { fatal: true })

const unreadable = (): OAuthError =>
  new OAuthError('invalid_request', 'the Authorization header is not HTTP Basic with a client id and a secret')

/** As RFC 6749 §2.3.1 has it: both parts form-encoded before they are joined. */
const decoded = (id: string, secret: string): ClientCandidate[] => {
  try {
    return [candidate(formDecode(id), secret === '' ? undefined : formDecode(secret))]
  } catch {
    return []
  }
}

const formDecode = (text: string): string => decodeURIComponent(text.replaceAll('+', ' '))

const distinct = (candidates: readonly ClientCandidate[]): ClientCandidate[] =>
  candidates.filter(
    (each, index) =>
      each.clientId !== '' &&
      candidates.findIndex((other) => other.clientId === each.clientId && other.secret === each.secret) === index,
  )

const nonEmpty = ([first, ...others]: readonly ClientCandidate[]): readonly [ClientCandidate, ...ClientCandidate[]] => {
  if (!first) throw unreadable()
  return [first, ...others]
}

const candidate = (clientId: string, secret: string | undefined): ClientCandidate =>
  secret === undefined
    ? { clientId }
    : Object.defineProperty({ clientId }, 'secret', { value: secret, enumerable: false })

/**
 * The answer to a client that is unknown or whose secret is wrong.
 * @param reason for the audit log; the wire doesn't learn which of the two it was
 * @see RFC 6749 §5.2
 */
export const invalidClient = (authorization: string | null | undefined, reason: string): OAuthError =>
  new OAuthError('invalid_client', 'the client is unknown or could not be authenticated', {
    reason,
    ...(authorization ? { headers: { 'WWW-Authenticate': 'Basic realm="token"' } } : {}),
  })
