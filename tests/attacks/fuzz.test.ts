import fc from 'fast-check'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { afterEach, beforeAll, expect, test } from 'vitest'
import { idJagType, jwtBearerGrantType } from '../../src/oauth/assertion.ts'
import { tokenExchangeGrantType } from '../../src/oauth/token-exchange.ts'
import {
  type AttackedClient,
  createTarget,
  elsewhere,
  ISSUER,
  passwords,
  RESOURCE,
  type Target,
  upstreamSecrets,
  verifier,
} from './support/target.ts'

// Whatever is sent anywhere: no 5xx but a well-formed 503, no exception, no hang, no token, no text of the sender's in a header or as markup.

let target: Target
let client: AttackedClient
let known: readonly string[]
let cookies: string

const limits = { registration: { perAddress: 1_000_000, total: 1_000_000 } }
const marker = '<img src=x onerror=alert(1)>'

beforeAll(async () => {
  const { privateKey, publicKey } = await generateKeyPair('ES256')
  const jwks = { keys: [await exportJWK(publicKey)] }
  const workloads = [{ client: 'worker', subject: 'nobody' }]
  target = await createTarget({
    ...limits,
    upstream: [passwords, elsewhere('a')],
    clients: [{ id: 'worker', scopes: { '/mcp': ['notes:read'] } }],
    assertions: [
      { kind: 'enterprise', issuer: 'https://acme.example', provider: 'acme', jwks },
      { kind: 'workload', issuer: 'https://platform.example', provider: 'platform', audience: ISSUER, jwks, workloads },
    ],
  })
  const now = Math.floor(target.clock.now() / 1000)
  // Signed as they should be, by who is trusted; but for nothing that there is.
  const asserted = await Promise.all(
    ['https://acme.example', 'https://platform.example'].map((iss) =>
      new SignJWT({ iss, sub: 'alice', aud: ISSUER, iat: now, exp: now + 3_000, jti: 'one', client_id: 'worker' })
        .setProtectedHeader({ alg: 'ES256', ...(iss.includes('acme') ? { typ: idJagType } : {}) })
        .sign(privateKey),
    ),
  )
  client = await target.register()
  const browser = target.browser()
  const tokens = await target.tokens(client)
  const page = await browser.open(target.authorizeUrl(client))
  const [, form] = browser.filled(page, 'approve')
  const foreign = await target.code(client)
  cookies = browser.cookieHeader
  // Things that mean something here, so that the generator gets past the first check.
  known = [
    client.id,
    client.redirectUri,
    ISSUER,
    RESOURCE,
    verifier,
    ...asserted,
    tokens.access_token.slice(0, -4),
    tokens.refresh_token.slice(0, -2),
    foreign.code.slice(0, -2),
    form.get('interaction') ?? '',
    `${form.get('csrf')}`.slice(0, -1),
    'authorization_code',
    'refresh_token',
    jwtBearerGrantType,
    tokenExchangeGrantType,
    'client_credentials',
    'code',
    'S256',
    'notes:read',
    'none',
    'Alice',
    marker,
    '\r\nSet-Cookie: evil=1',
    '%0d%0aLocation: https://evil.example',
    '__proto__',
    '\u0000',
    '\ud800',
    '💥'.repeat(50),
    'a'.repeat(5_000),
  ]
})

afterEach(() => {
  expect(target.log.filter((line) => line.includes('could not answer') || line.includes('could not be made'))).toEqual(
    [],
  )
})

const names = [
  'response_type',
  'client_id',
  'redirect_uri',
  'scope',
  'state',
  'code_challenge',
  'code_challenge_method',
  'resource',
  'prompt',
  'max_age',
  'login_hint',
  'interaction',
  'csrf',
  'shown',
  'decision',
  'provider',
  'username',
  'password',
  'grant_type',
  'code',
  'code_verifier',
  'refresh_token',
  'client_secret',
  'token',
  'token_type_hint',
  'iss',
  'error',
  'error_description',
  'response',
  '__proto__',
  'client_assertion',
  'client_assertion_type',
  'assertion',
  'subject_token',
  'subject_token_type',
  'actor_token',
  'audience',
  'logout_token',
  'ui_locales',
  'dpop_jkt',
  'request',
  'request_uri',
]
const paths = [
  '/authorize',
  '/authorize/consent',
  '/authorize/sign-in',
  '/authorize/account',
  '/authorize/callback/a',
  '/authorize/callback/local',
  '/token',
  '/par',
  '/register',
  '/revoke',
  '/introspect',
  '/authorize/logout/a',
  '/authorize/logout/local',
  '/healthz',
  '/readyz',
  '/jwks',
  '/.well-known/oauth-authorization-server',
  '/.well-known/oauth-protected-resource/mcp',
  '/.well-known/oauth-protected-resource',
  '/mcp',
  '/',
]
const forms = [
  '/token',
  '/par',
  '/revoke',
  '/introspect',
  '/authorize/consent',
  '/authorize/sign-in',
  '/authorize/account',
  '/authorize/logout/a',
]

