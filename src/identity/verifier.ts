import type { AccessToken } from './access-token.ts'

/**
 * Turns a presented token into a verified one. Every verifier (our own issuer in process, JWKS, introspection) has this form, so that
 * a handler can't tell which one stood in front of it.
 */
export interface TokenVerifier {
  /**
   * @param resource the resource that the token was presented to; a token for another audience is invalid here
   * @param jkt thumbprint of the key that was proven with the request; a token that is bound to another, or to one while none was proven, is
   * invalid
   * @throws TokenInvalid the token is not good, and a new one may be: 401 `invalid_token`
   * @throws VerifierUnavailable our own trouble, which says nothing about the token: 503 without a challenge
   */
  verify(token: string, resource: string, jkt?: string): Promise<AccessToken>
  /**
   * The token, where it was verified before and nothing has to be looked up again: what `verify` would answer without waiting. The caller
   * checks what it is bound to.
   */
  recall?(token: string, resource: string): AccessToken | undefined
}

/** `reason` is for the audit log; the wire gets `invalid_token` and no more. */
export class TokenInvalid extends Error {
  override readonly name = 'TokenInvalid'
  readonly reason: TokenInvalidReason
  constructor(reason: TokenInvalidReason, options?: ErrorOptions) {
    super(`access token refused: ${reason}`, options)
    this.reason = reason
  }
}

export type TokenInvalidReason =
  | 'malformed'
  | 'unknown_issuer'
  | 'unknown_key'
  | 'signature'
  | 'type'
  | 'expired'
  | 'not_yet_valid'
  | 'audience'
  | 'claims'
  | 'revoked'
  | 'schema'
  | 'binding'

/** The store, an issuer or its keys can't be reached. */
export class VerifierUnavailable extends Error {
  override readonly name = 'VerifierUnavailable'
}
