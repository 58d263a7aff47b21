import { neverSent } from './bounded-fetch.ts'
import { ProviderUnavailable, SignInRefused, UpstreamRefused } from './provider.ts'

/** What `openid-client` throws is told by its members: its classes would have to be loaded at start. */
interface Told {
  readonly code: string | undefined
  /** The OAuth error code that the provider answered. */
  readonly error: string | undefined
}

const told = (error: unknown): Told => {
  const { code, error: answered } = (error ?? {}) as { code?: unknown; error?: unknown }
  return {
    code: typeof code === 'string' ? code : undefined,
    error: typeof answered === 'string' ? answered : undefined,
  }
}

// Answers that came, and are not to be believed.
const untrustedCodes = new Set([
  'OAUTH_INVALID_RESPONSE',
  'OAUTH_JWT_CLAIM_COMPARISON_FAILED',
  'OAUTH_JWT_TIMESTAMP_CHECK_FAILED',
  'OAUTH_JSON_ATTRIBUTE_COMPARISON_FAILED',
  'OAUTH_UNSUPPORTED_OPERATION',
  'OAUTH_JWT_USERINFO_EXPECTED',
  'ERR_JWS_SIGNATURE_VERIFICATION_FAILED',
  'ERR_JWS_INVALID',
  'ERR_JOSE_ALG_NOT_ALLOWED',
  'ERR_JOSE_NOT_SUPPORTED',
  'ERR_JWKS_NO_MATCHING_KEY',
  'ERR_JWKS_MULTIPLE_MATCHING_KEYS',
])

// The person's own "no", and the provider's to the person.
const deniedErrors = new Set(['access_denied'])
// What the browser brings of the same: Apple says the first so, Auth0 the second. (A token endpoint's `unauthorized` may be about this client.)
const deniedAnswers = new Set(['user_cancelled_authorize', 'unauthorized'])
// Only with the person's help. @see OpenID Connect Core §3.1.2.6; the last is Auth0's
const interactionErrors = new Set([
  'interaction_required',
  'login_required',
  'account_selection_required',
  'consent_required',
  'mfa_required',
])

const endedErrors = new Set(['invalid_grant', 'invalid_token'])

/** What a failed sign-in means. */
export const signInFailure = (error: unknown): SignInRefused | ProviderUnavailable => {
  if (error instanceof SignInRefused || error instanceof ProviderUnavailable) return error
  const { code, error: answered } = told(error)
  const detail = describe(error)
  if (answered !== undefined) {
    const brought = code === 'OAUTH_AUTHORIZATION_RESPONSE_ERROR'
    if (deniedErrors.has(answered) || (brought && deniedAnswers.has(answered))) {
      return new SignInRefused('denied', { detail })
    }
    if (interactionErrors.has(answered)) return new SignInRefused('interaction_required', { detail })
    // The code was not issued to us, or was used before.
    if (answered === 'invalid_grant') return new SignInRefused('untrusted', { detail })
  } else if (code !== undefined && untrustedCodes.has(code)) {
    return new SignInRefused('untrusted', { detail, cause: withoutAnswer(error) })
  }
  return unavailable(error)
}

/**
 * What a failed refresh means: a "no" is that the grant is over, and what providers say of somebody who is blocked, not assigned to this server any more, or
 * must act themselves. Whatever may be our own fault is none.
 */
export const refreshFailure = (error: unknown): UpstreamRefused | ProviderUnavailable => {
  if (error instanceof ProviderUnavailable) return error
  const { error: answered = '' } = told(error)
  if (endedErrors.has(answered) || deniedErrors.has(answered) || interactionErrors.has(answered)) {
    return new UpstreamRefused('the provider has ended this session')
  }
  return unavailable(error)
}

/** What it means that an access token which should be good was not taken: only a 401 is a "no". @see RFC 6750 §3.1 */
export const validationFailure = (error: unknown): UpstreamRefused | ProviderUnavailable => {
  return statusOf(error) === 401 ? new UpstreamRefused('the provider has ended this session') : unavailable(error)
}

export const unavailable = (error: unknown): ProviderUnavailable => {
  if (error instanceof ProviderUnavailable) return error
  // One of ours, that the library wrapped.
  if (error instanceof Error && error.cause instanceof ProviderUnavailable) return error.cause
  return new ProviderUnavailable('the provider is out of reach, or not configured for this server', {
    detail: describe(error),
    nothingDone: neverSent(error) || refusedOutright(error),
    cause: withoutAnswer(error),
  })
}

/** An OAuth error, a challenge, or another 4xx: the provider did nothing. */
const refusedOutright = (error: unknown): boolean => {
  if (told(error).error !== undefined) return true
  const answered = statusOf(error)
  return answered >= 400 && answered < 500
}

const statusOf = (error: unknown): number => {
  const { status, cause } = (error ?? {}) as { status?: unknown; cause?: unknown }
  const { status: caused } = (cause ?? {}) as { status?: unknown }
  return typeof status === 'number' ? status : typeof caused === 'number' ? caused : 0
}

// An error of the library holds the provider's whole answer, with its tokens. What is kept of it is its text.
const withoutAnswer = (error: unknown): Error => new Error(describe(error))

const longestDetail = 300

/** For the audit log: what went wrong, in one bounded line of printable characters, with whatever looks like a token left out. */
export const describe = (error: unknown): string => {
  const parts: string[] = []
  for (let each = error, depth = 0; each instanceof Error && depth < 3; each = each.cause, depth++) {
    const { code, error: answered } = told(each)
    const { error_description: description } = each as { error_description?: unknown }
    // A parser's message quotes what it could not parse.
    const message = each instanceof SyntaxError ? 'not JSON' : each.message
    const text = [code, answered, typeof description === 'string' ? description : undefined, message]
    parts.push(text.filter(Boolean).join(' '))
  }
  return parts
    .join(': ')
    .replaceAll(/[^\x20-\x7e]/g, '?')
    .replaceAll(/[\w.~+/=-]{24,}/g, (long) => (/^[A-Z_]+$/.test(long) ? long : '…'))
    .slice(0, longestDetail)
}
