import { base64url, utf8 } from '../crypto/bytes.ts'
import { deriveKey } from '../crypto/hash.ts'
import { type SealingKey, seal, unseal } from '../crypto/sealing.ts'
import type { Sealer } from '../records/records.ts'
import { isForMany, recipients, sealForMany, unsealForMany } from './envelope.ts'

/** What a secret must at least have: 32 characters, for instance 24 random bytes in base64. */
export const minimumSecretLength = 32

/** The operator's secrets as a sealer for the key ring. */
export interface SecretSealer extends Sealer {
  /** Whether all the secrets that an envelope is for are known here. */
  isForAll(envelope: Uint8Array): boolean
  isExactlyFor(envelope: Uint8Array): boolean
}

/**
 * What is sealed opens with any of the secrets, so that nodes that were not given the newest yet, or are no longer given the oldest, go on.
 * A secret's id is derived from it and says nothing about it.
 */
export const secretSealer = (secrets: readonly [string, ...string[]]): SecretSealer => {
  const keys = [...new Set(secrets)].map(toSealingKey) as [SealingKey, ...SealingKey[]]
  const [current] = keys
  const byId = new Map(keys.map(({ id, key }) => [id, key]))
  const keyOf = (id: string) => byId.get(id)
  return {
    seal: (plaintext, context) =>
      keys.length === 1 ? seal(plaintext, current, context) : sealForMany(plaintext, keys, context),
    unseal: (envelope, context) =>
      isForMany(envelope) ? unsealForMany(envelope, keyOf, context) : unseal(envelope, keyOf, context),
    isForAll: (envelope) => recipients(envelope).every((id) => byId.has(id)),
    isExactlyFor(envelope) {
      const ids = recipients(envelope)
      return ids.length === keys.length && keys.every(({ id }) => ids.includes(id))
    },
    refresh: async () => {},
  }
}

const toSealingKey = (secret: string): SealingKey => ({
  id: base64url(deriveKey(utf8(secret), 'secret id', 9)),
  key: deriveKey(utf8(secret), 'key ring sealing'),
})
