import { base64url, generateKeyPair, type JWTHeaderParameters, jwtVerify } from 'jose'
import { expect } from 'vitest'
import type { PublicKey } from '../../src/oauth/native-signature.ts'
import { type JwtChecks, verifyJwt } from '../../src/oauth/verify-jwt.ts'

export const now = Date.UTC(2026, 10, 22)
export const seconds = now / 1000
export const issuer = 'https://issuer.example.com'
export const small = ['ES256', 'EdDSA', 'Ed25519', 'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512']
export const large = ['ES384', 'ES512']
export const every = [...small, ...large]

export const claims = {
  iss: issuer,
  sub: 'alice',
  aud: 'https://notes.example.com/mcp',
  exp: seconds + 60,
  iat: seconds,
}
export const checks: JwtChecks = {
  algorithms: every,
  typ: 'at+jwt',
  issuer,
  requiredClaims: ['exp', 'aud', 'sub'],
  currentDate: new Date(now),
  clockTolerance: 30,
}

export interface Pair {
  readonly privateKey: CryptoKey
  readonly publicKey: CryptoKey
}

const pairs = new Map<string, Pair>()
export const pairOf = (algorithm: string): Pair => {
  const pair = pairs.get(algorithm)
  if (!pair) throw new Error(`no keys for ${algorithm}`)
  return pair
}
/** Makes the keys: before all tests of a file. */
export const makePairs = async (): Promise<void> => {
  for (const algorithm of every) {
    pairs.set(algorithm, (await generateKeyPair(algorithm, { extractable: true })) as Pair)
  }
}

const signing: Readonly<Record<string, AlgorithmIdentifier | EcdsaParams | RsaPssParams>> = {
  ECDSA: { name: 'ECDSA' },
  Ed25519: { name: 'Ed25519' },
  'RSASSA-PKCS1-v1_5': { name: 'RSASSA-PKCS1-v1_5' },
}
const saltLengths: Readonly<Record<string, number>> = { 'SHA-256': 32, 'SHA-384': 48, 'SHA-512': 64 }
const curveHashes: Readonly<Record<string, string>> = { 'P-256': 'SHA-256', 'P-384': 'SHA-384', 'P-521': 'SHA-512' }

type KeyMembers = { name: string; namedCurve?: string; hash?: { name: string } }

/** Signs whatever it is given as the header and the payload, in order or not. */
export const signed = async (
  header: string | Uint8Array,
  payload: string | Uint8Array,
  key: CryptoKey,
): Promise<string> => {
  const { name, namedCurve = '', hash } = key.algorithm as KeyMembers
  const parameters =
    name === 'RSA-PSS'
      ? { name, saltLength: saltLengths[hash?.name ?? ''] ?? 0 }
      : { ...(signing[name] as Algorithm), hash: curveHashes[namedCurve] ?? 'SHA-256' }
  const input = `${base64url.encode(header)}.${base64url.encode(payload)}`
  const signature = await crypto.subtle.sign(parameters, key, new TextEncoder().encode(input))
  return `${input}.${base64url.encode(new Uint8Array(signature))}`
}

/** A member that is undefined is left out. */
export const token = (
  algorithm: string,
  changed: object = {},
  header: object = {},
  key = pairOf(algorithm).privateKey,
) =>
  signed(
    JSON.stringify({ alg: algorithm, typ: 'at+jwt', kid: 'one', ...header }),
    JSON.stringify({ ...claims, ...changed }),
    key,
  )

type Verify = (token: string, key: (header: JWTHeaderParameters) => PublicKey, checks: JwtChecks) => Promise<object>

/** All that a caller can see: what the token says, or what is wrong with it; and what was asked of the caller for that. */
const outcome = async (verify: Verify, text: string, key: PublicKey, asked: JwtChecks): Promise<object> => {
  const lookups: unknown[] = []
  const lookUp = (...given: unknown[]) => {
    lookups.push(given)
    return key
  }
  try {
    const { payload, protectedHeader } = (await verify(text, lookUp, asked)) as Record<string, unknown>
    return { taken: true, payload, protectedHeader, lookups }
  } catch (error) {
    const { code, claim, reason, message } = error as Record<string, unknown>
    return { taken: false, kind: (error as object).constructor.name, code, claim, reason, message, lookups }
  }
}

/** What both say: ours, and the library that it must not differ from. */
export const agreed = async (
  text: string,
  key: PublicKey,
  asked = checks,
): Promise<{ taken?: boolean; kind?: string }> => {
  const ours = await outcome(verifyJwt, text, key, asked)
  expect(ours).toEqual(await outcome(jwtVerify, text, key, asked))
  return ours
}
