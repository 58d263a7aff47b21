/** @see RFC 7523 §2.1 */
export const jwtBearerGrantType = 'urn:ietf:params:oauth:grant-type:jwt-bearer'

/** The `typ` of an identity assertion authorization grant. @see draft-ietf-oauth-identity-assertion-authz-grant §3.1 */
export const idJagType = 'oauth-id-jag+jwt'

/** What metadata name where such grants are taken. @see draft-ietf-oauth-identity-assertion-authz-grant §7.2 */
export const idJagProfile = 'urn:ietf:params:oauth:grant-profile:id-jag'

/** The signature algorithms of assertions: all asymmetric ones. @see RFC 7518 §3.1, RFC 8037 */
export const assertionAlgorithms = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
] as const

/** `application/x` and `x` are one media type, in any case. @see RFC 7515 §4.1.9 */
export const mediaTypeOf = (typ: unknown): string | undefined =>
  typeof typ === 'string' ? typ.toLowerCase().replace(/^application\//, '') : undefined