const value = () =>
  fc.oneof(
    fc.constantFrom(...known),
    fc.string({ unit: 'binary', maxLength: 40 }),
    fc.webUrl({ withQueryParameters: true, withFragments: true }),
  )
const pairs = () =>
  fc.array(
    fc.tuple(
      fc.oneof(
        { weight: 9, arbitrary: fc.constantFrom(...names) },
        { weight: 1, arbitrary: fc.string({ maxLength: 12 }) },
      ),
      value(),
    ),
    { maxLength: 14 },
  )
const headers = () =>
  fc.dictionary(
    fc.constantFrom(
      'authorization',
      'origin',
      'referer',
      'host',
      'x-forwarded-host',
      'x-forwarded-proto',
      'x-forwarded-for',
      'forwarded',
      'accept',
      'sec-fetch-site',
      'x-http-method-override',
      'content-encoding',
      'content-type',
      'dpop',
      'mcp-method',
      'mcp-name',
      'mcp-session-id',
      'mcp-protocol-version',
      'cookie',
      'accept-language',
      'range',
      'if-none-match',
      'expect',
    ),
    fc.oneof(
      fc.constantFrom(
        'null',
        ISSUER,
        'https://evil.example',
        'same-origin',
        'none',
        'gzip',
        'application/json',
        'application/x-www-form-urlencoded',
        'application/X-WWW-form-urlencoded; charset=utf-16',
        'Basic Og==',
        'Basic YTpi',
        'Bearer x',
        'bytes=0-1',
        'tools/call',
        '=?base64?!!?=',
      ),
      fc.stringMatching(/^[\x21-\x7e][\x20-\x7e]{0,60}$/),
    ),
    { maxKeys: 5 },
  )
const encoded = (list: readonly (readonly [string, string])[]): string =>
  new URLSearchParams(list.map(([name, text]) => [name, text])).toString()

/** What must be true of any answer to whom has nothing. */
const isHarmless = async (response: Response, sent: string) => {
  const text = await response.text()
  const type = response.headers.get('content-type') ?? ''
  expect(
    response.status < 500 || (response.status === 503 && response.headers.has('retry-after')),
    `${response.status} to ${sent}`,
  ).toBe(true)
  for (const name of response.headers.keys()) expect(['evil', 'x-evil']).not.toContain(name)
  expect(response.headers.getSetCookie().join()).not.toContain('evil=')
  const location = response.headers.get('location')
  if (location !== null)
    expect(
      location.startsWith(`${ISSUER}/authorize/`) ||
        location.startsWith(`${client.redirectUri}?`) ||
        location.startsWith('https://a.example/'),
      location,
    ).toBe(true)
  if (type.startsWith('application/json') && text !== '') {
    const body = JSON.parse(text) as Record<string, unknown>
    for (const name of ['access_token', 'refresh_token', 'id_token'])
      expect(Object.hasOwn(body, name), sent).toBe(false)
    if (response.status >= 400) expect(String(body.error_description ?? '')).toMatch(/^[\x20-\x21\x23-\x5b\x5d-\x7e]*$/)
  } else if (type === 'text/plain') {
    // A probe's word.
    expect(['', 'ok\n', 'unavailable\n', 'GET, HEAD\n']).toContain(text)
  } else if (text !== '') {
    expect(type).toBe('text/html; charset=utf-8')
    expect(text).not.toContain(marker)
    expect(text).not.toMatch(/<script|javascript:/i)
  }
  expect(text).not.toContain(upstreamSecrets.accessToken)
  // A stack, a path, an engine's text.
  expect(text).not.toMatch(/node_modules|\.ts:\d|at async|SQLITE|ECONN/)
}

const within = <T>(promise: Promise<T>): Promise<T> =>
  Promise.race([
    promise,
    new Promise<never>((_, reject) => setTimeout(() => reject(new Error('it hangs')), 120_000).unref()),
  ])

