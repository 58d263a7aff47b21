import { setTimeout as delay } from 'node:timers/promises'
import { sealedWith, UnsealError } from '../crypto/sealing.ts'
import type { AuditFacts } from '../events/audit.ts'
import type { Clock } from '../events/clock.ts'
import { sealedPart, withSealedPart } from '../records/records.ts'
import type { ListedEntry, Store, Version } from '../store/store.ts'
import { supersededSeals } from './plan.ts'
import { type Ring, ringRef } from './ring.ts'

export interface ResealingOptions {
  readonly store: Store
  readonly clock: Clock
  readonly audit: (facts: AuditFacts) => void
  readonly ring: () => Ring
  readonly seal: (plaintext: Uint8Array, context: string) => Uint8Array
  readonly unseal: (envelope: Uint8Array, context: string) => Uint8Array
  /** Writes what becomes of the ring. */
  readonly change: (change: (ring: Ring) => Ring | undefined) => Promise<void>
}

/** Seals with the current key what older ones sealed, and takes those away. */
export interface Resealing {
  /** Does what is due, on one node at a time. */
  continue(): Promise<void>
  /** Seals anew, now, all that the current key did not seal. Answers how many records that were. */
  all(): Promise<number>
}

const batch = 100
/** Between two batches, for the requests. Milliseconds, as all times here. */
const pause = 20
const leaseKey = 'key-maintenance/resealing'
const lease = 60_000
/** A key stays so long after all was sealed anew: for a record that was under way all that time. Then all is looked at once more. */
const remainder = 86_400_000

export const createResealing = ({ store, clock, audit, ring, seal, unseal, change }: ResealingOptions): Resealing => {
  const resealed = async (entry: ListedEntry, isOld: (id: string) => boolean, now: number): Promise<boolean> => {
    const part = sealedPart(entry.key, entry.value)
    if (!part || entry.key === ringRef.key || !isOld(keyOf(part.envelope))) return false
    const value = withSealedPart(entry.value, seal(unseal(part.envelope, part.context), part.context))
    const ttl = entry.expiresAt === undefined ? {} : { ttl: Math.max(1, entry.expiresAt - now) }
    const checks = [{ key: entry.key, version: entry.version }]
    // Who was faster wrote it with the current key, or it is found by the next look.
    return (await store.commit({ checks, sets: [{ key: entry.key, value, ...ttl }] })).committed
  }

  const walk = async (isOld: (id: string) => boolean, between: () => Promise<void>): Promise<number> => {
    let count = 0
    for (let after: string | undefined; ; ) {
      const { entries, now } = await store.list('', { limit: batch, ...(after === undefined ? {} : { after }) })
      const outcomes = await Promise.all(entries.map((entry) => resealed(entry, isOld, now)))
      count += outcomes.filter(Boolean).length
      const last = entries.at(-1)
      if (!last || entries.length < batch) return count
      after = sealedPart(last.key, last.value) ? last.key : afterType(last.key)
      await between()
    }
  }

  return {
    async continue() {
      const due = supersededSeals(ring(), clock.now()).filter(({ until = 0 }) => until <= clock.now())
      if (due.length === 0) return
      let held = await renewed(store, undefined)
      if (!held) return
      const isOld = (id: string) => due.some((key) => key.id === id)
      const records = await walk(isOld, async () => {
        held = await renewed(store, held)
        if (!held) throw new Error('another node went on sealing')
        await delay(pause)
      })
      const now = clock.now()
      await change(({ keys }) => ({
        keys: keys.flatMap((key) => {
          if (!isOld(key.id)) return [key]
          return key.until === undefined ? [{ ...key, until: now + remainder }] : []
        }),
      }))
      await store.commit({ deletes: [leaseKey] })
      if (records > 0) audit({ type: 'keys.resealed', records })
      const gone = due.filter(({ until }) => until !== undefined).map(({ id }) => `seal:${id}`)
      if (gone.length > 0) audit({ type: 'keys.retired', keys: gone })
    },

    async all() {
      const current = keyOf(seal(new Uint8Array(), ''))
      const records = await walk(
        (id) => id !== current && ring().keys.some((key) => key.id === id),
        async () => {},
      )
      if (records > 0) audit({ type: 'keys.resealed', records })
      return records
    },
  }
}

/** Undefined: another node has it. */
const renewed = async (store: Store, held: Version | undefined): Promise<Version | undefined> => {
  const checks = [{ key: leaseKey, version: held }]
  const result = await store.commit({ checks, sets: [{ key: leaseKey, value: new Uint8Array(), ttl: lease }] })
  return result.committed ? result.version : undefined
}

const keyOf = (envelope: Uint8Array): string => {
  try {
    return sealedWith(envelope)
  } catch (error) {
    if (error instanceof UnsealError) return ''
    throw error
  }
}

/** Behind all records of the same type: none of a type is sealed where one is not. */
const afterType = (key: string): string => {
  const slash = key.indexOf('/')
  return slash < 0 ? key : `${key.slice(0, slash)}0`
}
