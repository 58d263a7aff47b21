import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { checkedClaims } from '../../src/upstream/claims.ts'
import { discord } from '../../src/upstream/discord.ts'
import { parseExactly } from '../../src/upstream/exact-json.ts'
import { github } from '../../src/upstream/github.ts'
import { type Oauth2Options, oauth2 } from '../../src/upstream/oauth2.ts'
import { redirected } from '../support/emulate.ts'
import { plainRequest, redirecting, redirectUri, rejection, testContext } from './context.ts'

type Answer = { readonly status?: number; readonly body: string; readonly headers?: Record<string, string> }
type Asked = { readonly path: string; readonly headers: Record<string, unknown>; readonly body: string }

const json = (value: unknown, status = 200): Answer => ({ status, body: JSON.stringify(value) })

/** A provider of plain OAuth 2.0 that answers what a test wants, and remembers what it was asked. */
const routes = new Map<string, Answer | ((asked: Asked) => Answer)>()
let asked: Asked[] = []
const server = createServer(async (request, response) => {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  const path = `${request.method} ${request.url}`
  const one = { path, headers: { ...request.headers }, body: Buffer.concat(chunks).toString() }
  asked.push(one)
  const route = routes.get(path) ?? json({ message: 'Not Found' }, 404)
  const { status = 200, body, headers = {} } = typeof route === 'function' ? route(one) : route
  response.writeHead(status, { 'content-type': 'application/json', ...headers })
  response.end(body)
})
let origin = ''
beforeAll(async () => {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => {
  server.close()
  server.closeAllConnections()
})

const tokens = { access_token: 'access-1', token_type: 'bearer', scope: 'read,mail' }
beforeEach(() => {
  asked = []
  routes.clear()
  routes.set('POST /token', json(tokens))
  routes.set('GET /me', json({ id: 7, login: 'alice' }))
})

const at = async (more: Partial<Oauth2Options> = {}) => {
  const provider = oauth2({
    id: 'plain',
    name: 'Plain',
    issuer: origin,
    authorizationEndpoint: `${origin}/authorize`,
    tokenEndpoint: `${origin}/token`,
    clientId: 'me',
    clientSecret: 'a secret',
    scopes: ['read', 'mail'],
    scopeSeparator: ',',
    user: { url: `${origin}/me`, subject: 'id' },
    errors: {
      bad_verification_code: 'invalid_grant',
      bad_refresh_token: 'invalid_grant',
      bad_client: 'invalid_client',
    },
    ...more,
  })
  const context = await testContext()
  const open = redirecting(provider.open(context))
  const complete = async (answer: Record<string, string> = {}, request: object = {}) => {
    const { url, pending } = await open.begin({ ...plainRequest, ...request })
    const callback = new URL(redirectUri)
    callback.search = new URLSearchParams({ code: 'code-1', state: 'state-1', ...answer }).toString()
    return { url: new URL(url), signIn: await open.complete(callback, pending, redirectUri) }
  }
  return { open, complete, context, provider }
}

const renewable = { subject: '7', tokens: { accessToken: 'access-1', refreshToken: 'refresh-1' } }

test('the request has state and an S256 challenge, the exchange its verifier; the user API is asked with the new token', async () => {
  const { complete } = await at()
  const { url, signIn } = await complete()
  expect(Object.fromEntries(url.searchParams)).toMatchObject({
    response_type: 'code',
    client_id: 'me',
    redirect_uri: redirectUri,
    scope: 'read mail',
    state: 'state-1',
    code_challenge_method: 'S256',
  })
  const [exchange, user] = asked
  expect(exchange?.body).toMatch(/code_verifier=[\w-]{43}(&|$)/)
  expect(user).toMatchObject({ path: 'GET /me', headers: { authorization: 'Bearer access-1' } })
  expect(signIn).toMatchObject({
    issuer: origin,
    subject: '7',
    said: [{ source: 'userinfo', claims: { id: 7, login: 'alice' } }],
    tokens: { accessToken: 'access-1', scope: 'read mail' },
  })
})

test('a provider that takes no code challenge gets none', async () => {
  const { url } = await (await at({ pkce: false })).complete()
  expect([...url.searchParams.keys()].filter((name) => name.startsWith('code_challenge'))).toEqual([])
  expect(asked[0]?.body).not.toContain('code_verifier')
})

test('origin 8: an id of any size is the subject, digit by digit', async () => {
  const { complete } = await at()
  const ids = ['9007199254740993', '9007199254740992', '123456789012345678901234567890', '1152921504606846977']
  for (const id of ids) {
    routes.set('GET /me', { body: `{"id":${id},"name":"\\"id\\":9007199254740993","far":{"ids":[${id},1.5,-3]}}` })
    const { signIn } = await complete()
    expect(signIn.subject).toBe(id)
    expect(signIn.said[0]?.claims).toEqual({ id, name: '"id":9007199254740993', far: { ids: [id, 1.5, -3] } })
  }
})

test('exact JSON is JSON, but for integers that a number can’t hold', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const text = JSON.stringify(value)
      if (!/\d{16}/.test(text.replaceAll(/"(?:[^"\\]|\\.)*"/g, '')))
        expect(parseExactly(text)).toEqual(JSON.parse(text))
    }),
  )
  fc.assert(
    fc.property(fc.bigInt(), fc.string(), (big, key) => {
      const read = parseExactly(`{${JSON.stringify(`${key}1234567890123456`)}:[${big}]}`) as Record<string, unknown[]>
      expect(String(Object.values(read)[0]?.[0])).toBe(String(big))
    }),
  )
  expect(() => parseExactly('{"id":12345678901234567890')).toThrow(SyntaxError)
})

