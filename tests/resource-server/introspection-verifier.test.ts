import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import type { JsonObject } from '../../src/identity/json.ts'
import { introspection } from '../../src/resource-server/introspection-verifier.ts'
import { verifierOf } from '../../src/resource-server/issuer.ts'
import { movable, stopped } from '../store/movable-clock.ts'

const issuer = 'https://issuer.example.com'
const resource = 'https://notes.example.com/mcp'
const endpoint = `${issuer}/introspect`

const setUp = (change: JsonObject = {}, options: { readonly rememberedFor?: number } = {}) => {
  const clock = movable()
  const asked: Request[] = []
  const whole: JsonObject = {
    active: true,
    iss: issuer,
    sub: 'alice',
    client_id: 'app',
    scope: 'a b',
    aud: resource,
    exp: Math.floor(clock.now() / 1000) + 60,
    department: 'R&D',
    ...change,
  }
  let answer = () => Response.json(whole)
  const verifier = introspection(issuer, {
    clientId: 'notes server',
    clientSecret: 's:ecret',
    endpoint,
    clock,
    fetch: async (url, init) => {
      asked.push(new Request(url, { ...init, redirect: 'manual' }))
      return answer()
    },
    ...options,
  })
  return { verifier, asked, clock, whole, respond: (next: () => Response) => (answer = next) }
}

test('the question: the token in the body, the client form-encoded in the header', async () => {
  const { verifier, asked, whole } = setUp()
  const token = await verifier.verify('opaque', resource)
  expect(token).toMatchObject({ kind: 'user', issuer, subject: 'alice', clientId: 'app', scopes: ['a', 'b'], resource })
  expect(token.claims).toEqual(whole)
  const [request] = asked
  expect([request?.method, request?.url]).toEqual(['POST', endpoint])
  expect(await request?.text()).toBe('token=opaque&token_type_hint=access_token')
  expect(atob(request?.headers.get('authorization')?.slice(6) ?? '')).toBe('notes%20server:s%3Aecret')
  expect(JSON.stringify(token)).not.toContain('opaque')
})

test('origin 7: an issuer that does not name itself is the one that was asked', async () => {
  const { verifier, whole } = setUp({ iss: undefined })
  const token = await verifier.verify('opaque', resource)
  expect([token.issuer, 'iss' in token.claims]).toEqual([issuer, whole.iss !== undefined])
})

test('beside other issuers each opaque token is sent to its own issuer, and a foreign one to nobody', async () => {
  const asked: string[] = []
  const asking = (name: string, recognises?: (token: string) => boolean) =>
    introspection(name, {
      ...{ clientId: 'notes', clientSecret: 'secret', endpoint: `${name}/introspect` },
      ...(recognises && { recognises }),
      async fetch(url, { body }) {
        asked.push(`${url} ${new URLSearchParams(body).get('token')}`)
        const exp = Math.floor(Date.now() / 1000) + 600
        return Response.json({ active: true, sub: 'alice', client_id: 'app', aud: resource, exp })
      },
    })
  const { verify } = verifierOf([
    asking('https://a.example', (token) => token.startsWith('a_')),
    asking('https://b.example', (token) => token.startsWith('b_')),
    asking(issuer),
  ])
  const jwt = (iss: string) => `e30.${btoa(JSON.stringify({ iss })).replaceAll('=', '')}.sig`
  expect((await verify('a_1', resource)).issuer).toBe('https://a.example')
  expect((await verify('b_1', resource)).issuer).toBe('https://b.example')
  expect((await verify(jwt(issuer), resource)).issuer).toBe(issuer)
  expect(asked).toEqual([
    'https://a.example/introspect a_1',
    'https://b.example/introspect b_1',
    `${endpoint} ${jwt(issuer)}`,
  ])
  await expect(verify('c_1', resource)).rejects.toMatchObject({ reason: 'malformed' })
  await expect(verify(jwt('https://c.example'), resource)).rejects.toMatchObject({ reason: 'unknown_issuer' })
  expect(asked).toHaveLength(3)
})

