import { base64url, utf8 } from '../crypto/bytes.ts'
import { deriveKey } from '../crypto/hash.ts'
import { type SealingKey, seal, unseal } from '../crypto/sealing.ts'
import type { Sealer } from '../records/records.ts'

/** What a secret must at least have: 32 characters, for instance 24 random bytes in base64. */
export const minimumSecretLength = 32

/**
 * The operator's secrets as a sealer for the key ring: the first seals, all of them open.
 * A secret's id is derived from it and says nothing about it.
 */
export const secretSealer = (secrets: readonly [string, ...string[]]): Sealer & { readonly currentId: string } => {
  const keys = secrets.map(toSealingKey)
  const [current] = keys as [SealingKey, ...SealingKey[]]
  const byId = new Map(keys.map(({ id, key }) => [id, key]))
  return {
    currentId: current.id,
    seal: (plaintext, context) => seal(plaintext, current, context),
    unseal: (envelope, context) => unseal(envelope, (id) => byId.get(id), context),
    refresh: async () => {},
  }
}

const toSealingKey = (secret: string): SealingKey => ({
  id: base64url(deriveKey(utf8(secret), 'secret id', 9)),
  key: deriveKey(utf8(secret), 'key ring sealing'),
})
