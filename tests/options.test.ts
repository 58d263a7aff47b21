import { expect, test } from 'vitest'
import { countersign } from '../src/countersign.ts'
import { ConfigurationError } from '../src/oauth/configuration-error.ts'
import { checkOptions, type Options } from '../src/options.ts'
import { memory } from '../src/store/memory.ts'
import { resourceServer } from '../src/verify-only.ts'

const loopback = { url: 'http://localhost:8787', resources: { '/mcp': {} } }
const open = { ...loopback, url: 'https://auth.example.com', secret: 'a secret for tests that is long enough' }

const check = (options: object) => checkOptions(options as Options<unknown>)

test('client metadata documents: rules are domain names, and this computer is only for development', () => {
  for (const rules of [undefined, false, {}, { allow: ['claude.ai', '*.example.com'], deny: ['a.example.com'] }]) {
    check({ ...open, clientMetadataDocuments: rules })
  }
  check({ ...loopback, clientMetadataDocuments: { loopback: true, allow: ['localhost'] } })
  check({ ...open, clientMetadataDocuments: { loopback: false } })
  for (const [rules, path] of [
    [{ loopback: true }, 'clientMetadataDocuments.loopback'],
    [true, 'clientMetadataDocuments: expected rules for domains, or false'],
    [{ allow: ['https://claude.ai'] }, 'clientMetadataDocuments.allow[0]: expected a domain name'],
    [{ deny: ['Claude.ai'] }, 'clientMetadataDocuments'],
    [{ allowed: [] }, 'expected no member "allowed"'],
  ] as const) {
    expect(() => check({ ...open, clientMetadataDocuments: rules }), JSON.stringify(rules)).toThrow(ConfigurationError)
    expect(() => check({ ...open, clientMetadataDocuments: rules })).toThrow(path)
  }
})

test('design 7: everything works on loopback http with no configuration but the resources', () => {
  check(loopback)
  check({ ...loopback, store: memory() })
})

test('design 7: with an https url weak settings are refused', () => {
  const { secret: _secret, ...withoutSecret } = open
  expect(() => check(withoutSecret)).toThrow(/^secret: expected/)
  expect(() => check({ ...open, store: memory() })).toThrow(/^store: expected a store that outlives the process/)
})

test.each([
  [{ url: 8787 }, 'url: expected string'],
  [{ secret: 'short' }, 'secret: '],
  [{ secret: [] }, 'secret: '],
  [{ resources: {} }, 'resources: expected at least one resource'],
  [{ resources: { '/mcp': { scope: {} } } }, 'resources["/mcp"]: expected no member "scope"'],
  [
    { resources: { '/mcp': { origins: ['app.example.com'] } } },
    'resources["/mcp"].origins[0]: expected an origin like',
  ],
  [{ resources: { '/mcp': { hosts: ['http://a'] } } }, 'resources["/mcp"].hosts[0]: expected a value of Host'],
  [{ resources: { '/mcp': { lifetimes: { accessToken: -1 } } } }, 'resources["/mcp"].lifetimes.accessToken: expected'],
  [{ resources: { '/mcp': { lifetimes: { refreshToken: 1 } } } }, 'lifetimes: expected no member "refreshToken"'],
  [{ clients: [{ id: 'a', exchange: { form: ['*'] } }] }, 'clients[0].exchange: expected no member "form"'],
  [{ subject: 'email' }, 'subject: expected one of "random"|"upstream"'],
  [{ lifetimes: { accessToken: 0 } }, 'lifetimes.accessToken: expected number to be >0'],
  [{ lifetimes: { accessTokens: 60 } }, 'lifetimes: expected no member "accessTokens"'],
  [{ branding: { color: 'green' } }, 'branding.color: expected #rrggbb or #rgb'],
  [{ trustedProxies: ['10.0.0.0/33'] }, 'trustedProxies[0]: expected addresses or blocks'],
  [{ signing: 'HS256' }, 'signing: expected one of "ES256"|"EdDSA"|"RS256"'],
  [{ signing: { keys: '{}' } }, 'signing.keys: expected a private key in the first place'],
  [{ signing: { keys: '{"d": "secret"' } }, 'signing.keys: expected JSON'],
  [{ signing: { keys: [], file: 'x' } }, 'signing: expected'],
  [{ keyRotation: { sign: 60 } }, 'keyRotation: expected each period to be longer than publishedFor'],
  [{ keyRotation: { signing: 60 } }, 'keyRotation: expected no member "signing"'],
  [{ keyRotation: { mac: true } }, 'keyRotation.mac: expected seconds, or false'],
  [{ restored: { until: 'tomorrow' } }, 'restored.until: '],
  [{ limits: { requestsPerAddress: -1 } }, 'limits.requestsPerAddress: expected number to be >=0'],
  [{ limits: { codesPerAccount: 1.5 } }, 'limits.codesPerAccount: expected int'],
  [{ limits: { codesPerAccount: Number.POSITIVE_INFINITY } }, 'limits.codesPerAccount: expected number'],
  [{ limits: { tokensPerClient: '3000' } }, 'limits.tokensPerClient: expected number'],
  [{ limits: { codesPerAddress: 1 } }, 'limits: expected no member "codesPerAddress"'],
  [{ usptream: [] }, 'options: expected no member "usptream"'],
])('design 7: a wrong value is refused with its path and what was expected: %j', (wrong, message) => {
  expect(() => check({ ...open, ...wrong })).toThrow(ConfigurationError)
  expect(() => check({ ...open, ...wrong })).toThrow(message)
})

