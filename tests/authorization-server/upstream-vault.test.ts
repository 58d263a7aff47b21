import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { ClientOptions } from '../../src/index.ts'
import { openid } from '../../src/upstream/openid.ts'
import { dpopKey } from '../support/dpop-key.ts'
import { type OidcProvider, signInAt, startOidcProvider } from '../support/oidc-provider.ts'
import { type Connected, upstreamWorld, type World, worldUrl } from '../support/upstream-world.ts'

let provider: OidcProvider
beforeAll(async () => {
  provider = await startOidcProvider()
})
afterAll(() => provider.stop())
afterEach(() => provider.control({ mode: 'normal', listen: true, disabled: [] }))

const secret = 'a client secret of more than 32 characters'
const accessTokenType = 'urn:ietf:params:oauth:token-type:access_token'
const clients: readonly ClientOptions[] = [
  { id: 'notes', secret, exchange: { serves: ['/mcp'], upstream: ['openid'] } },
  { id: 'others', secret, exchange: { serves: ['/other'], upstream: ['openid'], from: ['*'] } },
  { id: 'without', secret, exchange: { serves: ['/mcp'] } },
  { id: 'elsewhere', secret, exchange: { serves: ['/mcp'], upstream: ['another'] } },
  {
    id: 'app',
    secret,
    redirectUris: ['http://127.0.0.1:9/callback'],
    exchange: { serves: ['/mcp'], upstream: ['openid'] },
  },
]
const server = () => {
  const { issuer, clientId, clientSecret } = provider
  const another = openid({ id: 'another', name: 'Another', issuer, clientId, clientSecret })
  return upstreamWorld(openid({ issuer, clientId, clientSecret }), { clients, others: [another] })
}
const alice = (url: string) => signInAt(url)

const ask = async (
  world: World,
  client: string,
  { accessToken }: Pick<Connected, 'accessToken'>,
  more: object = {},
) => {
  const form = {
    client_id: client,
    client_secret: secret,
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token: accessToken,
    subject_token_type: accessTokenType,
    audience: provider.issuer,
    ...more,
  }
  const response = await world.respond('/token', new URLSearchParams(form))
  return { status: response.status, body: (await response.json()) as Record<string, unknown> }
}
/** Whose the token is, at the provider. */
const whose = async (token: unknown) => {
  const answer = await fetch(`${provider.issuer}/me`, { headers: { authorization: `Bearer ${token}` } })
  return answer.ok ? ((await answer.json()) as { sub: string }).sub : answer.status
}

describe('a resource server that is called by a person', () => {
  test('gets the provider’s token of exactly that person, with its scope and life, and it is audited', async () => {
    const world = server()
    const people = [await world.connect(alice), await world.connect((url) => signInAt(url, { login: 'bob' }))]
    const answers = await Promise.all(people.map((person) => ask(world, 'notes', person)))
    expect(await Promise.all(answers.map(({ body }) => whose(body.access_token)))).toEqual(['sub-alice', 'sub-bob'])
    const { status, body } = answers[0] ?? {}
    expect(status).toBe(200)
    expect(body).toMatchObject({
      token_type: 'Bearer',
      issued_token_type: accessTokenType,
      scope: 'openid profile email',
    })
    expect(body?.expires_in).toBeGreaterThan(3_000)
    expect(Object.keys(body ?? {})).not.toContain('refresh_token')
    const handed = world.events.filter(({ type }) => type === 'upstream.handed_out')
    expect(handed).toHaveLength(2)
    expect(handed[0]).toMatchObject({ clientId: 'notes', provider: 'openid', resource: `${worldUrl}/mcp` })
    expect(JSON.stringify(world.events)).not.toContain(String(body?.access_token))
  })

  test('one that has expired is renewed first, once for all who ask', async () => {
    const world = server()
    const connected = await world.connect(alice)
    const before = (await provider.requests()).refresh_token ?? 0
    await world.clock.pass(3_600_000)
    const renewed = await world.refresh(connected)
    const token = { accessToken: String(renewed.body.access_token) }
    const answers = await Promise.all([1, 2, 3].map(() => ask(world, 'notes', token)))
    expect(new Set(answers.map(({ body }) => body.access_token)).size).toBe(1)
    expect(await whose(answers[0]?.body.access_token)).toBe('sub-alice')
    expect((await provider.requests()).refresh_token).toBe(before + 1)
  })

  test('scopes can be checked, and not widened', async () => {
    const world = server()
    const connected = await world.connect(alice)
    expect((await ask(world, 'notes', connected, { scope: 'email' })).status).toBe(200)
    expect((await ask(world, 'notes', connected, { scope: 'email admin' })).body.error).toBe('invalid_scope')
  })
})

