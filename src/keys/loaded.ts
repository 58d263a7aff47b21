import type { JWK } from 'jose'
import { fromBase64url } from '../crypto/bytes.ts'
import type { Stored } from '../records/records.ts'
import type { Version } from '../store/store.ts'
import type { Ring } from './ring.ts'
import { importSigningKey, importVerificationKey, type SigningKeyPair, type VerificationKey } from './signing-key.ts'

/** The ring as it was last read, ready for use. */
export interface Loaded {
  readonly ring: Ring
  readonly version: Version
  /** Of keys that sign, own and external. */
  readonly verifying: ReadonlyMap<string, VerificationKey>
  readonly signing: ReadonlyMap<string, SigningKeyPair>
  readonly secrets: ReadonlyMap<string, Uint8Array>
}

export const loadRing = ({ value: ring, version }: Stored<Ring>): Loaded => {
  const verifying = new Map<string, VerificationKey>()
  const signing = new Map<string, SigningKeyPair>()
  const secrets = new Map<string, Uint8Array>()
  for (const { id, use, material, external } of ring.keys) {
    if (use !== 'sign') {
      secrets.set(id, fromBase64url(material as string) ?? new Uint8Array())
    } else if (external) {
      verifying.set(id, importVerificationKey(id, material as JWK))
    } else {
      const pair = importSigningKey(id, material as JWK)
      verifying.set(id, pair)
      signing.set(id, pair)
    }
  }
  return { ring, version, verifying, signing, secrets }
}