describe('nobody is signed in by', () => {
  const answers: Record<string, readonly [string, Answer]> = {
    'an id that is missing': ['GET /me', json({ login: 'alice' })],
    'an id that is null': ['GET /me', json({ id: null })],
    'an id that is empty': ['GET /me', json({ id: '' })],
    'an id that is no integer': ['GET /me', { body: '{"id":1.5}' }],
    'an id with an exponent': ['GET /me', { body: '{"id":1e30}' }],
    'a list': ['GET /me', json([{ id: 7 }])],
    'no JSON': ['GET /me', { body: '<html>' }],
    'a refusal': ['GET /me', json({ id: 7, message: 'Bad credentials' }, 401)],
    'a redirect': ['GET /me', { status: 302, body: '', headers: { location: '/me' } }],
    'a token of another type': ['POST /token', json({ ...tokens, token_type: 'mac' })],
    'a token of no type': ['POST /token', json({ access_token: 'access-1' })],
    'no token': ['POST /token', json({ token_type: 'bearer' })],
    'a token beside an error': ['POST /token', json({ ...tokens, error: 'server_error' })],
  }
  for (const [what, [route, answer]] of Object.entries(answers)) {
    test(what, async () => {
      routes.set(route, answer)
      const { complete } = await at()
      const failure = await rejection(complete())
      expect((failure as Error).name).toMatch(/^(SignInRefused|ProviderUnavailable)$/)
      expect((failure as Error).message).not.toMatch(/credentials|html/)
    })
  }
})

test('fault 14: a wrong state, a foreign iss, a code that is not ours', async () => {
  const { complete } = await at()
  expect(await rejection(complete({ state: 'state-2' }))).toMatchObject({ reason: 'untrusted' })
  expect(await rejection(complete({ iss: 'https://evil.example.com' }))).toMatchObject({ reason: 'untrusted' })
  expect((await complete({ iss: origin })).signIn.subject).toBe('7')
  routes.set('POST /token', json({ error: 'bad_verification_code', error_description: 'The code is wrong.' }))
  expect(await rejection(complete())).toMatchObject({ reason: 'untrusted', message: 'sign-in refused: untrusted' })
  expect(await rejection(complete({ error: 'access_denied' }))).toMatchObject({ reason: 'denied' })
})

test('who must sign in again can’t be believed to have done so', async () => {
  const { complete } = await at()
  for (const request of [{ reauthenticate: true }, { maxAge: 60 }]) {
    expect(await rejection(complete({}, request))).toMatchObject({ reason: 'interaction_required' })
  }
  expect(asked).toEqual([])
})

test('an id_token that nobody checks is not kept', async () => {
  routes.set('POST /token', json({ ...tokens, id_token: 'e30.e30.' }))
  expect((await (await at()).complete()).signIn.tokens).not.toHaveProperty('idToken')
})

