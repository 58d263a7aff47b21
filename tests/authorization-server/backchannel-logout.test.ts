import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { openid } from '../../src/upstream/openid.ts'
import { stopped } from '../store/movable-clock.ts'
import { CookieJar, type OidcProvider, signInAt, signOutAt, startOidcProvider } from '../support/oidc-provider.ts'
import { upstreamWorld, type World, type WorldOptions, worldUrl } from '../support/upstream-world.ts'
import { type Lie, startLyingProvider } from '../upstream/lying-provider.ts'

const path = '/authorize/logout/openid'
const event = 'http://schemas.openid.net/event/backchannel-logout'
const tell = (world: World, token: string) => world.respond(path, new URLSearchParams({ logout_token: token }))

describe('a real provider', () => {
  let provider: OidcProvider
  const told: { world?: World; statuses: number[] } = { statuses: [] }
  // What stands between the provider and a server of ours in this process.
  const front = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    const answer = await told.world?.respond(path, new URLSearchParams(body))
    told.statuses.push(answer?.status ?? 0)
    response.writeHead(answer?.status ?? 404, Object.fromEntries(answer?.headers ?? []))
    response.end(await answer?.text())
  })
  beforeAll(async () => {
    front.listen(0, '127.0.0.1')
    await once(front, 'listening')
    const { port } = front.address() as AddressInfo
    provider = await startOidcProvider({ logoutUri: `http://127.0.0.1:${port}/` })
  })
  afterAll(async () => {
    front.close()
    front.closeAllConnections()
    await provider.stop()
  })

  const server = () => {
    const { issuer, clientId, clientSecret } = provider
    told.world = upstreamWorld(openid({ issuer, clientId, clientSecret }))
    return told.world
  }

  test('signing out there ends that session’s grants and browser session here, at once, and nobody else’s', async () => {
    const world = server()
    const jar = new CookieJar()
    const browser = world.newBrowser()
    const alice = await world.connect((url) => signInAt(url, { jar }), { browser })
    const elsewhere = await world.connect((url) => signInAt(url))
    const bob = await world.connect((url) => signInAt(url, { login: 'bob' }))
    for (const { accessToken } of [alice, elsewhere, bob]) expect((await world.call(accessToken)).status).toBe(200)

    await signOutAt(provider, jar)
    expect(told.statuses.at(-1)).toBe(200)
    expect((await world.call(alice.accessToken)).status).toBe(401)
    expect((await world.refresh(alice)).body.error).toBe('invalid_grant')
    // Another sign-in of the same person, in another browser, is another session.
    for (const { accessToken } of [elsewhere, bob]) expect((await world.call(accessToken)).status).toBe(200)
    expect(world.events).toContainEqual(
      expect.objectContaining({ type: 'upstream.logged_out', sub: 'sub-alice', sessions: 1, grants: 1 }),
    )
    // Nothing is begun by the old browser session: the provider is asked who is there now.
    const { visit } = await world.arrive((url) => signInAt(url, { login: 'carol', jar: new CookieJar() }), { browser })
    expect(visit.left?.searchParams.get('code') ?? visit.text).toBeTruthy()
    expect(world.events.filter(({ type }) => type === 'sign_in.succeeded')).toHaveLength(4)
  })
})