test('any parameters by GET, at any path', async () => {
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...paths), pairs(), headers(), fc.boolean(), async (path, list, more, mine) => {
      const url = `${ISSUER}${path}?${encoded(list)}`
      const request = new Request(url, { headers: { ...more, ...(mine ? { cookie: cookies } : {}) } })
      await isHarmless(await within(target.send(request)), url)
    }),
    { numRuns: 1_500 },
  )
})

test('any authorization request that is nearly right', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...names),
      value(),
      fc.option(fc.constantFrom(...names), { nil: undefined }),
      async (name, text, without) => {
        const url = target.authorizeUrl(client, {
          [name]: text,
          ...(without === undefined ? {} : { [without]: undefined }),
        })
        await isHarmless(await within(target.send(new Request(url, { headers: { cookie: cookies } }))), url)
      },
    ),
    { numRuns: 1_000 },
  )
})

test('any form at any endpoint, with and without the right type', async () => {
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...forms), pairs(), headers(), fc.boolean(), async (path, list, more, mine) => {
      const body = encoded(list)
      const request = new Request(ISSUER + path, {
        method: 'POST',
        body,
        headers: { 'content-type': 'application/x-www-form-urlencoded', ...more, ...(mine ? { cookie: cookies } : {}) },
      })
      await isHarmless(await within(target.send(request)), `${path} ${body}`)
    }),
    { numRuns: 1_500 },
  )
})

test('any token request that is nearly right', async () => {
  const base = { client_id: client.id, redirect_uri: client.redirectUri, code_verifier: verifier, resource: RESOURCE }
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(
        'authorization_code',
        'refresh_token',
        'client_credentials',
        jwtBearerGrantType,
        tokenExchangeGrantType,
      ),
      fc.constantFrom(...names),
      value(),
      value(),
      async (grant_type, name, text, token) => {
        const answer = await target.post('/token', {
          grant_type,
          ...base,
          code: token,
          refresh_token: token,
          assertion: token,
          subject_token: token,
          [name]: text,
        })
        expect(answer.status).toBeGreaterThanOrEqual(400)
        expect(answer.status).toBeLessThan(500)
        expect(answer.headers.get('cache-control')).toBe('no-store')
      },
    ),
    { numRuns: 1_000 },
  )
})

test('any JSON and any bytes at the registration endpoint', async () => {
  const metadata = fc.record(
    {
      redirect_uris: fc.oneof(fc.array(fc.oneof(fc.webUrl(), value()), { maxLength: 4 }), fc.jsonValue()),
      client_name: fc.oneof(value(), fc.jsonValue()),
      token_endpoint_auth_method: fc.oneof(fc.constantFrom('none', 'client_secret_basic'), fc.jsonValue()),
      grant_types: fc.jsonValue(),
      response_types: fc.jsonValue(),
      logo_uri: value(),
      __proto__: fc.jsonValue(),
    },
    { requiredKeys: [] },
  )
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(
        metadata.map((each) => JSON.stringify(each)),
        fc.json(),
        fc.uint8Array({ maxLength: 60 }),
      ),
      async (body) => {
        const request = new Request(`${ISSUER}/register`, {
          method: 'POST',
          body: body as BodyInit,
          headers: { 'content-type': 'application/json' },
        })
        const response = await within(target.send(request))
        expect([201, 400]).toContain(response.status)
        await isHarmless(response, String(body))
      },
    ),
    { numRuns: 800 },
  )
})

test('any method and any bytes, at any path', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...paths),
      fc.oneof(
        fc.constantFrom('GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'QUERY', 'PROPFIND', 'get', 'Post'),
        fc.stringMatching(/^[A-Z]{1,8}$/),
      ),
      fc.uint8Array({ maxLength: 200 }),
      headers(),
      async (path, method, bytes, more) => {
        const upper = method.toUpperCase()
        if (['CONNECT', 'TRACE', 'TRACK'].includes(upper)) return
        const body = upper === 'GET' || upper === 'HEAD' ? null : (bytes as BodyInit)
        const response = await within(target.send(new Request(ISSUER + path, { method, body, headers: more })))
        await isHarmless(response, `${method} ${path}`)
      },
    ),
    { numRuns: 1_000 },
  )
})

test('anything at the MCP endpoint: without a token nothing gets past the gate', async () => {
  const before = target.reached.length
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), headers(), value(), async (bytes, more, text) => {
      const token = text.replace(/[^\x21-\x7e]/g, '')
      const response = await within(target.call(token, { body: bytes as BodyInit, headers: more }))
      expect([400, 401, 403]).toContain(response.status)
      expect(response.headers.get('cache-control')).toBe('no-store')
    }),
    { numRuns: 800 },
  )
  expect(target.reached.length).toBe(before)
})
