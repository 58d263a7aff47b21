import { type KeyObject, sign as signSync } from 'node:crypto'
import { promisify } from 'node:util'
import type { KeyObject as AnyKeyObject } from 'jose'
import { base64url, utf8 } from './bytes.ts'
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
  { id, algorithm, key }: SigningKey,
  type: string,
  claims: Readonly<Record<string, unknown>>,
): Promise<string> => {
  const input = `${encodeJson({ alg: algorithm, kid: id, typ: type })}.${encodeJson(claims)}`
  return `${input}.${base64url(await signatures[algorithm](utf8(input), key as KeyObject))}`
}

const encodeJson = (value: object): string => base64url(utf8(JSON.stringify(value)))

const signInBackground = promisify(signSync)

/** A curve's signature takes less than handing it to another thread; RSA's takes a millisecond. */
const signatures: Readonly<
  Record<SigningAlgorithm, (input: Uint8Array, key: KeyObject) => Uint8Array | Promise<Uint8Array>>
> = {
  // A JWS holds the two numbers side by side, not in DER.
  ES256: (input, key) => signSync('sha256', input, { key, dsaEncoding: 'ieee-p1363' }),
  EdDSA: (input, key) => signSync(null, input, key),
  RS256: (input, key) => signInBackground('sha256', input, key),
}
