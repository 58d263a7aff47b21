import { randomUUID } from 'node:crypto'
import { connect } from 'node:net'
import { createServer } from 'node:tls'
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { silentLogger } from '../../src/events/logger.ts'
import { redis } from '../../src/store/redis.ts'
import type { Store } from '../../src/store/store.ts'
import { makeCertificates } from '../support/certificates.ts'
import { hasAll, type RedisServer, startRedis, startRedisCluster } from '../support/redis.ts'
import { tcpProxy } from '../support/tcp-proxy.ts'
import { bytes, contract, inTime, LONG, passing, set, value } from './contract.ts'
import { model } from './model.ts'
import { processes } from './processes.ts'

const server = await startRedis()
const cluster = 'skip' in server ? server : await startRedisCluster()
for (const started of [server, cluster]) if ('stop' in started) afterAll(() => started.stop())
const freshPrefix = () => `test:${randomUUID()}`

const ends: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

/** Ended after the test. */
function opened(...options: Parameters<typeof redis>): Store {
  const store = redis(...options)
  ends.push(() => store.close())
  return store
}

async function ownServer(settings: Parameters<typeof startRedis>[0] = {}): Promise<RedisServer> {
  const started = await startRedis(settings)
  if ('skip' in started) throw new Error(started.skip)
  ends.push(() => started.stop())
  return started
}

const benchOn = (to: Parameters<typeof redis>[0]) => async () => {
  const prefix = freshPrefix()
  const stores: Store[] = []
  const another = () => {
    const store = redis(to, { prefix })
    stores.push(store)
    return store
  }
  const end = async () => {
    for (const store of stores) await store.close()
  }
  // The engine's clock can't be moved.
  const store = another()
  return { store, another, pass: passing(store), end }
}

