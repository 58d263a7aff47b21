import { type KeyObject, sign as signSync } from 'node:crypto'
import { promisify } from 'node:util'
import type { KeyObject as AnyKeyObject } from 'jose'
import { base64url } from './bytes.ts'
import type { SigningAlgorithm } from './signing-algorithm.ts'

export interface SigningKey {
  /** The `kid`. */
  readonly id: string
  readonly algorithm: SigningAlgorithm
  /** Of `node:crypto`: named by a type that says nothing of Node, which declarations may reach. */
  readonly key: AnyKeyObject
}

/** @param type the `typ`, without `application/` */
export const signJwt = async (
  signingKey: SigningKey,
  type: string,
  claims: Readonly<Record<string, unknown>>,
): Promise<string> => {
  const { algorithm, key } = signingKey
  const input = `${headerOf(signingKey, type)}.${encodeJson(claims)}`
  return `${input}.${base64url(await signatures[algorithm](Buffer.from(input, 'latin1'), key as KeyObject))}`
}

const encodeJson = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')

/** The same for all that a key signs of one type. */
const headerOf = (signingKey: SigningKey, type: string): string => {
  const known = headers.get(signingKey)
  if (known?.type === type) return known.header
  const header = encodeJson({ alg: signingKey.algorithm, kid: signingKey.id, typ: type })
  headers.set(signingKey, { type, header })
  return header
}
const headers = new WeakMap<SigningKey, { readonly type: string; readonly header: string }>()

const signInBackground = promisify(signSync)

/** A curve's signature takes less than handing it to another thread; RSA's takes a millisecond. */
const signatures: Readonly<
  Record<SigningAlgorithm, (input: Uint8Array, key: KeyObject) => Uint8Array | Promise<Uint8Array>>
> = {
  // With options, some releases take twice as long: so the form is made here.
  ES256: (input, key) => sideBySide(signSync('sha256', input, key)),
  EdDSA: (input, key) => signSync(null, input, key),
  RS256: (input, key) => signInBackground('sha256', input, key),
}

/**
 * The signature of a curve of 256 bits as a JWS holds it: its two numbers side by side, 32 bytes each.
 * @param der the sequence of these numbers as `node:crypto` makes it; each may begin with a zero, or be shorter than 32 bytes
 * @see RFC 7518 §3.4
 */
const sideBySide = (der: Uint8Array): Uint8Array => {
  const signature = new Uint8Array(64)
  let at = 2
  for (const end of [32, 64]) {
    const length = der[at + 1] ?? 0
    const number = der.subarray(at + 2, at + 2 + length)
    signature.set(number.subarray(-32), end - Math.min(length, 32))
    at += 2 + length
  }
  return signature
}
