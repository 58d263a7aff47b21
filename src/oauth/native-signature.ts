import type { CryptoKey, KeyObject } from 'jose'

/** Verifies signatures at once, in this thread. */
export interface NativeSignatures {
  /** The bytes of a text in base64url. What is no such text has bytes too: look at it before. */
  decode(text: string): Uint8Array
  /** Whether `verify` knows the algorithm. */
  knows(algorithm: string): boolean
  /**
   * Whether the key signed it; undefined where this is not the one to say: an algorithm that it doesn't know, or a key that is none of the algorithm.
   * @param input ASCII
   */
  verify(algorithm: string, key: PublicKey, input: string, signature: Uint8Array): boolean | undefined
}

/** Of the Web Cryptography API, or of `node:crypto`. */
export type PublicKey = CryptoKey | KeyObject

/** What is used of the global `process`, of a host that may have none. */
export interface HostProcess {
  readonly versions?: Readonly<Record<string, string | undefined>>
  getBuiltinModule?(name: string): unknown
}

/**
 * What Node's own module does in less than half of the time that the Web Cryptography API takes, which hands each signature to another thread.
 * Undefined on any other host.
 */
export const nativeSignatures = (process: HostProcess | undefined): NativeSignatures | undefined => {
  const { openssl, bun, deno } = process?.versions ?? {}
  // Others have modules of these names with cryptography of their own.
  if (!openssl || bun || deno) return undefined
  const crypto = process?.getBuiltinModule?.('node:crypto') as NodeCrypto | undefined
  const buffer = process?.getBuiltinModule?.('node:buffer') as NodeBuffer | undefined
  return crypto && buffer ? createNativeSignatures(crypto, buffer) : undefined
}

const createNativeSignatures = (crypto: NodeCrypto, { Buffer }: NodeBuffer): NativeSignatures => {
  const prepared = new WeakMap<PublicKey, { readonly algorithm: Algorithm; readonly input: object }>()

  const prepare = (key: PublicKey, algorithm: Algorithm): object | undefined => {
    const known = prepared.get(key)
    if (known?.algorithm === algorithm) return known.input
    if (!(isKeyObject(key) ? isObjectOf(key, algorithm) : isKeyOf(key, algorithm))) return undefined
    const input = { ...algorithm.options, key: isKeyObject(key) ? key : crypto.KeyObject.from(key) }
    prepared.set(key, { algorithm, input })
    return input
  }

  return {
    decode: (text) => Buffer.from(text, 'base64url'),
    knows: (algorithm) => algorithms.has(algorithm),
    verify(name, key, input, signature) {
      const algorithm = algorithms.get(name)
      try {
        const ready = algorithm && prepare(key, algorithm)
        return ready && crypto.verify(algorithm.digest, Buffer.from(input, 'latin1'), ready, signature)
      } catch {
        return undefined
      }
    },
  }
}

interface NodeCrypto {
  readonly KeyObject: { from(key: CryptoKey): object }
  verify(digest: string | null, data: Uint8Array, key: object, signature: Uint8Array): boolean
}

interface NodeBuffer {
  readonly Buffer: { from(text: string, encoding: 'base64url' | 'latin1'): Uint8Array }
}

interface Algorithm {
  /** As the Web Cryptography API says it. */
  readonly name: string
  readonly namedCurve?: string
  readonly hash?: string
  /** As `node:crypto` says it. */
  readonly keyType: string
  readonly digest: string | null
  readonly options: object
}

const isKeyObject = (key: PublicKey): key is KeyObject => !('algorithm' in key)

const isKeyOf = ({ usages, algorithm }: CryptoKey, { name, namedCurve, hash }: Algorithm): boolean => {
  const members = algorithm as KeyAlgorithmMembers
  if (!usages.includes('verify') || members.name !== name) return false
  return members.namedCurve === namedCurve && members.hash?.name === hash && (!hash || isUsualLength(members))
}

interface KeyAlgorithmMembers {
  readonly name: string
  readonly namedCurve?: string
  readonly hash?: { readonly name: string }
  readonly modulusLength?: number
}

const isObjectOf = (key: KeyObject, { keyType, hash, namedCurve }: Algorithm): boolean => {
  const { type, asymmetricKeyType, asymmetricKeyDetails = {} } = key as KeyObjectMembers
  if (type !== 'public' || asymmetricKeyType !== keyType) return false
  if (namedCurve) return asymmetricKeyDetails.namedCurve === nodeCurves[namedCurve]
  return !hash || isUsualLength(asymmetricKeyDetails)
}

interface KeyObjectMembers {
  readonly type: string
  readonly asymmetricKeyType?: string
  readonly asymmetricKeyDetails?: { readonly namedCurve?: string; readonly modulusLength?: number }
}

const nodeCurves: Readonly<Record<string, string>> = { 'P-256': 'prime256v1' }

/** Of RSA: shorter ones are too weak, and longer ones would hold other calls up. @see RFC 7518 §3.3 */
const isUsualLength = ({ modulusLength = 0 }: { readonly modulusLength?: number }): boolean =>
  modulusLength >= 2048 && modulusLength <= 4096

const rsa = (bits: string): Algorithm => ({
  ...{ name: 'RSASSA-PKCS1-v1_5', hash: `SHA-${bits}`, keyType: 'rsa', digest: `sha${bits}` },
  options: {},
})

/** `RSA_PKCS1_PSS_PADDING` with `RSA_PSS_SALTLEN_DIGEST`: the salt is as long as the digest. @see RFC 7518 §3.5 */
const pss = (bits: string): Algorithm => ({
  ...{ name: 'RSA-PSS', hash: `SHA-${bits}`, keyType: 'rsa', digest: `sha${bits}` },
  options: { padding: 6, saltLength: -1 },
})

const es256: Algorithm = {
  ...{ name: 'ECDSA', namedCurve: 'P-256', keyType: 'ec', digest: 'sha256' },
  options: { dsaEncoding: 'ieee-p1363' },
}

const ed25519: Algorithm = { name: 'Ed25519', keyType: 'ed25519', digest: null, options: {} }

/** Larger curves take several times as long as handing a signature to another thread. @see RFC 7518 §3.1, RFC 8037 §3.1, RFC 9864 §2 */
const algorithms: ReadonlyMap<string, Algorithm> = new Map([
  ['ES256', es256],
  ['RS256', rsa('256')],
  ['RS384', rsa('384')],
  ['RS512', rsa('512')],
  ['PS256', pss('256')],
  ['PS384', pss('384')],
  ['PS512', pss('512')],
  ['EdDSA', ed25519],
  ['Ed25519', ed25519],
])
