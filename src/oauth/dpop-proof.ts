import type { JWK } from 'jose'
import * as errors from 'jose/errors'
import { jose } from './jose.ts'
import { verifyJwt } from './verify-jwt.ts'

/** The signature algorithms of DPoP proofs: never one with a shared secret, never none. @see RFC 9449 §11.6, RFC 9864 */
export const dpopAlgorithms = ['ES256', 'ES384', 'EdDSA', 'Ed25519', 'PS256', 'RS256'] as const

/** Seconds that the time of a proof may be away from ours, in both directions. */
export const dpopWindow = 300

/** A proof that was found right for its request. Whether it was used before is another question. */
export interface DpopProof {
  /** The thumbprint of the key that signed it. @see RFC 7638 */
  readonly jkt: string
  /** Unique among the proofs of its key. */
  readonly jti: string
  /** Seconds since the epoch. */
  readonly issuedAt: number
  /** As it stands there: whoever gave nonces knows which are good. */
  readonly nonce?: string
}

/** The request that a proof came with. */
export interface DpopRequest {
  readonly method: string
  /** Its URL as the client knows it: from configuration, never from `Host`. Query and fragment don't count. */
  readonly url: string
  /** The access token that it brings; without one, the proof needs none. */
  readonly accessToken?: string
  /** Milliseconds since the epoch. */
  readonly now: number
}

export type DpopProofReason =
  | 'several'
  | 'malformed'
  | 'algorithm'
  | 'key'
  | 'signature'
  | 'type'
  | 'claims'
  | 'method'
  | 'url'
  | 'time'
  | 'access_token'

/** `reason` is for the audit log. */
export class DpopProofInvalid extends Error {
  override readonly name = 'DpopProofInvalid'
  readonly reason: DpopProofReason
  constructor(reason: DpopProofReason, options?: ErrorOptions) {
    super(`DPoP proof refused: ${reason}`, options)
    this.reason = reason
  }
}

/** @throws DpopProofInvalid */
export type DpopProofReader = (header: string, request: DpopRequest) => Promise<DpopProof>

/**
 * Makes what checks proofs: all of RFC 9449 §4.3 but for the nonce and for being new. Keys are remembered, because a client sends the same one
 * with every request.
 */
export const createDpopProofReader = (): DpopProofReader => {
  const keys = new Map<string, ProofKey>()

  const remember = (header: string, key: ProofKey): void => {
    keys.set(header, key)
    if (keys.size <= rememberedKeys) return
    for (const oldest of keys.keys()) {
      keys.delete(oldest)
      break
    }
  }

  return async (text, request) => {
    // A second header is joined to the first with a comma, which no proof has.
    if (text.includes(',')) throw new DpopProofInvalid('several')
    if (text.length > maximumLength || !jwtForm.test(text)) throw new DpopProofInvalid('malformed')
    const header = text.slice(0, text.indexOf('.'))
    const known = keys.get(header)
    const key = known ?? (await readKey(text))
    const payload = await verified(text, key, request.now)
    // Only a key that signs: what anybody can make up must push nothing out.
    if (!known) remember(header, key)
    return check(payload, key, request)
  }
}

interface ProofKey {
  readonly jkt: string
  readonly algorithm: string
  readonly key: CryptoKey
}

const rememberedKeys = 1_024
const maximumLength = 8_192
const jwtForm = /^[\w-]+\.[\w-]+\.[\w-]+$/
/** Of a `jti`, in characters: used ones are kept. @see RFC 9449 §11.1 */
const longestId = 256

/** The key is in the proof itself; no other place (`kid`, `jku`, `x5u`, `x5c`) is looked at. */
const readKey = async (text: string): Promise<ProofKey> => {
  const { calculateJwkThumbprint, decodeProtectedHeader, importJWK } = await jose()
  try {
    const { alg: algorithm, jwk } = decodeProtectedHeader(text)
    if (!dpopAlgorithms.some((each) => each === algorithm) || algorithm === undefined) {
      throw new DpopProofInvalid('algorithm')
    }
    const members = publicMembers(jwk)
    const key = (await importJWK(members, algorithm)) as CryptoKey
    return { jkt: await calculateJwkThumbprint(members), algorithm, key }
  } catch (error) {
    throw error instanceof DpopProofInvalid ? error : new DpopProofInvalid('key', { cause: error })
  }
}

