import type { PoolConfig } from 'pg'
import { Pool } from 'pg'
import type { AuditLog } from '../events/audit-log.ts'
import { type AuditLogOptions, type AuditTable, createAuditLog } from './log.ts'

export interface PostgresAuditOptions extends AuditLogOptions {
  /** Where the table is, default `countersign_audit`; lower-case letters, digits and `_`. Made at first use if it isn't there. */
  readonly schema?: string | undefined
}

const SCHEMA = (schema: string) => `
  CREATE SCHEMA IF NOT EXISTS ${schema};
  CREATE TABLE ${schema}.events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at bigint NOT NULL, -- milliseconds since the epoch
    type text NOT NULL,
    account text,
    client text,
    grant_id text,
    event json NOT NULL
  );
  CREATE INDEX events_at ON ${schema}.events USING brin (at);
  CREATE INDEX events_account ON ${schema}.events (account, id) WHERE account IS NOT NULL;
  CREATE INDEX events_client ON ${schema}.events (client, id) WHERE client IS NOT NULL;
  CREATE INDEX events_grant ON ${schema}.events (grant_id, id) WHERE grant_id IS NOT NULL;
  CREATE FUNCTION ${schema}.events_stay() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'audit events are not changed'; END $$;
  CREATE TRIGGER events_stay BEFORE UPDATE ON ${schema}.events FOR EACH STATEMENT EXECUTE FUNCTION ${schema}.events_stay();`

/** Any number; it keeps two nodes from making the table at once. */
const MIGRATION_LOCK = 4_849_226_872
const FORGOTTEN_AT_ONCE = 2_000

/**
 * Keeps audit events in PostgreSQL (13 or newer), for many nodes. Needs the package `pg` beside this one. Rows are added, and deleted when they
 * are old; a trigger refuses to change one. Where the table is there already, a role that may INSERT and SELECT is enough (and DELETE, with
 * `keepFor`).
 *
 * @param connection a connection string, or what the pool of `pg` takes.
 * @throws TypeError at once for a schema's name that is none
 */
export const postgresAudit = (
  connection: string | PoolConfig,
  { schema = 'countersign_audit', ...options }: PostgresAuditOptions = {},
): AuditLog => {
  if (!/^[a-z_][a-z0-9_]{0,49}$/.test(schema)) {
    throw new TypeError(
      'postgresAudit: schema must be 1 to 50 lower-case letters, digits and "_", and begin with no digit',
    )
  }
  const pool = new Pool({
    application_name: 'countersign audit',
    max: 2,
    connectionTimeoutMillis: 5_000,
    query_timeout: 30_000,
    ...(typeof connection === 'string' ? { connectionString: connection } : connection),
  })
  pool.on('error', () => {}) // An idle connection was lost: the pool makes another when one is needed.
  let ready: Promise<void> | undefined

  const use = async (text: string, values: readonly unknown[]) => {
    ready ??= migrate(pool, schema)
    try {
      await ready
    } catch (error) {
      ready = undefined
      throw error
    }
    return pool.query(text, [...values])
  }
  const table: AuditTable = {
    async insert(rows) {
      const columns = ['at', 'type', 'account', 'client', 'grant', 'event'] as const
      await use(
        `INSERT INTO ${schema}.events (at, type, account, client, grant_id, event)
         SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::json[])`,
        columns.map((column) => rows.map((row) => row[column])),
      )
    },
    async select(text, values) {
      const within = text
        .replaceAll('FROM events', `FROM ${schema}.events`)
        .replace('SELECT id, event', 'SELECT id, event::text AS event')
      const { rows } = await use(within, values)
      return rows.map(({ id, event }) => ({ id: Number(id), event: String(event) }))
    },
    placeholder: (index) => `$${index}`,
    async forget(before) {
      const { rowCount } = await use(
        `DELETE FROM ${schema}.events WHERE id IN (SELECT id FROM ${schema}.events WHERE at < $1 ORDER BY id LIMIT $2)`,
        [before, FORGOTTEN_AT_ONCE],
      )
      return rowCount ?? 0
    },
    close: () => pool.end(),
  }
  return createAuditLog(table, options)
}

const migrate = async (pool: Pool, schema: string): Promise<void> => {
  if (await exists(pool, schema)) return
  const client = await pool.connect()
  try {
    await client.query('BEGIN')
    await client.query('SELECT pg_advisory_xact_lock($1)', [MIGRATION_LOCK])
    if (!(await exists(client, schema))) await client.query(SCHEMA(schema))
    await client.query('COMMIT')
    client.release()
  } catch (error) {
    client.release(true) // It may be in the middle of a transaction.
    throw error
  }
}

const exists = async (client: Pick<Pool, 'query'>, schema: string): Promise<boolean> => {
  const query = `SELECT FROM pg_tables WHERE tablename = 'events' AND schemaname = $1`
  return (await client.query(query, [schema])).rowCount !== 0
}
