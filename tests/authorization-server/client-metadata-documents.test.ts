import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { metadataEndpoint } from '../../src/authorization-server/metadata.ts'
import { clientRef } from '../../src/records/client.ts'
import { memory } from '../../src/store/memory.ts'
import { movable } from '../store/movable-clock.ts'
import {
  answered,
  approved,
  eventTypes,
  issuer,
  redeem,
  refresh,
  registered,
  revoke,
  signedIn,
  type TestServer,
  type TestServerOptions,
  testServer,
} from '../support/authorization-server.ts'
import { type DocumentServer, documentServer } from '../support/document-server.ts'
import { unreliable } from '../support/unreliable-store.ts'

const minute = 60_000
const hour = 60 * minute

let web: DocumentServer
let client: { client_id: string }
beforeEach(async () => {
  web = await documentServer()
  client = { client_id: `${web.origin}/client.json` }
})
afterEach(() => web.stop())

const serverFor = (options: TestServerOptions = {}) => testServer({ documents: { loopback: true }, ...options })

/** As the authorization endpoint does it. */
async function look({ server }: TestServer, id = client.client_id) {
  const { values, now } = await server.records.get(clientRef(id))
  const resolved = await server.clientMetadataDocuments?.resolve(id, values[0], now)
  if (!resolved) throw new Error('no documents here')
  return resolved
}

const kindOf = async (to: TestServer, id?: string) => (await look(to, id)).kind
const nameOf = async (to: TestServer) => {
  const resolved = await look(to)
  return resolved.kind === 'client' ? resolved.client.value.name : resolved
}

test('it is advertised where it is there', async () => {
  const advertised = async ({ server }: TestServer) => {
    const { body } = await answered(await metadataEndpoint(server, new Request(issuer)))
    return (body as unknown as Record<string, unknown>).client_id_metadata_document_supported
  }
  expect(await advertised(await serverFor())).toBe(true)
  expect(await advertised(await testServer())).toBeUndefined()
})

describe('fault 10: HTTP caching with a cap', () => {
  const askedAfter = async (to: TestServer, ms: number) => {
    await to.pass(ms)
    const before = web.requests.length
    expect(await kindOf(to)).toBe('client')
    return web.requests.length > before
  }

  test.each([
    ['max-age=1800', 29, 31],
    ['max-age=1, must-revalidate', 4, 6],
    ['no-store', 4, 6],
    ['max-age=31536000, immutable', 11 * 60, 13 * 60],
    [undefined, 59, 61],
  ])('%s: not asked again after %i minutes, but after %i', async (header, fresh, stale) => {
    const to = await serverFor()
    if (header !== undefined) web.headers = { 'Cache-Control': header }
    expect(await askedAfter(to, 0)).toBe(true)
    expect(await askedAfter(to, 0)).toBe(false)
    expect(await askedAfter(to, fresh * minute)).toBe(false)
    expect(await askedAfter(to, (stale - fresh) * minute)).toBe(true)
  })

  test('it is asked for with its ETag, and “not modified” makes the copy fresh again', async () => {
    const to = await serverFor()
    web.headers = { ETag: '"one"', 'Cache-Control': 'max-age=600' }
    expect(await nameOf(to)).toBe('Published App')
    web.answer = (request, response) => {
      response.writeHead(request.headers['if-none-match'] === '"one"' ? 304 : 500, { 'Cache-Control': 'max-age=600' })
      response.end()
    }
    for (let turn = 1; turn <= 3; turn++) {
      await to.pass(11 * minute)
      expect([await nameOf(to), await nameOf(to)]).toEqual(['Published App', 'Published App'])
      expect(web.requests).toHaveLength(1 + turn)
    }
    expect(web.requests.map(({ ifNoneMatch }) => ifNoneMatch)).toEqual([undefined, '"one"', '"one"', '"one"'])
    expect(eventTypes(to)).toEqual(['client.document_read'])
  })

  test('changes take effect', async () => {
    const to = await serverFor()
    const first = await look(to)
    web.metadata = { client_name: 'Renamed', redirect_uris: ['https://other.example.net/callback'] }
    await to.pass(2 * hour)
    const second = await look(to)
    expect(first).toMatchObject({ client: { value: { name: 'Published App' } } })
    expect(second).toMatchObject({
      client: { value: { name: 'Renamed', redirectUris: ['https://other.example.net/callback'] } },
    })
    expect(to.events.filter(({ type }) => type === 'client.document_read')).toMatchObject([
      { changed: false, name: 'Published App', redirectHosts: ['app.example.net', '127.0.0.1'] },
      { changed: true, name: 'Renamed', redirectHosts: ['other.example.net'] },
    ])
  })

  test('nodes share the copy', async () => {
    const clock = movable()
    const store = memory({ clock })
    const [one, two] = [await serverFor({ clock, store }), await serverFor({ clock, store })]
    expect([await kindOf(one), await kindOf(two)]).toEqual(['client', 'client'])
    expect(web.requests).toHaveLength(1)
  })
})

