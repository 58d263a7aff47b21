import { randomUUID } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { createSecureContext, TLSSocket } from 'node:tls'
import pg from 'pg'
import { afterAll, describe, expect, test } from 'vitest'
import { openPool } from '../../src/store/postgres/server.ts'
import { type PostgresOptions, postgres } from '../../src/store/postgres.ts'
import { StoreUnavailable } from '../../src/store/store.ts'
import { makeCertificates } from '../support/certificates.ts'
import { startPgBouncer } from '../support/pgbouncer.ts'
import { startPostgres } from '../support/postgres.ts'
import { tcpProxy } from '../support/tcp-proxy.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'
import { bytes, contract, passing, set, value } from './contract.ts'
import { processes } from './processes.ts'

const server = await startPostgres()
const url = 'url' in server ? server.url : ''
if ('stop' in server) afterAll(() => server.stop())
const bouncer = 'skip' in server ? server : await startPgBouncer(url)
const sessions = 'skip' in bouncer || 'skip' in server ? bouncer : await startPgBouncer(url, 'session')
for (const started of [bouncer, sessions]) if ('stop' in started) afterAll(() => started.stop())

const freshSchema = () => `test_${randomUUID().replaceAll('-', '')}`

async function administrate(sql: string, values: unknown[] = []) {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query(sql, values)).rows
  } finally {
    await client.end()
  }
}

/** Makes the next writes to the entries fail, each once, with this error; a sequence counts them, which no rollback sets back. */
const failNext = (schema: string, times: number, code: string) =>
  administrate(`
    CREATE SEQUENCE ${schema}.failures;
    CREATE FUNCTION ${schema}.fail() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF nextval('${schema}.failures') <= ${times} THEN RAISE EXCEPTION 'as told' USING ERRCODE = '${code}'; END IF;
      RETURN NEW;
    END $$;
    CREATE TRIGGER fail BEFORE UPDATE ON ${schema}.entries FOR EACH ROW EXECUTE FUNCTION ${schema}.fail()`)

