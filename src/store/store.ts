/**
 * The store contract: small enough to be right on every engine, strong enough for OAuth.
 *
 * Rules that hold on every engine, and that one contract suite checks:
 * - Keys are strings of printable ASCII (0x21 to 0x7E), 1 to 512 characters, ordered bytewise. Values are bytes, at most 1 MiB.
 * - An expired entry equals an absent one everywhere: in `get`, `list`, and in the checks of `commit`.
 *   The engine's clock decides; `now` in an answer is that clock, in milliseconds since the epoch.
 * - A version is never used again for its key, not after a delete and not after an expiry (no ABA).
 * - Bytes are copied on their way in and out: what a caller does to its arrays later changes nothing.
 * - At most 1000 keys a `get`; at most 256 checks, sets and deletes a `commit`, together; at most 64 `notify` strings.
 * - Input that breaks a rule is the caller's mistake: the promise rejects with `TypeError`, which never quotes keys or values, and
 *   nothing was done.
 * - When an engine can't be reached or an operation's end is unknown, the promise rejects with `StoreUnavailable`. After a rejected
 *   `commit` the outcome is unknown: the caller reads back.
 */
export interface Store {
  /** For who composes: what this engine is fit for, and where a file can lie beside it. */
  readonly location: StoreLocation
  /** The engine, by the name that OpenTelemetry has for it. */
  readonly system?: string
  /** One snapshot of all the keys, in one round trip; `entries` has the order of `keys`, which may repeat a key. */
  get(keys: readonly string[]): Promise<Snapshot>
  /** Live entries whose key starts with `prefix` (the empty prefix means all), in bytewise order of the key. */
  list(prefix: string, options?: ListOptions): Promise<Listing>
  /**
   * All or nothing: applied only if every check still holds. The checks see the store as it was before the batch. A key may be
   * checked and written in one batch, but written only once: set and deleted, or set twice, is refused.
   */
  commit(batch: Batch): Promise<CommitResult>
  /**
   * Adds `by` (a safe integer; 0 only reads, negative takes away) to a counter and answers its new value. A counter that is absent or
   * expired starts at 0 and lives `ttl` milliseconds from then on; later increments don't prolong it. It stops at the largest and the
   * smallest safe integer. Counters are a namespace of their own: `get` doesn't see them.
   */
  increment(key: string, by: number, ttl: number): Promise<Counter>
  /**
   * Hears the `notify` strings of commits, of this process and, where the engine can, of others: soon, perhaps twice, perhaps never.
   * Each call runs in a microtask of its own, so a listener that throws harms no commit. Answers a function that ends it.
   */
  watch(listener: (message: string) => void): () => void
  /** Ends what is under way, then connections and timers. Later calls reject with `StoreUnavailable`. Closing twice is allowed. */
  close(): Promise<void>
}

/** Where the data is: in this process alone, in a file of this host, or on a server of its own. */
export type StoreLocation =
  | { readonly kind: 'process' }
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'server' }

export interface Entry {
  readonly value: Uint8Array
  readonly version: Version
}

/** Opaque; compare for equality only. */
export type Version = string & { readonly __brand: 'Version' }

export interface Snapshot {
  readonly entries: readonly (Entry | undefined)[]
  /** The engine's clock, milliseconds since the epoch. */
  readonly now: number
}

export interface ListOptions {
  /** Only keys after this one, in the direction of the listing; it need not exist. */
  readonly after?: string
  /** At most this many entries, 1 to 1000; default 100. */
  readonly limit?: number
  readonly reverse?: boolean
}

export interface Listing {
  readonly entries: readonly ListedEntry[]
  readonly now: number
}

export interface ListedEntry extends Entry {
  readonly key: string
  /** The engine's clock, milliseconds since the epoch; undefined: it stays until it is deleted. */
  readonly expiresAt: number | undefined
}

export interface Check {
  readonly key: string
  /** The version that was read, or undefined for "absent". */
  readonly version: Version | undefined
}

export interface Write {
  readonly key: string
  readonly value: Uint8Array
  /** Milliseconds from the engine's now; without it the entry stays until it is deleted. A whole number, 1 to 100 years. */
  readonly ttl?: number
}

export interface Batch {
  readonly checks?: readonly Check[]
  readonly sets?: readonly Write[]
  /** Deleting an absent key is no error. */
  readonly deletes?: readonly string[]
  /** For what other nodes must learn at once; each at most 512 characters of printable ASCII. Sent only if the batch is applied. */
  readonly notify?: readonly string[]
}

export type CommitResult =
  /**
   * `version` is the version that every key of `sets` now has; `now` is the engine's clock at the commit. Not committed means
   * that a check did not hold, and nothing else.
   */
  { readonly committed: true; readonly version: Version; readonly now: number } | { readonly committed: false }

export interface Counter {
  readonly value: number
  /** Milliseconds until the counter starts again at 0. */
  readonly expiresIn: number
}

/** The store can't be reached, is closed, or an operation's end is unknown. Never says anything about the data. */
export class StoreUnavailable extends Error {
  override readonly name = 'StoreUnavailable'
}