test('a configured secret is in no message', () => {
  const secret = 'too short but secret'
  expect(() => check({ ...open, secret })).toThrow(
    expect.not.objectContaining({ message: expect.stringContaining(secret) }),
  )
})

test.each([
  [{ store: 'countersign.db' }, 'store: expected a store'],
  [{ store: { ...memory(), commit: undefined } }, 'store: expected a store'],
  [{ audit: 'audit.db' }, 'audit: expected a function, a log'],
  [{ audit: [() => {}, null] }, 'audit: expected a function, a log'],
  [{ logger: {} }, 'logger: expected a logger'],
  [{ telemetry: 5 }, 'telemetry: expected prometheus()'],
  [{ telemetry: [{}] }, 'telemetry: expected prometheus()'],
  [{ clock: Date.now }, 'clock: expected an object with now()'],
  [{ random: {} }, 'random: expected an object with bytes()'],
  [{ fetch: 'https://proxy.example' }, 'fetch: expected a function'],
])('design 7: what is no instance is refused at start: %j', (wrong, message) => {
  check({ ...loopback, store: memory(), audit: [() => {}], logger: console, clock: { now: Date.now }, fetch })
  expect(() => check({ ...loopback, ...wrong })).toThrow(message)
})

test.each([
  '/token',
  '/authorize/account',
  '/jwks',
  '/.well-known/oauth-authorization-server',
  '/healthz',
  '/authorize/callback/local',
])('design 7: a resource can’t be where the server itself answers: %s', (path) => {
  const serve = (at: string) => countersign({ ...loopback, store: memory(), resources: { '/mcp': {}, [at]: {} } })
  expect(() => serve(path)).toThrow(`resources["${path}"]: expected a path that is no endpoint of this server`)
  expect(serve('/tokens').issuer).toBe(loopback.url)
  // Elsewhere it is another server’s.
  expect(serve(`https://other.example.com${path}`).issuer).toBe(loopback.url)
})

test('design 7: a server that only verifies is told of what is no instance, too', () => {
  const issuers = [{ issuer: 'https://issuer.example.com', verify: async () => Promise.reject(new Error('nobody')) }]
  const verify = (wrong: object) =>
    resourceServer({ resource: 'https://notes.example.com/mcp', issuers, ...wrong } as never)
  expect(() => verify({ logger: {} })).toThrow('logger: expected a logger')
})