describe('refresh', () => {
  const refresh = async (answer: Answer) => {
    routes.set('POST /token', answer)
    const { open, context } = await at()
    return { result: open.refresh?.({ issuer: origin, ...renewable }) ?? Promise.reject(), context }
  }

  test('new tokens, and what is said anew', async () => {
    routes.set('GET /me', json({ id: 7, login: 'alice-renamed' }))
    const { result } = await refresh(
      json({ ...tokens, access_token: 'access-2', refresh_token: 'refresh-2', expires_in: 28_800 }),
    )
    expect(await result).toMatchObject({
      tokens: { accessToken: 'access-2', refreshToken: 'refresh-2', expiresAt: expect.any(Number) },
      said: [{ source: 'userinfo', claims: { login: 'alice-renamed' } }],
    })
    expect(asked[0]?.body).toContain('refresh_token=refresh-1')
    expect(asked[1]?.headers.authorization).toBe('Bearer access-2')
  })

  test('an error with status 200 ends the session, and only that one', async () => {
    const ended = (await refresh(json({ error: 'bad_refresh_token' }))).result
    expect(await rejection(ended)).toMatchObject({ name: 'UpstreamRefused' })
    for (const answer of [json({ error: 'bad_client' }), json({ error: 'slow' }), json({}, 503), { body: 'no' }]) {
      expect(await rejection((await refresh(answer)).result)).toMatchObject({ name: 'ProviderUnavailable' })
    }
  })

  test('fault 4: the user API is down: the new tokens are kept, and what was said stays', async () => {
    routes.set('GET /me', json({ message: 'at 10.0.0.7' }, 503))
    const { result, context } = await refresh(json({ ...tokens, refresh_token: 'refresh-2' }))
    expect(await result).toMatchObject({ tokens: { refreshToken: 'refresh-2' }, said: [] })
    expect(context.log.join()).toContain('status 503')
    expect(context.log.join()).not.toContain('10.0.0.7')
  })

  test('another person’s token is no answer', async () => {
    routes.set('GET /me', json({ id: 8 }))
    expect(await rejection((await refresh(json(tokens))).result)).toMatchObject({ name: 'ProviderUnavailable' })
  })
})

describe('more than the user API', () => {
  const more = { emails: '' }
  beforeEach(() => {
    more.emails = `${origin}/emails`
  })
  const claims = async () => {
    const { complete, provider } = await at({ user: { url: `${origin}/me`, subject: 'id', more } })
    return checkedClaims(provider, (await complete()).signIn)
  }

  test('a list is read to its end, at the same origin only', async () => {
    routes.set('GET /emails', { ...json([1]), headers: { link: `<${origin}/emails?page=2>; rel="next"` } })
    const away = { link: `<http://evil.example.com/emails>; rel="next", <${origin}/emails>; rel="first"` }
    routes.set('GET /emails?page=2', { ...json([2]), headers: away })
    expect(await claims()).toMatchObject({ emails: [1, 2] })
  })

  test('what may not be seen is left out; what fails for now fails the sign-in', async () => {
    routes.set('GET /emails', json({ message: 'Resource not accessible by integration' }, 403))
    expect(await claims()).not.toHaveProperty('emails')
    routes.set('GET /emails', { ...json({}, 403), headers: { 'x-ratelimit-remaining': '0' } })
    expect(await rejection(claims())).toMatchObject({ name: 'ProviderUnavailable' })
    routes.set('GET /emails', json({}, 500))
    expect(await rejection(claims())).toMatchObject({ name: 'ProviderUnavailable' })
  })
})

