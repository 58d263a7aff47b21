/** Fills a store's file with as many grants as it is told, and ends. */
import { createRequire } from 'node:module'
import { report } from '../harness/measured.ts'

interface Database {
  exec(sql: string): unknown
  prepare(sql: string): {
    get(...values: unknown[]): Record<string, unknown> | undefined
    run(...values: unknown[]): unknown
  }
  close(): unknown
}

const { BENCH_FILE: file, BENCH_GRANTS: grants } = process.env
if (file === undefined || grants === undefined) throw new Error('BENCH_FILE and BENCH_GRANTS: which file, and how many')

const builtin = process.getBuiltinModule?.('node:sqlite') as
  | { DatabaseSync: new (path: string) => Database }
  | undefined
const Driver = builtin?.DatabaseSync ?? (createRequire(import.meta.url)('libsql') as new (path: string) => Database)
const database = new Driver(file)

const count = Number(
  database.prepare("SELECT count(*) AS n FROM entries WHERE key >= 'grant/' AND key < 'grant0'").get()?.n,
)
if (count === 0) throw new Error('there is no grant to copy')
// Each kind of record, and how many parts its key has after its name; the ids are as long as real ones.
const kinds = [
  ['grant', 1],
  ['account-grant', 2],
  ['client-grant', 2],
  ['session-grant', 2],
  ['upstream-session', 1],
] as const
database.exec('BEGIN')
for (const [kind, parts] of kinds) {
  const id = 'substr(hex(randomblob(11)), 1, 22)'
  const key = Array.from({ length: parts }, () => id).join(" || '/' || ")
  // In the order of the keys, or a million inserts take minutes.
  database
    .prepare(
      `WITH RECURSIVE numbers (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM numbers WHERE n < ?),
         samples AS (SELECT row_number() OVER () AS n, expires, version, value FROM entries WHERE key >= '${kind}/' AND key < '${kind}0')
       INSERT INTO entries (key, expires, version, value)
       SELECT '${kind}/' || ${key} AS copied, expires, version, value FROM numbers
       JOIN samples ON samples.n = 1 + numbers.n % (SELECT max(n) FROM samples) ORDER BY copied`,
    )
    .run(Math.max(0, Number(grants) - count))
}
database.exec('COMMIT')
database.exec('PRAGMA wal_checkpoint(TRUNCATE)')
const { n } = database.prepare("SELECT count(*) AS n FROM entries WHERE key >= 'grant/' AND key < 'grant0'").get() ?? {}
database.close()
report(0, { grants: n })
