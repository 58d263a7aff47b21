/** The error codes of RFC 6749, 6750, 7009, 7591, 8707, 9449 and OpenID Connect Core that this server speaks, with their usual HTTP status. */
const statuses = {
  // RFC 6749 §4.1.2.1 and §5.2
  invalid_request: 400,
  unauthorized_client: 400,
  access_denied: 400,
  unsupported_response_type: 400,
  invalid_scope: 400,
  server_error: 500,
  temporarily_unavailable: 503,
  invalid_client: 401,
  invalid_grant: 400,
  unsupported_grant_type: 400,
  // RFC 6750 §3.1
  invalid_token: 401,
  insufficient_scope: 403,
  // RFC 7009 §2.2.1
  unsupported_token_type: 400,
  // RFC 7591 §3.2.2
  invalid_redirect_uri: 400,
  invalid_client_metadata: 400,
  invalid_software_statement: 400,
  unapproved_software_statement: 400,
  // RFC 8707 §2
  invalid_target: 400,
  // RFC 9449 §5 and §8
  invalid_dpop_proof: 400,
  use_dpop_nonce: 400,
  // OpenID Connect Core §3.1.2.6
  login_required: 400,
  consent_required: 400,
  interaction_required: 400,
  account_selection_required: 400,
  request_not_supported: 400,
  request_uri_not_supported: 400,
} as const

export type OAuthErrorCode = keyof typeof statuses

export interface OAuthErrorOptions extends ErrorOptions {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  /** Why, for the operator; never on the wire. */
  readonly reason?: string
}

/** A refusal in the protocol's words: what the wire gets, and the reason that only the audit log gets. */
export class OAuthError extends Error {
  override readonly name = 'OAuthError'
  readonly code: OAuthErrorCode
  readonly status: number
  /** Only characters that RFC 6749 §5.2 allows in `error_description`. */
  readonly description: string
  /** To be sent with the response, for example `Retry-After`. */
  readonly headers: Readonly<Record<string, string>>
  /** For the audit log. Without one of its own it is the description. */
  readonly reason: string

  constructor(code: OAuthErrorCode, description: string, options: OAuthErrorOptions = {}) {
    const clean = wireText(description)
    super(`${code}: ${clean}`, 'cause' in options ? { cause: options.cause } : {})
    this.code = code
    this.status = options.status ?? statuses[code]
    this.description = clean
    this.headers = { ...(this.status === 503 ? { 'Retry-After': retryAfterSeconds } : {}), ...options.headers }
    this.reason = options.reason ?? clean
  }
}

const retryAfterSeconds = '5'

/** %x20-21 / %x23-5B / %x5D-7E. @see RFC 6749 §5.2 */
const wireText = (text: string): string =>
  text
    .replace(/["\u2018\u2019\u201c\u201d]/g, "'")
    .replaceAll('\\', '/')
    .replace(/[^\x20-\x7e]/g, '?')

/** The JSON body of an error response. @see RFC 6749 §5.2 */
export const oauthErrorBody = (
  error: OAuthError,
): { readonly error: OAuthErrorCode; readonly error_description: string } => ({
  error: error.code,
  error_description: error.description,
})
