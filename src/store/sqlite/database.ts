/** One open file: its connection, its prepared statements, and what it means when SQLite fails. */
import { setTimeout as delay } from 'node:timers/promises'
import { StoreUnavailable } from '../store.ts'
import type { Connection, Driver, Statement } from './driver.ts'
import { BUSY, CANTOPEN, CORRUPT, FULL, IOERR, LOCKED, NOTADB, READONLY, resultCode } from './driver.ts'
import { prepareFile } from './file.ts'
import { migrate } from './schema.ts'

export interface Statements {
  /** Whether what is committed from now on is on the disk before it is answered, or only safe from a crash of the process. */
  durable(wanted: boolean): void
  readonly begin: Statement
  readonly beginImmediate: Statement
  readonly commit: Statement
  readonly rollback: Statement
  /** For so many keys, 1 to {@link MOST_KEYS}: keys, now → key, version, value, each of a key at most once and in any order */
  entries(count: number): Statement
  /** key, now → version */
  readonly version: Statement
  /** from, to, after, now, limit → key, version, value, expires */
  readonly forwards: Statement
  /** from, to, before, now, limit → key, version, value, expires */
  readonly backwards: Statement
  /** For so many entries, 1 to {@link MOST_SET}: key, expires, version, value of each */
  set(count: number): Statement
  /** expires, version, value, key, version that it must have, now */
  readonly replace: Statement
  /** key */
  readonly remove: Statement
  /** key, expires, by, now → value, expires */
  readonly increment: Statement
  /** sent, sender, message */
  readonly notify: Statement
  /** sent before */
  readonly forgetNotifications: Statement
  /** → id */
  readonly lastNotification: Statement
  /** id after → id, sender, message */
  readonly notifications: Statement
  /** → data_version: another number once another connection has written */
  readonly dataVersion: Statement
  /** rowid after, rows → last */
  readonly entriesStep: Statement
  readonly countersStep: Statement
  /** rowid after, last, now */
  readonly sweepEntries: Statement
  readonly sweepCounters: Statement
}

export interface Database {
  /**
   * Runs `work` on the open file, opened if it isn't yet. While another process has it locked, waits without blocking and runs
   * `work` again. `work` is synchronous and must leave no transaction open.
   * @throws StoreUnavailable
   */
  use<T>(work: (statements: Statements) => T): Promise<T>
  /** The same, once and at once: throws what SQLite throws. */
  useNow<T>(work: (statements: Statements) => T): T
  close(): void
}

/** What is asked for in one statement at most; statements for more keys are not worth their memory. */
export const MOST_KEYS = 32
export const MOST_SET = 8

/** How long SQLite may block the event loop for a lock, and how long we wait for it in all (milliseconds). */
const BLOCKING_WAIT = 20
const LONGEST_WAIT = 5_000

export function database(path: string, driver: Driver): Database {
  let opened: { connection: Connection; statements: Statements } | undefined
  let closed = false

  function useNow<T>(work: (statements: Statements) => T): T {
    if (closed) throw new StoreUnavailable('the store is closed')
    opened ??= open(path, driver)
    try {
      return work(opened.statements)
    } catch (error) {
      // The connection may be no good any more: the next use opens the file anew.
      if (resultCode(error) !== BUSY || leftOpen(opened.statements)) drop()
      throw error
    }
  }

  function drop(): void {
    const { connection } = opened ?? {}
    opened = undefined
    try {
      connection?.close()
    } catch {
      // Nothing is lost by it: what was committed is on the disk.
    }
  }

  return {
    useNow,
    async use(work) {
      const deadline = performance.now() + LONGEST_WAIT
      for (;;) {
        try {
          return useNow(work)
        } catch (error) {
          if (error instanceof StoreUnavailable) throw error
          if (resultCode(error) !== BUSY || performance.now() > deadline) throw unavailable(error, path)
        }
        await delay(1 + Math.random() * 20)
      }
    },
    close() {
      if (closed) return
      closed = true
      try {
        // libsql leaves the log behind; folded in, the file is complete by itself.
        opened?.connection.exec('PRAGMA wal_checkpoint(TRUNCATE)')
      } catch {
        // Someone else uses the file, or it is out of reach: the log stays, which is no harm.
      }
      drop()
    },
  }
}

/** Whether a transaction was left behind: where the file is busy, its end may be refused, too, and the next could not begin. */
function leftOpen({ rollback }: Statements): boolean {
  try {
    rollback.run()
    return true
  } catch {
    return false // There is none.
  }
}

