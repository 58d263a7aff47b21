import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { afterAll, describe, expect, test } from 'vitest'
import { postgres } from '../../src/store/postgres.ts'
import type { Store } from '../../src/store/store.ts'
import { StoreUnavailable } from '../../src/store/store.ts'
import { startPostgres } from '../support/postgres.ts'
import { bytes, contract, entry, LONG, passing, set, value } from './contract.ts'
import { model } from './model.ts'
import { processes } from './processes.ts'

const server = await startPostgres()
const url = 'url' in server ? server.url : ''
if ('stop' in server) afterAll(() => server.stop())
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

describe.skipIf('skip' in server)(`postgres${'skip' in server ? `: ${server.skip}` : ''}`, () => {
  const bench = async () => {
    const schema = freshSchema()
    const stores: Store[] = []
    const another = () => {
      const store = postgres(url, { schema })
      stores.push(store)
      return store
    }
    const end = async () => {
      for (const store of stores) await store.close()
      await administrate(`DROP SCHEMA IF EXISTS ${schema} CASCADE`)
    }
    // The engine's clock can't be moved.
    const store = another()
    return { store, another, pass: passing(store), end }
  }
  contract(bench)
  model(bench, 12)
  processes(async () => {
    const schema = freshSchema()
    const store = postgres(url, { schema })
    return { opening: { engine: 'postgres', url, schema }, store, end: () => store.close() }
  })

  test('many nodes may start at once on an empty database', async () => {
    const schema = freshSchema()
    const stores = Array.from({ length: 8 }, () => postgres(url, { schema }))
    await Promise.all(stores.map((store, i) => set(store, `k${i}`, 'v')))
    expect((await stores[0]?.list(''))?.entries).toHaveLength(8)
    for (const store of stores) await store.close()
  })

  test('needs no right to create a schema that is there, and nothing in any other', async () => {
    const schema = freshSchema()
    const role = schema.replace('test', 'role')
    await administrate(
      `CREATE SCHEMA ${schema}; CREATE ROLE ${role} LOGIN PASSWORD 'secret'; GRANT ALL ON SCHEMA ${schema} TO ${role}`,
    )
    const limited = new URL(url)
    limited.username = role
    limited.password = 'secret'
    const store = postgres(limited.href, { schema })
    await set(store, 'a', '1')
    expect(await value(store, 'a')).toBe('1')
    await store.close()
  })

  test('refuses to work at another isolation level, where its checks would read the past', async () => {
    const store = postgres(
      { connectionString: url, options: '-c default_transaction_isolation=repeatable\\ read' },
      { schema: freshSchema() },
    )
    await expect(set(store, 'a', '1')).rejects.toThrow(/isolation level must be read committed/)
    await store.close()
  })

  test('a schema one release ahead is used, one further ahead is refused', async () => {
    const schema = freshSchema()
    const first = postgres(url, { schema })
    await set(first, 'a', '1')
    await first.close()
    await administrate(`INSERT INTO ${schema}.migrations (version) VALUES (2)`)
    const rolling = postgres(url, { schema })
    expect(await value(rolling, 'a')).toBe('1')
    await rolling.close()
    await administrate(`INSERT INTO ${schema}.migrations (version) VALUES (3)`)
    const old = postgres(url, { schema })
    await expect(old.get(['a'])).rejects.toThrow(/newer release/)
    await old.close()
  })

  test('a check of an absent key and its write by another at the same moment: one of them fails', async () => {
    // Each wants the other's key to be absent: with snapshots taken too early both would be committed (write skew).
    const { store, another, end } = await bench()
    const other = another()
    await Promise.all([store.get([]), other.get([])])
    for (let round = 0; round < 100; round++) {
      const [left, right] = [`left/${round}`, `right/${round}`]
      const results = await Promise.all([
        store.commit({ checks: [{ key: right, version: undefined }], sets: [{ key: left, value: bytes('1') }] }),
        other.commit({ checks: [{ key: left, version: undefined }], sets: [{ key: right, value: bytes('1') }] }),
      ])
      expect(results.filter(({ committed }) => committed)).toHaveLength(1)
    }
    await end()
  })

  test('lost connections: StoreUnavailable at worst, then it goes on, and listens again', async () => {
    const schema = freshSchema()
    const name = `lost-${randomUUID()}`
    const store = postgres({ connectionString: url, application_name: name }, { schema })
    const other = postgres(url, { schema })
    const messages: string[] = []
    store.watch((message) => messages.push(message))
    await set(store, 'a', '1')
    const hears = async (sent: string) => {
      await expect
        .poll(
          async () => {
            await other.commit({ notify: [sent] })
            return messages
          },
          { interval: 50 },
        )
        .toContain(sent)
    }
    await hears('before')
    await administrate('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1', [name])
    await hears('after')
    await expect
      .poll(() =>
        value(store, 'a').catch((error: unknown) => {
          expect(error).toBeInstanceOf(StoreUnavailable)
        }),
      )
      .toBe('1')
    await store.close()
    await other.close()
  })

  test('deletes expired rows, a bounded part for each write', async () => {
    const schema = freshSchema()
    const store = postgres(url, { schema })
    const many = (prefix: string, round: number, ttl?: number) =>
      store.commit({
        sets: Array.from({ length: 250 }, (_, i) => ({
          key: `${prefix}/${round}/${i}`,
          value: bytes('v'),
          ...(ttl !== undefined && { ttl }),
        })),
      })
    for (let round = 0; round < 4; round++) await many('expired', round, 1)
    await store.increment('expired', 1, 1)
    await delay(20)
    for (let round = 0; round < 4; round++) await many('new', round)
    await expect
      .poll(() =>
        administrate(
          `SELECT (SELECT count(*)::int FROM ${schema}.entries) AS entries, (SELECT count(*)::int FROM ${schema}.counters) AS counters`,
        ),
      )
      .toEqual([{ entries: 1000, counters: 0 }])
    await store.close()
  })

  test('leaves no connection behind', async () => {
    const name = `closed-${randomUUID()}`
    const store = postgres({ connectionString: url, application_name: name }, { schema: freshSchema() })
    store.watch(() => {})
    await Promise.all(Array.from({ length: 20 }, () => store.increment('c', 1, LONG)))
    await store.close()
    await expect
      .poll(() => administrate('SELECT pid FROM pg_stat_activity WHERE application_name = $1', [name]))
      .toEqual([])
  })
})

describe('postgres that is out of reach', () => {
  test('is StoreUnavailable, with the cause', async () => {
    const store = postgres('postgres://nobody:top-secret@127.0.0.1:1/none')
    const end = store.watch(() => {})
    const error = await entry(store, 'a').then(
      () => undefined,
      (reason: unknown) => reason,
    )
    expect(error).toBeInstanceOf(StoreUnavailable)
    expect((error as StoreUnavailable).cause).toBeInstanceOf(Error)
    expect(String(error)).not.toContain('top-secret')
    await expect(store.commit({})).rejects.toThrow(StoreUnavailable)
    end()
    await store.close()
  })

  test('wrong options are refused at once', () => {
    expect(() => postgres('')).toThrow(TypeError)
    expect(() => postgres('postgres://127.0.0.1/x', { schema: 'a"; DROP' })).toThrow(TypeError)
  })
})