test.each<[string, JsonObject, string]>([
  ['not active', { active: false }, 'revoked'],
  ['active, but no boolean', { active: 'true' }, 'revoked'],
  ['another issuer', { iss: 'https://evil.example' }, 'unknown_issuer'],
  ['another audience', { aud: 'https://other.example' }, 'audience'],
  ['no audience', { aud: undefined }, 'audience'],
  ['no expiry', { exp: undefined }, 'claims'],
  ['expired', { exp: 1 }, 'expired'],
  ['not yet valid', { nbf: 9_999_999_999 }, 'not_yet_valid'],
  ['no subject', { sub: undefined }, 'claims'],
  ['no client', { client_id: undefined }, 'claims'],
  ['a refresh token', { token_type: 'refresh_token' }, 'type'],
  ['a token that needs a proof', { token_type: 'DPoP', cnf: { jkt: 'a key' } }, 'binding'],
  ['one that is said to need it, of no key', { token_type: 'DPoP' }, 'binding'],
  ['one that is bound to a certificate', { cnf: { 'x5t#S256': 'a certificate' } }, 'binding'],
  ['an actor that can’t be read', { act: 'somebody' }, 'claims'],
])('fault 11: %s is refused', async (_name, change, reason) => {
  const { verifier } = setUp(change)
  await expect(verifier.verify('opaque', resource)).rejects.toMatchObject({ name: 'TokenInvalid', reason })
})

test.each<[string, () => Response]>([
  ['401', () => Response.json({ error: 'invalid_client' }, { status: 401 })],
  ['500', () => new Response('oops', { status: 500 })],
  ['no JSON', () => new Response('<html>')],
  ['a list', () => Response.json([])],
  ['too much', () => Response.json({ active: true, more: 'x'.repeat(300_000) })],
  [
    'nothing',
    () => {
      throw new TypeError('fetch failed')
    },
  ],
])('fault 5: %s is no fault of the token', async (_name, response) => {
  const { verifier, respond } = setUp()
  respond(response)
  await expect(verifier.verify('opaque', resource)).rejects.toMatchObject({ name: 'VerifierUnavailable' })
})

test('an answer is used again for its time, never beyond the token’s; 0 is never', async () => {
  const { verifier, asked, clock } = setUp()
  await verifier.verify('opaque', resource)
  await clock.pass(2_000)
  await verifier.verify('opaque', resource)
  expect(asked).toHaveLength(1)
  await clock.pass(3_000)
  await verifier.verify('opaque', resource)
  expect(asked).toHaveLength(2)
  const long = setUp({}, { rememberedFor: 300 })
  await long.verifier.verify('opaque', resource)
  await long.clock.pass(91_000)
  await expect(long.verifier.verify('opaque', resource)).rejects.toMatchObject({ reason: 'expired' })
  const never = setUp({}, { rememberedFor: 0 })
  for (let call = 0; call < 3; call++) await never.verifier.verify('opaque', resource)
  expect(never.asked).toHaveLength(3)
})

test.each([
  [{ clientSecret: '' }, 'clientSecret'],
  [{ rememberedFor: 301 }, 'rememberedFor'],
  [{ clockSkew: -1 }, 'clockSkew'],
  [{ endpoint: 'http://issuer.example.com/introspect' }, 'endpoint'],
])('options that can’t be right: %o', (change, path) => {
  const options = { clientId: 'a', clientSecret: 'b', ...change }
  expect(() => introspection(issuer, options)).toThrow(expect.objectContaining({ name: 'ConfigurationError', path }))
})

/** An issuer that says of every token what it is told to say, by a clock that stands still. */
const exact = (said: (seconds: number) => JsonObject, more: object = {}) => {
  const clock = stopped()
  const seconds = clock.now() / 1000
  const asked: { url: string; init: RequestInit }[] = []
  const answer = { active: true, sub: 'alice', client_id: 'app', aud: resource, exp: seconds + 60, ...said(seconds) }
  const verifier = introspection(issuer, {
    ...{ clientId: 'rs', clientSecret: 's', endpoint, clock },
    fetch: async (url, init) => {
      asked.push({ url, init })
      return Response.json(answer)
    },
    ...more,
  })
  return { clock, asked, verifier }
}
const outcome = async (said: (seconds: number) => JsonObject, more: object = {}): Promise<string> =>
  exact(said, more)
    .verifier.verify('opaque', resource)
    .then(
      () => 'taken',
      (error: { reason: string }) => error.reason,
    )