describe.skipIf('skip' in server)('postgres in trouble', () => {
  const opened = async (connection: string | pg.PoolConfig = url, options: PostgresOptions = {}) => {
    const schema = freshSchema()
    const store = postgres(connection, { schema, ...options })
    await set(store, 'a', '1')
    return { schema, store }
  }

  test.each(['40001', '40P01'])('what the server undid (%s) is tried again', async (code) => {
    const { schema, store } = await opened()
    await failNext(schema, 2, code)
    await set(store, 'a', '2')
    expect(await value(store, 'a')).toBe('2')
    expect(await administrate(`SELECT last_value::int FROM ${schema}.failures`)).toEqual([{ last_value: 3 }])
    await store.close()
  })

  test('but not for ever, and not what it refused', async () => {
    const undone = await opened()
    await failNext(undone.schema, 1_000, '40001')
    await expect(set(undone.store, 'a', '2')).rejects.toThrow(StoreUnavailable)
    expect(await administrate(`SELECT last_value::int FROM ${undone.schema}.failures`)).toEqual([{ last_value: 4 }])
    await undone.store.close()

    const refused = await opened()
    await failNext(refused.schema, 1_000, '53100')
    await expect(set(refused.store, 'a', '2')).rejects.toThrow(StoreUnavailable)
    expect(await administrate(`SELECT last_value::int FROM ${refused.schema}.failures`)).toEqual([{ last_value: 1 }])
    await refused.store.close()
  })

  test('a server or pooler that started again costs a reader nothing, a writer at most one answer', async () => {
    const proxy = await tcpProxy(Number(new URL(url).port))
    const through = new URL(url)
    through.port = String(proxy.port)
    const { schema, store } = await opened(through.href)
    for (let round = 0; round < 5; round++) {
      const reading = Promise.all(Array.from({ length: 8 }, () => value(store, 'a')))
      proxy.cut()
      expect(new Set(await reading)).toEqual(new Set(['1']))
    }
    proxy.answers = 'drop'
    const lost = set(store, 'a', '2')
    const refused = expect(lost).rejects.toThrow(StoreUnavailable)
    const direct = postgres(url, { schema })
    await expect.poll(() => value(direct, 'a')).toBe('2')
    proxy.answers = 'pass'
    proxy.cut()
    await refused
    expect(await value(store, 'a')).toBe('2')
    await direct.close()
    await store.close()
    await proxy.close()
  })

  test('a server that no longer answers is given up after 10 s, and gives up itself', async () => {
    const { schema, store } = await opened()
    const name = `bounds-${randomUUID()}`
    const other = postgres({ connectionString: url, application_name: name, statement_timeout: 700 }, { schema })
    expect(await value(other, 'a')).toBe('1')
    const holder = new pg.Client({ connectionString: url })
    await holder.connect()
    await holder.query(`BEGIN; LOCK ${schema}.entries IN ACCESS EXCLUSIVE MODE`)
    const startedAt = Date.now()
    const own = expect(set(store, 'a', '3')).rejects.toThrow(StoreUnavailable)
    await expect(set(other, 'a', '2')).rejects.toThrow(/statement timeout/)
    await own
    expect(Date.now() - startedAt).toBeLessThan(30_000)
    await holder.query('ROLLBACK')
    await holder.end()
    expect(await value(store, 'a')).toBe('1')
    await other.close()
    await store.close()
  })

  test('one node at a time sweeps; the others leave it, and go on where they were when it is their turn', async () => {
    const { schema, store } = await opened()
    const many = (prefix: string, ttl?: number) =>
      store.commit({
        sets: Array.from({ length: 250 }, (_, i) => ({
          key: `${prefix}/${i}`,
          value: bytes('v'),
          ...(ttl !== undefined && { ttl }),
        })),
      })
    const sweeper = new pg.Client({ connectionString: url })
    await sweeper.connect()
    const lock = `hashtextextended('${schema} sweep of entries', 0)`
    await sweeper.query(`SELECT pg_advisory_lock(${lock})`)
    for (const prefix of ['e0', 'e1', 'e2']) await many(prefix, 1)
    await delay(20)
    const expired = async () =>
      (await administrate(`SELECT count(*)::int AS left FROM ${schema}.entries WHERE expires < 9e15`))[0].left
    for (const prefix of ['f0', 'f1', 'f2', 'f3']) await many(prefix)
    await delay(300)
    expect(await expired()).toBe(750)
    await sweeper.query(`SELECT pg_advisory_unlock(${lock})`)
    await sweeper.end()
    for (const prefix of ['g0', 'g1', 'g2', 'g3', 'g4', 'g5', 'g6', 'g7']) await many(prefix)
    await expect.poll(expired).toBe(0)
    await store.close()
  })

  test('more operations than connections wait their turn, and no more connections are made than allowed', async () => {
    const name = `limit-${randomUUID()}`
    const { store } = await opened({ connectionString: url, application_name: name, max: 3 })
    let most = 0
    const count = async () => {
      const [row] = await administrate('SELECT count(*)::int AS n FROM pg_stat_activity WHERE application_name = $1', [
        name,
      ])
      most = Math.max(most, row?.n ?? 0)
    }
    const work = Promise.all(Array.from({ length: 200 }, (_, i) => store.increment(`c${i % 7}`, 1, 60_000)))
    await count()
    await work
    await count()
    expect(most).toBeGreaterThan(0)
    expect(most).toBeLessThanOrEqual(3)
    await store.close()
  })

  test('an update writes to no index, whatever becomes of the expiry', async () => {
    const { schema, store } = await opened()
    for (let round = 0; round < 20; round++) {
      await store.commit({
        sets: [{ key: 'a', value: bytes(`${round}`), ...(round % 3 > 0 && { ttl: 60_000 * round }) }],
      })
    }
    for (let round = 0; round < 20; round++) await store.increment('c', 1, 60_000)
    // What was counted is told when a connection ends.
    await store.close()
    const counted = () =>
      administrate(
        'SELECT relname::text AS name, n_tup_upd::int AS updates, n_tup_hot_upd::int AS without FROM pg_stat_user_tables WHERE schemaname = $1 AND n_tup_upd > 0 ORDER BY 1',
        [schema],
      )
    await expect.poll(counted).toEqual([
      { name: 'counters', updates: 19, without: 19 },
      { name: 'entries', updates: 20, without: 20 },
    ])
  })

  test('says once at its first use what may lose data', async () => {
    const warnings: string[] = []
    const logger = { ...console, warn: (message: string) => void warnings.push(message) }
    const { store } = await opened({ connectionString: url, options: '-c synchronous_commit=off' }, { logger })
    await set(store, 'b', '1')
    expect(warnings).toEqual([expect.stringMatching(/synchronous_commit is off.*fsync is off/)])
    await store.close()
  })
})

