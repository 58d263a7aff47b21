/**
 * `oidc-provider`'s storage on SQLite, written the way its contract suggests and as fast as that allows: one table, prepared
 * statements, a write-ahead log with durable commits (`synchronous=FULL`), the same driver that Countersign takes.
 */
import { createRequire } from 'node:module'

interface Statement {
  get(...values: unknown[]): Record<string, unknown> | undefined
  run(...values: unknown[]): unknown
}

interface Database {
  exec(sql: string): unknown
  prepare(sql: string): Statement
}

type Payload = Record<string, unknown>

export function sqliteAdapter(path: string) {
  const database = open(path)
  database.exec(`
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA busy_timeout = 5000;
    CREATE TABLE models (
      model TEXT NOT NULL, id TEXT NOT NULL, payload TEXT NOT NULL, expires INTEGER, consumed INTEGER,
      grant_id TEXT, uid TEXT, user_code TEXT, PRIMARY KEY (model, id)
    ) WITHOUT ROWID;
    CREATE INDEX models_grant ON models (grant_id) WHERE grant_id IS NOT NULL;
    CREATE INDEX models_uid ON models (model, uid) WHERE uid IS NOT NULL;
    CREATE INDEX models_user_code ON models (model, user_code) WHERE user_code IS NOT NULL;
  `)
  const upsert =
    database.prepare(`INSERT INTO models (model, id, payload, expires, grant_id, uid, user_code) VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (model, id) DO UPDATE SET payload = excluded.payload, expires = excluded.expires, grant_id = excluded.grant_id`)
  const find = database.prepare('SELECT payload, expires, consumed FROM models WHERE model = ? AND id = ?')
  const findByUid = database.prepare('SELECT payload, expires, consumed FROM models WHERE model = ? AND uid = ?')
  const findByUserCode = database.prepare(
    'SELECT payload, expires, consumed FROM models WHERE model = ? AND user_code = ?',
  )
  const consume = database.prepare('UPDATE models SET consumed = ? WHERE model = ? AND id = ?')
  const destroy = database.prepare('DELETE FROM models WHERE model = ? AND id = ?')
  const revoke = database.prepare('DELETE FROM models WHERE grant_id = ?')
  const now = () => Math.floor(Date.now() / 1000)

  const read = (row: Record<string, unknown> | undefined): Payload | undefined => {
    if (row === undefined || (typeof row.expires === 'number' && row.expires <= now())) return undefined
    const payload = JSON.parse(String(row.payload)) as Payload
    return row.consumed === null ? payload : { ...payload, consumed: row.consumed }
  }

  return (model: string) => ({
    async upsert(id: string, payload: Payload, expiresIn?: number) {
      const expires = expiresIn === undefined ? null : now() + expiresIn
      const { grantId = null, uid = null, userCode = null } = payload
      upsert.run(model, id, JSON.stringify(payload), expires, grantId, uid, userCode)
    },
    find: async (id: string) => read(find.get(model, id)),
    findByUid: async (uid: string) => read(findByUid.get(model, uid)),
    findByUserCode: async (userCode: string) => read(findByUserCode.get(model, userCode)),
    async consume(id: string) {
      consume.run(now(), model, id)
    },
    async destroy(id: string) {
      destroy.run(model, id)
    },
    async revokeByGrantId(grantId: string) {
      revoke.run(grantId)
    },
  })
}

function open(path: string): Database {
  const builtin = process.getBuiltinModule?.('node:sqlite') as
    | { DatabaseSync: new (path: string) => Database }
    | undefined
  if (builtin !== undefined) return new builtin.DatabaseSync(path)
  const Libsql = createRequire(import.meta.url)('libsql') as new (path: string) => Database
  return new Libsql(path)
}