describe('fault 10: one fetch at a time', () => {
  test('in one process and in the cluster', async () => {
    const clock = movable()
    const store = memory({ clock })
    const nodes = await Promise.all([1, 2, 3, 4].map(() => serverFor({ clock, store })))
    const { answer } = web
    web.answer = (request, response) => void setTimeout(answer, 300, request, response)
    const kinds = await Promise.all(nodes.flatMap((node) => [1, 2, 3, 4, 5].map(() => kindOf(node))))
    expect(new Set(kinds)).toEqual(new Set(['client']))
    expect(web.requests).toHaveLength(1)
  })

  test('a process that died while it fetched keeps nobody for longer than its lease', async () => {
    const clock = movable()
    const store = unreliable(memory({ clock }))
    const to = await serverFor({ clock, store })
    // It has the lease, and doesn't know.
    store.mishaps.push('applied, answer lost')
    await expect(look(to)).rejects.toThrow()
    expect(web.requests).toHaveLength(0)
    setTimeout(() => void clock.pass(20_000), 500)
    expect(await kindOf(to)).toBe('client')
  })
})

describe('fault 10: failures are remembered briefly', () => {
  test.each([
    ['gone', 404],
    ['gone', 410],
    ['unreachable', 500],
    ['unreachable', 429],
    ['unreachable', 403],
  ])('%s (%i): asked once by all nodes for some seconds, then again', async (kind, status) => {
    const clock = movable()
    const store = memory({ clock })
    const [one, two] = [await serverFor({ clock, store }), await serverFor({ clock, store })]
    const { answer } = web
    web.answer = (_request, response) => void response.writeHead(status).end()
    for (const to of [one, two, one]) expect(await kindOf(to)).toBe(kind)
    expect(web.requests).toHaveLength(1)
    web.answer = answer
    await clock.pass(30_000)
    expect(await kindOf(two)).toBe('client')
    expect(eventTypes(one)).toEqual(['client.document_failed'])
  })

  test('what is no document of this client is not taken, and the operator reads why', async () => {
    const to = await serverFor()
    for (const [path, metadata, reason] of [
      ['/a', { client_id: client.client_id }, 'client_id'],
      ['/b', { redirect_uris: [] }, 'redirect_uris'],
      ['/c', { client_name: '' }, 'client_name'],
      ['/d', { token_endpoint_auth_method: 'client_secret_basic' }, 'token_endpoint_auth_method'],
    ] as const) {
      web.metadata = metadata
      expect(await look(to, web.origin + path)).toEqual({ kind: 'invalid', reason: expect.stringContaining(reason) })
    }
    web.answer = (_request, response) => void response.setHeader('Content-Type', 'application/json').end('{"a"')
    expect(await look(to, `${web.origin}/e`)).toMatchObject({ kind: 'invalid', reason: expect.stringMatching(/JSON/) })
    web.answer = (_request, response) => void response.writeHead(302, { Location: '/other' }).end()
    expect(await look(to, `${web.origin}/f`)).toMatchObject({ kind: 'invalid' })
    expect(web.requests.map(({ path }) => path)).toEqual(['/a', '/b', '/c', '/d', '/e', '/f'])
  })
})