describe.skipIf('skip' in server)('postgres over TLS', async () => {
  const certificates = await makeCertificates(['database.example'])
  /** Ends TLS as a server does, in front of one that has none. @see PostgreSQL: Message Flow, SSL Session Encryption */
  const tlsServer = async (options: { readonly refuses?: boolean } = {}) => {
    const secureContext = createSecureContext({ key: certificates.key, cert: certificates.certificate })
    const listening = createServer((socket) => {
      socket.on('error', () => {})
      socket.once('data', () => {
        if (options.refuses) return socket.end('N')
        socket.write('S')
        const clear = new TLSSocket(socket, { isServer: true, secureContext })
        const { hostname, port } = new URL(url)
        const behind = connect(Number(port), hostname)
        for (const each of [clear, behind]) each.on('error', () => void [clear.destroy(), behind.destroy()])
        clear.pipe(behind).pipe(clear)
      })
    })
    await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve))
    const address = new URL(url)
    address.port = String((listening.address() as { port: number }).port)
    return { url: address.href, close: () => listening.close() }
  }

  const used = async (connection: string | pg.PoolConfig) => {
    const store = postgres(connection, { schema: freshSchema() })
    try {
      await set(store, 'a', '1')
      return await value(store, 'a')
    } finally {
      await store.close()
    }
  }

  test('with a certificate of the authority and the name that are expected', async () => {
    const { url: address, close } = await tlsServer()
    const ssl = { ca: certificates.authority, servername: 'database.example' }
    expect(await used({ connectionString: address, ssl })).toBe('1')
    close()
  })

  test('by the connection string, as libpq reads it', async () => {
    const folder = temporaryDirectory()
    const file = join(folder.path, 'authority.pem')
    writeFileSync(file, certificates.authority)
    const { url: address, close } = await tlsServer()
    // verify-ca leaves the name out.
    expect(await used(`${address}?sslmode=verify-ca&sslrootcert=${file}&uselibpqcompat=true`)).toBe('1')
    await expect(used(`${address}?sslmode=verify-full&sslrootcert=${file}&uselibpqcompat=true`)).rejects.toThrow(
      StoreUnavailable,
    )
    close()
    folder.remove()
  })

  test('refuses an unknown authority, another name, and a server that has no TLS: never in clear', async () => {
    const { url: address, close } = await tlsServer()
    await expect(used({ connectionString: address, ssl: true })).rejects.toThrow(StoreUnavailable)
    const ssl = { ca: certificates.authority, servername: 'another.example' }
    await expect(used({ connectionString: address, ssl })).rejects.toThrow(StoreUnavailable)
    close()
    const without = await tlsServer({ refuses: true })
    await expect(used({ connectionString: without.url, ssl: true })).rejects.toThrow(StoreUnavailable)
    without.close()
  })
})

/** @param open a node of the store in a schema */
const benchOf = (open: (schema: string) => ReturnType<typeof postgres>) => async () => {
  const schema = freshSchema()
  const stores: ReturnType<typeof postgres>[] = []
  const another = () => {
    const store = open(schema)
    stores.push(store)
    return store
  }
  const end = async () => {
    for (const store of stores) await store.close()
    await administrate(`DROP SCHEMA IF EXISTS ${schema} CASCADE`)
  }
  const store = another()
  return { store, another, pass: passing(store), end }
}

