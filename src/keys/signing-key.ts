import { createPrivateKey, createPublicKey, generateKeyPair } from 'node:crypto'
import { promisify } from 'node:util'
import type { JWK } from 'jose'
import type { SigningKey } from '../crypto/jws.ts'
import type { SigningAlgorithm } from '../crypto/signing-algorithm.ts'

export interface SigningKeyPair extends VerificationKey {
  readonly private: SigningKey
}

export interface VerificationKey {
  readonly public: SigningKey
  /** The public key, as the JWKS document has it. */
  readonly jwk: JWK
}

/** @param jwk a public key with its `alg`. @throws Error for one that is none */
export const importVerificationKey = (id: string, { alg, ...jwk }: JWK): VerificationKey => {
  const algorithm = (alg ?? 'ES256') as SigningAlgorithm
  const key = createPublicKey({ key: jwk, format: 'jwk' })
  return {
    public: { id, algorithm, key },
    jwk: { ...key.export({ format: 'jwk' }), kid: id, use: 'sig', alg: algorithm },
  }
}

/** @param jwk a private key with its `alg`. @throws Error for one that is none */
export const importSigningKey = (id: string, { alg, ...jwk }: JWK): SigningKeyPair => {
  const algorithm = (alg ?? 'ES256') as SigningAlgorithm
  const privateKey = createPrivateKey({ key: jwk, format: 'jwk' })
  const publicJwk = createPublicKey(privateKey).export({ format: 'jwk' })
  return {
    private: { id, algorithm, key: privateKey },
    ...importVerificationKey(id, { ...publicJwk, alg: algorithm } as JWK),
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
