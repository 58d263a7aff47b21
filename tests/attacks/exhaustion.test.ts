import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { hashStrings } from '../../src/crypto/hash.ts'
import { hasDuplicateKeys } from '../../src/mcp/duplicate-keys.ts'
import { readClientCredentials } from '../../src/oauth/client-authentication.ts'
import { memory } from '../../src/store/memory.ts'
import type { Store } from '../../src/store/store.ts'
import { localAccounts } from '../../src/upstream/local.ts'
import { type AttackedClient, createTarget, elsewhere, ISSUER, LOOPBACK, type Target, WEB } from './support/target.ts'

// RFC 6819 §4.4.1.11 and §4.6 (resource exhaustion), RFC 7591 §5; limits that can be walked around, and limits that lock others out.

const open = async (): Promise<{ target: Target; client: AttackedClient }> => {
  const target = await createTarget()
  return { target, client: await target.register({ redirect_uris: [LOOPBACK] }) }
}

const endpoints = [
  ['/token', 'application/x-www-form-urlencoded'],
  ['/revoke', 'application/x-www-form-urlencoded'],
  ['/register', 'application/json'],
  ['/authorize/consent', 'application/x-www-form-urlencoded'],
  ['/authorize/sign-in', 'application/x-www-form-urlencoded'],
] as const

/** A body that is sent on and on, and how much of it was taken. */
const endless = (everyMs: number) => {
  const sent = { bytes: 0, cancelled: false }
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      if (everyMs > 0) await new Promise((resolve) => setTimeout(resolve, everyMs))
      const chunk = new Uint8Array(everyMs > 0 ? 1 : 16_384).fill(0x61)
      sent.bytes += chunk.length
      if (!sent.cancelled) controller.enqueue(chunk)
    },
    cancel() {
      sent.cancelled = true
    },
  })
  return { sent, body }
}

const unbounded = (everyMs: number) => {
  const { sent, body } = endless(everyMs)
  return { sent, init: { body, duplex: 'half' } as RequestInit }
}

/** Moves the timers on until it is there; what else it waits for has no timers. */
const inTime = async <T>(promise: Promise<T>, milliseconds: number): Promise<T> => {
  let settled = false
  const done = () => {
    settled = true
  }
  promise.then(done, done)
  for (let passed = 0; !settled && passed < milliseconds; passed += 1_000) await vi.advanceTimersByTimeAsync(1_000)
  expect(settled, 'an end in time').toBe(true)
  return promise
}

const streamed = (path: string, type: string, body: ReadableStream<Uint8Array>): Request =>
  new Request(ISSUER + path, { method: 'POST', body, headers: { 'content-type': type }, duplex: 'half' } as RequestInit)

