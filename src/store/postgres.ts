import { randomUUID } from 'node:crypto'
import type { ClientConfig, PoolConfig, QueryResultRow } from 'pg'
import type { Logger } from '../events/logger.ts'
import { gathered } from './gathered.ts'
import { checkedBatch, checkedIncrement, checkedKeys, checkedListing, endOfPrefix } from './input.ts'
import { notifications } from './postgres/notifications.ts'
import { withRetries } from './postgres/retries.ts'
import { migrate } from './postgres/schema.ts'
import { direct, inspect, openPool, saysPooler } from './postgres/server.ts'
import type { StatementTexts } from './postgres/statements.ts'
import { statementTexts } from './postgres/statements.ts'
import type { Entry, Store, Version } from './store.ts'
import { StoreUnavailable } from './store.ts'
import { newVersion } from './version.ts'

export interface PostgresOptions {
  /** Where the tables are, default `countersign`; lower-case letters, digits and `_`. Made at first use if it isn't there. */
  readonly schema?: string
  /**
   * The connection leads through PgBouncer, or its like. In `transaction` mode nothing is kept on a connection: no prepared statements, no settings,
   * and LISTEN only by `listen`. In `session` mode all is as without one, but for the time at which settings are made.
   */
  readonly pooler?: 'session' | 'transaction'
  /**
   * Where to LISTEN: the server itself, past a pooler. Without it and with a pooler in transaction mode nodes hear nothing of each other,
   * and learn of revocations by reading the log: within 5 s in place of 1 s.
   */
  readonly listen?: string | ClientConfig
  /** Hears one warning when the server is set so that it may lose data. Default: the console. */
  readonly logger?: Logger
}

const READS: ReadonlySet<keyof StatementTexts> = new Set(['get', 'forwards', 'backwards'])

/** Rows written between two steps of the sweep, and rows that a step looks at. */
const ROWS_BETWEEN_STEPS = 256
const ROWS_A_STEP = 4 * ROWS_BETWEEN_STEPS

/**
 * A store in PostgreSQL (13 or newer), for many nodes. Needs the package `pg` beside this one.
 *
 * Guarantees: each operation is one statement and one round trip; batches that touch the same key follow one another; the server's
 * clock decides; nodes hear `notify` by LISTEN/NOTIFY, over one connection a node, made again when it is lost; an operation waits
 * 5 s at most for a connection and 10 s for its answer; what the server undid (a deadlock, a serialisation failure) is tried again, a
 * few times; one node at a time sweeps.
 *
 * Limits: what a commit answered is as safe as the server makes it: `synchronous_commit` must not be off (a warning says so at the first
 * use), and after a failover to an asynchronous standby the last commits may be lost. The isolation level must be PostgreSQL's default,
 * read committed. In front of a pooler say which mode it is in: see `pooler`.
 *
 * @param connection a connection string, or what the pool of `pg` takes (`max` connections, default 10; `ssl`; …).
 * @throws TypeError at once for a schema's name that is none; all else shows at first use.
 * @see https://node-postgres.com/apis/pool
 */
