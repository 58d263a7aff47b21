import { randomUUID } from 'node:crypto'
import { resolve } from 'node:path'
import type { Clock } from '../events/clock.ts'
import { systemClock } from '../events/clock.ts'
import { gathered } from './gathered.ts'
import type { CheckedBatch } from './input.ts'
import { checkedBatch, checkedIncrement, checkedKeys, checkedListing, endOfPrefix } from './input.ts'
import type { Statements } from './sqlite/database.ts'
import { database, MOST_KEYS, MOST_SET, unavailable } from './sqlite/database.ts'
import type { DriverName, Row, Value } from './sqlite/driver.ts'
import { bytes, copied, loadDriver } from './sqlite/driver.ts'
import { notifications } from './sqlite/notifications.ts'
import { sweep } from './sqlite/sweep.ts'
import { writer } from './sqlite/writer.ts'
import type { CommitResult, Entry, ListedEntry, Store, Version } from './store.ts'
import { StoreUnavailable } from './store.ts'
import { newVersion } from './version.ts'

export interface SqliteOptions {
  /** For tests; otherwise the host's clock. */
  readonly clock?: Clock
  /** Default: `node:sqlite` where the runtime has it, else the package `libsql`. */
  readonly driver?: DriverName
}

/** What never expires. */
const NEVER = Number.MAX_SAFE_INTEGER

/**
 * A store in one SQLite file, for one host. The server and the command line may share the file.
 *
 * Guarantees: what a commit answered is on the disk (write-ahead log, `synchronous=FULL`) and survives a crash of the process and of
 * the machine; commits of all processes follow one another. Counters survive a crash of the process; if the machine loses its power, their
 * last moments may be lost. The file and its `-wal` and `-shm` are for their owner only (0600), a directory that has to be made too (0700).
 * A file that is locked, read-only, damaged or on a full disk is `StoreUnavailable`.
 *
 * Limits: a local disk; on Linux a network file system is refused, as `StoreUnavailable`. SQLite works in the event loop, so a slow disk
 * holds it up for one sync a turn. The host's clock decides about expiry: when it is set back, what has expired may come back. Other
 * processes hear `notify` within about 200 ms. Copying the file while it is used loses commits: copy it with SQLite's backup, or after
 * `close`.
 *
 * @param path of the file; made at first use, with its directory.
 * @throws Error at once when the path is empty or no SQLite is there; all else shows at first use.
 */
export function sqlite(path: string, { clock = systemClock, driver }: SqliteOptions = {}): Store {
  if (typeof path !== 'string' || path === '') throw new TypeError('sqlite: the path of a file is needed')
  if (path === ':memory:' || path.startsWith('file:')) {
    throw new TypeError(`sqlite: "${path}" is not a path; for a store in memory use memory()`)
  }
  const location = { kind: 'file', path: resolve(path) } as const
  const file = database(location.path, loadDriver(driver))
  const writes = writer(file, () => clock.now())
  const messages = notifications(file, randomUUID())
  const expired = sweep()
  let closing: Promise<void> | undefined

  const open = () => {
    if (closing !== undefined) throw new StoreUnavailable('the store is closed')
  }

  const readTogether = gathered(async (keys) => {
    const now = clock.now()
    const found = await file.use((statements) => read(statements, keys, now))
    const entry = (key: string) => {
      const row = found.get(key)
      return row && readable(row, path)
    }
    return { entry, now }
  })

  /** Never in a request's own transaction, so that nobody waits for it. */
  function sweepAfter(rowsWritten: number): void {
    if (!expired.due(rowsWritten)) return
    writes.writeSoon((statements, now) => expired.step(statements, now)).catch(() => {})
  }

  return {
    location,
    system: 'sqlite',

    async get(keys) {
      open()
      const wanted = checkedKeys(keys)
      const { entry, now } = await readTogether(wanted)
      return { entries: wanted.map(entry), now }
    },

    async list(prefix, options) {
      open()
      const { after, limit, reverse } = checkedListing(prefix, options)
      const now = clock.now()
      const end = endOfPrefix(prefix)
      const rows = await file.use(({ forwards, backwards }) =>
        reverse
          ? backwards.all(prefix, end, after ?? end, now, limit)
          : forwards.all(prefix, end, after ?? '', now, limit),
      )
      return { entries: rows.map(toListed), now }
    },

    async commit(batch) {
      open()
      const checked = checkedBatch(batch)
      const result = await writes.write((statements, now): CommitResult => {
        const version = apply(statements, checked, now)
        if (version === undefined) return { committed: false }
        if (checked.notify.length > 0) messages.record(statements, checked.notify, now)
        return { committed: true, version, now }
      })
      if (result.committed) {
        messages.tell(checked.notify)
        sweepAfter(checked.sets.length)
      }
      return result
    },

    async increment(key, by, ttl) {
      open()
      checkedIncrement(key, by, ttl)
      const counter = await writes.writeSoon((statements, now) => {
        const row = statements.increment.get(key, now + ttl, by, now)
        return { value: Number(row?.value), expiresIn: Number(row?.expires) - now }
      })
      sweepAfter(1)
      return counter
    },

    watch: (listener) => (closing !== undefined ? () => {} : messages.watch(listener)),

    close() {
      closing ??= (async () => {
        await readTogether.sent()
        await writes.idle()
        messages.close()
        file.close()
      })()
      return closing
    },
  }
}

