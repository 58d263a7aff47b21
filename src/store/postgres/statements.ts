/** The engine's clock in milliseconds; one value for a whole statement, which these need. */
const NOW = 'floor(extract(epoch FROM statement_timestamp()) * 1000)::bigint'

export interface StatementTexts {
  /** keys → now, and key, version, value, expires of what is alive; one row with only now when nothing is */
  readonly get: string
  /** from, to, after, limit → the same */
  readonly forwards: string
  /** from, to, before, limit → the same */
  readonly backwards: string
  /** see the function in the schema */
  readonly commit: string
  /** key, by, ttl → value, expires_in */
  readonly increment: string
  /** key after, rows → mine: whether no other node was at it; last key, or null at the end */
  readonly sweepEntries: string
  readonly sweepCounters: string
}

export function statementTexts(schema: string): StatementTexts {
  const found = (condition: string, more = '') => `
    SELECT clock.now::float8 AS now, entry.key, entry.version, entry.value, entry.expires::float8 AS expires
    FROM (SELECT ${NOW} AS now) AS clock
    LEFT JOIN LATERAL (
      SELECT key, version, value, expires FROM ${schema}.entries
      WHERE ${condition} AND (expires IS NULL OR expires > clock.now) ${more}
    ) AS entry ON true`
  // Rows that a commit is about to touch are passed over, so a sweep never waits for a commit; nor for another node's sweep.
  const sweep = (table: string) => `
    WITH turn AS MATERIALIZED (
      SELECT pg_try_advisory_xact_lock(hashtextextended('${schema} sweep of ${table}', 0)) AS mine
    ), step AS (
      SELECT key, expires FROM ${schema}.${table} WHERE (SELECT mine FROM turn) AND key > $1 ORDER BY key LIMIT $2
    ), gone AS (
      SELECT key FROM ${schema}.${table}
      WHERE key IN (SELECT key FROM step WHERE expires <= ${NOW}) AND expires <= ${NOW}
      FOR UPDATE SKIP LOCKED
    ), deleted AS (
      DELETE FROM ${schema}.${table} WHERE key IN (SELECT key FROM gone)
    )
    SELECT (SELECT mine FROM turn) AS mine, (SELECT max(key) FROM step) AS last`
  return {
    get: found('key = ANY ($1::text[])'),
    forwards: found('key >= $1 AND key < $2 AND key > $3', 'ORDER BY key LIMIT $4'),
    backwards: found('key >= $1 AND key < $2 AND key < $3', 'ORDER BY key DESC LIMIT $4'),
    commit: `SELECT committed, now_ms FROM ${schema}.commit_1(
      $1::text[], $2::text[], $3::text[], $4::bytea[], $5::bigint[], $6::text, $7::text[], $8::text, $9::text[])`,
    increment: `
      INSERT INTO ${schema}.counters AS counter (key, expires, value) VALUES ($1, ${NOW} + $3::bigint, $2::bigint)
      ON CONFLICT (key) DO UPDATE SET
        value = CASE WHEN counter.expires > ${NOW}
          THEN least(greatest(counter.value + excluded.value, ${Number.MIN_SAFE_INTEGER}), ${Number.MAX_SAFE_INTEGER})
          ELSE excluded.value END,
        expires = CASE WHEN counter.expires > ${NOW} THEN counter.expires ELSE excluded.expires END
      RETURNING value::float8 AS value, (expires - ${NOW})::float8 AS expires_in`,
    sweepEntries: sweep('entries'),
    sweepCounters: sweep('counters'),
  }
}
