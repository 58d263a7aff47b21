import { expect, test } from 'vitest'
import type { JsonObject } from '../../src/identity/json.ts'
import { introspection } from '../../src/resource-server/introspection-verifier.ts'
import { movable } from '../store/movable-clock.ts'

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
