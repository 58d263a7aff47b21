import type { Clock } from '../events/clock.ts'
import { systemClock } from '../events/clock.ts'
import { checkedBatch, checkedIncrement, checkedKeys, checkedListing } from './input.ts'
import { listeners } from './listeners.ts'
import type { Entry, Store, Version } from './store.ts'
import { StoreUnavailable } from './store.ts'
import { newVersion } from './version.ts'

export interface MemoryOptions {
  /** For tests; otherwise the host's clock. */
  readonly clock?: Clock
}

interface Kept {
  readonly value: Uint8Array
  readonly version: Version
  readonly expires: number
}

interface Count {
  readonly value: number
  readonly expires: number
}

/** Entries looked at for each write, so that what is expired stays a fraction of what is alive. */
const SWEPT_PER_WRITE = 4

/**
 * A store in this process's memory, for tests and for trying things out.
 *
 * Guarantees: the whole contract, within one handle. Limits: it ends with the process, no other process sees it, and `list` looks at
 * every key.
 */
export function memory({ clock = systemClock }: MemoryOptions = {}): Store {
  const entries = new Map<string, Kept>()
  const counters = new Map<string, Count>()
  const watchers = listeners()
  const sweepEntries = sweeper(entries)
  const sweepCounters = sweeper(counters)
  let closed = false

  const open = () => {
    if (closed) throw new StoreUnavailable('the store is closed')
  }
  const live = (key: string, now: number): Kept | undefined => {
    const kept = entries.get(key)
    return kept !== undefined && kept.expires > now ? kept : undefined
  }

  return {
    location: { kind: 'process' },
    system: 'memory',

    async get(keys) {
      open()
      const now = clock.now()
      return { entries: checkedKeys(keys).map((key) => copied(live(key, now))), now }
    },

    async list(prefix, options) {
      open()
      const { after, limit, reverse } = checkedListing(prefix, options)
      const now = clock.now()
      const keys: string[] = []
      for (const [key, { expires }] of entries) {
        if (expires <= now || !key.startsWith(prefix)) continue
        if (after !== undefined && (reverse ? key >= after : key <= after)) continue
        keys.push(key)
      }
      keys.sort() // by code unit, which for ASCII is bytewise
      if (reverse) keys.reverse()
      const listed = keys.slice(0, limit).flatMap((key) => {
        const kept = live(key, now)
        const entry = copied(kept)
        if (!kept || !entry) return []
        return [{ key, ...entry, expiresAt: Number.isFinite(kept.expires) ? kept.expires : undefined }]
      })
      return { entries: listed, now }
    },

    async commit(batch) {
      open()
      const { checks, sets, deletes, notify } = checkedBatch(batch)
      const now = clock.now()
      if (checks.some(({ key, version }) => live(key, now)?.version !== version)) return { committed: false }
      const version = newVersion()
      for (const { key, value, ttl } of sets) {
        entries.set(key, { value, version, expires: ttl === undefined ? Number.POSITIVE_INFINITY : now + ttl })
        sweepEntries(now)
      }
      for (const key of deletes) entries.delete(key)
      watchers.tell(notify)
      return { committed: true, version, now }
    },

    async increment(key, by, ttl) {
      open()
      checkedIncrement(key, by, ttl)
      const now = clock.now()
      const kept = counters.get(key)
      const { value, expires } = kept !== undefined && kept.expires > now ? kept : { value: 0, expires: now + ttl }
      const sum = Math.min(Math.max(value + by, Number.MIN_SAFE_INTEGER), Number.MAX_SAFE_INTEGER)
      counters.set(key, { value: sum, expires })
      sweepCounters(now)
      return { value: sum, expiresIn: expires - now }
    },

    watch: (listener) => (closed ? () => {} : watchers.add(listener)),

    async close() {
      closed = true
      watchers.clear()
      entries.clear()
      counters.clear()
    },
  }
}

function copied(kept: Kept | undefined): Entry | undefined {
  return kept && { value: new Uint8Array(kept.value), version: kept.version }
}

/** Walks round and round over the map, a few steps a call: an iterator of a Map stays right while the map changes. */
function sweeper(map: Map<string, { readonly expires: number }>): (now: number) => void {
  let walk = map.entries()
  return (now) => {
    for (let step = 0; step < SWEPT_PER_WRITE; step++) {
      const next = walk.next()
      if (next.done) {
        walk = map.entries()
        return
      }
      const [key, { expires }] = next.value
      if (expires <= now) map.delete(key)
    }
  }
}
