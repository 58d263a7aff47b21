import { setTimeout as delay } from 'node:timers/promises'
import { inspect } from 'node:util'
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { redis } from '../../src/store/redis.ts'
import type { Store } from '../../src/store/store.ts'
import { type RedisServer, startRedis, startRedisSentinel } from '../support/redis.ts'
import { type TcpProxy, tcpProxy } from '../support/tcp-proxy.ts'
import { bytes, LONG, set, text, value } from './contract.ts'

const started = await startRedis()
if ('stop' in started) afterAll(() => started.stop())
const server = started as RedisServer

let ends: (() => Promise<unknown>)[] = []
afterEach(async () => {
  const ending = ends.splice(0).reverse()
  ends = []
  for (const end of ending) await end()
})

function opened(...options: Parameters<typeof redis>): Store {
  const store = redis(...options)
  ends.push(() => store.close())
  return store
}

/** A store behind a proxy, and one that has a way of its own to the same data. */
async function behindProxy(): Promise<{ store: Store; direct: Store; proxy: TcpProxy }> {
  await server.command('FLUSHALL')
  const proxy = await tcpProxy(server.port)
  ends.push(() => proxy.close())
  const store = opened({ port: proxy.port, host: '127.0.0.1', password: server.password })
  await store.get([])
  return { store, direct: opened(server.url), proxy }
}

const unavailable = { name: 'StoreUnavailable' }
const failure = (work: Promise<unknown>) =>
  work.then(
    () => undefined,
    (error: unknown) => error,
  )
const eventually = (store: Store, key: string) => expect.poll(() => value(store, key).catch(String), { interval: 50 })

