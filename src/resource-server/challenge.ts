/**
 * What a refused request is told. One `WWW-Authenticate` with Bearer first and plain quoted values, because clients read it with a
 * regular expression; every text is our own.
 * @see RFC 6750 §3, RFC 9449 §7.1, RFC 9728 §5.1
 */
export interface Challenge {
  readonly error: keyof typeof challengeStatus
  readonly description: string
  /** All that the client should ask for: some replace the scopes they have by these. */
  readonly scopes: readonly string[]
  readonly metadataUrl: string
  /** Of DPoP proofs, where the client is told of DPoP. */
  readonly algorithms?: readonly string[] | undefined
  /** The request tried DPoP, or must: then the error stands in the challenge of DPoP. */
  readonly speaksDpop?: boolean
}

export const challengeHeader = ({
  error,
  description,
  scopes,
  metadataUrl,
  algorithms,
  speaksDpop,
}: Challenge): string => {
  const scope = scopes.filter((each) => scopeToken.test(each)).join(' ')
  const refusal = [`error="${error}"`, `error_description="${quotable(description)}"`]
  const wanted = [...(scope === '' ? [] : [`scope="${scope}"`])]
  const place = `resource_metadata="${quotable(metadataUrl)}"`
  const bearer = `Bearer ${[...(speaksDpop ? [] : refusal), ...wanted, place].join(', ')}`
  if (!algorithms) return bearer
  return `${bearer}, DPoP ${[...(speaksDpop ? [...refusal, ...wanted] : []), `algs="${algorithms.join(' ')}"`].join(', ')}`
}

/** A refusal with a challenge: 401, 403 or, for a request that is no bearer request at all, 400. */
export const challengeResponse = (challenge: Challenge, headers: Readonly<Record<string, string>> = {}): Response =>
  jsonResponse(
    challengeStatus[challenge.error],
    { error: challenge.error, error_description: challenge.description },
    { 'WWW-Authenticate': challengeHeader(challenge), ...headers },
  )

const challengeStatus = {
  invalid_token: 401,
  invalid_dpop_proof: 401,
  use_dpop_nonce: 401,
  insufficient_scope: 403,
  invalid_request: 400,
} as const

/** Our own trouble. No challenge: a client that is told "invalid token" throws a good session away. */
export const unavailableResponse = (retryAfterSeconds: number): Response =>
  jsonResponse(
    503,
    { error: 'temporarily_unavailable', error_description: 'The access token cannot be verified at the moment' },
    { 'Retry-After': String(retryAfterSeconds) },
  )

/** A refusal that no token would change, in the form that MCP clients expect of the endpoint. */
export const rpcErrorResponse = (
  status: number,
  code: number,
  message: string,
  { id = null, data }: { readonly id?: string | number | null; readonly data?: object } = {},
): Response => jsonResponse(status, { jsonrpc: '2.0', error: { code, message, ...(data && { data }) }, id }, {})

const jsonResponse = (status: number, body: object, headers: Record<string, string>): Response =>
  new Response(JSON.stringify(body), {
    status,
    headers: { 'Content-Type': 'application/json', 'Cache-Control': 'no-store', ...headers },
  })

/** @see RFC 6749 §3.3 */
const scopeToken = /^[\x21\x23-\x5B\x5D-\x7E]+$/

/** Without what would end the quotes or the header: the clients' parsers know no escapes. */
const quotable = (text: string): string => text.replace(/["\\]/g, "'").replace(/[^\x20-\x7E]/g, '')
