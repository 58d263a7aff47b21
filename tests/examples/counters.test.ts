import { expect, test } from 'vitest'
import { countedServer } from '../../examples/counters.ts'
import { memory } from '../../src/store/memory.ts'
import { postgres } from '../../src/store/postgres.ts'
import { redis } from '../../src/store/redis.ts'
import type { Store } from '../../src/store/store.ts'
import { localAccounts } from '../../src/upstream/local.ts'
import { startPostgres } from '../support/postgres.ts'
import { startRedis } from '../support/redis.ts'

const engines = [await startPostgres(), await startRedis()] as const
const missing = engines.flatMap((each) => ('skip' in each ? [each.skip] : []))

const url = 'http://localhost:8787'
const secret = 'a client secret of more than 32 characters'

/** Counts what is asked of a store. */
const watched = (store: Store) => {
  const seen = { increment: 0, commit: 0, closed: 0 }
  const watching: Store = {
    ...store,
    increment(key, by, ttl) {
      seen.increment += 1
      return store.increment(key, by, ttl)
    },
    commit(batch) {
      seen.commit += 1
      return store.commit(batch)
    },
    close() {
      seen.closed += 1
      return store.close()
    },
  }
  return { seen, store: watching }
}

const limitOf = async (records: Store, counters: Store) => {
  const [kept, counted] = [watched(records), watched(counters)]
  const options = {
    url,
    secret: 'a secret of these tests that is long enough',
    upstream: localAccounts(),
    clients: [{ id: 'machine', secret, scopes: { '/mcp': ['read'] } }],
    limits: { tokensPerClient: 3 },
    audit: () => {},
    resources: { '/mcp': { scopes: { read: 'Read' } } },
  }
  const auth = countedServer(options, kept.store, counted.store)
  const form = { grant_type: 'client_credentials', client_id: 'machine', client_secret: secret, scope: 'read' }
  const statuses: (number | undefined)[] = []
  for (let asked = 0; asked < 5; asked += 1) {
    const request = new Request(`${url}/token`, { method: 'POST', body: new URLSearchParams(form) })
    statuses.push((await auth.respond(request))?.status)
  }
  await auth.close()
  return { statuses, kept: kept.seen, counted: counted.seen }
}

const expectCounted = ({ statuses, kept, counted }: Awaited<ReturnType<typeof limitOf>>) => {
  expect(statuses).toEqual([200, 200, 200, 429, 429])
  expect(kept).toMatchObject({ increment: 0, closed: 1 })
  expect(kept.commit).toBeGreaterThan(0)
  expect(counted).toEqual({ increment: 5, commit: 0, closed: 1 })
}

test('what limits count is in the second store, all else in the first, and both are closed', async () => {
  expectCounted(await limitOf(memory(), memory()))
})

test.skipIf(missing.length > 0)(`on PostgreSQL, with a Redis that counts ${missing.join(', ')}`, async () => {
  const [records, counters] = engines.map((each) => ('url' in each ? each.url : ''))
  try {
    expectCounted(
      await limitOf(postgres(records ?? '', { schema: 'counted' }), redis(counters ?? '', { prefix: 'counted' })),
    )
  } finally {
    for (const each of engines) if ('stop' in each) await each.stop()
  }
})