describe('attacks: who must not have it', () => {
  const cases: Record<string, readonly [string, object?]> = {
    'a server of another resource, whatever other clients’ tokens it may exchange': ['others'],
    'a server to which the operator gave no provider': ['without'],
    'a server to which the operator gave another provider': ['elsewhere'],
    'a wrong secret': ['notes', { client_secret: 'another secret of more than 32 characters' }],
    'with an actor': ['notes', { actor_token: 'x', actor_token_type: accessTokenType }],
    'asking for two at once': ['notes', { resource: `${worldUrl}/other` }],
    'asking for another issuer': ['notes', { audience: 'https://evil.example.com' }],
    'asking for what only looks like the issuer': ['notes', { audience: 'issuer/' }],
  }
  test.each(Object.keys(cases))('%s', async (what) => {
    const world = server()
    const connected = await world.connect(alice)
    const [client = '', more = {}] = cases[what] ?? []
    const asked = 'audience' in more && more.audience === 'issuer/' ? { audience: `${provider.issuer}/` } : more
    const { status, body } = await ask(world, client, connected, asked)
    expect(status).toBeGreaterThanOrEqual(400)
    expect(status).toBeLessThan(500)
    expect(body.access_token).toBeUndefined()
    expect(world.types()).not.toContain('upstream.handed_out')
  })

  test('the MCP client itself, registered or known, with its own token', async () => {
    const world = server()
    const connected = await world.connect(alice)
    const form = { client_secret: connected.client.client_secret ?? '' }
    const own = await ask(world, connected.client.client_id ?? '', connected, form)
    expect([own.status, own.body.access_token]).toEqual([400, undefined])

    const browser = world.newBrowser()
    const verifier = 'a'.repeat(43)
    const { createHash } = await import('node:crypto')
    const query = new URLSearchParams({
      ...{ response_type: 'code', client_id: 'app', redirect_uri: 'http://127.0.0.1:9/callback', scope: 'read' },
      code_challenge: createHash('sha256').update(verifier).digest('base64url'),
      ...{ code_challenge_method: 'S256', resource: `${worldUrl}/mcp`, state: 's' },
    })
    const consent = await browser.open(`${worldUrl}/authorize?${query}`)
    const { left } = await browser.submit(await browser.submit(consent, 'approve'), 'openid')
    const back = await browser.open(await signInAt(left?.href ?? ''))
    const tokens = await world.post(
      '/token',
      new URLSearchParams({
        ...{ grant_type: 'authorization_code', client_id: 'app', client_secret: secret, code_verifier: verifier },
        ...{ code: back.left?.searchParams.get('code') ?? '', redirect_uri: 'http://127.0.0.1:9/callback' },
      }),
    )
    expect(tokens.access_token).toBeTruthy()
    const asked = await ask(world, 'app', { accessToken: tokens.access_token ?? '' })
    expect(asked.body).toMatchObject({ error: 'invalid_target' })
    expect((await ask(world, 'notes', { accessToken: tokens.access_token ?? '' })).status).toBe(200)
  })

  test('with a token that was revoked, is forged, or is the provider’s own', async () => {
    const world = server()
    const connected = await world.connect(alice)
    const { body } = await ask(world, 'notes', connected)
    for (const accessToken of [`${connected.accessToken}x`, String(body.access_token), connected.refreshToken]) {
      expect((await ask(world, 'notes', { accessToken })).body.error).toBe('invalid_request')
    }
    const form = { token: connected.accessToken, ...connected.client }
    expect((await world.respond('/revoke', new URLSearchParams(form))).status).toBe(200)
    expect((await ask(world, 'notes', connected)).body.error).toBe('invalid_request')
  })
})

