import type { JWTPayload } from 'jose'
import { decodeProtectedHeader } from 'jose/decode/protected_header'
import * as errors from 'jose/errors'
import { boundKeyOf } from '../identity/confirmation.ts'
import type { JsonObject } from '../identity/json.ts'
import { TokenInvalid, type TokenInvalidReason } from '../identity/verifier.ts'
import { parseScope } from '../oauth/scope.ts'
import { type JwtKeyLookup, verifyJwt } from '../oauth/verify-jwt.ts'
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
  const kid = kidOf(token)
  const key = kid === undefined ? undefined : await keys.verificationKey(kid)
  if (!key) throw new TokenInvalid('unknown_key')
  const known = verified.get(key.key)?.get(token)
  if (known && known.expiresAt * 1000 > options.currentDate.getTime()) return known
  const keyOf: JwtKeyLookup = ({ alg }) => {
    if (alg !== key.algorithm) throw new TokenInvalid('signature')
    return key.key
  }
  try {
    const { payload } = await verifyJwt(token, keyOf, options)
    const signed = read(payload, issuer)
    remember(key.key, token, signed, clock.now())
    return signed
  } catch (error) {
    throw error instanceof errors.JOSEError ? new TokenInvalid(reasonOf(error), { cause: error }) : error
  }
}

/**
 * What was verified with a key, as long as there is the key. A resource server asks about the same token again and again, and to verify it costs
 * more than all the rest of the answer.
 */
const verified = new WeakMap<object, Map<string, SignedAccessToken>>()
const mostVerified = 4_096

const kidOf = (token: string): string | undefined => {
  try {
    const { kid } = decodeProtectedHeader(token)
    return typeof kid === 'string' ? kid : undefined
  } catch (cause) {
    throw new TokenInvalid('malformed', { cause })
  }
}

const remember = (key: object, token: string, signed: SignedAccessToken, now: number): void => {
  const tokens = verified.get(key) ?? new Map<string, SignedAccessToken>()
  verified.set(key, tokens)
  // The oldest first: those that expired, and one more where there are too many.
  for (const [each, { expiresAt }] of tokens) {
    if (expiresAt * 1000 > now && tokens.size < mostVerified) break
    tokens.delete(each)
  }
  tokens.set(token, signed)
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
