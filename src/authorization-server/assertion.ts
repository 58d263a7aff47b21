import type { JWTPayload } from 'jose'
import * as errors from 'jose/errors'
import { decodeJwt } from 'jose/jwt/decode'
import type { JsonObject } from '../identity/json.ts'
import { assertionAlgorithms, idJagType, mediaTypeOf } from '../oauth/assertion.ts'
import { OAuthError } from '../oauth/errors.ts'
import { jose } from '../oauth/jose.ts'
import type { AssertionIssuer } from './assertion-options.ts'
import { ClientKeysUnavailable } from './client-keys.ts'
import type { ServerContext } from './context.ts'

/** What a trusted issuer says, its signature, audience and times verified. What may come of it is for its kind to decide. */
export interface Assertion<Issuer extends AssertionIssuer = AssertionIssuer> {
  readonly issuer: Issuer
  readonly subject: string
  /** Seconds since the epoch. */
  readonly expiresAt: number
  readonly issuedAt: number | undefined
  /** All that it says. */
  readonly claims: JsonObject
}

/** Seconds that clocks may differ. */
export const assertionSkew = 30

// Seconds. An ID-JAG is made for one request; a platform's JWT lies in a file and is renewed there.
const longestLife = { enterprise: 3_600, workload: 86_400 } as const

/** Those that a platform's JWT may have: others say that it was made for something else. */
const workloadTypes: readonly (string | undefined)[] = [undefined, 'jwt', 'jose']

/**
 * @param now the store's clock, milliseconds since the epoch
 * @throws OAuthError `invalid_grant`; `temporarily_unavailable` where the issuer's keys can't be had
 * @see RFC 7523 §3
 */
export const verifyAssertion = async (server: ServerContext, text: string, now: number): Promise<Assertion> => {
  const issuer = claimedIssuer(server, text)
  const payload = await verified(server, issuer, text, now)
  const { sub: subject, exp: expiresAt = 0, iat: issuedAt } = payload
  if (typeof subject !== 'string' || subject === '' || subject.length > 2048) throw refusedAssertion('no_subject')
  const seconds = now / 1000
  if (expiresAt - (issuedAt ?? seconds) > longestLife[issuer.kind] + assertionSkew) {
    throw refusedAssertion('lives_too_long')
  }
  if (issuedAt !== undefined && issuedAt > seconds + assertionSkew) throw refusedAssertion('issued_in_the_future')
  return { issuer, subject, expiresAt, issuedAt, claims: payload as JsonObject }
}

export const refusedAssertion = (reason: string): OAuthError =>
  new OAuthError('invalid_grant', 'the assertion is not valid here', { reason: `assertion: ${reason}` })

/** Whose rules hold is decided by the configuration for this very issuer: nothing of the assertion is guessed from. */
const claimedIssuer = ({ assertions }: ServerContext, text: string): AssertionIssuer => {
  const issuer = assertions?.issuers.get(readIssuer(text) ?? '')
  if (!issuer) throw refusedAssertion('untrusted_issuer')
  return issuer
}

const readIssuer = (text: string): string | undefined => {
  try {
    return decodeJwt(text).iss
  } catch {
    throw refusedAssertion('malformed')
  }
}

const verified = async (
  server: ServerContext,
  issuer: AssertionIssuer,
  text: string,
  now: number,
): Promise<JWTPayload> => {
  const options = {
    algorithms: [...assertionAlgorithms],
    issuer: issuer.issuer,
    requiredClaims: issuer.kind === 'enterprise' ? ['sub', 'aud', 'exp', 'iat', 'jti'] : ['sub', 'aud', 'exp'],
    clockTolerance: assertionSkew,
    currentDate: new Date(now),
  }
  const { decodeProtectedHeader, jwtVerify } = await jose()
  try {
    const header = decodeProtectedHeader(text)
    checkType(issuer, header.typ)
    if (!options.algorithms.some((algorithm) => algorithm === header.alg)) throw refusedAssertion('algorithm')
    const [protectedHeader = '', payload = '', signature = ''] = text.split('.')
    const input = { protected: protectedHeader, payload, signature }
    const keys = (await server.assertions?.keysOf(issuer, header, input, now)) ?? []
    for (const key of keys) {
      try {
        const result = await jwtVerify(text, key, options)
        checkAudience(server, issuer, result.payload.aud)
        return result.payload
      } catch (error) {
        if (!(error instanceof errors.JWSSignatureVerificationFailed)) throw error
      }
    }
    throw refusedAssertion(keys.length === 0 ? 'unknown_key' : 'signature')
  } catch (error) {
    if (error instanceof OAuthError) throw error
    if (error instanceof ClientKeysUnavailable) {
      throw new OAuthError('temporarily_unavailable', 'the keys of the issuer can not be fetched now', { cause: error })
    }
    // Whatever else a foreign JWT or key leads to says that it is not valid.
    throw refusedAssertion(error instanceof errors.JOSEError ? claimOf(error) : 'unreadable')
  }
}

const claimOf = (error: errors.JOSEError): string =>
  error instanceof errors.JWTClaimValidationFailed || error instanceof errors.JWTExpired
    ? `${error.code} ${error.claim}`
    : error.code

const checkType = ({ kind }: AssertionIssuer, typ: unknown): void => {
  const type = mediaTypeOf(typ)
  const right = kind === 'enterprise' ? type === idJagType : workloadTypes.includes(type)
  if (!right) throw refusedAssertion('type')
}

/**
 * For us and for nobody else: who could use it elsewhere as well could use here what was given there.
 * @see draft-ietf-oauth-identity-assertion-authz-grant §4.4.1
 */
const checkAudience = ({ issuer: ours }: ServerContext, issuer: AssertionIssuer, aud: unknown): void => {
  const audiences = [aud].flat()
  const right =
    issuer.kind === 'enterprise'
      ? audiences.length === 1 && audiences[0] === ours
      : audiences.length > 0 && audiences.every((each) => issuer.audience.some((expected) => expected === each))
  if (!right) throw refusedAssertion('audience')
}