export function postgres(connection: string | PoolConfig, options: PostgresOptions = {}): Store {
  const { schema = 'countersign', pooler, listen, logger = console } = options
  if (!/^[a-z_][a-z0-9_]{0,49}$/.test(schema)) {
    throw new TypeError('postgres: schema must be 1 to 50 lower-case letters, digits and "_", and begin with no digit')
  }
  if (
    connection === '' ||
    (typeof connection !== 'string' && (typeof connection !== 'object' || connection === null))
  ) {
    throw new TypeError('postgres: a connection string, or the configuration of a pool, is needed')
  }
  if (pooler !== undefined && pooler !== 'session' && pooler !== 'transaction') {
    throw new TypeError('postgres: pooler must be "session" or "transaction"')
  }
  const pooled = pooler === 'transaction'
  const { pool, listening } = openPool(connection, pooler)
  pool.on('error', () => {}) // An idle connection was lost: the pool makes another when one is needed.
  const texts = statementTexts(schema)
  const messages = notifications(listen === undefined ? listening : direct(listen), `${schema}_notify`, randomUUID())
  let ready: Promise<void> | undefined
  let closing: Promise<void> | undefined
  const underWay = new Set<Promise<unknown>>()

  async function prepare(): Promise<void> {
    const client = await pool.connect()
    try {
      const warning = await inspect(client)
      await migrate(client, schema)
      client.release()
      if (warning !== undefined) logger.warn(warning)
    } catch (error) {
      client.release(true) // It may be broken, or in the middle of a transaction.
      throw error
    }
  }

  const open = () => {
    if (closing !== undefined) throw new StoreUnavailable('the store is closed')
  }

  async function run(statement: keyof StatementTexts, values: unknown[]): Promise<QueryResultRow[]> {
    const attempt = (async () => {
      ready ??= prepare()
      try {
        await ready
      } catch (error) {
        ready = undefined
        throw error
      }
      const query = { text: texts[statement], values }
      // Named, each connection prepares it once: that is a third to a half of a small statement's cost.
      const prepared = pooled ? query : { ...query, name: `${schema}_${statement}` }
      return (await withRetries(() => pool.query(prepared), { reads: READS.has(statement) })).rows
    })()
    underWay.add(attempt)
    try {
      return await attempt
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause)
      const hint = saysPooler(reason) ? ' (is it a pooler? Then say so with the option `pooler`)' : ''
      throw new StoreUnavailable(`the PostgreSQL store can't be used: ${reason}${hint}`, { cause })
    } finally {
      underWay.delete(attempt)
    }
  }

  const read = gathered(async (keys) => {
    const rows = await run('get', [keys])
    const found = new Map(rows.filter(isEntry).map((row) => [row.key, row]))
    const entry = (key: string) => {
      const row = found.get(key)
      return row && toEntry(row)
    }
    return { entry, now: Number(rows[0]?.now) }
  })

  let written = 0
  let lastEntry = ''
  let lastCounter = ''
  /** See the sweep of SQLite: it walks over the tables in proportion to what is written. Nodes take turns: one that finds another at it leaves it. */
  function sweepAfter(rowsWritten: number): void {
    written += rowsWritten
    if (written < ROWS_BETWEEN_STEPS) return
    written = 0
    const step = async () => {
      open()
      const [entries] = await run('sweepEntries', [lastEntry, ROWS_A_STEP])
      if (entries?.mine === true) lastEntry = String(entries.last ?? '')
      const [counters] = await run('sweepCounters', [lastCounter, ROWS_A_STEP])
      if (counters?.mine === true) lastCounter = String(counters.last ?? '')
    }
    step().catch(() => {}) // The next step does it.
  }

  return {
    location: { kind: 'server' },
    system: 'postgresql',

    async get(keys) {
      open()
      const wanted = checkedKeys(keys)
      const { entry, now } = await read(wanted)
      return { entries: wanted.map(entry), now }
    },

    async list(prefix, options) {
      open()
      const { after, limit, reverse } = checkedListing(prefix, options)
      const end = endOfPrefix(prefix)
      const rows = reverse
        ? await run('backwards', [prefix, end, after ?? end, limit])
        : await run('forwards', [prefix, end, after ?? '', limit])
      return {
        entries: rows
          .filter(isEntry)
          .map((row) => ({ key: row.key, ...toEntry(row), expiresAt: row.expires ?? undefined })),
        now: Number(rows[0]?.now),
      }
    },

    async commit(batch) {
      open()
      const { checks, sets, deletes, notify } = checkedBatch(batch)
      const version = newVersion()
      const [row] = await run('commit', [
        checks.map(({ key }) => key),
        checks.map((check) => check.version ?? null),
        sets.map(({ key }) => key),
        sets.map(({ value }) => Buffer.from(value.buffer, value.byteOffset, value.byteLength)),
        sets.map(({ ttl }) => ttl ?? null),
        version,
        deletes,
        messages.channel,
        notify.map(messages.wrap),
      ])
      if (row?.committed !== true) return { committed: false }
      messages.tell(notify)
      sweepAfter(sets.length)
      return { committed: true, version, now: Number(row.now_ms) }
    },

    async increment(key, by, ttl) {
      open()
      checkedIncrement(key, by, ttl)
      const [row] = await run('increment', [key, by, ttl])
      sweepAfter(1)
      return { value: Number(row?.value), expiresIn: Number(row?.expires_in) }
    },

    watch: (listener) => (closing !== undefined ? () => {} : messages.watch(listener)),

    close() {
      closing ??= (async () => {
        await read.sent()
        await Promise.allSettled(underWay)
        await messages.close()
        await pool.end()
      })()
      return closing
    },
  }
}

interface EntryRow {
  readonly key: string
  readonly version: Version
  readonly value: Uint8Array
  readonly expires: number | null
}

function isEntry(row: QueryResultRow): row is EntryRow {
  return typeof row.key === 'string'
}

function toEntry({ value, version }: EntryRow): Entry {
  return { value: new Uint8Array(value), version }
}
