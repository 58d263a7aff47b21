import { randomUUID } from 'node:crypto'
import type { PoolConfig, QueryResultRow } from 'pg'
import { Pool } from 'pg'
import { checkedBatch, checkedIncrement, checkedKeys, checkedListing, endOfPrefix } from './input.ts'
import { notifications } from './postgres/notifications.ts'
import { migrate } from './postgres/schema.ts'
import type { StatementTexts } from './postgres/statements.ts'
import { statementTexts } from './postgres/statements.ts'
import type { Entry, Store, Version } from './store.ts'
import { StoreUnavailable } from './store.ts'
import { newVersion } from './version.ts'

export interface PostgresOptions {
  /** Where the tables are, default `countersign`; lower-case letters, digits and `_`. Made at first use if it isn't there. */
  readonly schema?: string
}

const DEFAULTS = {
  application_name: 'countersign',
  max: 10,
  connectionTimeoutMillis: 5_000,
  query_timeout: 10_000,
  keepAlive: true,
} satisfies PoolConfig

/** Rows written between two steps of the sweep, and rows that a step looks at. */
const ROWS_BETWEEN_STEPS = 256
const ROWS_A_STEP = 4 * ROWS_BETWEEN_STEPS

/**
 * A store in PostgreSQL (13 or newer), for many nodes. Needs the package `pg` beside this one.
 *
 * Guarantees: each operation is one statement and one round trip; batches that touch the same key follow one another; the server's
 * clock decides; nodes hear `notify` by LISTEN/NOTIFY, over connections that are made again when they are lost.
 *
 * Limits: what a commit answered is as safe as the server makes it: `synchronous_commit` must not be off, and after a failover to an
 * asynchronous standby the last commits may be lost. The isolation level must be PostgreSQL's default, read committed. LISTEN needs a
 * direct connection or a pooler in session mode; a pooler in transaction mode (which must know prepared statements) loses
 * notifications between nodes, and nothing else.
 *
 * @param connection a connection string, or what the pool of `pg` takes (`max` connections, default 10; `ssl`; …).
 * @throws TypeError at once for a schema's name that is none; all else shows at first use.
 * @see https://node-postgres.com/apis/pool
 */
export function postgres(connection: string | PoolConfig, { schema = 'countersign' }: PostgresOptions = {}): Store {
  if (!/^[a-z_][a-z0-9_]{0,49}$/.test(schema)) {
    throw new TypeError('postgres: schema must be 1 to 50 lower-case letters, digits and "_", and begin with no digit')
  }
  if (
    connection === '' ||
    (typeof connection !== 'string' && (typeof connection !== 'object' || connection === null))
  ) {
    throw new TypeError('postgres: a connection string, or the configuration of a pool, is needed')
  }
  const config = { ...DEFAULTS, ...(typeof connection === 'string' ? { connectionString: connection } : connection) }
  const pool = new Pool(config)
  pool.on('error', () => {}) // An idle connection was lost: the pool makes another when one is needed.
  const texts = statementTexts(schema)
  const messages = notifications(config, `${schema}_notify`, randomUUID())
  let ready: Promise<void> | undefined
  let closing: Promise<void> | undefined
  const underWay = new Set<Promise<unknown>>()

  async function prepare(): Promise<void> {
    const client = await pool.connect()
    try {
      await migrate(client, schema)
      client.release()
    } catch (error) {
      client.release(true) // It may be broken, or in the middle of a transaction.
      throw error
    }
  }

  async function run(statement: keyof StatementTexts, values: unknown[]): Promise<QueryResultRow[]> {
    if (closing !== undefined) throw new StoreUnavailable('the store is closed')
    const attempt = (async () => {
      ready ??= prepare()
      try {
        await ready
      } catch (error) {
        ready = undefined
        throw error
      }
      // Named, each connection prepares it once: that is a third to a half of a small statement's cost.
      return (await pool.query({ name: `${schema}_${statement}`, text: texts[statement], values })).rows
    })()
    underWay.add(attempt)
    try {
      return await attempt
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause)
      throw new StoreUnavailable(`the PostgreSQL store can't be used: ${reason}`, { cause })
    } finally {
      underWay.delete(attempt)
    }
  }

  let written = 0
  let lastEntry = ''
  let lastCounter = ''
  /** See the sweep of SQLite: it walks over the tables in proportion to what is written; here each node does. */
  function sweepAfter(rowsWritten: number): void {
    written += rowsWritten
    if (written < ROWS_BETWEEN_STEPS) return
    written = 0
    const step = async () => {
      lastEntry = String((await run('sweepEntries', [lastEntry, ROWS_A_STEP]))[0]?.last ?? '')
      lastCounter = String((await run('sweepCounters', [lastCounter, ROWS_A_STEP]))[0]?.last ?? '')
    }
    step().catch(() => {}) // The next step does it.
  }

  return {
    location: { kind: 'server' },

    async get(keys) {
      const wanted = checkedKeys(keys)
      const rows = await run('get', [wanted])
      const found = new Map(rows.filter(isEntry).map((row) => [row.key, row]))
      const entries = wanted.map((key) => {
        const row = found.get(key)
        return row && toEntry(row)
      })
      return { entries, now: Number(rows[0]?.now) }
    },

    async list(prefix, options) {
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
      checkedIncrement(key, by, ttl)
      const [row] = await run('increment', [key, by, ttl])
      sweepAfter(1)
      return { value: Number(row?.value), expiresIn: Number(row?.expires_in) }
    },

    watch: (listener) => (closing !== undefined ? () => {} : messages.watch(listener)),

    close() {
      closing ??= (async () => {
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