test.each<[string, (seconds: number) => JsonObject, object, string]>([
  ['ends within the skew', (now) => ({ exp: now - 29.999 }), {}, 'taken'],
  ['ended at the end of the skew', (now) => ({ exp: now - 30 }), {}, 'expired'],
  ['ends now, without skew', (now) => ({ exp: now }), { clockSkew: 0 }, 'expired'],
  ['ended within the longest skew', (now) => ({ exp: now - 299 }), { clockSkew: 300 }, 'taken'],
  ['begins at the end of the skew', (now) => ({ nbf: now + 30 }), {}, 'taken'],
  ['begins after the skew', (now) => ({ nbf: now + 30.001 }), {}, 'not_yet_valid'],
  ['begins at no time', () => ({ nbf: 'soon' }), {}, 'not_yet_valid'],
  ['begins at what is no number', () => ({ nbf: '5' }), {}, 'not_yet_valid'],
  ['ends at no time', () => ({ exp: 'soon' }), {}, 'claims'],
  ['is for several', () => ({ aud: ['https://other.example', `${resource}/`] }), {}, 'taken'],
  ['is for none of several', () => ({ aud: ['https://other.example', 7, null] }), {}, 'audience'],
  ['is for what is no text', () => ({ aud: { mcp: resource } }), {}, 'audience'],
  ['is for a name that was configured', () => ({ aud: 'api://notes' }), { audiences: ['api://notes'] }, 'taken'],
  ['is for another name', () => ({ aud: 'api://other' }), { audiences: ['api://notes'] }, 'audience'],
  ['is of a kind without a name', () => ({ token_type: 7 }), {}, 'type'],
  ['is a bearer token, in whatever case', () => ({ token_type: 'BEARER' }), {}, 'taken'],
  ['is called an access token', () => ({ token_type: 'access_token' }), {}, 'taken'],
  ['is an ID token', () => ({ token_type: 'id_token' }), {}, 'type'],
  ['needs a proof of no key, in whatever case', () => ({ token_type: 'DPOP' }), {}, 'binding'],
])('by its answer, a token that %s: %s', async (_name, said, more, expected) => {
  expect(await outcome(said, more)).toBe(expected)
})

test('a token that needs a proof is taken with it', async () => {
  const { verifier } = exact(() => ({ token_type: 'DPoP', cnf: { jkt: 'a key' } }))
  expect((await verifier.verify('opaque', resource, 'a key')).subject).toBe('alice')
  // Remembered, it needs it no less.
  await expect(verifier.verify('opaque', resource)).rejects.toMatchObject({ reason: 'binding' })
  await expect(verifier.verify('opaque', resource, 'another')).rejects.toMatchObject({ reason: 'binding' })
})

test('an answer is used again for its time exactly, and not by a clock that was set back', async () => {
  const { verifier, asked, clock } = exact(() => ({}))
  await verifier.verify('opaque', resource)
  await verifier.verify('opaque', resource)
  expect(asked).toHaveLength(1)
  await clock.pass(4_999)
  await verifier.verify('opaque', resource)
  expect(asked).toHaveLength(1)
  await clock.pass(1)
  await verifier.verify('opaque', resource)
  expect(asked).toHaveLength(2)
  await clock.pass(-1)
  await verifier.verify('opaque', resource)
  expect(asked).toHaveLength(3)
})

test('what was asked is recalled without asking, for its time and its resource', async () => {
  const { verifier, asked, clock } = exact(() => ({}))
  expect(verifier.recall?.('opaque', resource)).toBeUndefined()
  const token = await verifier.verify('opaque', resource)
  expect(verifier.recall?.('opaque', resource)).toBe(token)
  expect(verifier.recall?.('opaque', 'https://other.example')).toBeUndefined()
  await clock.pass(5_000)
  expect(verifier.recall?.('opaque', resource)).toBeUndefined()
  expect(asked).toHaveLength(1)
})

test('as many answers are remembered as was said', async () => {
  for (const [remembered, expected] of [
    [undefined, 2],
    [0, 4],
    [1, 4],
    [2, 2],
  ]) {
    const { verifier, asked } = exact(() => ({}), remembered === undefined ? {} : { remembered })
    for (const token of ['one', 'two', 'one', 'two']) await verifier.verify(token, resource)
    expect([remembered, asked.length]).toEqual([remembered, expected])
  }
})

