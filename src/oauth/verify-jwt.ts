import type { CompactJWSHeaderParameters, FlattenedJWSInput, JWTHeaderParameters, JWTPayload } from 'jose'
import * as errors from 'jose/errors'
import { jose } from './jose.ts'
import { nativeSignatures, type PublicKey } from './native-signature.ts'

/** What is asked of a JWT besides its signature. */
export interface JwtChecks {
  readonly algorithms?: string[]
  /** The `typ`. */
  readonly typ?: string
  readonly issuer?: string
  /** Claims that must be there, whatever they say. */
  readonly requiredClaims?: string[]
  readonly currentDate: Date
  /** Seconds. */
  readonly clockTolerance?: number
}

export interface VerifiedJwt {
  readonly payload: JWTPayload
  readonly protectedHeader: CompactJWSHeaderParameters
}

/** Answers the key by what the header says, before anything of it is believed. */
export type JwtKeyLookup = (header: JWTHeaderParameters, jws: FlattenedJWSInput) => PublicKey | Promise<PublicKey>

/**
 * Verifies a JWT as jose's `jwtVerify` does, with the same errors. On a host that can verify a signature in less time, a token that is in order in
 * every other way costs little more than that; about all others jose itself decides.
 * @throws errors of `jose/errors`; what `key` throws
 * @see RFC 7515 §5.2, RFC 7519 §7.2
 */
export const verifyJwt = async (
  token: string,
  key: PublicKey | JwtKeyLookup,
  checks: JwtChecks,
): Promise<VerifiedJwt> => {
  const read = readOrderly(token, checks)
  if (!read) return askJose(token, key, checks)
  const { protectedHeader, payload, jws } = read
  const found = typeof key === 'function' ? await key(protectedHeader, jws) : key
  const input = token.slice(0, token.lastIndexOf('.'))
  const verified = native?.verify(protectedHeader.alg, found, input, native.decode(jws.signature))
  if (verified === undefined) return askJose(token, found, checks)
  if (!verified) throw new errors.JWSSignatureVerificationFailed()
  return { payload, protectedHeader }
}

const native = nativeSignatures(globalThis.process)

const askJose = async (token: string, key: PublicKey | JwtKeyLookup, checks: JwtChecks): Promise<VerifiedJwt> => {
  const { jwtVerify } = await jose()
  return typeof key === 'function' ? jwtVerify(token, key, checks) : jwtVerify(token, key, checks)
}

interface Orderly extends VerifiedJwt {
  readonly jws: FlattenedJWSInput
}

/** What a token says that is in order, its signature aside; undefined where there is anything to look at more closely. */
const readOrderly = (token: string, checks: JwtChecks): Orderly | undefined => {
  if (!native || !compact.test(token)) return undefined
  const [header = '', claims = '', signature = ''] = token.split('.')
  if (isCut(header) || isCut(claims) || isCut(signature)) return undefined
  try {
    const protectedHeader: unknown = JSON.parse(utf8.decode(native.decode(header)))
    if (!isObject(protectedHeader) || !isOrderlyHeader(protectedHeader, checks)) return undefined
    const payload: unknown = JSON.parse(utf8.decode(native.decode(claims)))
    if (!isObject(payload) || !areOrderlyClaims(payload, checks)) return undefined
    return { protectedHeader, payload, jws: { protected: header, payload: claims, signature } }
  } catch {
    return undefined
  }
}

const compact = /^[\w-]+\.[\w-]+\.[\w-]+$/
const utf8 = new TextDecoder('utf-8', { fatal: true })

/** No bytes are so many characters. */
const isCut = (base64url: string): boolean => base64url.length % 4 === 1

type Members = Readonly<Record<string, unknown>>

const isObject = (value: unknown): value is Members =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const isOrderlyHeader = (header: Members, { algorithms, typ }: JwtChecks): header is CompactJWSHeaderParameters => {
  const { alg, crit } = header
  if (typeof alg !== 'string' || !native?.knows(alg) || algorithms?.includes(alg) === false) return false
  return crit === undefined && (typ === undefined || header.typ === typ)
}

const areOrderlyClaims = (claims: Members, checks: JwtChecks): claims is JWTPayload => {
  const { issuer, requiredClaims = [], currentDate, clockTolerance = 0 } = checks
  const { iss, iat, nbf, exp } = claims
  if (issuer !== undefined && iss !== issuer) return false
  if (!requiredClaims.every((claim) => Object.hasOwn(claims, claim))) return false
  if (![iat, nbf, exp].every((time) => time === undefined || typeof time === 'number')) return false
  const now = Math.floor(currentDate.getTime() / 1000)
  const begun = nbf === undefined || Number(nbf) <= now + clockTolerance
  return begun && (exp === undefined || Number(exp) > now - clockTolerance)
}