describe('bodies', () => {
  test.each(endpoints)('%s: one that never ends is read no further than its bound', async (path, type) => {
    const { target } = await open()
    const { sent, body } = endless(0)
    const response = await target.send(streamed(path, type, body))
    expect(response.status).toBe(413)
    expect(sent.bytes).toBeLessThan(200_000)
    await expect.poll(() => sent.cancelled).toBe(true)
  })

  test.each(endpoints)('%s: one that says it is too large is not read at all', async (path, type) => {
    const { target } = await open()
    const headers = { 'content-type': type, 'content-length': '20971520' }
    const response = await target.send(new Request(ISSUER + path, { method: 'POST', body: 'x', headers }))
    expect(response.status).toBe(413)
  })

  describe('that come byte by byte', () => {
    // One timer looks at all bodies each second, and goes when there are none: each that is begun here is a pretended one.
    beforeAll(() => new Promise((resolve) => setTimeout(resolve, 1_500)))
    beforeEach(() => {
      vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] })
    })
    afterEach(async () => {
      await vi.advanceTimersByTimeAsync(1_000)
      vi.useRealTimers()
    })

    test.each(endpoints)('%s: they are not waited for (slow body)', async (path, type) => {
      const { target } = await open()
      const { sent, body } = endless(1_000)
      expect((await inTime(target.send(streamed(path, type, body)), 300_000)).status).toBe(408)
      expect(sent.bytes).toBeLessThan(60)
    })

    test('at the MCP endpoint neither', async () => {
      const { target, client } = await open()
      const { access_token: token } = await target.tokens(client)
      expect((await inTime(target.call(token, unbounded(1_000).init), 300_000)).status).toBe(400)
    })
  })

  test('at the MCP endpoint one that never ends is read no further than its bound', async () => {
    const { target, client } = await open()
    const { access_token: token } = await target.tokens(client)
    const { sent, init } = unbounded(0)
    expect((await target.call(token, init)).status).toBe(413)
    expect(sent.bytes).toBeLessThan(5_000_000)
  })

  test('many parameters, long ones, deep ones and many registrations at once are refused quickly', async () => {
    const { target, client } = await open()
    const deep = (depth: number) => '['.repeat(depth) + ']'.repeat(depth)
    const json = (body: string) =>
      target.send(
        new Request(`${ISSUER}/register`, { method: 'POST', body, headers: { 'content-type': 'application/json' } }),
      )
    const started = process.cpuUsage()
    const answers = await Promise.all([
      target.post('/token', 'a=b&'.repeat(10_000)),
      target.post(
        '/token',
        `${'resource=x&'.repeat(5_000)}grant_type=refresh_token&refresh_token=x&client_id=${client.id}`,
      ),
      target.post('/token', `grant_type=refresh_token&client_id=${client.id}&refresh_token=${'x'.repeat(60_000)}`),
      target.post(
        '/token',
        `grant_type=refresh_token&client_id=${client.id}&refresh_token=x&scope=${'a+'.repeat(30_000)}`,
      ),
      target.post('/revoke', `client_id=${client.id}&token=${'.'.repeat(60_000)}`),
      json(`{"redirect_uris":${deep(30_000)}}`),
      json(`{"redirect_uris":["${WEB}"],"client_name":"${'a'.repeat(60_000)}"}`),
      json(`{"redirect_uris":["${WEB}"],"client_name":"${'\\u0301'.repeat(10_000)}"}`),
      json(`{"redirect_uris":[${`"${WEB}",`.repeat(1_500)}"x"]}`),
      json(`{"redirect_uris":["${WEB}"],"grant_types":[${'"a",'.repeat(10_000)}"b"]}`),
      target.send(new Request(target.authorizeUrl(client, { state: 'x'.repeat(100_000) }))),
      target.send(new Request(`${target.authorizeUrl(client)}&${'&'.repeat(20_000)}`)),
      target.send(new Request(target.authorizeUrl(client, { resource: Array.from({ length: 1000 }, () => 'x') }))),
    ])
    expect(process.cpuUsage(started).user).toBeLessThan(5_000_000)
    for (const { status } of answers) expect([201, 200, 303, 400, 401, 413, 414]).toContain(status)
  })
})

describe('what strangers have us keep', () => {
  const registering = (key: string) =>
    `{"redirect_uris":["${WEB}"],"token_endpoint_auth_method":"private_key_jwt","jwks":{"keys":[${key}]}}`
  const ec = '"kty":"EC","crv":"P-256","x":"x","y":"y"'
  const deep = '['.repeat(20_000) + ']'.repeat(20_000)

  test('of a key only what makes it one: nothing nested, no certificates, no key beyond any size', async () => {
    const { target } = await open()
    const register = async (body: string) => {
      const headers = { 'content-type': 'application/json' }
      const response = await target.send(new Request(`${ISSUER}/register`, { method: 'POST', body, headers }))
      return { status: response.status, body: (await response.json()) as { client_id?: string; jwks?: object } }
    }
    for (const key of [
      `{"kty":"EC","crv":"P-256","x":${deep},"y":"y"}`,
      `{${ec},"key_ops":${deep}}`,
      `{"kty":${deep}}`,
      `{"kty":"RSA","e":"AQAB","n":"${'A'.repeat(50_000)}"}`,
      `{${ec},"kid":"${'A'.repeat(50_000)}"}`,
    ]) {
      const { status, body } = await register(registering(key))
      expect([status, body]).toMatchObject([400, { error: 'invalid_client_metadata' }])
    }
    const more = `{${ec},"kid":"one","x5c":["${'A'.repeat(20_000)}"],"other":${deep},"use":"sig","key_ops":["verify"]}`
    const kept = { kty: 'EC', crv: 'P-256', x: 'x', y: 'y', kid: 'one', use: 'sig', key_ops: ['verify'] }
    const { status, body } = await register(registering(more))
    expect([status, body.jwks]).toEqual([201, { keys: [kept] }])
    expect((await target.auth.clients.get(body.client_id ?? ''))?.keys).toEqual({ jwks: { keys: [kept] } })
    expect(target.log.join()).not.toContain('RangeError')
  })
})