test('fault 5: what went wrong is in the log, and with the error; the token is in neither', async () => {
  const logged: unknown[] = []
  const nothing = () => {}
  const problem = new Error('the connection was refused')
  const { verifier } = exact(() => ({}), {
    fetch: () => Promise.reject(problem),
    logger: {
      debug: nothing,
      info: nothing,
      warn: nothing,
      error: (...given: unknown[]) => void logged.push(...given),
    },
  })
  const failed: unknown = await verifier.verify('opaque-token', resource).catch((error: unknown) => error)
  expect(failed).toMatchObject({ name: 'VerifierUnavailable', cause: problem })
  expect(logged).toEqual([expect.stringContaining(issuer), { error: problem }])
  expect(JSON.stringify([logged, String(failed)])).not.toContain('opaque-token')
})

test('who asks at once asks once, for one resource', async () => {
  const { verifier, asked } = exact(() => ({ aud: [resource, 'https://other.example'] }), { rememberedFor: 0 })
  const [one, two] = await Promise.all([verifier.verify('opaque', resource), verifier.verify('opaque', resource)])
  expect(one).toBe(two)
  expect(asked).toHaveLength(1)
  await Promise.all([verifier.verify('opaque', resource), verifier.verify('opaque', 'https://other.example')])
  expect(asked).toHaveLength(3)
  expect(Object.fromEntries(new Headers(asked[0]?.init.headers))).toMatchObject({
    accept: 'application/json',
    'content-type': 'application/x-www-form-urlencoded',
  })
})

test('a token beyond any length is not sent anywhere', async () => {
  const { verifier, asked } = exact(() => ({}))
  await expect(verifier.verify('x'.repeat(16_385), resource)).rejects.toMatchObject({ reason: 'malformed' })
  expect(asked).toHaveLength(0)
  expect((await verifier.verify('x'.repeat(16_384), resource)).subject).toBe('alice')
})

test('where to ask is found once, in the issuer’s metadata', async () => {
  const found: string[] = []
  const { verifier } = exact(() => ({}), {
    endpoint: undefined,
    rememberedFor: 0,
    fetch: async (url: string) => {
      found.push(url)
      return Response.json(
        url === endpoint
          ? { active: true, sub: 'a', client_id: 'c', aud: resource, exp: 9_999_999_999 }
          : { issuer, introspection_endpoint: endpoint },
      )
    },
  })
  await verifier.ready?.()
  await verifier.verify('opaque', resource)
  await verifier.verify('opaque', resource)
  expect(found).toEqual([`${issuer}/.well-known/oauth-authorization-server`, endpoint, endpoint])
})

test('fault 5: at start it is known whether there is somebody to ask', async () => {
  const more = { endpoint: undefined, fetch: async () => new Response('no', { status: 404 }) }
  const { verifier } = exact(() => ({}), more)
  await expect(verifier.ready?.()).rejects.toMatchObject({ name: 'VerifierUnavailable' })
  await exact(() => ({})).verifier.ready?.()
})

test('by default an issuer is asked by the host’s own fetch', async () => {
  const asked: string[] = []
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`)
    request.resume()
    const answer = { active: true, sub: 'alice', client_id: 'app', aud: resource, exp: 9_999_999_999 }
    response.setHeader('Content-Type', 'application/json').end(JSON.stringify(answer))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  try {
    const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const verifier = introspection(origin, { clientId: 'rs', clientSecret: 's', endpoint: `${origin}/introspect` })
    expect((await verifier.verify('opaque', resource)).subject).toBe('alice')
    expect(asked).toEqual(['POST /introspect'])
  } finally {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
})

test.each([
  { clockSkew: 0 },
  { clockSkew: 300 },
  { rememberedFor: 0 },
  { rememberedFor: 300 },
  { endpoint: 'http://localhost:1/introspect' },
])('options that can be right: %o', (change) => {
  expect(() => introspection(issuer, { clientId: 'a', clientSecret: 'b', ...change })).not.toThrow()
})

test.each([
  [{ rememberedFor: -1 }, 'rememberedFor'],
  [{ rememberedFor: Number.NaN }, 'rememberedFor'],
  [{ clockSkew: 301 }, 'clockSkew'],
  [{ clockSkew: Number.NaN }, 'clockSkew'],
])('bounds that are none: %o', (change, path) => {
  const options = { clientId: 'a', clientSecret: 'b', ...change }
  expect(() => introspection(issuer, options)).toThrow(expect.objectContaining({ name: 'ConfigurationError', path }))
  expect(() => introspection('http://issuer.example.com', { clientId: 'a', clientSecret: 'b' })).toThrow(
    expect.objectContaining({ path: 'issuer' }),
  )
})