function open(path: string, driver: Driver): { connection: Connection; statements: Statements } {
  prepareFile(path)
  const connection = driver(path)
  try {
    connection.exec(`PRAGMA busy_timeout = ${BLOCKING_WAIT}`)
    if (connection.prepare('PRAGMA journal_mode = WAL').get()?.journal_mode !== 'wal') {
      throw new Error('the file system does not allow a write-ahead log; the file must be on a local disk')
    }
    connection.exec('PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF; PRAGMA journal_size_limit = 16777216')
    migrate(connection)
    return { connection, statements: prepare(connection) }
  } catch (error) {
    connection.close()
    throw error
  }
}

function prepare(connection: Connection): Statements {
  const listing = (after: string, order: string) =>
    `SELECT key, version, value, expires FROM entries WHERE key >= ? AND key < ? AND key ${after} ? AND expires > ? ORDER BY key ${order} LIMIT ?`
  const step = (table: string) =>
    `SELECT max(id) AS last FROM (SELECT rowid AS id FROM ${table} WHERE rowid > ? ORDER BY rowid LIMIT ?)`
  const sweep = (table: string) => `DELETE FROM ${table} WHERE rowid > ? AND rowid <= ? AND expires <= ?`
  const statements = {
    begin: 'BEGIN',
    beginImmediate: 'BEGIN IMMEDIATE',
    commit: 'COMMIT',
    rollback: 'ROLLBACK',
    version: 'SELECT version FROM entries WHERE key = ? AND expires > ?',
    forwards: listing('>', 'ASC'),
    backwards: listing('<', 'DESC'),
    replace: 'UPDATE entries SET expires = ?, version = ?, value = ? WHERE key = ? AND version = ? AND expires > ?',
    remove: 'DELETE FROM entries WHERE key = ?',
    increment: `INSERT INTO counters (key, expires, value) VALUES (?1, ?2, ?3) ON CONFLICT (key) DO UPDATE
      SET value = iif(expires > ?4, min(max(value + ?3, ${Number.MIN_SAFE_INTEGER}), ${Number.MAX_SAFE_INTEGER}), ?3),
          expires = iif(expires > ?4, expires, ?2)
      RETURNING value, expires`,
    notify: 'INSERT INTO notifications (sent, sender, message) VALUES (?, ?, ?)',
    forgetNotifications: 'DELETE FROM notifications WHERE sent < ? AND id < (SELECT max(id) FROM notifications)',
    lastNotification: 'SELECT ifnull(max(id), 0) AS id FROM notifications',
    notifications: 'SELECT id, sender, message FROM notifications WHERE id > ? ORDER BY id',
    dataVersion: 'PRAGMA data_version',
    entriesStep: step('entries'),
    countersStep: step('counters'),
    sweepEntries: sweep('entries'),
    sweepCounters: sweep('counters'),
  } satisfies Record<Exclude<keyof Statements, 'entries' | 'set' | 'durable'>, string>
  const prepared = Object.fromEntries(
    Object.entries(statements).map(([name, sql]) => [name, connection.prepare(sql)]),
  ) as Record<keyof typeof statements, Statement>
  const reading: Statement[] = []
  const entries = (count: number) => {
    const others = ', ?'.repeat(count - 1)
    reading[count] ??= connection.prepare(
      `SELECT key, version, value FROM entries WHERE key IN (?${others}) AND expires > ?`,
    )
    return reading[count]
  }
  const setting: Statement[] = []
  const set = (count: number) => {
    setting[count] ??= connection.prepare(
      `INSERT INTO entries (key, expires, version, value) VALUES (?, ?, ?, ?)${', (?, ?, ?, ?)'.repeat(count - 1)}
        ON CONFLICT (key) DO UPDATE SET expires = excluded.expires, version = excluded.version, value = excluded.value`,
    )
    return setting[count]
  }
  let isDurable = true
  const durable = (wanted: boolean) => {
    if (wanted === isDurable) return
    connection.exec(`PRAGMA synchronous = ${wanted ? 'FULL' : 'NORMAL'}`)
    isDurable = wanted
  }
  return { ...prepared, entries, set, durable }
}

export function unavailable(error: unknown, path: string): StoreUnavailable {
  return new StoreUnavailable(`the SQLite store ${path} can't be used: ${reason(error)}`, { cause: error })
}

function reason(error: unknown): string {
  switch (resultCode(error)) {
    case BUSY:
    case LOCKED:
      return 'another process keeps it locked'
    case READONLY:
      return 'it is read-only'
    case FULL:
      return 'the disk is full'
    case IOERR:
      return 'the disk reports an error'
    case CANTOPEN:
      return 'it can not be opened for reading and writing'
    case CORRUPT:
    case NOTADB:
      return 'it is damaged, or not an SQLite database; restore it from a backup'
    default:
      return error instanceof Error ? error.message : String(error)
  }
}