describe('text that makes a careless parser slow', () => {
  /** Milliseconds of this process alone: the fastest of several runs, since a busy machine makes any one of them slower. */
  const quick = (work: () => unknown): number => {
    const times = Array.from({ length: 5 }, () => {
      const started = process.cpuUsage()
      try {
        work()
      } catch {
        // Refused is as good as read.
      }
      return process.cpuUsage(started).user / 1_000
    })
    return Math.min(...times)
  }

  test('a Basic header of colons, of percent signs, of spaces', () => {
    const header = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`
    for (const text of [
      ':'.repeat(6_000),
      'a:'.repeat(3_000),
      '%41:'.repeat(1_500),
      '%'.repeat(6_000),
      `${' '.repeat(6_000)}:`,
    ]) {
      expect(quick(() => readClientCredentials(header(text), new URLSearchParams()))).toBeLessThan(25)
    }
    for (const text of [`Basic ${' '.repeat(16_000)}`, `${'a'.repeat(16_000)} x`, `Basic ${'='.repeat(16_000)}`]) {
      expect(quick(() => readClientCredentials(text, new URLSearchParams()))).toBeLessThan(25)
    }
  })

  test('4 MiB of quotes, of backslashes, of brackets', () => {
    const size = 2 ** 21
    for (const text of [
      `{"a":"${'\\\\'.repeat(size)}"}`,
      `{"a":"${'\\"'.repeat(size)}"}`,
      `{"${'\\\\'.repeat(size)}":1}`,
      '['.repeat(2 * size),
      '{"a":'.repeat(size / 4),
      `[${'"",'.repeat(size / 2)}""]`,
    ]) {
      expect(quick(() => hasDuplicateKeys(text))).toBeLessThan(2_000)
    }
  })

  test('authorization headers at the gate', async () => {
    const { target } = await open()
    for (const authorization of [
      `Bearer ${','.repeat(16_000)}`,
      `x${', '.repeat(8_000)}`,
      `x,${'\t'.repeat(16_000)}`,
      `Bearer ${'='.repeat(16_000)}`,
      `Bearer ${'a.'.repeat(8_000)}`,
      `Bearer ${'a'.repeat(100_000)}`,
    ]) {
      const times: number[] = []
      for (let run = 0; run < 3; run++) {
        const started = process.cpuUsage()
        expect([400, 401]).toContain((await target.call(undefined, { headers: { authorization } })).status)
        times.push(process.cpuUsage(started).user / 1_000)
      }
      expect(Math.min(...times)).toBeLessThan(500)
    }
  })
})

/** A store that remembers which keys anybody made it keep. */
const counting = () => {
  const kept = { entries: new Set<string>(), counters: new Set<string>() }
  const engine = (clock: { now(): number }): Store => {
    const store = memory({ clock })
    return {
      ...store,
      commit(batch) {
        for (const { key } of batch.sets ?? []) kept.entries.add(key)
        return store.commit(batch)
      },
      increment(key, by, ttl) {
        kept.counters.add(key)
        return store.increment(key, by, ttl)
      },
    }
  }
  return { kept, engine }
}

