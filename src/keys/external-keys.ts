import { createHash, type KeyObject, sign, verify } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { KeyObject as AnyKeyObject, JWK } from 'jose'
import type { SigningAlgorithm } from '../crypto/signing-algorithm.ts'
import type { ExternalKey } from './key-ring.ts'
import { importSigningKey, importVerificationKey } from './signing-key.ts'
import type { SigningKeys } from './signing-keys.ts'

/** @throws SigningKeysInvalid whose message holds nothing of the keys */
export const readSigningKeys = (source: SigningKeys): readonly ExternalKey[] => {
  const keys = keysIn('file' in source ? readFile(source.file) : source.keys)
  const [first] = keys
  if (!first) throw new SigningKeysInvalid('a JWK, or a JWK Set that is not empty')
  if (!('d' in first)) throw new SigningKeysInvalid('a private key in the first place: it signs')
  const imported = keys.map(importKey)
  if (new Set(imported.map((key) => key.public.id)).size < keys.length) {
    throw new SigningKeysInvalid('another `kid` for each key')
  }
  return imported
}

const readFile = (path: string): string => {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw new SigningKeysInvalid('a file that can be read', { cause: error })
  }
}

const keysIn = (source: string | object): readonly JWK[] => {
  const parsed: unknown = typeof source === 'string' ? parse(source) : source
  if (!isObject(parsed)) throw new SigningKeysInvalid('a JWK, or a JWK Set')
  const keys: unknown = 'keys' in parsed ? parsed.keys : [parsed]
  if (!Array.isArray(keys) || !keys.every(isObject)) throw new SigningKeysInvalid('a list of JWKs')
  return keys
}

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    // What a parser says quotes what it read.
    throw new SigningKeysInvalid('JSON')
  }
}

const isObject = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const importKey = (jwk: JWK): ExternalKey => {
  const alg = algorithmOf(jwk)
  const id = jwk.kid ?? thumbprint(jwk)
  if (!/^[\x21-\x7e]{1,128}$/.test(id)) throw new SigningKeysInvalid('a `kid` of up to 128 printable characters')
  const key = tryImport(id, { ...jwk, alg })
  if (!key || (key.private && !belongTogether(key.private.key, key.public.key))) {
    throw new SigningKeysInvalid('keys that are whole')
  }
  return key
}

const tryImport = (id: string, jwk: JWK): ExternalKey | undefined => {
  try {
    return 'd' in jwk ? importSigningKey(id, jwk) : importVerificationKey(id, jwk)
  } catch {
    return undefined
  }
}

// A JWK with the private part of another key is not refused at its import, and then nobody could verify what it signs.
const belongTogether = (privateKey: AnyKeyObject, publicKey: AnyKeyObject): boolean => {
  const digest = (privateKey as KeyObject).asymmetricKeyType === 'ed25519' ? null : 'sha256'
  const probe = new Uint8Array(32)
  return verify(digest, probe, publicKey as KeyObject, sign(digest, probe, privateKey as KeyObject))
}

const algorithmOf = ({ kty, crv, n, alg }: JWK): SigningAlgorithm => {
  const found = kinds.find((kind) => kind.kty === kty && kind.crv === crv)
  if (!found || (alg !== undefined && alg !== found.alg)) {
    throw new SigningKeysInvalid(`keys for ${kinds.map((kind) => kind.alg).join(', ')}`)
  }
  if (found.alg === 'RS256' && Buffer.from(n ?? '', 'base64url').length < 256) {
    throw new SigningKeysInvalid('RSA keys of 2048 bits or more')
  }
  return found.alg
}

const kinds = [
  { alg: 'ES256', kty: 'EC', crv: 'P-256' },
  { alg: 'EdDSA', kty: 'OKP', crv: 'Ed25519' },
  { alg: 'RS256', kty: 'RSA', crv: undefined },
] as const satisfies readonly { alg: SigningAlgorithm; kty: string; crv: string | undefined }[]

/** @see RFC 7638 */
const thumbprint = ({ kty, crv, x, y, e, n }: JWK): string => {
  // In the order of their names, without white space.
  const members = { ...(crv && { crv }), ...(e && { e }), kty, ...(n && { n }), ...(x && { x }), ...(y && { y }) }
  return createHash('sha256').update(JSON.stringify(members)).digest('base64url')
}

/** `message` says what was expected. */
export class SigningKeysInvalid extends Error {
  override readonly name = 'SigningKeysInvalid'
}
