/**
 * The access token of an `Authorization` header. No other place is looked at: a token in a URL ends up in logs.
 * @see RFC 6750 §2.1, RFC 9449 §7.1
 */
export type PresentedToken =
  | { readonly kind: 'none' }
  | { readonly kind: 'token'; readonly token: string; readonly scheme: 'Bearer' | 'DPoP' }
  /** The header was sent more than once, or holds several credentials: which one counts would be a guess. */
  | { readonly kind: 'ambiguous' }
  /** `scheme` is what the client seems to speak. */
  | { readonly kind: 'garbage'; readonly scheme: 'Bearer' | 'DPoP' }

export const readAccessToken = (header: string | null): PresentedToken => {
  if (header === null || header === '') return none
  if (/^bearer(?: |$)/i.test(header)) return tokenIn(header.slice(7), 'Bearer')
  if (/^dpop(?: |$)/i.test(header)) return tokenIn(header.slice(5), 'DPoP')
  return header.includes(',') && /,\s*(?:bearer|dpop) /i.test(header) ? ambiguous : none
}

const tokenIn = (credentials: string, scheme: 'Bearer' | 'DPoP'): PresentedToken => {
  const token = credentials.trim()
  if (b64token.test(token) && token.length <= maximumLength) return { kind: 'token', token, scheme }
  return /,/.test(token) ? ambiguous : { kind: 'garbage', scheme }
}

const none: PresentedToken = { kind: 'none' }
const ambiguous: PresentedToken = { kind: 'ambiguous' }

const b64token = /^[A-Za-z0-9\-._~+/]+=*$/
const maximumLength = 16_384
