import { createPrivateKey, createPublicKey, generateKeyPair } from 'node:crypto'
import { promisify } from 'node:util'
import type { JWK } from 'jose'
import type { SigningAlgorithm, SigningKey } from '../crypto/jws.ts'

export interface SigningKeyPair {
  readonly private: SigningKey
  readonly public: SigningKey
  /** The public key, as the JWKS document has it. */
  readonly jwk: JWK
}

/** @param jwk a private key with its `alg`. @throws Error for one that is none */
export const importSigningKey = (id: string, { alg, ...jwk }: JWK): SigningKeyPair => {
  const algorithm = (alg ?? 'ES256') as SigningAlgorithm
  const privateKey = createPrivateKey({ key: jwk, format: 'jwk' })
  const publicKey = createPublicKey(privateKey)
  return {
    private: { id, algorithm, key: privateKey },
    public: { id, algorithm, key: publicKey },
    jwk: { ...publicKey.export({ format: 'jwk' }), kid: id, use: 'sig', alg: algorithm },
  }
}

/** A new private key, with its `alg`. */
export const generateSigningKey = async (algorithm: SigningAlgorithm): Promise<JWK> => {
  const { privateKey } = await generators[algorithm]()
  return { ...privateKey.export({ format: 'jwk' }), alg: algorithm }
}

const generate = promisify(generateKeyPair)

const generators = {
  ES256: () => generate('ec', { namedCurve: 'P-256' }),
  EdDSA: () => generate('ed25519'),
  RS256: () => generate('rsa', { modulusLength: 2048 }),
} as const satisfies Readonly<Record<SigningAlgorithm, unknown>>
