/** The bearer token of an `Authorization` header. No other place is looked at: a token in a URL ends up in logs. @see RFC 6750 §2.1 */
export type PresentedToken =
  | { readonly kind: 'none' }
  | { readonly kind: 'token'; readonly token: string }
  /** The header was sent more than once, or holds several credentials: which one counts would be a guess. */
  | { readonly kind: 'ambiguous' }
  | { readonly kind: 'garbage' }

export const readBearer = (header: string | null): PresentedToken => {
  if (header === null || header === '') return none
  if (!/^bearer(?: |$)/i.test(header)) return header.includes(',') && /,\s*bearer /i.test(header) ? ambiguous : none
  const token = header.slice(7).trim()
  if (b64token.test(token)) return token.length <= maximumLength ? { kind: 'token', token } : garbage
  return /,/.test(token) ? ambiguous : garbage
}

const none: PresentedToken = { kind: 'none' }
const ambiguous: PresentedToken = { kind: 'ambiguous' }
const garbage: PresentedToken = { kind: 'garbage' }

const b64token = /^[A-Za-z0-9\-._~+/]+=*$/
const maximumLength = 16_384