describe('limits', () => {
  const ipv6 = (at: number) => `2001:db8:1:2::${at.toString(16)}`

  test('authorization requests: one IPv6 network is one address, and fills no store with counters', async () => {
    const { kept, engine } = counting()
    const target = await createTarget({ engine })
    const client = await target.register()
    let refused = 0
    for (let at = 1; at <= 3_010; at++) {
      const { status } = await target.send(new Request(target.authorizeUrl(client)), ipv6(at))
      if (status === 429) refused++
    }
    expect(refused).toBe(10)
    // Of its own, and of the larger network that it is of.
    expect([...kept.counters].filter((key) => key.startsWith('limit/interaction/'))).toHaveLength(2)
    // Others are served as before, and a header makes nobody another.
    expect((await target.send(new Request(target.authorizeUrl(client)), '198.51.100.7')).status).toBe(303)
    const headers = { 'x-forwarded-for': '203.0.113.9', forwarded: 'for=203.0.113.9', 'x-real-ip': '203.0.113.9' }
    expect((await target.send(new Request(target.authorizeUrl(client), { headers }), ipv6(1))).status).toBe(429)
  })

  test('whoever has very many IPv6 networks may do as much as four of them, and one of them uses up no other’s part', async () => {
    const target = await createTarget({ registration: { perAddress: 2, total: 1_000 } })
    const body = JSON.stringify({ redirect_uris: [WEB] })
    const from = async (address: string) => {
      const headers = { 'content-type': 'application/json' }
      return (await target.send(new Request(`${ISSUER}/register`, { method: 'POST', body, headers }), address)).status
    }
    const statuses: number[] = []
    for (let at = 0; at < 20; at++) statuses.push(await from('2001:db8:1::1'))
    for (let at = 1; at < 20; at++) statuses.push(await from(`2001:db8:1:${at.toString(16)}::1`))
    expect(statuses.filter((status) => status === 201)).toHaveLength(8)
    expect(statuses.slice(2, 20)).not.toContain(201)
    expect(statuses.slice(20, 26)).not.toContain(429)
    for (const address of ['2001:db8:2::1', '2001:db8::1', '192.0.2.8']) expect(await from(address)).toBe(201)
  })

  test('registrations: one IPv6 network is one address, headers say nothing, and what is refused is not kept', async () => {
    const { kept, engine } = counting()
    const target = await createTarget({ engine, registration: { perAddress: 5, total: 1_000 } })
    const body = JSON.stringify({ redirect_uris: [WEB] })
    const statuses: number[] = []
    for (let at = 1; at <= 20; at++) {
      const headers = {
        'content-type': 'application/json',
        'x-forwarded-for': `203.0.113.${at}`,
        'client-ip': `203.0.113.${at}`,
      }
      statuses.push(
        (await target.send(new Request(`${ISSUER}/register`, { method: 'POST', body, headers }), ipv6(at))).status,
      )
    }
    expect(statuses.filter((status) => status === 201)).toHaveLength(5)
    expect(statuses.filter((status) => status === 429)).toHaveLength(15)
    expect([...kept.entries].filter((key) => key.startsWith('client/'))).toHaveLength(5)
  })

  test('one sign-in page makes us ask the provider no more often than an address may, however often it is sent', async () => {
    const target = await createTarget({ upstream: [elsewhere('one'), elsewhere('two')] })
    const client = await target.register()
    const page = async (from: string) => {
      const browser = target.browser(from)
      const choice = await browser.submit(await browser.open(target.authorizeUrl(client)), 'approve')
      return async () => (await browser.submit(choice, 'one')).status
    }
    const send = await page('192.0.2.7')
    const others = await page('192.0.2.8')
    await target.store.increment(`limit/sign-in/${hashStrings('192.0.2.7')}`, 2_998, 600_000)
    expect([await send(), await send(), await send(), await others()]).toEqual([303, 303, 429, 303])
    await target.clock.pass(601_000)
    expect(await send()).toBe(303)
  })

  test('where the host tells no addresses, requests are bounded in all', async () => {
    const target = await createTarget()
    const client = await target.register()
    const send = async () => (await target.auth.respond(new Request(target.authorizeUrl(client))))?.status
    expect(await send()).toBe(303)
    await target.store.increment('limit/interaction/unknown', 29_998, 600_000)
    expect([await send(), await send()]).toEqual([303, 429])
    expect((await target.browser().open(target.authorizeUrl(client))).status).toBe(200)
  })

  test('codes for one account, from however many addresses; others have theirs, and a loop through remembered consent ends', async () => {
    const target = await createTarget({ limits: { codesPerAccount: 3 } })
    const client = await target.register()
    const from = async (address: string, who: string) =>
      target.signIn(target.browser(address), target.authorizeUrl(client), who)
    const looping = target.browser('192.0.2.1')
    expect((await target.signIn(looping, target.authorizeUrl(client), 'Mallory')).left).toBeDefined()
    // Granted again, without a page.
    expect((await looping.open(target.authorizeUrl(client))).left?.searchParams.get('code')).toBeTruthy()
    expect((await from('192.0.2.2', 'Mallory')).left).toBeDefined()
    const { status, headers, left } = await from('192.0.2.3', 'Mallory')
    expect([status, Number(headers.get('retry-after')) > 0, left]).toEqual([429, true, undefined])
    expect((await looping.open(target.authorizeUrl(client))).status).toBe(429)
    expect((await from('192.0.2.1', 'Alice')).left?.searchParams.get('code')).toBeTruthy()
    expect(target.events.filter(({ type }) => type === 'code.issued')).toHaveLength(4)
    expect(target.events).toContainEqual(
      expect.objectContaining({
        type: 'authorization.refused',
        reason: 'too many codes for one account',
        clientId: client.id,
      }),
    )
    await target.clock.pass(601_000)
    expect((await looping.open(target.authorizeUrl(client))).left?.searchParams.get('code')).toBeTruthy()
  })

  test('fault 24: what one node counts the others count, too', async () => {
    const shared = memory()
    const secret = 's'.repeat(43)
    const node = () =>
      createTarget({
        ...{ engine: () => shared, secret, clock: undefined, registration: { perAddress: 3, total: 100 } },
        limits: { tokensPerClient: 1, requestsPerAddress: 4, codesPerAccount: 1 },
        clients: [{ id: 'machine', secret, scopes: { '/mcp': ['notes:read'] } }],
      })
    const [one, other] = [await node(), await node()]
    const client = await one.register()
    await other.register()
    await one.register()
    await expect(other.register()).rejects.toThrow('temporarily_unavailable')
    const machine = { grant_type: 'client_credentials', client_id: 'machine', client_secret: secret }
    const statuses = [(await one.post('/token', machine)).status, (await other.post('/token', machine)).status]
    expect(statuses).toEqual([200, 429])
    expect((await one.signIn(one.browser(), one.authorizeUrl(client))).left).toBeDefined()
    expect((await other.signIn(other.browser(), other.authorizeUrl(client))).status).toBe(429)
    const ask = async (target: Target) => (await target.send(new Request(target.authorizeUrl(client)))).status
    expect((await one.signIn(one.browser(), one.authorizeUrl(client), 'Bob')).left).toBeDefined()
    expect([await ask(other), await ask(one)]).toEqual([303, 429])
    for (const target of [one, other]) await target.auth.close()
  })

  test('how much an address may do is the operator’s to say', async () => {
    const target = await createTarget({ limits: { requestsPerAddress: 2 } })
    const client = await target.register()
    const open = async (from: string) => (await target.send(new Request(target.authorizeUrl(client)), from)).status
    expect([await open('192.0.2.1'), await open('192.0.2.1'), await open('192.0.2.1')]).toEqual([303, 303, 429])
    expect(await open('192.0.2.2')).toBe(303)
    const unknown = async () => (await target.auth.respond(new Request(target.authorizeUrl(client))))?.status
    const statuses: (number | undefined)[] = []
    for (let at = 0; at < 21; at++) statuses.push(await unknown())
    expect([statuses.filter((status) => status === 303).length, statuses.at(-1)]).toEqual([20, 429])
  })

  test('guessing names: past the address’s limit nothing more is kept for any name, and nothing for weeks', async () => {
    const { kept, engine } = counting()
    const people = localAccounts({ limits: { perAddress: 3, window: 60_000 } })
    const target = await createTarget({ engine, upstream: people })
    const browser = target.browser()
    const page = await browser.submit(await browser.open(target.authorizeUrl(await target.register())), 'approve')
    // The key by which names are found is made with the first.
    await people.accounts.create({ username: 'ada', password: 'a password of hers' })
    const counters = kept.counters.size
    const entries = kept.entries.size
    const statuses: number[] = []
    for (let at = 0; at < 40; at++) {
      const { status } = await browser.submit(page, undefined, {
        username: `somebody-${at}`,
        password: 'a guess that is wrong',
      })
      statuses.push(status)
    }
    expect(statuses.filter((status) => status === 400)).toHaveLength(3)
    expect(statuses.filter((status) => status === 429)).toHaveLength(37)
    expect(kept.counters.size - counters).toBeLessThanOrEqual(4)
    expect(kept.entries.size - entries).toBe(0)
  })

  test('a password check costs much, so it is done for nobody without an interaction of their own', async () => {
    const target = await createTarget({ upstream: localAccounts() })
    const browser = target.browser()
    const page = await browser.submit(await browser.open(target.authorizeUrl(await target.register())), 'approve')
    const [action, body] = browser.filled(page, undefined, { username: 'a', password: 'a guess that is wrong' })
    const headers = { 'content-type': 'application/x-www-form-urlencoded' }
    const started = process.cpuUsage()
    for (let at = 0; at < 50; at++) {
      const response = await target.send(
        new Request(action, { method: 'POST', body: `${body}`, headers }),
        `198.51.100.${at}`,
      )
      expect(response.status).toBe(403)
    }
    // 50 checks would take 10 s and more, of this process alone.
    expect(process.cpuUsage(started).user).toBeLessThan(4_000_000)
  })

  test('cookies of many interactions: the answer stays small', async () => {
    const { target, client } = await open()
    const browser = target.browser()
    for (let at = 0; at < 30; at++) await browser.open(target.authorizeUrl(client))
    expect(browser.cookies.size).toBeLessThanOrEqual(14)
    expect(browser.cookieHeader.length).toBeLessThan(2_500)
  })
})
