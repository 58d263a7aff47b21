import type { ClientBase, PoolConfig } from 'pg'

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

/** @param pooled a pooler in transaction mode refuses parameters that it does not know, and keeps none for its clients */
export function withDefaults(connection: string | PoolConfig, pooled: boolean): PoolConfig {
  const given = typeof connection === 'string' ? { connectionString: connection } : connection
  return { ...DEFAULTS, ...(pooled ? {} : SERVER_BOUNDS), ...given }
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