describe('attacks: tokens and proofs of DPoP', () => {
  const tokenUrl = `${worldUrl}/token`
  const post = async (world: World, form: Readonly<Record<string, string>>, proof: string) => {
    const request = new Request(tokenUrl, { method: 'POST', headers: { dpop: proof }, body: new URLSearchParams(form) })
    const response = await world.auth.respond(request)
    return { status: response?.status, body: (await response?.json()) as Record<string, unknown> }
  }
  const exchangeForm = (accessToken: string) => ({
    ...{ client_id: 'notes', client_secret: secret, audience: provider.issuer },
    ...{ grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange', subject_token_type: accessTokenType },
    subject_token: accessToken,
  })
  const key = (world: World) => dpopKey(() => world.clock.now())

  test('a bound token, without a proof or with one of another key: it is refused with the reason, and becomes no bearer token', async () => {
    const world = server()
    const connected = await world.connect(alice)
    const theirs = await key(world)
    const form = { ...connected.client, grant_type: 'refresh_token', refresh_token: connected.refreshToken }
    const { body } = await post(world, form, await theirs.proof('POST', tokenUrl))
    expect(body.token_type).toBe('DPoP')
    const accessToken = String(body.access_token)
    const own = await key(world)
    for (const { body: refused, status } of [
      await ask(world, 'notes', { accessToken }),
      await post(world, exchangeForm(accessToken), await own.proof('POST', tokenUrl)),
    ]) {
      expect([status, refused.error]).toEqual([400, 'invalid_request'])
      expect(refused.error_description).toContain('subject_token is bound to a key (cnf)')
      expect(refused.access_token).toBeUndefined()
      expect(world.events.at(-1)).toMatchObject({ type: 'exchange.refused', reason: 'subject_token: binding' })
    }
    // Nor is it told to whom the token is of no use anyway.
    expect((await ask(world, 'notes', { accessToken: `${accessToken.slice(0, -4)}AAAA` })).body).toMatchObject({
      error_description: 'subject_token is not valid (any more)',
    })
    expect(world.types()).not.toContain('upstream.handed_out')
  })

  test('a proof that was used before gets nothing, and nothing is audited as handed out, nor asked of the provider', async () => {
    const world = server()
    const connected = await world.connect(alice)
    await world.clock.pass(3_600_000)
    const accessToken = String((await world.refresh(connected)).body.access_token)
    const proof = await (await key(world)).proof('POST', tokenUrl)
    const used = { ...connected.client, grant_type: 'refresh_token', refresh_token: connected.refreshToken }
    expect((await post(world, used, proof)).status).toBe(200)
    const asked = (await provider.requests()).refresh_token ?? 0
    const replayed = await post(world, exchangeForm(accessToken), proof)
    expect([replayed.status, replayed.body.error]).toEqual([400, 'invalid_dpop_proof'])
    expect(world.types()).not.toContain('upstream.handed_out')
    expect(world.events.at(-1)).toMatchObject({ type: 'exchange.refused', reason: 'dpop_replayed' })
    expect((await provider.requests()).refresh_token ?? 0).toBe(asked)
    const fresh = await post(world, exchangeForm(accessToken), await (await key(world)).proof('POST', tokenUrl))
    expect(await whose(fresh.body.access_token)).toBe('sub-alice')
    expect(world.types().filter((type) => type === 'upstream.handed_out')).toHaveLength(1)
  })
})

describe('when there is none', () => {
  test('the provider is down: 503, and nothing of its words; it has ended the session: the person must sign in again', async () => {
    const world = server()
    const connected = await world.connect(alice)
    await world.clock.pass(3_600_000)
    const token = { accessToken: String((await world.refresh(connected)).body.access_token) }
    await provider.control({ mode: 'error' })
    const down = await ask(world, 'notes', token)
    expect([down.status, down.body.error]).toEqual([503, 'temporarily_unavailable'])
    expect(JSON.stringify(down.body)).not.toContain('10.0.0.7')
    await provider.control({ mode: 'normal', disabled: ['alice'] })
    await world.clock.pass(6_000)
    const ended = await ask(world, 'notes', token)
    expect([ended.status, ended.body.error]).toEqual([400, 'invalid_target'])
  })

  test('a configuration that could hand out nothing is refused at start', () => {
    const { issuer, clientId, clientSecret } = provider
    const wrong = [{ id: 'notes', secret, exchange: { upstream: ['openid'] } }]
    expect(() => upstreamWorld(openid({ issuer, clientId, clientSecret }), { clients: wrong })).toThrow(
      'exchange.serves',
    )
    const misspelt = [{ id: 'notes', secret, exchange: { serves: ['/mcp'], upstream: ['openid', 'opened'] } }]
    expect(() => upstreamWorld(openid({ issuer, clientId, clientSecret }), { clients: misspelt })).toThrow(
      /clients\[0\]\.exchange\.upstream\[1\].*one of the providers \(openid\)/,
    )
  })
})
