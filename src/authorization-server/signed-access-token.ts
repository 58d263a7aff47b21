import type { JWTPayload, JWTVerifyGetKey } from 'jose'
import * as errors from 'jose/errors'
import { boundKeyOf } from '../identity/confirmation.ts'
import type { JsonObject } from '../identity/json.ts'
import { TokenInvalid, type TokenInvalidReason } from '../identity/verifier.ts'
import { jose } from '../oauth/jose.ts'
import { parseScope } from '../oauth/scope.ts'
import { accessTokenType } from './access-token.ts'
import type { ServerContext } from './context.ts'

/** What one of our own access tokens says, its signature verified. Whether its grant or its client still lives is another question. */
export interface SignedAccessToken {
  readonly issuer: string
  readonly subject: string
  readonly clientId: string
  readonly resource: string
  readonly scopes: readonly string[]
  /** Seconds since the epoch. */
  readonly expiresAt: number
  /** Of this token alone. */
  readonly id: string
  /** Absent from a client's own token: that has none, and the subject is the client. */
  readonly grant?: string
  /** Thumbprint of the key that it is bound to. */
  readonly jkt?: string
  readonly claims: JsonObject
}

const maximumLength = 16_384

/**
 * Only a key of our own ring is ever used, and only with its own algorithm: `jwk`, `jku` and `x5u` of the header are ignored.
 * @param options.expired also answers a token that is expired
 * @throws TokenInvalid
 * @see RFC 9068 §4
 */
export const readSignedAccessToken = async (
  { keys, issuer, clock }: ServerContext,
  token: string,
  { expired = false }: { readonly expired?: boolean } = {},
): Promise<SignedAccessToken> => {
  if (token.length > maximumLength || !/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)) throw new TokenInvalid('malformed')
  const options = {
    issuer,
    typ: accessTokenType,
    currentDate: new Date(expired ? 0 : clock.now()),
    requiredClaims: ['sub', 'aud', 'client_id', 'exp', 'iat', 'jti'],
  }
  const keyOf: JWTVerifyGetKey<CryptoKey> = async ({ kid, alg }) => {
    const key = typeof kid === 'string' ? await keys.verificationKey(kid) : undefined
    if (!key) throw new TokenInvalid('unknown_key')
    if (alg !== key.algorithm) throw new TokenInvalid('signature')
    return key.key
  }
  try {
    const { jwtVerify } = await jose()
    const { payload } = await jwtVerify(token, keyOf, options)
    return read(payload, issuer)
  } catch (error) {
    throw error instanceof errors.JOSEError ? new TokenInvalid(reasonOf(error), { cause: error }) : error
  }
}

const read = (payload: JWTPayload, issuer: string): SignedAccessToken => {
  const { sub, aud, client_id: clientId, exp, scope = '', jti: id, grant_id: grant } = payload
  const scopes = typeof scope === 'string' ? parseScope(scope) : undefined
  if (typeof sub !== 'string' || typeof aud !== 'string' || typeof clientId !== 'string' || typeof id !== 'string') {
    throw new TokenInvalid('claims')
  }
  if (exp === undefined || !scopes) throw new TokenInvalid('claims')
  const claims = payload as JsonObject
  const jkt = boundKeyOf(claims)
  const facts = {
    issuer,
    subject: sub,
    clientId,
    resource: aud,
    scopes,
    expiresAt: exp,
    id,
    ...(jkt === undefined ? {} : { jkt }),
    claims,
  }
  if (typeof grant === 'string') return { ...facts, grant }
  if (grant !== undefined || sub !== clientId) throw new TokenInvalid('claims')
  return facts
}

const reasonOf = (error: errors.JOSEError): TokenInvalidReason => {
  if (error instanceof errors.JWTExpired) return 'expired'
  if (error instanceof errors.JWTClaimValidationFailed) return claimReasons.get(error.claim) ?? 'claims'
  if (error instanceof errors.JWSInvalid || error instanceof errors.JWTInvalid) return 'malformed'
  return 'signature'
}

const claimReasons: ReadonlyMap<string, TokenInvalidReason> = new Map([
  ['iss', 'unknown_issuer'],
  ['typ', 'type'],
  ['nbf', 'not_yet_valid'],
])