describe.skipIf('skip' in bouncer)('postgres behind a pooler in transaction mode', () => {
  const pooledUrl = 'url' in bouncer ? bouncer.url : ''
  contract(benchOf((schema) => postgres(pooledUrl, { schema, pooler: 'transaction', listen: url })))

  processes(async () => {
    const schema = freshSchema()
    const store = postgres(pooledUrl, { schema, pooler: 'transaction', listen: url })
    return { opening: { engine: 'postgres', url: pooledUrl, schema, listen: url }, store, end: () => store.close() }
  })

  test('without a way to listen it hears itself alone, and listens on no connection of the pooler', async () => {
    const schema = freshSchema()
    const [store, other] = [0, 1].map(() => postgres(pooledUrl, { schema, pooler: 'transaction' }))
    const heard: string[] = []
    store?.watch((message) => heard.push(message))
    await store?.commit({ notify: ['mine'] })
    await other?.commit({ notify: ['foreign'] })
    await expect.poll(() => heard).toEqual(['mine'])
    expect(await administrate(`SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN %${schema}%'`)).toEqual([])
    await store?.close()
    await other?.close()
  })

  test('many nodes may start at once on an empty database, and migrate it through the pooler', async () => {
    const schema = freshSchema()
    const stores = Array.from({ length: 8 }, () => postgres(pooledUrl, { schema, pooler: 'transaction' }))
    await Promise.all(stores.map((store, i) => set(store, `k${i}`, 'v')))
    expect((await stores[0]?.list(''))?.entries).toHaveLength(8)
    expect(await administrate(`SELECT count(*)::int AS n FROM ${schema}.migrations`)).toEqual([{ n: 1 }])
    for (const store of stores) await store.close()
  })

  test('what is expired is swept through the pooler, too, and no advisory lock stays behind', async () => {
    const schema = freshSchema()
    const store = postgres(pooledUrl, { schema, pooler: 'transaction' })
    const many = (prefix: string, ttl?: number) =>
      store.commit({
        sets: Array.from({ length: 250 }, (_, i) => ({
          key: `${prefix}/${i}`,
          value: bytes('v'),
          ...(ttl !== undefined && { ttl }),
        })),
      })
    for (const prefix of ['e0', 'e1', 'e2']) await many(prefix, 1)
    let round = 0
    const left = async () => {
      await many(`f${round++ % 8}`)
      return (await administrate(`SELECT count(*)::int AS n FROM ${schema}.entries WHERE key LIKE 'e%'`))[0]?.n
    }
    await expect.poll(left).toBe(0)
    const mine = 'database = (SELECT oid FROM pg_database WHERE datname = current_database())'
    const locks = () => administrate(`SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND ${mine}`)
    await expect.poll(locks).toEqual([])
    await store.close()
  })

  test('a pooler that nobody told of is refused, in words that say what to do', async () => {
    const store = postgres(pooledUrl, { schema: freshSchema() })
    await expect(store.get(['a'])).rejects.toThrow(/option `pooler`/)
    await store.close()
  })

  test('another mode is no mode', () => {
    expect(() => postgres(pooledUrl, { pooler: 'statement' as 'transaction' })).toThrow(TypeError)
  })
})

describe.skipIf('skip' in sessions)('postgres behind a pooler in session mode', () => {
  const pooledUrl = 'url' in sessions ? sessions.url : ''
  contract(benchOf((schema) => postgres({ connectionString: pooledUrl, max: 4 }, { schema, pooler: 'session' })))

  test('the bounds of the server hold there, too: the usual ones, and those that are asked for', async () => {
    const schema = freshSchema()
    const name = `bounds-${randomUUID()}`
    const connection = { connectionString: pooledUrl, application_name: name }
    const store = postgres({ ...connection, lock_timeout: 700 }, { schema, pooler: 'session' })
    await set(store, 'a', '1')
    const holder = new pg.Client({ connectionString: url })
    await holder.connect()
    await holder.query(`BEGIN; LOCK ${schema}.entries IN ACCESS EXCLUSIVE MODE`)
    await expect(set(store, 'a', '2')).rejects.toThrow(/lock timeout/)
    await holder.query('ROLLBACK')
    await holder.end()
    await set(store, 'a', '3')
    expect(await value(store, 'a')).toBe('3')
    await store.close()
  })

  test('a connection is given the usual bounds before it is used', async () => {
    const { pool } = openPool(pooledUrl, 'session')
    const shown = async (setting: string) =>
      (await pool.query(`SELECT current_setting('${setting}') AS it`)).rows[0]?.it
    expect([await shown('statement_timeout'), await shown('lock_timeout')]).toEqual(['12s', '8s'])
    await pool.end()
  })

  test('a connection whose bounds can’t be set is given to nobody', async () => {
    const { pool } = openPool({ connectionString: pooledUrl, lock_timeout: -5 }, 'session')
    await expect(pool.query('SELECT 1')).rejects.toThrow(/lock_timeout/)
    expect(pool.totalCount).toBe(0)
    await pool.end()
  })
})