describe.skipIf('skip' in server)(`redis${'skip' in server ? `: ${server.skip}` : ''}`, () => {
  const { url, command } = server as RedisServer
  contract(benchOn(url))
  model(benchOn(url), 12)
  processes(async () => {
    const prefix = freshPrefix()
    const store = redis(url, { prefix })
    return { opening: { engine: 'redis', url, prefix }, store, end: () => store.close() }
  })

  test('goes on when the server has lost its scripts', async () => {
    const store = opened(url, { prefix: freshPrefix() })
    await set(store, 'a', '1')
    await command('SCRIPT', 'FLUSH')
    expect(await value(store, 'a')).toBe('1')
    await set(store, 'a', '2')
    expect((await store.list('')).entries).toHaveLength(1)
    expect((await store.increment('c', 1, LONG)).value).toBe(1)
  })

  test('what is expired leaves the entries, the index and the counters', async () => {
    const prefix = freshPrefix()
    const store = opened(url, { prefix })
    const many = (name: string, ttl?: number) =>
      store.commit({
        sets: Array.from({ length: 250 }, (_, i) => ({
          key: `${name}/${i}`,
          value: bytes('v'),
          ...(ttl !== undefined && { ttl }),
        })),
      })
    for (let round = 0; round < 4; round++) await many(`ended/${round}`, 200)
    await many('replaced', 200)
    await many('replaced')
    await store.increment('ended', 1, 200)
    await passing(store)(230)
    await many('new', LONG)
    const sizes = async () => [
      await command('HLEN', `{${prefix}}:entries`),
      await command('ZCARD', `{${prefix}}:index`),
      await command('ZCARD', `{${prefix}}:expiry`),
      await command('EXISTS', `{${prefix}}:counter:ended`),
    ]
    await expect.poll(sizes).toEqual([500, 500, 250, 0])
    expect((await store.list('', { limit: 1000 })).entries).toHaveLength(500)
  })

  test('deletes leave nothing behind', async () => {
    const prefix = freshPrefix()
    const store = opened(url, { prefix })
    await store.commit({ sets: ['a', 'b'].map((key) => ({ key, value: bytes(key), ttl: LONG })) })
    await store.commit({ deletes: ['a', 'b', 'c'] })
    expect(await command('KEYS', `{${prefix}}*`)).toEqual([])
  })

  test('lists what lives behind thousands that are expired', async () => {
    const store = opened(url, { prefix: freshPrefix() })
    for (const key of ['a', 'c', 'd', 'e']) await set(store, key, key)
    const keys = async (options: Parameters<Store['list']>[1]) =>
      (await store.list('', options)).entries.map(({ key }) => key)
    const ttl = await inTime(store, async (short) => {
      for (let round = 0; round < 20; round++) {
        await store.commit({
          sets: Array.from({ length: 250 }, (_, i) => ({ key: `b/${round}/${i}`, value: bytes('v'), ttl: short })),
        })
      }
      expect(await keys({ limit: 2 })).toEqual(['a', 'b/0/0'])
    })
    await passing(store)(ttl)
    expect(await keys({ limit: 2 })).toEqual(['a', 'c'])
    expect(await keys({})).toEqual(['a', 'c', 'd', 'e'])
    expect(await keys({ reverse: true })).toEqual(['e', 'd', 'c', 'a'])
    expect(await keys({ after: 'b', limit: 1 })).toEqual(['c'])
  })

  test('two databases of one server are two stores, in messages too', async () => {
    const prefix = freshPrefix()
    const stores = [1, 2].map((database) => opened(`${url}/${database}`, { prefix }))
    const [one, two] = stores as [Store, Store]
    const messages: string[] = []
    const own: string[] = []
    two.watch((message) => messages.push(message))
    const third = opened(`${url}/1`, { prefix })
    third.watch((message) => own.push(message))
    await set(one, 'a', '1')
    expect(await value(two, 'a')).toBeUndefined()
    await expect.poll(() => one.commit({ notify: ['to-one'] }).then(() => own)).toContain('to-one')
    expect(messages).toEqual([])
  })

  test('leaves no connection behind', async () => {
    const { port, password } = server as RedisServer
    const connectionName = `closed-${randomUUID()}`
    const store = redis({ port, host: '127.0.0.1', password, connectionName }, { prefix: freshPrefix() })
    store.watch(() => {})
    await Promise.all(Array.from({ length: 20 }, () => store.increment('c', 1, LONG)))
    const connections = async () => String(await command('CLIENT', 'LIST')).split(`name=${connectionName}`).length - 1
    await expect.poll(connections).toBe(2)
    await store.close()
    await expect.poll(connections).toBe(0)
  })

  test('warns once where the server may lose data, and only there', async () => {
    const warnings: string[] = []
    const logger = { ...silentLogger, warn: (message: string) => warnings.push(message) }
    const good = opened(url, { prefix: freshPrefix(), logger })
    await good.get([])
    expect(warnings).toEqual([])
    const { url: careless } = await ownServer({ 'maxmemory-policy': 'allkeys-lru', appendonly: 'no' })
    const store = opened(careless, { logger })
    await Promise.all([set(store, 'a', '1'), store.get([]), store.increment('c', 1, LONG)])
    expect(warnings).toEqual([
      expect.stringMatching(/maxmemory-policy is allkeys-lru.*noeviction.*appendonly is no.*set it to yes/),
    ])
  })

  test('without memory: a batch with sets is refused whole, ending things works, and what is expired makes room', async () => {
    const { url: full, command } = await ownServer({ maxmemory: '6mb', 'maxmemory-policy': 'noeviction' })
    const store = opened(full)
    const large = new Uint8Array(200_000)
    const fill = (i: number) =>
      store.commit({ sets: ['x', 'y'].map((key) => ({ key: `${key}${i}`, value: large, ttl: 3_000 })) })
    const messages: string[] = []
    store.watch((message) => messages.push(message))
    await set(store, 'old', '1')
    let batches = 0
    const refused = await (async () => {
      for (; batches < 50; batches++) await fill(batches)
    })().catch((error: unknown) => error)
    expect(refused).toMatchObject({ name: 'StoreUnavailable', message: expect.stringContaining('OOM') })
    expect(batches).toBeGreaterThan(0)
    const { entries } = await store.get([`x${batches}`, `y${batches}`, 'old'])
    expect(entries.map((entry) => entry?.value.length)).toEqual([undefined, undefined, 1])
    expect(await command('HLEN', '{countersign}:entries')).toBe(await command('ZCARD', '{countersign}:index'))
    await store.commit({ deletes: ['old'], notify: ['ended'] })
    await expect.poll(() => messages).toContain('ended')
    expect(await value(store, 'old')).toBeUndefined()
    const asMuchAgain = async () => {
      for (let i = 0; i < batches - 1; i++) await fill(100 + i)
      return batches
    }
    await expect.poll(() => asMuchAgain().catch(String), { interval: 200 }).toBe(batches)
  })
})

