import { type Store, StoreUnavailable } from '../../src/store/store.ts'

export type Mishap =
  /** The commit is applied, and its answer is lost. */
  | 'applied, answer lost'
  /** The commit never arrives. */
  | 'lost'

export interface UnreliableStore extends Store {
  /** What happens to the next commits, one each; then all is well again. */
  readonly mishaps: Mishap[]
  /** Nothing can be reached. */
  down: boolean
  /** Round trips so far. */
  readonly calls: Record<'get' | 'list' | 'commit' | 'increment', number>
  /** False: watchers hear nothing. */
  notifies: boolean
  /** Puts a delay before each round trip, in milliseconds. */
  delay: number
}

/** A real store whose connection is not what it should be. */
export function unreliable(store: Store): UnreliableStore {
  const calls = { get: 0, list: 0, commit: 0, increment: 0 }
  const arrive = async (call: keyof typeof calls) => {
    calls[call]++
    if (self.delay > 0) await new Promise((resolve) => setTimeout(resolve, self.delay))
    if (self.down) throw new StoreUnavailable('down')
  }
  const self: UnreliableStore = {
    mishaps: [],
    down: false,
    calls,
    notifies: true,
    delay: 0,
    location: store.location,
    async get(keys) {
      await arrive('get')
      return store.get(keys)
    },
    async list(prefix, options) {
      await arrive('list')
      return store.list(prefix, options)
    },
    async commit(batch) {
      await arrive('commit')
      const mishap = self.mishaps.shift()
      if (mishap === 'lost') throw new StoreUnavailable('the connection broke')
      const result = await store.commit(batch)
      if (mishap) throw new StoreUnavailable('the connection broke')
      return result
    },
    async increment(key, by, ttl) {
      await arrive('increment')
      return store.increment(key, by, ttl)
    },
    watch: (listener) => store.watch((message) => self.notifies && listener(message)),
    close: () => store.close(),
  }
  return self
}