describe.skipIf('skip' in started)(`redis, when things fail${'skip' in started ? `: ${started.skip}` : ''}`, () => {
  test('a commit whose answer is lost is applied once and said to be unknown', async () => {
    const { store, direct, proxy } = await behindProxy()
    // The server knows the scripts, so that one request is enough.
    await set(store, 'b', '1')
    await store.increment('b', 1, LONG)
    for (let round = 1; round <= 10; round++) {
      const before = proxy.requested
      proxy.answers = 'drop'
      const lost = [store.increment('c', 1, LONG), set(store, 'a', String(round))].map(failure)
      await expect.poll(() => proxy.requested).toBeGreaterThan(before)
      await eventually(direct, 'a').toBe(String(round))
      proxy.cut()
      proxy.answers = 'pass'
      for (const error of await Promise.all(lost)) expect(error).toMatchObject(unavailable)
      await eventually(store, 'a').toBe(String(round))
      // Were it sent again when the connection is back, it would count twice.
      expect((await direct.increment('c', 0, LONG)).value).toBe(round)
    }
  })

  test('a commit that never arrives is said to be unknown, and stays away when the connection is back', async () => {
    const { store, direct, proxy } = await behindProxy()
    await set(store, 'a', 'before')
    const before = proxy.requested
    proxy.requests = 'drop'
    const lost = failure(set(store, 'a', 'lost'))
    await expect.poll(() => proxy.requested).toBeGreaterThan(before)
    proxy.cut()
    proxy.requests = 'pass'
    expect(await lost).toMatchObject(unavailable)
    await eventually(store, 'a').toBe('before')
    await set(store, 'b', '1')
    await delay(200)
    expect(await value(direct, 'a')).toBe('before')
  })

  test('commits under way while connections are cut again and again: each answer holds, none is applied twice', async () => {
    const { store, direct, proxy } = await behindProxy()
    let cutting = true
    const cuts = (async () => {
      for (let i = 0; cutting; i++) {
        // Longer and longer: on a slow machine, too, some connections live long enough to be of use.
        await delay(10 + i)
        if (i % 3 === 2) proxy.halfClose()
        else proxy.cut()
      }
    })()
    let [answered, unknown] = [0, 0]
    while (answered <= 100 || unknown <= 50) {
      await store.increment('c', 1, LONG).then(
        () => answered++,
        (error: unknown) => {
          expect(error).toMatchObject(unavailable)
          unknown++
        },
      )
    }
    cutting = false
    await cuts
    const { value } = await direct.increment('c', 0, LONG)
    expect(value).toBeGreaterThanOrEqual(answered)
    expect(value).toBeLessThanOrEqual(answered + unknown)
  })

  test('a write that is held up is not applied after its caller gave up and read back', async () => {
    const { store, direct, proxy } = await behindProxy()
    await set(store, 'a', 'before')
    proxy.requests = 'hold'
    const begin = performance.now()
    const late = await Promise.all([
      failure(set(store, 'a', 'too late')),
      failure(store.commit({ deletes: ['a'] })),
      failure(store.increment('c', 1, LONG)),
    ])
    expect(performance.now() - begin).toBeLessThan(20_000)
    for (const error of late) expect(error).toMatchObject(unavailable)
    expect(await value(direct, 'a')).toBe('before')
    proxy.requests = 'pass'
    await eventually(store, 'a').toBe('before')
    await delay(300)
    expect(await value(direct, 'a')).toBe('before')
    expect((await direct.increment('c', 0, LONG)).value).toBe(0)
  })

  test('a server that stands still: StoreUnavailable within 6 s, nothing applied later, then it goes on', async () => {
    await server.command('FLUSHALL')
    const store = opened(server.url)
    await set(store, 'a', 'before')
    server.signal('SIGSTOP')
    try {
      const begin = performance.now()
      const early = failure(set(store, 'a', 'too late'))
      // These come when the connection is already given up, or is not there yet.
      const later = delay(3_000).then(() => Promise.all([failure(set(store, 'a', 'too late')), failure(store.get([]))]))
      expect(await early).toMatchObject(unavailable)
      expect(performance.now() - begin).toBeLessThan(20_000)
      for (const error of await later) expect(error).toMatchObject(unavailable)
      expect(performance.now() - begin).toBeLessThan(25_000)
    } finally {
      server.signal('SIGCONT')
    }
    await eventually(store, 'a').toBe('before')
    await delay(300)
    expect(await value(store, 'a')).toBe('before')
    await set(store, 'a', 'after')
    expect(await value(store, 'a')).toBe('after')
  })

  test('connections that were cut or fell silent are made again, those of watchers too', async () => {
    const { store, direct, proxy } = await behindProxy()
    const messages: string[] = []
    store.watch((message) => messages.push(message))
    const hears = (sent: string) =>
      expect.poll(() => direct.commit({ notify: [sent] }).then(() => messages), { interval: 50 }).toContain(sent)
    await hears('before')
    proxy.cut()
    await hears('after-the-cut')
    proxy.halfClose()
    await hears('after-the-half-close')
    await eventually(store, 'a').toBeUndefined()
    proxy.answers = 'drop'
    await direct.commit({ sets: [{ key: 'a', value: bytes('1') }], notify: ['missed'] })
    await expect(store.get(['a'])).rejects.toMatchObject(unavailable)
    // Longer than until the connection is asked for a sign of life and given up.
    await delay(6_000)
    proxy.answers = 'pass'
    await eventually(store, 'a').toBe('1')
    await hears('after-the-silence')
    expect(messages).not.toContain('missed')
  })

  test('kill -9 of the server: what was answered is there after its restart, and each batch whole or not at all', async () => {
    const own = await startRedis()
    if ('skip' in own) throw new Error(own.skip)
    ends.push(() => own.stop())
    const store = opened(own.url)
    const messages: string[] = []
    store.watch((message) => messages.push(message))
    let answered = 0
    for (let round = 0; round < 5; round++) {
      let killed: Promise<void> | undefined
      const last = answered + 5 + 7 * round
      const error = await (async () => {
        for (let number = answered + 1; ; number++) {
          if (number > last) killed ??= own.kill()
          const value = bytes(`${number}`.padEnd(3000))
          await store.commit({ sets: ['a', 'b', 'c'].map((key) => ({ key, value })), deletes: ['d'] })
          answered = number
        }
      })().catch((reason: unknown) => reason)
      expect(error).toMatchObject(unavailable)
      await killed
      await own.start()
      await eventually(store, 'a').not.toContain('StoreUnavailable')
      const { entries } = await store.get(['a', 'b', 'c'])
      expect(new Set(entries.map((entry) => entry?.version)).size).toBe(1)
      const found = Number(text(entries[0]?.value))
      // One more was perhaps written, and its answer lost.
      expect([answered, answered + 1]).toContain(found)
      answered = found
    }
    expect(answered).toBeGreaterThan(20)
    const other = opened(own.url)
    await expect.poll(() => other.commit({ notify: ['again'] }).then(() => messages)).toContain('again')
  })

  test.each([
    ['a failover that was ordered', 'failover'],
    ['a master that died (SIGKILL)', 'crash'],
  ] as const)('Sentinel, %s: the store follows the master, and hears it', async (_, failure) => {
    const group = await startRedisSentinel()
    if ('skip' in group) throw new Error(group.skip)
    ends.push(() => group.stop())
    const to = {
      sentinels: [{ host: '127.0.0.1', port: group.sentinelPort }],
      name: group.name,
      password: group.password,
    }
    const [store, other] = [opened(to), opened(to)]
    const messages: string[] = []
    other.watch((message) => messages.push(message))
    await set(store, 'a', '1')
    const hears = (sent: string) =>
      expect
        .poll(() => store.commit({ notify: [sent] }).then(() => messages, String), { interval: 100 })
        .toContain(sent)
    await hears('before')
    await group[failure]()
    await hears('after')
    await eventually(other, 'a').toBe('1')
    const written = () =>
      set(store, 'a', '2').then(
        () => true,
        () => false,
      )
    await expect.poll(written).toBe(true)
    await expect.poll(() => group.masterHas('{countersign}:entries', 'a')).toMatch(/2$/)
  })

  test('a wrong password is StoreUnavailable, and no error shows passwords, keys or values', async () => {
    const wrong = opened({ port: server.port, host: '127.0.0.1', password: 'top-secret-password' })
    const refused = await failure(set(wrong, 'top-secret-key', 'top-secret-value'))
    expect(refused).toMatchObject({ ...unavailable, message: expect.stringContaining('WRONGPASS') })
    const { store, proxy } = await behindProxy()
    proxy.answers = 'drop'
    const before = proxy.requested
    const lost = failure(set(store, 'top-secret-key', 'top-secret-value'))
    await expect.poll(() => proxy.requested).toBeGreaterThan(before)
    proxy.cut()
    for (const error of [refused, await lost]) {
      expect(inspect(error, { depth: 10, showHidden: true })).not.toMatch(/top-secret/)
    }
  })
})