/** Says something at one node until another hears it. */
const hearing = (store: Store, other: Store) => {
  const messages: string[] = []
  other.watch((message) => messages.push(message))
  return (text: string) =>
    expect.poll(() => store.commit({ notify: [text] }).then(() => messages, String), { interval: 100 }).toContain(text)
}

describe.skipIf('skip' in cluster)(`redis cluster${'skip' in cluster ? `: ${cluster.skip}` : ''}`, () => {
  const servers = 'servers' in cluster ? cluster.servers : []
  const to = {
    nodes: servers.map(({ port }) => ({ port, host: '127.0.0.1' })),
    options: { redisOptions: { password: servers[0]?.password ?? '' } },
  }
  contract(benchOn(to))
  processes(async () => {
    const prefix = freshPrefix()
    const store = redis(to, { prefix })
    return { opening: { engine: 'redis', url: to, prefix }, store, end: () => store.close() }
  })

  test('the data of a store is at one node; when that is away, StoreUnavailable, then it goes on, and hears again', async () => {
    const prefix = freshPrefix()
    const [store, other] = [opened(to, { prefix }), opened(to, { prefix })]
    const hears = hearing(store, other)
    await set(store, 'a', '1')
    expect((await store.increment('c', 1, LONG)).value).toBe(1)
    await hears('before')
    const slot = Number(await servers[0]?.command('CLUSTER', 'KEYSLOT', `{${prefix}}`))
    const owner = servers[slot < 5461 ? 0 : slot < 10923 ? 1 : 2]
    await owner?.kill()
    await expect(store.get(['a'])).rejects.toMatchObject({ name: 'StoreUnavailable' })
    await owner?.start()
    await expect.poll(() => value(store, 'a').catch(String), { interval: 100 }).toBe('1')
    await hears('after')
  })
})

describe.skipIf('skip' in cluster)('redis cluster, with replicas', () => {
  test('a master that dies (SIGKILL): the store follows its replica, loses nothing that it had, and hears it', async () => {
    const group = await startRedisCluster({ replicas: true })
    if ('skip' in group) throw new Error(group.skip)
    ends.push(() => group.stop())
    const { servers, replicas } = group
    const to = {
      nodes: servers.map(({ port }) => ({ port, host: '127.0.0.1' })),
      options: { redisOptions: { password: servers[0]?.password ?? '' } },
    }
    const [store, other] = [opened(to), opened(to)]
    const hears = hearing(store, other)
    await set(store, 'a', '1')
    expect((await store.increment('c', 1, LONG)).value).toBe(1)
    await hears('before')
    const slot = Number(await servers[0]?.command('CLUSTER', 'KEYSLOT', '{countersign}'))
    const at = slot < 5461 ? 0 : slot < 10923 ? 1 : 2
    const [owner, replica] = [servers[at], replicas[at]]
    if (!owner || !replica) throw new Error('there was one before')
    await expect.poll(() => hasAll(owner, replica)).toBe(true)
    await owner.kill()
    await expect.poll(() => replica.command('ROLE').then(String)).toMatch(/^master/)
    await expect.poll(() => value(store, 'a').catch(String), { interval: 100 }).toBe('1')
    const written = () =>
      set(store, 'a', '2').then(
        () => true,
        () => false,
      )
    await expect.poll(written).toBe(true)
    await expect.poll(() => store.increment('c', 0, LONG).then(({ value }) => value, String)).toBe(1)
    await hears('after')
    await expect.poll(() => value(other, 'a').catch(String)).toBe('2')
  })
})

