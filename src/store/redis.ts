import { randomUUID } from 'node:crypto'
import type { RedisOptions as Options } from 'ioredis'
import type { Logger } from '../events/logger.ts'
import { gathered } from './gathered.ts'
import type { CheckedBatch } from './input.ts'
import { checkedBatch, checkedIncrement, checkedKeys, checkedListing, endOfPrefix } from './input.ts'
import type { RedisCluster } from './redis/connection.ts'
import { connect } from './redis/connection.ts'
import { notifications } from './redis/notifications.ts'
import { operations } from './redis/operations.ts'
import { NEVER, scripts } from './redis/scripts.ts'
import { checkVersion, settingsWarning } from './redis/settings.ts'
import type { Entry, ListedEntry, Store, Version } from './store.ts'
import { StoreUnavailable } from './store.ts'
import { newVersion } from './version.ts'

export type { RedisCluster } from './redis/connection.ts'

export interface RedisStoreOptions {
  /** What all keys begin with, default `countersign`; letters, digits, `_`, `.`, `:` and `-`. It is their hash tag, too. */
  readonly prefix?: string
  /** Hears one warning when the server is set so that it may lose data. Default: the console. */
  readonly logger?: Logger
}

const SETS_BETWEEN_SWEEPS = 64
const ENTRIES_A_STEP = 256
/** Of what is kept: version, end. */
const VERSION_LENGTH = 16
const HEADER_LENGTH = 32

/**
 * A store in Redis (7 or newer) or Valkey, for many nodes. Needs the package `ioredis` beside this one.
 *
 * Guarantees: each operation is one script and one round trip (a long `list` may be several); scripts follow one another; the
 * server's clock decides; an operation waits 5 s at most, is never sent twice, and a write that reaches the server after that is not
 * applied; nodes hear `notify` over a shard channel, on connections that are made again when they are lost.
 *
 * Limits: what a commit answered is as safe as the server makes it. It needs `maxmemory-policy noeviction` and `appendonly yes`: a
 * warning says so at the first use. With `appendfsync everysec` a crash of the machine loses up to a second of commits, with `always`
 * none; a failover loses those that no replica had yet. All data is in one slot, so a cluster adds failover, not room.
 *
 * @param connection a URL; options of ioredis, those for Sentinel among them; or `{ nodes, options }` of a cluster.
 * @throws TypeError at once for options that can't work, Error when ioredis isn't there; all else shows at first use.
 * @see https://github.com/redis/ioredis
 */
