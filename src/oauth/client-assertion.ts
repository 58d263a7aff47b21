import { OAuthError } from './errors.ts'

/** @see RFC 7523 §2.2 */
export const clientAssertionType = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

/** The signature algorithms of client assertions: never one with a shared secret, never none. */
export const clientAssertionAlgorithms = ['RS256', 'ES256', 'EdDSA'] as const

/**
 * Whom an assertion speaks for, before anything of it was verified: so that the client's keys can be looked up.
 * @throws OAuthError `invalid_request` where it is no JWT with a subject
 */
export const assertedClientId = (assertion: string): string => {
  const [, payload = '', ...rest] = assertion.split('.')
  try {
    if (rest.length !== 1 || !/^[\w-]+$/.test(payload)) throw new TypeError('not a JWT')
    const bytes = Uint8Array.from(atob(payload.replaceAll('-', '+').replaceAll('_', '/')), (text) => text.charCodeAt(0))
    const { sub } = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) as { sub?: unknown }
    if (typeof sub === 'string' && sub !== '' && sub.length <= 2048) return sub
  } catch {
    // What can't be read is refused like what says nothing.
  }
  throw new OAuthError('invalid_request', 'client_assertion is not a JWT with a subject')
}