describe('GitHub Enterprise Server', () => {
  const preset = github({ clientId: 'me', clientSecret: 'a-secret', server: 'https://git.example.com/' })
  const openGithub = async () =>
    redirecting(preset.open(await testContext({ fetch: redirected({ 'https://git.example.com': origin }) })))
  beforeEach(() => {
    routes.set('POST /login/oauth/access_token', json({ ...tokens, scope: 'read:user,user:email' }))
    const user = {
      id: 7,
      login: 'alice',
      email: null,
      avatar_url: 'https://a.example.com/7',
      html_url: 'https://git/alice',
    }
    routes.set('GET /api/v3/user', json(user))
  })
  const claims = async () => {
    const open = await openGithub()
    const { pending } = await open.begin(plainRequest)
    return checkedClaims(
      preset,
      await open.complete(new URL(`${redirectUri}?code=c&state=state-1`), pending, redirectUri),
    )
  }

  test('the primary address is the e-mail; what was said is there, too', async () => {
    const emails = [
      { email: 'old@example.com', primary: false, verified: true },
      { email: 'alice@example.com', primary: true, verified: true },
    ]
    routes.set('GET /api/v3/user/emails?per_page=100', json(emails))
    expect(await claims()).toEqual({
      iss: 'https://git.example.com/login/oauth',
      sub: '7',
      id: 7,
      login: 'alice',
      preferred_username: 'alice',
      avatar_url: 'https://a.example.com/7',
      picture: 'https://a.example.com/7',
      html_url: 'https://git/alice',
      profile: 'https://git/alice',
      email: 'alice@example.com',
      email_verified: true,
      emails,
    })
  })

  test('without the permission for addresses, the public one is not called verified', async () => {
    expect(await claims()).toMatchObject({ email: null })
    routes.set('GET /api/v3/user', json({ id: 7, email: 'public@example.com' }))
    expect(await claims()).toMatchObject({ email: 'public@example.com', email_verified: false })
  })

  test('whom GitHub has suspended is blocked: at sign-in, at a check, and at a refresh; its limits are its own trouble', async () => {
    const suspended = json({ message: 'Sorry. Your account was suspended.' }, 403)
    routes.set('GET /api/v3/user', suspended)
    expect(await rejection(claims())).toMatchObject({ name: 'SignInRefused', reason: 'denied' })
    const open = await openGithub()
    const session = { issuer: 'https://git.example.com/login/oauth', ...renewable }
    const check = () => rejection(open.validate?.(session) ?? Promise.resolve())
    expect(await check()).toMatchObject({ name: 'UpstreamRefused' })
    expect(await rejection(open.refresh?.(session) ?? Promise.resolve())).toMatchObject({ name: 'UpstreamRefused' })
    for (const trouble of [
      json({ message: 'API rate limit exceeded for user ID 7.' }, 403),
      json({ message: 'You have exceeded a secondary rate limit.' }, 429),
      json({ message: 'Sorry. Your account was suspended.' }, 502),
      { status: 403, body: '<html>account was suspended</html>' },
      { status: 403, body: 'null' },
    ]) {
      routes.set('GET /api/v3/user', trouble)
      expect(await check()).toMatchObject({ name: 'ProviderUnavailable' })
    }
    routes.set('GET /api/v3/user', json({ message: 'Bad credentials' }, 401))
    expect(await check()).toMatchObject({ name: 'UpstreamRefused' })
  })

  test('who has no verified address there is told no, not that GitHub is out of reach', async () => {
    routes.set('POST /login/oauth/access_token', json({ error: 'unverified_user_email' }))
    expect(await rejection(claims())).toMatchObject({ name: 'SignInRefused', reason: 'denied' })
  })

  test('fault 6: its token, and only its token, is revoked there', async () => {
    routes.set('DELETE /api/v3/applications/me/token', { status: 204, body: '' })
    const open = await openGithub()
    expect(await open.revoke?.({ accessToken: 'access-1' })).toBe('revoked')
    expect(asked.at(-1)).toMatchObject({
      body: '{"access_token":"access-1"}',
      headers: { authorization: `Basic ${btoa('me:a-secret')}` },
    })
    routes.set('DELETE /api/v3/applications/me/token', json({}, 500))
    expect(await rejection(open.revoke?.({ accessToken: 'access-1' }) ?? Promise.resolve())).toMatchObject({
      name: 'ProviderUnavailable',
    })
  })
})

test('Discord: the snowflake is the subject; standard names beside its own', async () => {
  const preset = discord({ clientId: 'me', clientSecret: 'a-secret', guilds: true })
  const user = {
    ...{ id: '80351110224678912', username: 'nelly', global_name: 'Nelly', avatar: '8342729096ea' },
    ...{ email: 'nelly@example.com', verified: true },
  }
  routes.set('POST /api/v10/oauth2/token', json({ ...tokens, scope: 'identify email guilds' }))
  routes.set('GET /api/v10/users/@me', json(user))
  routes.set('GET /api/v10/users/@me/guilds', json([{ id: '197038439483310086', name: 'Testers' }]))
  const open = redirecting(preset.open(await testContext({ fetch: redirected({ 'https://discord.com': origin }) })))
  const { pending } = await open.begin(plainRequest)
  const signIn = await open.complete(new URL(`${redirectUri}?code=c&state=state-1`), pending, redirectUri)
  expect(await checkedClaims(preset, signIn)).toEqual({
    ...user,
    iss: 'https://discord.com',
    sub: user.id,
    preferred_username: 'nelly',
    name: 'Nelly',
    picture: 'https://cdn.discordapp.com/avatars/80351110224678912/8342729096ea.png',
    email_verified: true,
    guilds: [{ id: '197038439483310086', name: 'Testers' }],
  })
})