/** One snapshot. */
function read(
  { entries, begin, commit }: Statements,
  keys: readonly string[],
  now: number,
): ReadonlyMap<Value | undefined, Row> {
  const found = new Map<Value | undefined, Row>()
  const readSome = (some: readonly string[]) => {
    if (some.length === 1) {
      // Faster than asking for all of one. And never both of one statement: libsql would answer with the row of the question before.
      const row = entries(1).get(...some, now)
      if (row) found.set(row.key, row)
      return
    }
    for (const row of entries(some.length).all(...some, now)) found.set(row.key, row)
  }
  if (keys.length <= MOST_KEYS) {
    if (keys.length > 0) readSome(keys)
    return found
  }
  // A transaction makes several reads one snapshot; one alone is one by itself.
  begin.run()
  try {
    for (let from = 0; from < keys.length; from += MOST_KEYS) readSome(keys.slice(from, from + MOST_KEYS))
  } finally {
    commit.run()
  }
  return found
}

/** The batch's version, or undefined when a check does not hold; then nothing was written. */
function apply(statements: Statements, { checks, sets, deletes }: CheckedBatch, now: number): Version | undefined {
  const version = newVersion()
  const ends = (ttl: number | undefined) => (ttl === undefined ? NEVER : now + ttl)
  const [check, ...otherChecks] = checks
  // In most commits what is checked first is set: one statement does both. It comes before all others, for it may be the one that says no.
  const replaced = check?.version === undefined ? undefined : sets.find(({ key }) => key === check.key)
  for (const { key, version } of replaced ? otherChecks : checks) {
    if (statements.version.get(key, now)?.version !== version) return undefined
  }
  if (check?.version !== undefined && replaced) {
    const { ttl, value, key } = replaced
    const { changes } = statements.replace.run(ends(ttl), version, value, key, check.version, now)
    if (Number(changes) !== 1) return undefined
  }
  const others = replaced ? sets.filter((set) => set !== replaced) : sets
  // Several at once: a statement costs as much as an entry.
  for (let from = 0; from < others.length; from += MOST_SET) {
    const some = others.slice(from, from + MOST_SET)
    statements.set(some.length).run(...some.flatMap(({ key, ttl, value }) => [key, ends(ttl), version, value]))
  }
  for (const key of deletes) statements.remove.run(key)
  return version
}

function toListed(row: Row): ListedEntry {
  const expires = Number(row.expires)
  return { key: String(row.key), ...toEntry(row), expiresAt: expires === NEVER ? undefined : expires }
}

/** A copy: others of the same turn may have asked for it, too. And where somebody has damaged it, that is no trouble of theirs. */
function readable(row: Row, path: string): Entry {
  try {
    return { value: copied(row.value), version: String(row.version) as Version }
  } catch (error) {
    throw unavailable(error, path)
  }
}

function toEntry(row: Row): Entry {
  return { value: bytes(row.value), version: String(row.version) as Version }
}