describe.skipIf('skip' in cluster)('redis cluster, when answers are lost', () => {
  test('a commit is applied once and said to be unknown', async () => {
    const servers = 'servers' in cluster ? cluster.servers : []
    const proxies = await Promise.all(servers.map(({ port }) => tcpProxy(port)))
    for (const proxy of proxies) ends.push(() => proxy.close())
    const natMap = Object.fromEntries(
      servers.map(({ port }, i) => [`127.0.0.1:${port}`, { host: '127.0.0.1', port: proxies[i]?.port ?? 0 }]),
    )
    const nodes = proxies.map(({ port }) => ({ host: '127.0.0.1', port }))
    const redisOptions = { password: servers[0]?.password ?? '' }
    const prefix = freshPrefix()
    const store = opened({ nodes, options: { natMap, redisOptions } }, { prefix })
    const direct = opened(
      { nodes: servers.map(({ port }) => ({ port, host: '127.0.0.1' })), options: { redisOptions } },
      { prefix },
    )
    const count = async () => (await direct.increment('c', 0, LONG)).value
    // By the key of the counter, at the node where it is. The node that another test killed may not be known to be back yet.
    const back = () =>
      store.increment('c', 0, LONG).then(
        () => true,
        () => false,
      )
    await expect.poll(back).toBe(true)
    let counted = 0
    for (let tries = 1; counted < 5; tries++) {
      if (tries > 50) throw new Error('increments do not reach the cluster')
      for (const proxy of proxies) proxy.answers = 'drop'
      let settled = false
      const lost = store
        .increment('c', 1, LONG)
        .catch((error: unknown) => error)
        .finally(() => {
          settled = true
        })
      // It was applied; or it never left, because the client had just then let the connection go: nobody can be told which of the two it was.
      await expect.poll(async () => settled || (await count()) > counted).toBe(true)
      for (const proxy of proxies) {
        proxy.cut()
        proxy.answers = 'pass'
      }
      expect(await lost).toMatchObject({ name: 'StoreUnavailable' })
      await expect.poll(back).toBe(true)
      const now = await count()
      expect(now - counted).toBeLessThanOrEqual(1)
      counted = now
    }
  })
})

describe.skipIf('skip' in server)('redis over TLS', async () => {
  const { port, password } = server as RedisServer
  const certificates = await makeCertificates(['redis.example'])
  const inFront = createServer({ key: certificates.key, cert: certificates.certificate }, (clear) => {
    const behind = connect(port, '127.0.0.1')
    for (const each of [clear, behind]) each.on('error', () => void [clear.destroy(), behind.destroy()])
    clear.pipe(behind).pipe(clear)
  })
  await new Promise<void>((resolve) => inFront.listen(0, '127.0.0.1', resolve))
  afterAll(() => void inFront.close())
  const { port: safe } = inFront.address() as { port: number }
  const to = { host: '127.0.0.1', port: safe, password }
  const authority = { ca: certificates.authority, servername: 'redis.example' }

  test('with a certificate of the authority and the name that are expected; nodes hear of each other there, too', async () => {
    const prefix = freshPrefix()
    const [store, other] = [
      opened({ ...to, tls: authority }, { prefix }),
      opened({ ...to, tls: authority }, { prefix }),
    ]
    const messages: string[] = []
    other.watch((message) => messages.push(message))
    await set(store, 'a', '1')
    expect(await value(other, 'a')).toBe('1')
    await expect.poll(() => store.commit({ notify: ['heard'] }).then(() => messages)).toContain('heard')
  })

  test('refuses an unknown authority, another name, and a server that has no TLS: never in clear', async () => {
    const unavailable = { name: 'StoreUnavailable' }
    const another = { ...authority, servername: 'another.example' }
    await expect(opened({ ...to, tls: another }).get(['a'])).rejects.toMatchObject(unavailable)
    await expect(opened(`rediss://:${password}@127.0.0.1:${safe}`).get(['a'])).rejects.toMatchObject(unavailable)
    await expect(opened({ ...to, port, tls: authority }).get(['a'])).rejects.toMatchObject(unavailable)
  })
})

describe('redis that is out of reach', () => {
  test('is StoreUnavailable, at once, with the cause', async () => {
    const store = opened('redis://:top-secret@127.0.0.1:1')
    const end = store.watch(() => {})
    const error = await store.get(['a']).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ name: 'StoreUnavailable', message: expect.stringContaining('ECONNREFUSED') })
    await expect(store.commit({})).rejects.toMatchObject({ name: 'StoreUnavailable' })
    end()
  })

  test('wrong options are refused at once', () => {
    expect(() => redis('')).toThrow(TypeError)
    expect(() => redis({ nodes: [] })).toThrow(TypeError)
    expect(() => redis({ keyPrefix: 'a' })).toThrow(TypeError)
    for (const prefix of ['', 'a b', 'a}b', 'a{b']) {
      expect(() => redis('redis://127.0.0.1', { prefix })).toThrow(TypeError)
    }
  })
})
