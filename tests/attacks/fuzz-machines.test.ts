import fc from 'fast-check'
import { exportJWK, generateKeyPair } from 'jose'
import { afterEach, beforeAll, expect, test } from 'vitest'
import { clientAssertionType } from '../../src/oauth/client-assertion.ts'
import { tokenExchangeGrantType } from '../../src/oauth/token-exchange.ts'
import { openid } from '../../src/upstream/openid.ts'
import { dpopKey } from '../support/dpop-key.ts'
import { createTarget, ISSUER, passwords, RESOURCE, type Target } from './support/target.ts'

// What fuzz.test.ts does as a stranger, by programs that prove who they are: whatever they send, no 5xx, no exception, no hang, and no token that
// is not theirs.

const SECRET = 'a-secret-of-thirty-two-characters-or-more'
const PROVIDER = 'https://provider.example'

let target: Target
let known: readonly string[]
let own: { readonly id: string; token: string }
let headers: readonly Record<string, string>[]

beforeAll(async () => {
  const { publicKey } = await generateKeyPair('ES256')
  const jwks = { keys: [{ ...(await exportJWK(publicKey)), kid: 'one', alg: 'ES256' }] }
  const metadata = {
    issuer: PROVIDER,
    authorization_endpoint: `${PROVIDER}/authorize`,
    token_endpoint: `${PROVIDER}/token`,
    jwks_uri: `${PROVIDER}/jwks`,
    response_types_supported: ['code'],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: ['ES256'],
  }
  target = await createTarget({
    upstream: [passwords, openid({ issuer: PROVIDER, clientId: 'us', clientSecret: 'a secret' })],
    fetch: async (input) =>
      Response.json(String(input instanceof Request ? input.url : input).endsWith('/jwks') ? jwks : metadata),
    registration: { perAddress: 1_000_000, total: 1_000_000 },
    limits: { tokensPerClient: 1_000_000 },
    clients: [
      // It may exchange what names it in `may_act`, and nothing does.
      { id: 'agent', secret: SECRET, exchange: {} },
      { id: 'asker', secret: SECRET, introspects: ['/other'] },
      // Without a proof it gets nothing.
      { id: 'robot', secret: SECRET, scopes: { '/mcp': ['notes:read'] }, dpopBoundAccessTokens: true },
      { id: 'signer', jwks, scopes: { '/mcp': ['notes:read'] } },
    ],
  })
  const client = await target.register()
  const tokens = await target.tokens(client)
  const response = await target.send(registration('POST', '', { redirect_uris: ['https://app.example.net/other'] }))
  const { client_id: id, registration_access_token: token } = (await response.json()) as Record<string, string>
  own = { id: String(id), token: String(token) }
  const key = await dpopKey()
  const proof = await key.proof('POST', `${ISSUER}/token`)
  headers = [
    {},
    { DPoP: 'a.b.c' },
    { DPoP: proof.slice(0, -2) },
    { DPoP: `${proof}, ${proof}` },
    { Accept: 'application/token-introspection+jwt' },
  ]
  known = [
    tokens.access_token,
    tokens.refresh_token,
    tokens.access_token.slice(0, -4),
    `${tokens.access_token.split('.').slice(0, 2).join('.')}.`,
    proof,
    RESOURCE,
    ISSUER,
    PROVIDER,
    client.id,
    'agent',
    'robot',
    'notes:read',
    'urn:ietf:params:oauth:token-type:access_token',
    clientAssertionType,
    '__proto__',
    '\u0000',
    '\ud800',
    '\r\nSet-Cookie: evil=1',
    'a'.repeat(20_000),
    '{"alg":"none"}',
    'e30.e30.e30',
    'eyJhbGciOiJFUzI1NiIsImtpZCI6Im9uZSJ9.eyJzdWIiOiJzaWduZXIiLCJpc3MiOiJzaWduZXIifQ.AA',
  ]
})

afterEach(() => {
  expect(target.log.filter((line) => line.includes('could not'))).toEqual([])
})

