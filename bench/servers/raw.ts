/**
 * The least that a refresh can be on an engine: the same statements that Countersign sends (one read of three keys, one commit that
 * checks and sets one), by the engine's own driver, and one ES256 signature; nothing is authenticated or decided. `POST /token` does one,
 * behind the same HTTP; `POST /batch` many, eight at a time, without it. `BENCH_NODE` tells several on one engine apart: each has records
 * of its own, as nodes have whose clients don't share a token.
 */
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { getRequestListener } from '@hono/node-server'
import { Hono } from 'hono'
import { Redis } from 'ioredis'
import pg from 'pg'
import { statementTexts } from '../../src/store/postgres/statements.ts'
import { scripts } from '../../src/store/redis/scripts.ts'
import { loadDriver } from '../../src/store/sqlite/driver.ts'
import { newVersion } from '../../src/store/version.ts'
import { listen, report } from '../harness/measured.ts'
import { benchStore } from './store.ts'

const { BENCH_DATA = '', BENCH_STORE = 'sqlite', BENCH_URL = '', BENCH_SPACE = 'bench', BENCH_NODE = '' } = process.env
const RECORDS = 256
/** About the size of a grant, and for how long it stays. */
const SIZE = 600
const TTL = 30 * 86_400_000
const BATCH = 64

interface Raw {
  get(keys: readonly string[]): Promise<unknown>
  /** Sets a key if it still has the version, and tells the next one. */
  commit(key: string, version: string, value: Buffer): Promise<string>
}

const store = benchStore().store
const versions: string[] = []
const keyOf = (record: number) => `grant/${BENCH_NODE.padStart(2, '0')}${String(record).padStart(20, '0')}`
const sessionOf = (record: number) => `upstream-session/${BENCH_NODE}${record}`
const CLIENT = `client/bench${BENCH_NODE}`
for (let record = 0; record < RECORDS; record++) {
  const sets = [
    { key: keyOf(record), value: randomBytes(SIZE), ttl: TTL },
    { key: sessionOf(record), value: randomBytes(SIZE), ttl: TTL },
  ]
  const done = await store.commit({ sets })
  if (!done.committed) throw new Error('not filled')
  versions.push(done.version)
}
await store.commit({ sets: [{ key: CLIENT, value: randomBytes(SIZE) }] })

const engines: Readonly<Record<string, () => Raw>> = {
  memory: inMemory,
  sqlite: onSqlite,
  postgres: onPostgres,
  redis: onRedis,
}
const raw = engines[BENCH_STORE]?.()
if (raw === undefined) throw new Error(`no engine ${BENCH_STORE}`)
const { privateKey: key } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const payload = Buffer.from('x'.repeat(500))

let turn = 0
async function refresh(): Promise<string> {
  const record = turn++ % RECORDS
  await raw?.get([keyOf(record), sessionOf(record), CLIENT])
  const signature = sign('sha256', payload, key)
  const version = await raw?.commit(keyOf(record), versions[record] ?? '', randomBytes(SIZE))
  versions[record] = version ?? ''
  return `x.x.${signature.toString('base64url')}`
}

const app = new Hono()
app.post('/token', async ({ req }) => {
  const form = new URLSearchParams(await req.raw.text())
  const answer = { access_token: await refresh(), token_type: 'Bearer', expires_in: 600, scope: 'notes:read' }
  return Response.json({ ...answer, refresh_token: `${form.get('refresh_token')}+` })
})
app.post('/batch', async () => {
  let left = BATCH
  const worker = async () => {
    while (left-- > 0) await refresh()
  }
  await Promise.all(Array.from({ length: 8 }, worker))
  return Response.json({ done: BATCH })
})

const server = createServer()
const port = await listen(server)
server.on('request', getRequestListener(app.fetch))
report(port)

function inMemory(): Raw {
  const entries = new Map<string, { version: string; value: Uint8Array }>()
  for (let record = 0; record < RECORDS; record++) {
    entries.set(keyOf(record), { version: versions[record] ?? '', value: randomBytes(SIZE) })
  }
  return {
    get: async (keys) => keys.map((each) => entries.get(each)),
    async commit(each, version, value) {
      if (entries.get(each)?.version !== version) throw new Error('lost')
      const next = newVersion()
      entries.set(each, { version: next, value })
      return next
    },
  }
}

function onSqlite(): Raw {
  const database = loadDriver()(join(BENCH_DATA, 'countersign.db'))
  // Of several, the engine itself waits for the one that writes.
  database.exec('PRAGMA busy_timeout = 10000')
  database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 16777216')
  const read = database.prepare('SELECT key, version, value FROM entries WHERE key IN (?, ?, ?) AND expires > ?')
  const check = database.prepare('SELECT version FROM entries WHERE key = ? AND expires > ?')
  const write = database.prepare('UPDATE entries SET expires = ?, version = ?, value = ? WHERE key = ?')
  const [immediate, commit] = ['BEGIN IMMEDIATE', 'COMMIT'].map((sql) => database.prepare(sql))
  return {
    get: async (keys) => read.all(...keys, Date.now()),
    async commit(each, version, value) {
      immediate?.run()
      if (check.get(each, Date.now())?.version !== version) throw new Error('lost')
      const next = newVersion()
      write.run(Date.now() + TTL, next, value, each)
      commit?.run()
      return next
    },
  }
}

function onPostgres(): Raw {
  const pool = new pg.Pool({ connectionString: BENCH_URL, max: 10 })
  const texts = statementTexts(BENCH_SPACE)
  return {
    get: (keys) => pool.query({ name: 'get', text: texts.get, values: [keys] }),
    async commit(each, version, value) {
      const next = newVersion()
      const values = [[each], [version], [each], [value], [TTL], next, [], 'none', []]
      const { rows } = await pool.query({ name: 'commit', text: texts.commit, values })
      if (rows[0]?.committed !== true) throw new Error('lost')
      return next
    },
  }
}

function onRedis(): Raw {
  const client = new Redis(BENCH_URL)
  const names = ['entries', 'index', 'expiry'].map((name) => `{${BENCH_SPACE}}:${name}`)
  const [entries = ''] = names
  return {
    get: (keys) => client.callBuffer('EVALSHA', scripts.get.sha, 1, entries, ...keys),
    async commit(each, version, value) {
      const next = newVersion()
      const rest = [Date.now() + 10_000, '', next, 1, 1, 0, each, `=${version}`, each, TTL, value]
      const answer = await client.callBuffer('EVALSHA', scripts.commit.sha, 3, ...names, ...rest)
      if (!Array.isArray(answer) || answer[2] !== 1) throw new Error('lost')
      return next
    },
  }
}
