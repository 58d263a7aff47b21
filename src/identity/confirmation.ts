import type { JsonObject } from './json.ts'
import { TokenInvalid } from './verifier.ts'

/**
 * The thumbprint of the key that a token is bound to; undefined for a bearer token.
 * @throws TokenInvalid `binding`: it is bound in a way that can't be checked here (to a TLS certificate, for instance); taken as it is, it
 * would be good for whoever has it
 * @see RFC 7800 §3, RFC 9449 §6
 */
export const boundKeyOf = ({ cnf }: JsonObject): string | undefined => {
  if (cnf === undefined) return undefined
  if (typeof cnf === 'object' && cnf !== null && !Array.isArray(cnf)) {
    const { jkt, ...others } = cnf as JsonObject
    if (typeof jkt === 'string' && jkt !== '' && Object.keys(others).length === 0) return jkt
  }
  throw new TokenInvalid('binding')
}

/**
 * Checks that a token was presented in the way that it must be: with a proof of the key that it is bound to, or with none where it is bound to none.
 * @param claims all that is known of the token
 * @param jkt thumbprint of the key that was proven with the request
 * @throws TokenInvalid `binding`
 * @see RFC 9449 §7.1 and §7.2
 */
export const checkBoundKey = (claims: JsonObject, jkt: string | undefined): void => {
  if (boundKeyOf(claims) !== jkt) throw new TokenInvalid('binding')
}