const registration = (method: string, query: string, body: unknown, token?: string): Request =>
  new Request(`${ISSUER}/register${query}`, {
    method,
    ...(method === 'GET' ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    headers: {
      'Content-Type': 'application/json',
      ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
    },
  })

const value = () =>
  fc.oneof(fc.constantFrom(...known), fc.string({ unit: 'binary', maxLength: 40 }), fc.webUrl({ withFragments: true }))

const changes = (...names: string[]) => fc.dictionary(fc.constantFrom(...names), value(), { maxKeys: 4 })

const within = <T>(promise: Promise<T>): Promise<T> =>
  Promise.race([
    promise,
    new Promise<never>((_, reject) => setTimeout(() => reject(new Error('it hangs')), 120_000).unref()),
  ])

/** A refusal in the protocol's own words, and nothing of ours in it. */
const isRefusal = ({ status, headers, body }: Awaited<ReturnType<Target['post']>>) => {
  expect(status).toBeGreaterThanOrEqual(400)
  expect(status).toBeLessThan(500)
  expect(headers.get('cache-control')).toBe('no-store')
  expect(body.error).toMatch(/^[a-z_]+$/)
  expect(String(body.error_description)).toMatch(/^[\x20-\x21\x23-\x5b\x5d-\x7e]*$/)
}

test('any exchange by a client that may exchange nothing of this person', async () => {
  const names = [
    'subject_token',
    'subject_token_type',
    'actor_token',
    'actor_token_type',
    'audience',
    'resource',
    'scope',
    'requested_token_type',
  ]
  await fc.assert(
    fc.asyncProperty(changes(...names), fc.nat(4), async (changed, which) => {
      const form = {
        grant_type: tokenExchangeGrantType,
        client_id: 'agent',
        client_secret: SECRET,
        subject_token: known[0],
        subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
        ...changed,
      }
      isRefusal(await within(target.post('/token', form, headers[which])))
    }),
    { numRuns: 250 },
  )
})

test('any client_credentials without the proof that the client must bring', async () => {
  await fc.assert(
    fc.asyncProperty(changes('resource', 'scope', 'client_secret', 'dpop_jkt'), fc.nat(3), async (changed, which) => {
      const form = { grant_type: 'client_credentials', client_id: 'robot', client_secret: SECRET, ...changed }
      isRefusal(await within(target.post('/token', form, headers[which])))
    }),
    { numRuns: 250 },
  )
})

test('any assertion of a client that has a key', async () => {
  const part = fc.oneof(
    fc.jsonValue().map((json) => Buffer.from(JSON.stringify(json)).toString('base64url')),
    fc
      .record(
        {
          alg: fc.oneof(fc.constantFrom('none', 'ES256', 'RS256', 'HS256', 'EdDSA'), fc.jsonValue()),
          kid: fc.oneof(fc.constant('one'), fc.jsonValue()),
          typ: fc.jsonValue(),
          crit: fc.jsonValue(),
          b64: fc.jsonValue(),
          jwk: fc.jsonValue(),
          jku: fc.webUrl(),
          sub: fc.oneof(fc.constantFrom('signer', 'robot', 'nobody'), fc.jsonValue()),
          iss: fc.constant('signer'),
          aud: fc.oneof(fc.constant(ISSUER), fc.jsonValue()),
          exp: fc.oneof(fc.constant(9_999_999_999), fc.jsonValue()),
        },
        { requiredKeys: [] },
      )
      .map((json) => Buffer.from(JSON.stringify(json)).toString('base64url')),
    fc.base64String({ maxLength: 40 }),
  )
  const assertion = fc.oneof(
    { weight: 4, arbitrary: fc.tuple(part, part, part).map((parts) => parts.join('.')) },
    { weight: 1, arbitrary: value() },
  )
  await fc.assert(
    fc.asyncProperty(assertion, fc.constantFrom('/token', '/par', '/revoke', '/introspect'), async (text, path) => {
      const form = {
        client_assertion_type: clientAssertionType,
        client_assertion: text,
        grant_type: 'client_credentials',
        token: known[0],
      }
      isRefusal(await within(target.post(path, form)))
    }),
    { numRuns: 250 },
  )
})

test('any question of a server about tokens that are not its business', async () => {
  await fc.assert(
    fc.asyncProperty(
      changes('token', 'token_type_hint', 'client_id', 'resource'),
      fc.nat(4),
      async (changed, which) => {
        const body = new URLSearchParams({
          token: String(known[0]),
          client_id: 'asker',
          client_secret: SECRET,
          ...changed,
        })
        const request = new Request(`${ISSUER}/introspect`, {
          method: 'POST',
          body,
          headers: { 'Content-Type': 'application/x-www-form-urlencoded', ...headers[which] },
        })
        const response = await within(target.send(request))
        const text = await response.text()
        expect(response.headers.get('cache-control')).toBe('no-store')
        if (response.status !== 200) {
          expect([400, 401, 403]).toContain(response.status)
          expect(JSON.parse(text)).toMatchObject({ error: expect.any(String) })
        } else if (response.headers.get('content-type') === 'application/json') {
          expect(JSON.parse(text)).toEqual({ active: false })
        } else {
          const [, payload = ''] = text.split('.')
          const { token_introspection: said } = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Record<
            string,
            unknown
          >
          expect(said).toEqual({ active: false })
        }
      },
    ),
    { numRuns: 300 },
  )
})

test('any change by a client of its own registration', async () => {
  const json = fc.oneof(
    fc.record(
      {
        redirect_uris: fc.oneof(fc.array(fc.oneof(fc.webUrl(), value()), { maxLength: 4 }), fc.jsonValue()),
        client_name: fc.oneof(value(), fc.jsonValue()),
        token_endpoint_auth_method: fc.oneof(
          fc.constantFrom('none', 'client_secret_basic', 'private_key_jwt'),
          fc.jsonValue(),
        ),
        jwks: fc.oneof(fc.record({ keys: fc.jsonValue() }), fc.jsonValue()),
        jwks_uri: value(),
        client_secret: fc.jsonValue(),
        grant_types: fc.jsonValue(),
      },
      { requiredKeys: [] },
    ),
    fc.jsonValue(),
  )
  await fc.assert(
    fc.asyncProperty(json, fc.boolean(), async (body, mine) => {
      const about =
        typeof body === 'object' && body !== null && !Array.isArray(body) ? { ...body, client_id: own.id } : body
      const token = mine ? own.token : own.token.slice(0, -2)
      const response = await within(target.send(registration('PUT', `?client_id=${own.id}`, about, token)))
      const answer = (await response.json()) as Record<string, unknown>
      expect(mine ? [200, 400] : [401]).toContain(response.status)
      if (response.status !== 200) {
        expect(answer.error).toMatch(/^[a-z_]+$/)
        return
      }
      expect(answer.client_id).toBe(own.id)
      own.token = String(answer.registration_access_token)
    }),
    { numRuns: 250 },
  )
  const read = await target.send(registration('GET', `?client_id=${own.id}`, undefined, own.token))
  expect(read.status).toBe(200)
})

test('any logout token', async () => {
  const part = fc.oneof(
    fc.jsonValue().map((json) => Buffer.from(JSON.stringify(json)).toString('base64url')),
    fc.constantFrom('eyJhbGciOiJFUzI1NiIsImtpZCI6Im9uZSJ9', 'eyJhbGciOiJub25lIn0', ''),
  )
  const token = fc.oneof(
    fc.tuple(part, part, part).map((parts) => parts.join('.')),
    value(),
  )
  // The limit for what is no logout token is by address, and another test's.
  let from = 0
  await fc.assert(
    fc.asyncProperty(token, fc.constantFrom('openid', 'local'), async (text, provider) => {
      const request = new Request(`${ISSUER}/authorize/logout/${provider}`, {
        method: 'POST',
        body: new URLSearchParams({ logout_token: text }),
      })
      from++
      const response = await within(target.send(request, `198.51.${from >> 8}.${from & 255}`))
      expect(response.status).toBe(400)
      expect(await response.json()).toMatchObject({ error: 'invalid_request' })
      expect(response.headers.get('cache-control')).toBe('no-store')
    }),
    { numRuns: 250 },
  )
})
