import { countersign, type Options, type Store, type UpstreamClaims } from 'countersign'

/** One store of two: what limits count is in a second, faster one; all else, grants and keys and sign-ins, in the first. */
export const withCounters = (records: Store, counters: Store): Store => ({
  ...records,
  increment: (key, by, ttl) => counters.increment(key, by, ttl),
  async close() {
    await Promise.all([records.close(), counters.close()])
  },
})

/** For instance `countedServer(options, postgres(url), redis(url))`. */
export const countedServer = (options: Options<UpstreamClaims>, records: Store, counters: Store) =>
  countersign({ ...options, store: withCounters(records, counters) })
