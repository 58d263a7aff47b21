import { UnsealError } from '../crypto/sealing.ts'
import { createRecords, put, type Stored } from '../records/records.ts'
import type { Store } from '../store/store.ts'
import { type Ring, ringRef } from './ring.ts'
import { secretSealer } from './secret.ts'

/** What other nodes hear at once when the ring was written. */
export const ringMessage = 'keys'

/** The ring's record in the store, sealed with the operator's secrets. */
export interface RingStore {
  /** @throws KeyRingUnreadable where none of the secrets opens it */
  read(): Promise<{ readonly stored: Stored<Ring> | undefined; readonly now: number }>
  /** Writes a ring where there is none; undefined where there is one. */
  create(ring: Ring): Promise<Stored<Ring> | undefined>
  /**
   * Writes what becomes of the ring, deciding again whenever somebody else wrote it. Undefined: it stays as it is.
   * @throws KeyRingUnreadable also where it is sealed for a secret that isn't known here: who has only that one could read it no more
   */
  update(change: (ring: Ring, now: number) => Promise<Ring | undefined>): Promise<Stored<Ring>>
  /** Seals the ring for exactly the secrets that are known here. Answers whether that was to do. */
  sealAgain(): Promise<boolean>
  /** Whether it is sealed for exactly the secrets that are known here. */
  isSealedForMine(): Promise<boolean>
}

export const createRingStore = (store: Store, secrets: readonly [string, ...string[]]): RingStore => {
  const sealer = secretSealer(secrets)
  const records = createRecords(store, sealer)

  const read: RingStore['read'] = async () => {
    try {
      const { values, now } = await records.get(ringRef)
      return { stored: values[0], now }
    } catch (error) {
      if (error instanceof UnsealError) throw new KeyRingUnreadable({ cause: error })
      throw error
    }
  }
  const existing = async () => {
    const { stored, now } = await read()
    if (!stored) throw new KeyRingMissing()
    return { stored, now }
  }
  const envelope = async () => {
    const [entry] = (await store.get([ringRef.key])).entries
    // Before it are the record's form and schema.
    return entry && { sealed: entry.value.subarray(2), version: entry.version }
  }
  const write = async (before: Stored<Ring>, ring: Ring): Promise<Stored<Ring> | undefined> => {
    const result = await records.commit({
      unchanged: [before],
      puts: [put(ringRef, ring)],
      notify: [ringMessage],
    })
    return result.committed ? { ref: ringRef, value: ring, version: result.version } : undefined
  }

  return {
    read,

    async create(ring) {
      const result = await records.commit({ unchanged: [ringRef], puts: [put(ringRef, ring)] })
      return result.committed ? { ref: ringRef, value: ring, version: result.version } : undefined
    },

    async update(change) {
      for (;;) {
        const { stored, now } = await existing()
        const next = await change(stored.value, now)
        if (!next) return stored
        const found = await envelope()
        if (found?.version !== stored.version) continue
        if (!sealer.isForAll(found.sealed)) throw new KeyRingUnreadable({ unknownRecipient: true })
        const written = await write(stored, next)
        if (written) return written
      }
    },

    async sealAgain() {
      for (;;) {
        const { stored } = await existing()
        const found = await envelope()
        if (found?.version !== stored.version) continue
        if (sealer.isExactlyFor(found.sealed)) return false
        if (await write(stored, stored.value)) return true
      }
    },

    async isSealedForMine() {
      const found = await envelope()
      return found !== undefined && sealer.isExactlyFor(found.sealed)
    },
  }
}

/** None of the configured secrets opens the key ring that is in the store; or somebody has a secret that is not configured here. */
export class KeyRingUnreadable extends Error {
  override readonly name = 'KeyRingUnreadable'
  constructor({ unknownRecipient = false, ...options }: ErrorOptions & { unknownRecipient?: boolean } = {}) {
    super(
      unknownRecipient
        ? 'the key ring in the store is sealed for a secret that is not configured here: give the whole list of secrets that the nodes have'
        : 'the key ring in the store can’t be opened with the configured secret: was the secret changed without keeping the old one in the list?',
      options,
    )
  }
}

/** There is no key ring in the store: no server has used it yet, or it was deleted. */
export class KeyRingMissing extends Error {
  override readonly name = 'KeyRingMissing'
  constructor() {
    super('there is no key ring in the store: no server was ever started on it')
  }
}