describe('who is asked', () => {
  test('without the option for development, nothing of this computer', async () => {
    const to = await testServer({ documents: {} })
    expect(await kindOf(to)).toBe('refused')
    expect(await kindOf(to, client.client_id.replace('http:', 'https:'))).toBe('refused')
    expect(web.requests).toEqual([])
  })

  test('domain rules hold at once, for a fresh copy too', async () => {
    const clock = movable()
    const store = memory({ clock })
    expect(await kindOf(await serverFor({ clock, store }))).toBe('client')
    for (const rules of [{ deny: ['127.0.0.1'] }, { allow: ['example.com'] }]) {
      const to = await serverFor({ clock, store, documents: { loopback: true, ...rules } })
      expect(await look(to)).toEqual({ kind: 'refused', reason: expect.stringContaining('not allowed') })
    }
    const to = await serverFor({ clock, store, documents: { loopback: true, allow: ['127.0.0.1'] } })
    expect(await kindOf(to)).toBe('client')
  })

  test('a client that the operator registered under a URL is never fetched', async () => {
    const to = await serverFor()
    const { records } = to.server
    await kindOf(to)
    const [stored] = (await records.get(clientRef(client.client_id))).values
    if (!stored) throw new Error('no client')
    const { document: _, ...rest } = stored.value
    await records.commit({
      puts: [{ ref: stored.ref, value: { ...rest, source: 'configured', name: 'Ours' }, ttl: undefined }],
    })
    await to.pass(100 * hour)
    expect(await nameOf(to)).toBe('Ours')
    expect(web.requests).toHaveLength(1)
  })

  test('at the token endpoint nobody without a grant of that client can make us ask', async () => {
    const to = await serverFor()
    const other = await registered(to)
    const { refresh_token: foreign } = await signedIn(to, other)
    for (const token of [foreign, `cs_rt_${'a'.repeat(22)}.${'a'.repeat(22)}.0.k.${'a'.repeat(43)}`, 'nonsense']) {
      const { status, body } = await refresh(to, client, token)
      expect([400, 401]).toContain(status)
      expect(['invalid_grant', 'invalid_client']).toContain(body.error)
    }
    expect((await revoke(to, client, 'nonsense')).status).toBe(200)
    expect(web.requests).toEqual([])
  })
})

