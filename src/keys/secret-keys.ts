import { base64url, utf8 } from '../crypto/bytes.ts'
import { deriveKey } from '../crypto/hash.ts'
import { type SealingKey, seal, unseal } from '../crypto/sealing.ts'
import type { KeyRing } from './key-ring.ts'

/** The keys of a server that has a secret and no store: the first secret makes what is new, all of them open what they made. */
export const secretKeys = (
  secrets: readonly [string, ...string[]],
): Pick<KeyRing, 'macKey' | 'macKeyById' | 'seal' | 'unseal' | 'refresh'> => {
  const keys = secrets.map((secret) => {
    const id = base64url(deriveKey(utf8(secret), 'secret id', 9))
    const keyFor = (use: string): SealingKey => ({ id, key: deriveKey(utf8(secret), use) })
    return { id, mac: keyFor('mac'), seal: keyFor('seal') }
  })
  const [current] = keys as [(typeof keys)[number], ...typeof keys]
  const byId = new Map(keys.map((key) => [key.id, key]))
  return {
    macKey: () => current.mac,
    macKeyById: async (id) => byId.get(id)?.mac,
    seal: (plaintext, context) => seal(plaintext, current.seal, context),
    unseal: (envelope, context) => unseal(envelope, (id) => byId.get(id)?.seal.key, context),
    refresh: async () => {},
  }
}