export function redis(
  connection: string | Options | RedisCluster,
  { prefix = 'countersign', logger = console }: RedisStoreOptions = {},
): Store {
  if (!/^[\w.:-]{1,50}$/.test(prefix)) {
    throw new TypeError('redis: prefix must be 1 to 50 letters, digits, "_", ".", ":" and "-"')
  }
  const server = connect(connection)
  const run = operations(server)
  const tag = `{${prefix}}`
  const [entries, index, expiry] = [`${tag}:entries`, `${tag}:index`, `${tag}:expiry`]
  // Channels know no databases.
  const channel = `${tag}:notify:${server.database}`
  const messages = notifications(channel, randomUUID(), async (to) => {
    await prepared()
    return server.subscribe(to)
  })
  let ready: Promise<void> | undefined
  let closing: Promise<void> | undefined
  const underWay = new Set<Promise<unknown>>()

  async function prepare(): Promise<void> {
    const [, ...sections] = await run.read(scripts.inspect, [entries], [])
    const info = sections.filter((section) => Buffer.isBuffer(section)).join('\n')
    checkVersion(info)
    const warning = settingsWarning(info)
    if (warning !== undefined) logger.warn(warning)
  }

  function prepared(): Promise<void> {
    ready ??= prepare().catch((error: unknown) => {
      ready = undefined
      if (error instanceof StoreUnavailable) throw error
      throw new StoreUnavailable(`the Redis store can't be used: ${String(error)}`, { cause: error })
    })
    return ready
  }

  const open = () => {
    if (closing !== undefined) throw new StoreUnavailable('the store is closed')
  }

  async function use<T>(operation: () => Promise<T>): Promise<T> {
    const attempt = prepared().then(operation)
    underWay.add(attempt)
    try {
      return await attempt
    } finally {
      underWay.delete(attempt)
    }
  }

  const read = gathered(async (keys) => {
    const [time, ...values] = await use(() => run.read(scripts.get, [entries], keys))
    const now = Number(time)
    const kept = new Map(keys.map((key, index) => [key, values[index]]))
    return { entry: (key) => toEntry(kept.get(key), now), now }
  })

  let setsSinceSweep = 0
  let sweeping = false
  /** Bounded steps until nothing is expired; never in a request's own script. */
  async function sweep(): Promise<void> {
    if (sweeping) return
    sweeping = true
    try {
      for (let gone = ENTRIES_A_STEP; gone === ENTRIES_A_STEP; ) {
        open()
        const step = () => run.read(scripts.sweep, [entries, index, expiry], [String(ENTRIES_A_STEP)])
        gone = Number((await use(step))[1])
      }
    } catch {
      // The next sweep does it.
    } finally {
      sweeping = false
    }
  }

  function sweepAfter(sets: number): void {
    setsSinceSweep += sets
    if (setsSinceSweep < SETS_BETWEEN_SWEEPS) return
    setsSinceSweep = 0
    void sweep()
  }

  return {
    location: { kind: 'server' },
    system: 'redis',

    async get(keys) {
      open()
      const wanted = checkedKeys(keys)
      const { entry, now } = await read(wanted)
      return { entries: wanted.map(entry), now }
    },

    async list(prefix, options) {
      open()
      const { after, limit, reverse } = checkedListing(prefix, options)
      const [from, to] = range(prefix, after, reverse)
      const found: ListedEntry[] = []
      for (let first = from; ; ) {
        const values = [first, to, String(limit - found.length), reverse ? 'backwards' : 'forwards']
        const [time, goOn, ...kept] = await use(() => run.read(scripts.list, [entries, index], values))
        const now = Number(time)
        for (let i = 0; i < kept.length; i += 2) {
          const entry = toEntry(kept[i + 1], now)
          if (entry !== undefined) found.push({ key: String(kept[i]), ...entry, expiresAt: endOf(kept[i + 1]) })
        }
        first = String(goOn)
        if (first === '') return { entries: found, now }
      }
    },

    async commit(batch) {
      open()
      const checked = checkedBatch(batch)
      const version = newVersion()
      const script = checked.sets.length > 0 ? scripts.commit : scripts.commitWithoutSets
      const values = commitValues(checked, version, channel, messages.wrap)
      const [time, committed] = await use(() => run.write(script, [entries, index, expiry], values)).catch((error) => {
        if (outOfMemory(error)) void sweep()
        throw error
      })
      if (committed !== 1) return { committed: false }
      messages.tell(checked.notify)
      sweepAfter(checked.sets.length)
      return { committed: true, version, now: Number(time) }
    },

    async increment(key, by, ttl) {
      open()
      checkedIncrement(key, by, ttl)
      const counter = `${tag}:counter:${key}`
      const [now, value, end] = await use(() => run.write(scripts.increment, [counter], [String(by), String(ttl)]))
      return { value: Number(value), expiresIn: Number(end) - Number(now) }
    },

    watch: (listener) => (closing !== undefined ? () => {} : messages.watch(listener)),

    close() {
      closing ??= (async () => {
        await read.sent()
        await Promise.allSettled(underWay)
        messages.close()
        server.close()
      })()
      return closing
    },
  }
}

/** Where a listing begins and ends, in the order in which Redis takes them. */
function range(prefix: string, after: string | undefined, reverse: boolean): [string, string] {
  const end = endOfPrefix(prefix)
  if (reverse) return [`(${after !== undefined && after < end ? after : end}`, `[${prefix}`]
  return [after !== undefined && after >= prefix ? `(${after}` : `[${prefix}`, `(${end}`]
}

/** See the script. */
function commitValues(
  { checks, sets, deletes, notify }: CheckedBatch,
  version: Version,
  channel: string,
  wrap: (message: string) => string,
): (string | Uint8Array)[] {
  return [
    channel,
    version,
    ...[checks, sets, deletes].map(({ length }) => String(length)),
    ...checks.flatMap(({ key, version }) => [key, version === undefined ? '' : `=${version}`]),
    ...sets.flatMap(({ key, value, ttl }) => [key, ttl === undefined ? '' : String(ttl), value]),
    ...deletes,
    ...notify.map(wrap),
  ]
}

/** From what is kept under a key, or undefined when nothing is or it is expired. */
function toEntry(kept: unknown, now: number): Entry | undefined {
  if (!Buffer.isBuffer(kept) || Number(kept.toString('latin1', VERSION_LENGTH, HEADER_LENGTH)) <= now) return undefined
  return {
    value: new Uint8Array(kept.subarray(HEADER_LENGTH)),
    version: kept.toString('latin1', 0, VERSION_LENGTH) as Version,
  }
}

/** Of what is kept under a key. */
function endOf(kept: unknown): number | undefined {
  const end = Buffer.isBuffer(kept) ? kept.toString('latin1', VERSION_LENGTH, HEADER_LENGTH) : NEVER
  return end === NEVER ? undefined : Number(end)
}

function outOfMemory(error: unknown): boolean {
  return error instanceof StoreUnavailable && error.cause instanceof Error && error.cause.message.startsWith('OOM')
}