/** What makes a public key of its kind, and nothing else of it; no larger than it must be, since whoever asks makes us compute with it. */
const publicMembers = (jwk: unknown): JWK => {
  const { kty, crv, x, y, n, e, ...rest } = Object(jwk) as Readonly<Record<string, unknown>>
  if (privateMembers.some((name) => name in rest)) throw new DpopProofInvalid('key')
  if (kty === 'EC' && isText(crv, 5) && isText(x, 66) && isText(y, 66)) return { kty, crv, x, y }
  if (kty === 'OKP' && isText(crv, 7) && isText(x, 43)) return { kty, crv, x }
  // 4096 bits, and the exponents that are in use.
  if (kty === 'RSA' && isText(n, 683) && isText(e, 6)) return { kty, n, e }
  throw new DpopProofInvalid('key')
}

const privateMembers = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k', 'priv']

const isText = (value: unknown, longest: number): value is string =>
  typeof value === 'string' && value !== '' && value.length <= longest

const verified = async (text: string, { key, algorithm }: ProofKey, now: number) => {
  try {
    const options = { algorithms: [algorithm], typ: 'dpop+jwt', currentDate: new Date(now), clockTolerance: dpopWindow }
    return (await verifyJwt(text, key, options)).payload
  } catch (error) {
    throw new DpopProofInvalid(reasonOf(error), { cause: error })
  }
}

const reasonOf = (error: unknown): DpopProofReason => {
  if (error instanceof errors.JWTExpired) return 'time'
  if (error instanceof errors.JWTClaimValidationFailed) return error.claim === 'typ' ? 'type' : 'claims'
  if (error instanceof errors.JWSInvalid || error instanceof errors.JWTInvalid) return 'malformed'
  // Not one of its algorithm, for example: what a foreign key leads to says that it did not sign.
  return 'signature'
}

const check = async (
  { jti, htm, htu, iat, ath, nonce }: Readonly<Record<string, unknown>>,
  { jkt }: ProofKey,
  { method, url, accessToken, now }: DpopRequest,
): Promise<DpopProof> => {
  if (!isText(jti, longestId) || typeof htm !== 'string' || typeof htu !== 'string') {
    throw new DpopProofInvalid('claims')
  }
  if (typeof iat !== 'number' || (nonce !== undefined && typeof nonce !== 'string'))
    throw new DpopProofInvalid('claims')
  if (htm !== method) throw new DpopProofInvalid('method')
  if (!isSameTarget(htu, url)) throw new DpopProofInvalid('url')
  if (!(Math.abs(now / 1000 - iat) <= dpopWindow)) throw new DpopProofInvalid('time')
  if (accessToken !== undefined && ath !== (await accessTokenHash(accessToken))) {
    throw new DpopProofInvalid('access_token')
  }
  return { jkt, jti, issuedAt: iat, ...(nonce === undefined ? {} : { nonce }) }
}

/** In the form that URLs are compared in; one slash at the end aside, in which clients differ. @see RFC 9449 §4.3, RFC 3986 §6.2.2 */
const isSameTarget = (claimed: string, url: string): boolean => claimed === url || targetOf(claimed) === targetOf(url)

const targetOf = (text: string): string | undefined => {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url || !/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '') return undefined
  return url.origin + url.pathname.replace(/\/$/, '')
}

/** @see RFC 9449 §4.1 */
const accessTokenHash = async (token: string): Promise<string> => {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(token)))
  return btoa(String.fromCharCode(...digest))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '')
}

/** A key's thumbprint as it stands in `dpop_jkt` and `cnf.jkt`: one spelling of 256 bits. @see RFC 7638 */
export const isThumbprint = (text: string): boolean => /^[\w-]{42}[AEIMQUYcgkosw048]$/.test(text)