describe('a session of such a client', () => {
  async function connected(options: TestServerOptions = {}) {
    const to = await serverFor(options)
    await look(to)
    const tokens = await signedIn(to, client)
    return { to, token: tokens.refresh_token }
  }

  async function next(to: TestServer, token: string): Promise<string> {
    const { status, body } = await refresh(to, client, token)
    expect([status, body.error]).toEqual([200, undefined])
    return body.refresh_token
  }

  test('redeems and refreshes as a public client; a secret is refused', async () => {
    const { to, token } = await connected()
    const second = await next(to, token)
    const { status, body } = await refresh(to, client, second, { client_secret: 'anything' })
    expect([status, body.error]).toEqual([401, 'invalid_client'])
    await next(to, second)
    expect(web.requests).toHaveLength(1)
  })

  test('a refresh with a fresh copy reads no more than that of a registered client', async () => {
    const clock = movable()
    const store = unreliable(memory({ clock }))
    const { to, token } = await connected({ clock, store })
    const registeredClient = await registered(to)
    const { refresh_token: other } = await signedIn(to, registeredClient)
    const callsOf = async (act: () => Promise<unknown>) => {
      const before = { ...store.calls }
      await act()
      return [store.calls.get - before.get, store.calls.commit - before.commit]
    }
    const published = await callsOf(() => next(to, token))
    expect(await callsOf(() => refresh(to, registeredClient, other))).toEqual(published)
  })

  test('while the document is out of reach, the last good copy serves up to the cap, then 503', async () => {
    const { to, token } = await connected()
    web.setDown(true)
    let current = token
    for (const hours of [2, 10, 11]) {
      await to.pass(hours * hour)
      current = await next(to, current)
    }
    await to.pass(2 * hour)
    const { status, headers, body } = await refresh(to, client, current)
    expect([status, body.error, headers.get('retry-after')]).toEqual([503, 'temporarily_unavailable', '5'])
    expect(JSON.stringify(body)).not.toContain('127.0.0.1')
    web.setDown(false)
    await to.pass(minute)
    await next(to, current)
  })

  test('one that is slow keeps nobody waiting who has a copy', async () => {
    const { to, token } = await connected()
    await to.pass(2 * hour)
    const { answer } = web
    const waiting: (() => void)[] = []
    web.answer = (request, response) => void waiting.push(() => answer(request, response))
    await next(to, token)
    await expect.poll(() => waiting.length).toBe(1)
    waiting[0]?.()
    await expect.poll(() => nameOf(to)).toBe('Published App')
    expect(web.requests).toHaveLength(2)
  })

  test('one that is broken for a while costs no session, but in the end it does', async () => {
    const { to, token } = await connected()
    await to.pass(2 * hour)
    web.metadata = { client_id: 'https://other.example/client.json' }
    const second = await next(to, token)
    await to.pass(30 * hour)
    const { status, body } = await refresh(to, client, second)
    expect([status, body.error]).toEqual([401, 'invalid_client'])
  })

  test('fault 10: one that is gone is invalid_client at once', async () => {
    for (const gone of [404, 410]) {
      const { to, token } = await connected()
      await to.pass(2 * hour)
      const { answer } = web
      web.answer = (_request, response) => void response.writeHead(gone).end()
      for (let turn = 0; turn < 2; turn++) {
        const { status, body } = await refresh(to, client, token)
        expect([status, body.error]).toEqual([401, 'invalid_client'])
      }
      expect((await to.server.records.get(clientRef(client.client_id))).values[0]).toBeUndefined()
      web.answer = answer
    }
  })

  test('a dead refresh token is invalid_grant, also when the copy is long gone', async () => {
    const { to, token } = await connected()
    expect((await revoke(to, client, token)).status).toBe(200)
    for (const pass of [0, 100 * hour]) {
      await to.pass(pass)
      const { status, body } = await refresh(to, client, token)
      expect([status, body.error]).toEqual([400, 'invalid_grant'])
    }
    expect(web.requests).toHaveLength(1)
  })

  test('it can revoke, also when the copy is long gone', async () => {
    const { to, token } = await connected()
    await to.pass(100 * hour)
    expect((await revoke(to, client, token)).status).toBe(200)
    expect((await refresh(to, client, token)).body.error).toBe('invalid_grant')
  })

  test('a code is redeemed although the document went out of reach meanwhile', async () => {
    const to = await serverFor()
    await look(to)
    const code = await approved(to, client)
    web.setDown(true)
    expect((await redeem(to, client, code)).status).toBe(200)
  })

  test('where documents are turned off, their clients are unknown', async () => {
    const clock = movable()
    const store = memory({ clock })
    const { token } = await connected({ clock, store })
    const off = await testServer({ clock, store })
    expect((await refresh(off, client, token)).body.error).toBe('invalid_client')
  })

  test('a document that lists no refresh tokens gets none', async () => {
    web.metadata = { grant_types: ['authorization_code'] }
    const to = await serverFor()
    await look(to)
    const { body } = await redeem(to, client, await approved(to, client))
    expect([typeof body.access_token, body.refresh_token]).toEqual(['string', undefined])
  })
})