describe('logout tokens', () => {
  let provider: Awaited<ReturnType<typeof startLyingProvider>>
  beforeAll(async () => {
    provider = await startLyingProvider()
  })
  afterAll(() => provider.stop())
  beforeEach(() => provider.tell({}))

  let serial = 0
  const now = () => Math.floor(Date.now() / 1000)
  const logoutToken = (said: object = {}, lie: Lie = {}, typ = 'logout+jwt') => {
    provider.tell({ ...lie })
    const claims = { email: undefined, events: { [event]: {} }, jti: `jti-${++serial}`, sid: 'sid-1', ...said }
    return provider.jwt(claims, typ)
  }
  const server = (options: object = {}, shared: WorldOptions = {}) =>
    upstreamWorld(openid({ issuer: provider.issuer, clientId: 'me', clientSecret: 'secret', ...options }), shared)
  const atProvider = (claims: object = { sid: 'sid-1' }) => {
    return async (url: string) => {
      provider.tell({ claims: { ...claims } })
      return (await fetch(url, { redirect: 'manual' })).headers.get('location') ?? ''
    }
  }
  const connected = async (world: World, claims?: object) => world.connect(atProvider(claims))

  test('the truth is believed, by sid or by sub, or the lies below would show nothing', async () => {
    for (const who of [{}, { sub: undefined }, { sid: undefined }, { exp: undefined }]) {
      const world = server()
      const signedIn = await connected(world)
      expect((await world.call(signedIn.accessToken)).status).toBe(200)
      const answer = await tell(world, await logoutToken(who))
      expect([answer.status, await answer.text()]).toEqual([200, ''])
      expect(answer.headers.get('cache-control')).toBe('no-store')
      expect((await world.call(signedIn.accessToken)).status).toBe(401)
    }
  })

  test('an untyped one counts; one of another type does not', async () => {
    const world = server()
    const signedIn = await connected(world)
    expect((await tell(world, await logoutToken({}, {}, 'at+jwt'))).status).toBe(400)
    expect((await world.call(signedIn.accessToken)).status).toBe(200)
    expect((await tell(world, await logoutToken({}, {}, 'JWT'))).status).toBe(200)
    expect((await world.call(signedIn.accessToken)).status).toBe(401)
  })

  const forged: Record<string, readonly [object, Lie?]> = {
    'another issuer': [{ iss: 'https://evil.example.com' }],
    'another audience': [{ aud: 'other' }],
    'no audience': [{ aud: undefined }],
    'no iat': [{ iat: undefined }],
    'an old one': [{ iat: 1_700_000_000 }],
    'of the future': [{ iat: 4_000_000_000 }],
    expired: [{ exp: 1_700_000_000 }],
    'no jti': [{ jti: undefined }],
    'no events': [{ events: undefined }],
    'another event': [{ events: { 'http://schemas.openid.net/event/other': {} } }],
    'an event that is no object': [{ events: { [event]: 'yes' } }],
    'an id_token: with a nonce': [{ nonce: 'of a sign-in' }],
    'neither sub nor sid': [{ sub: undefined, sid: undefined }],
    'a sid that is no text': [{ sid: 7 }],
    'the sid with another person’s sub': [{ sub: 'sub-2' }],
    'another sid': [{ sid: 'sid-2' }],
    'another person': [{ sid: undefined, sub: 'sub-2' }],
    unsigned: [{}, { signature: 'none' }],
    'signed with our secret': [{}, { signature: 'HS256' }],
    'signed by somebody else': [{}, { signature: 'foreign' }],
    'signed with a key that is not published': [{}, { signature: 'unknown key' }],
  }
  const harmless = ['the sid with another person’s sub', 'another sid', 'another person']
  test.each(Object.keys(forged))('%s ends nothing', async (what) => {
    const [said = {}, lie = {}] = forged[what] ?? []
    const world = server()
    const signedIn = await connected(world)
    const answer = await tell(world, await logoutToken(said, lie))
    if (harmless.includes(what)) expect(answer.status).toBe(200)
    else {
      expect([answer.status, ((await answer.json()) as { error: string }).error]).toEqual([400, 'invalid_request'])
      expect(world.types()).toContain('upstream.logout_refused')
    }
    expect((await world.call(signedIn.accessToken)).status).toBe(200)
    expect((await world.refresh(signedIn)).status).toBe(200)
  })

  test('what is no token, twice, none, JSON, GET, or for a provider that is not there', async () => {
    const world = server()
    const good = await logoutToken()
    const bodies = [
      new URLSearchParams({ logout_token: 'abc' }),
      new URLSearchParams({}),
      new URLSearchParams([
        ['logout_token', good],
        ['logout_token', good],
      ]),
      JSON.stringify({ logout_token: good }),
    ]
    for (const body of bodies) expect((await world.respond(path, body)).status).toBe(400)
    expect((await world.auth.respond(new Request(`${worldUrl}${path}?logout_token=${good}`)))?.status).toBe(405)
    const other = new Request(`${worldUrl}/authorize/logout/other`, {
      method: 'POST',
      body: bodies[0] as URLSearchParams,
    })
    expect(await world.auth.respond(other)).toBeUndefined()
    const huge = new URLSearchParams({ logout_token: 'a'.repeat(200_000) })
    expect((await world.respond(path, huge)).status).toBe(413)
  })

  test('replayed: it counts once, also on another node, and who signed in again stays', async () => {
    const world = server()
    const other = server({}, world)
    await connected(world, { sid: 'sid-1', iat: now() - 5 })
    const token = await logoutToken({ sid: undefined, iat: now() - 3 })
    expect((await tell(world, token)).status).toBe(200)
    const again = await connected(world, { sid: 'sid-2' })
    for (const node of [world, other]) expect((await tell(node, token)).status).toBe(400)
    expect((await other.call(again.accessToken)).status).toBe(200)
    // Even a fresh token about an earlier time does not end what began later.
    expect((await tell(world, await logoutToken({ sid: undefined, iat: now() - 3 }))).status).toBe(200)
    expect((await world.call(again.accessToken)).status).toBe(200)
  })

  test('what is no logout token is counted by its address; the provider’s own are not, however many', async () => {
    const world = server()
    const signedIn = await connected(world)
    const from = async (remoteAddress: string, token: string) => {
      const request = new Request(worldUrl + path, {
        method: 'POST',
        body: new URLSearchParams({ logout_token: token }),
      })
      return (await world.auth.respond(request, { remoteAddress })) as Response
    }
    for (let count = 0; count < 120; count++) {
      expect((await from('192.0.2.8', await logoutToken({ sid: 'sid of another' }))).status).toBe(200)
    }
    for (let count = 0; count < 100; count++) {
      expect((await from('2001:db8::1', count % 2 === 0 ? 'abc' : 'e30.e30.AAAA')).status).toBe(400)
    }
    const good = await logoutToken()
    // Another address of the same network.
    const limited = await from('2001:db8::2', good)
    expect([limited.status, Number(limited.headers.get('retry-after')) > 0]).toEqual([429, true])
    expect((await world.call(signedIn.accessToken)).status).toBe(200)
    expect(world.events).toContainEqual(expect.objectContaining({ reason: 'rate_limit_per_address' }))
    expect((await from('192.0.2.8', good)).status).toBe(200)
    expect((await world.call(signedIn.accessToken)).status).toBe(401)
  })

  test('attack: another customer of the same provider, whose logouts it sends here from the same address, shuts nobody out', async () => {
    const world = server()
    const signedIn = await connected(world)
    const from = async (token: string) => {
      const body = new URLSearchParams({ logout_token: token })
      const request = new Request(worldUrl + path, { method: 'POST', body })
      return ((await world.auth.respond(request, { remoteAddress: '192.0.2.8' })) as Response).status
    }
    const before = provider.keyRequests
    for (let count = 0; count < 60; count++) {
      expect(await from(await logoutToken({ aud: 'another customer' }))).toBe(400)
      expect(await from(await logoutToken({ iss: 'https://another.example' }, { signature: 'unknown key' }))).toBe(400)
    }
    expect(provider.keyRequests).toBe(before)
    expect(await from(await logoutToken())).toBe(200)
    expect((await world.call(signedIn.accessToken)).status).toBe(401)
  })

  test('where nobody says where they come from, they are counted together, more generously', async () => {
    const world = server()
    const signedIn = await connected(world)
    const send = async (token: string) => {
      const body = new URLSearchParams({ logout_token: token })
      return (await world.auth.respond(new Request(worldUrl + path, { method: 'POST', body }))) as Response
    }
    for (let count = 0; count < 110; count++) expect((await send('abc')).status).toBe(400)
    expect((await send(await logoutToken({ sid: 'sid of another' }))).status).toBe(200)
    await world.store.increment('limit/logout/unknown', 10_000 - 110, 600_000)
    const good = await logoutToken()
    expect((await send(good)).status).toBe(429)
    expect(world.events).toContainEqual(expect.objectContaining({ reason: 'rate_limit_total' }))
    // Not for those whose address is known, and not for ever.
    const known = new Request(worldUrl + path, { method: 'POST', body: new URLSearchParams({ logout_token: 'abc' }) })
    expect((await world.auth.respond(known, { remoteAddress: '192.0.2.8' }))?.status).toBe(400)
    await world.store.increment('limit/logout/unknown', -1, 600_000)
    expect((await send(good)).status).toBe(200)
    expect((await world.call(signedIn.accessToken)).status).toBe(401)
  })

  test('two providers: one can’t sign out the people of the other', async () => {
    const one = server({ id: 'openid' })
    const signedIn = await connected(one)
    const foreign = server({ clientId: 'somebody else' }, one)
    const answer = await tell(foreign, await logoutToken({ aud: 'me' }))
    expect(answer.status).toBe(400)
    expect((await one.call(signedIn.accessToken)).status).toBe(200)
  })

  test('the provider’s keys can’t be had: 503, and the next try works', async () => {
    const world = server()
    const signedIn = await connected(world)
    const restarted = server({}, world)
    const token = await logoutToken()
    provider.tell({ keysStatus: 500 })
    expect((await tell(restarted, token)).status).toBe(503)
    expect((await world.call(signedIn.accessToken)).status).toBe(200)
    provider.tell({})
    await restarted.clock.pass(3_000)
    expect((await tell(restarted, token)).status).toBe(200)
    expect((await world.call(signedIn.accessToken)).status).toBe(401)
  })

  test('attack: while the provider’s keys can’t be had nobody is shut out by what nobody can check, and it is asked seldom, whoever sends how many', async () => {
    const clock = stopped()
    const world = server({}, { clock })
    const signedIn = await connected(world)
    const restarted = server({}, { clock, store: world.store })
    const token = await logoutToken()
    const from = async (remoteAddress: string, logout_token: string) => {
      const request = new Request(worldUrl + path, { method: 'POST', body: new URLSearchParams({ logout_token }) })
      return ((await restarted.auth.respond(request, { remoteAddress })) as Response).status
    }
    provider.tell({ keysStatus: 500 })
    const before = provider.keyRequests
    for (let count = 0; count < 120; count++) expect(await from('192.0.2.9', token)).toBe(503)
    expect(provider.keyRequests).toBe(before + 1)
    await clock.pass(3_000)
    expect(await from('192.0.2.9', token)).toBe(503)
    expect(provider.keyRequests).toBe(before + 2)
    // What can be told to be none is still counted, and by itself.
    for (let count = 0; count < 100; count++) expect(await from('192.0.2.10', 'abc')).toBe(400)
    expect(await from('192.0.2.10', token)).toBe(429)
    provider.tell({})
    await clock.pass(3_000)
    expect(await from('192.0.2.9', token)).toBe(200)
    expect((await world.call(signedIn.accessToken)).status).toBe(401)
  })

  test('keys that are known are used while they can’t be had anew: what names another does not hinder who tells the truth', async () => {
    const world = server()
    const signedIn = await connected(world)
    const foreign = { signature: 'unknown key', keysStatus: 500 } as const
    const status = async (lie: Lie) => (await tell(world, await logoutToken({}, lie))).status
    // At first the keys were read so lately that a key which is not among them is nobody's.
    await expect.poll(() => status(foreign)).toBe(503)
    expect(await status({ keysStatus: 500 })).toBe(200)
    expect((await world.call(signedIn.accessToken)).status).toBe(401)
  })

  test('a session that is just being made: the logout comes while our token request is under way', async () => {
    const store: { world?: World } = {}
    const loggingOut: typeof fetch = async (input, init) => {
      const response = await fetch(input, init)
      if (!String(input instanceof Request ? input.url : input).endsWith('/token')) return response
      const body = await response.text()
      // The id_token was made, and we have not read it yet.
      const token = await logoutToken()
      expect((await tell(store.world as World, token)).status).toBe(200)
      return new Response(body, response)
    }
    const world = server({}, { fetch: loggingOut })
    store.world = world
    const { visit } = await world.arrive(atProvider())
    expect(visit.left).toBeUndefined()
    expect(visit.status).toBe(403)
    expect(world.types()).not.toContain('code.issued')
    expect(world.types()).not.toContain('sign_in.succeeded')
  })

  test('told late: an id_token that came with a refresh since then makes no new sign-in of the old one', async () => {
    for (const options of [{}, { scopes: ['openid', 'offline_access'] }]) {
      const world = server({ revalidate: 'on_refresh', ...options })
      const browser = world.newBrowser()
      const begun = now()
      const signedIn = await world.connect(atProvider({ iat: begun }), { browser })
      await world.clock.pass(20_000)
      provider.tell({ claims: { iat: begun + 20 } })
      expect((await world.refresh(signedIn)).status).toBe(200)
      expect(world.types()).toContain('upstream.refreshed')
      expect((await tell(world, await logoutToken({ sid: undefined, iat: begun + 10 }))).status).toBe(200)
      expect(world.events.findLast(({ type }) => type === 'upstream.logged_out')).toMatchObject({ sessions: 1 })
      expect((await world.call(signedIn.accessToken)).status).toBe('scopes' in options ? 200 : 401)
      // The browser is signed out in any case.
      await expect(world.connect(() => Promise.reject(new Error('asked the provider')), { browser })).rejects.toThrow(
        'asked the provider',
      )
    }
  })

  test('a grant that is just being made: its code is worth nothing', async () => {
    const world = server()
    const { client, verifier, visit } = await world.arrive(atProvider())
    expect((await tell(world, await logoutToken())).status).toBe(200)
    const answer = await world.post(
      '/token',
      new URLSearchParams({
        client_id: client.client_id ?? '',
        client_secret: client.client_secret ?? '',
        grant_type: 'authorization_code',
        code: visit.left?.searchParams.get('code') ?? '',
        code_verifier: verifier,
        redirect_uri: 'http://127.0.0.1:9/callback',
      }),
    )
    expect(answer.error).toBe('invalid_grant')
  })

  test('by policy grants outlive it: with offline access, or where that is said; browser sessions never do', async () => {
    for (const options of [{ scopes: ['openid', 'offline_access'] }, { logoutEnds: 'sessions' }] as const) {
      const world = server(options)
      const browser = world.newBrowser()
      const signedIn = await world.connect(atProvider(), { browser })
      const again = await world.connect(() => Promise.reject(new Error('signed in already')), { browser })
      expect((await tell(world, await logoutToken())).status).toBe(200)
      for (const each of [signedIn, again]) {
        expect((await world.call(each.accessToken)).status).toBe(200)
        expect((await world.refresh(each)).status).toBe(200)
      }
      const before = world.types().filter((type) => type === 'sign_in.succeeded').length
      await world.connect(atProvider({ sid: 'sid-3' }), { browser })
      expect(world.types().filter((type) => type === 'sign_in.succeeded')).toHaveLength(before + 1)
    }
    const world = server({ scopes: ['openid', 'offline_access'], logoutEnds: 'grants' })
    const signedIn = await connected(world)
    expect((await tell(world, await logoutToken())).status).toBe(200)
    expect((await world.call(signedIn.accessToken)).status).toBe(401)
  })
})
