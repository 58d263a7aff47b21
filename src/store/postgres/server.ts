import { type ClientBase, type ClientConfig, Pool, type PoolConfig } from 'pg'

/** How the server is talked to, and what it must be. */

const DEFAULTS = {
  application_name: 'countersign',
  max: 10,
  connectionTimeoutMillis: 5_000,
  query_timeout: 10_000,
  keepAlive: true,
  // After a failover or behind a balancer, connections find their way to where new ones go.
  maxLifetimeSeconds: 1_800,
} satisfies PoolConfig

/** The server's own bounds, for when this process can no longer give up: a little longer than ours. Milliseconds. */
const SERVER_BOUNDS = {
  statement_timeout: 12_000,
  lock_timeout: 8_000,
  idle_in_transaction_session_timeout: 30_000,
} satisfies PoolConfig

export type Pooler = 'session' | 'transaction'

/**
 * A pooler takes no parameters at the start of a connection that it does not know: in session mode they are set right after, in transaction mode it
 * keeps none for its clients.
 * @returns `listening`: how the connection is made on which nodes hear of each other; undefined where there can be none
 */
export function openPool(
  connection: string | PoolConfig,
  pooler: Pooler | undefined,
): { readonly pool: Pool; readonly listening: ClientConfig | undefined } {
  if (pooler === undefined) {
    const config = direct(connection)
    return { pool: new Pool(config), listening: config }
  }
  if (pooler === 'transaction') {
    return { pool: new Pool({ ...DEFAULTS, ...configOf(connection) }), listening: undefined }
  }
  const { statement_timeout, lock_timeout, idle_in_transaction_session_timeout, ...others } = configOf(connection)
  const asked = { statement_timeout, lock_timeout, idle_in_transaction_session_timeout }
  const config = { ...DEFAULTS, ...others }
  return { pool: boundPool(config, { ...SERVER_BOUNDS, ...defined(asked) }), listening: config }
}

/** Of a connection that leads to the server itself. */
export function direct(connection: string | PoolConfig): PoolConfig {
  return { ...DEFAULTS, ...SERVER_BOUNDS, ...configOf(connection) }
}

/** A connection whose bounds can't be set is given to nobody. */
function boundPool(config: PoolConfig, bounds: Readonly<Record<string, number | false>>): Pool {
  const text = Object.entries(bounds)
    .map(([name, milliseconds]) => `SET ${name} = ${Number(milliseconds)}`)
    .join('; ')
  return new Pool({ ...config, verify: (client, done) => void client.query(text).then(() => done(), done) })
}

const configOf = (connection: string | PoolConfig): PoolConfig =>
  typeof connection === 'string' ? { connectionString: connection } : connection

const defined = <T>(values: Readonly<Record<string, T | undefined>>): Record<string, T> =>
  Object.fromEntries(Object.entries(values).filter((entry): entry is [string, T] => entry[1] !== undefined))

/** What a pooler answers whom nobody told of it. */
export function saysPooler(reason: string): boolean {
  return /unsupported startup parameter/.test(reason)
}

const OLDEST = 13

/**
 * @returns one text with all that may lose data, or undefined when there is nothing
 * @throws Error for a server that can't do it
 */
export async function inspect(client: ClientBase): Promise<string | undefined> {
  const { rows } = await client.query(`
    SELECT current_setting('server_version_num') AS version, current_setting('synchronous_commit') AS synchronous,
      current_setting('fsync') AS fsync`)
  const { version, synchronous, fsync } = rows[0] ?? {}
  if (Number(version) < OLDEST * 10_000) {
    throw new Error(`PostgreSQL ${OLDEST} or newer is needed; the server is PostgreSQL ${Math.floor(version / 10_000)}`)
  }
  const findings = [
    synchronous === 'off' && 'synchronous_commit is off, so a crash loses the last commits: set it to on',
    fsync === 'off' && 'fsync is off, so a crash of the machine may damage everything: set it to on',
  ].filter((finding) => finding !== false)
  return findings.length === 0 ? undefined : `the PostgreSQL store may lose data: ${findings.join('; ')}`
}
