import { inspect } from 'node:util'
import { expect, expectTypeOf, test } from 'vitest'
import {
  type AccessToken,
  type AccessTokenFacts,
  createAccessToken,
  type UpstreamIdentity,
  UpstreamTokenUnavailable,
} from '../../src/identity/access-token.ts'
import type { JsonObject } from '../../src/identity/json.ts'

const secret = 'eyJhbGciOi.the-presented.token'

const facts = (more: Partial<AccessTokenFacts> = {}): AccessTokenFacts => ({
  token: secret,
  kind: 'user',
  issuer: 'https://issuer.example.com',
  subject: 'acc_1',
  clientId: 'client-1',
  actor: {
    issuer: 'https://issuer.example.com',
    subject: 'agent-2',
    actor: { issuer: 'https://x.example', subject: 'agent-1' },
  },
  scopes: ['notes:read'],
  resource: 'https://notes.example.com/mcp',
  expiresAt: 2_000_000_000,
  claims: { iss: 'https://issuer.example.com', sub: 'acc_1', nested: { list: [1, { deep: true }] } },
  upstream: {
    provider: 'google',
    issuer: 'https://accounts.google.example',
    subject: '1234',
    claims: { email: 'alice@example.com', groups: ['staff'] },
    accessToken: async () => 'upstream-token',
  },
  ...more,
})

const isDeeplyFrozen = (value: unknown): boolean =>
  typeof value !== 'object' || value === null || (Object.isFrozen(value) && Object.values(value).every(isDeeplyFrozen))

test('design 2, a token says who vouches, for whom, by which client, through whom, what for and until when', () => {
  const token = createAccessToken(facts())
  expect(token).toMatchObject({
    kind: 'user',
    issuer: 'https://issuer.example.com',
    subject: 'acc_1',
    clientId: 'client-1',
    actor: { subject: 'agent-2', actor: { subject: 'agent-1' } },
    scopes: ['notes:read'],
    resource: 'https://notes.example.com/mcp',
    expiresAt: 2_000_000_000,
    claims: { nested: { list: [1, { deep: true }] } },
    upstream: { provider: 'google', issuer: 'https://accounts.google.example', subject: '1234' },
  })
  expect(token.token).toBe(secret)
})

test('design 2, the presented token is not enumerable: not logged, not serialised, not copied', () => {
  const token = createAccessToken(facts())
  for (const text of [
    JSON.stringify(token),
    inspect(token, { depth: 20 }),
    String(token),
    JSON.stringify({ ...token }),
  ]) {
    expect(text).not.toContain(secret)
  }
  expect(Object.keys(token)).not.toContain('token')
  expect(structuredClone(token)).not.toHaveProperty('token')
})

test('design 2, a token is deeply frozen, whatever was frozen before', () => {
  const claims = Object.freeze({ nothing: null, inner: { open: [1] } })
  const token = createAccessToken(facts({ claims }))
  expect(isDeeplyFrozen(token)).toBe(true)
  expect(() => Object.assign(token, { subject: 'mallory' })).toThrow(TypeError)
  expect(() => (token.scopes as string[]).push('admin')).toThrow(TypeError)
  expect(() => (claims.inner.open as number[]).push(2)).toThrow(TypeError)
})

test('design 2, a token is JSON apart from its methods, and can be cloned', () => {
  const token = createAccessToken(facts())
  const json = JSON.parse(JSON.stringify(token)) as unknown
  expect(structuredClone(token)).toEqual(json)
  expect(json).toMatchObject({ subject: 'acc_1', upstream: { claims: { email: 'alice@example.com' } } })
})

test('design 2, the provider’s own token comes by a method, and where there is none it says why', async () => {
  const token = createAccessToken(facts())
  await expect(token.kind === 'user' && token.upstream?.accessToken()).resolves.toBe('upstream-token')
  const { accessToken: _, ...without } = facts().upstream ?? expect.fail()
  const bare = createAccessToken(facts({ upstream: without }))
  await expect(bare.kind === 'user' && bare.upstream?.accessToken()).rejects.toThrow(UpstreamTokenUnavailable)
  await expect(bare.kind === 'user' && bare.upstream?.accessToken()).rejects.toMatchObject({ reason: 'none' })
})

test('design 2, with what is known of the provider’s token, where it is known; for the service that is asked for', async () => {
  const detailsOf = (more: object) => {
    const { upstream } = createAccessToken(facts({ upstream: { ...(facts().upstream ?? expect.fail()), ...more } }))
    return upstream?.accessTokenDetails({ resource: 'https://files.example' })
  }
  expect(await detailsOf({})).toStrictEqual({ token: 'upstream-token' })
  const accessToken = async (target?: object) => JSON.stringify(target)
  expect(await detailsOf({ accessToken })).toStrictEqual({ token: '{"resource":"https://files.example"}' })
  const accessTokenDetails = async (target?: object) => ({
    token: JSON.stringify(target),
    scopes: ['files'],
    expiresAt: 7,
  })
  expect(await detailsOf({ accessToken, accessTokenDetails })).toStrictEqual({
    token: '{"resource":"https://files.example"}',
    scopes: ['files'],
    expiresAt: 7,
  })
  await expect(detailsOf({ accessToken: undefined })).rejects.toMatchObject({ reason: 'none' })
})

test.each(['none', 'ended', 'down', 'refused'] as const)(
  'without a token of the provider (%s) the error says why',
  (reason) => {
    const error = new UpstreamTokenUnavailable(reason)
    expect(error).toMatchObject({ name: 'UpstreamTokenUnavailable', reason })
    expect(error.message.length).toBeGreaterThan(20)
  },
)

test('design 2, a client’s own token is told apart by its kind and has no person behind it', () => {
  const token = createAccessToken(facts({ kind: 'client', subject: 'client-1', upstream: undefined }))
  expect(token.kind).toBe('client')
  expect(token).not.toHaveProperty('upstream')
  // What a workload has there is its platform's word: none of the claims of people are promised.
  type Said = NonNullable<Extract<AccessToken, { kind: 'client' }>['upstream']>['claims']
  expectTypeOf<Said>().toEqualTypeOf<JsonObject>()
})

test('absent facts are absent members, not undefined ones', () => {
  const token = createAccessToken(facts({ actor: undefined, upstream: undefined }))
  expect(Object.keys(token)).not.toContain('actor')
  expect(Object.keys(token)).not.toContain('upstream')
})

test('design 2, a schema adds types to the upstream claims and takes none away', () => {
  expectTypeOf<UpstreamIdentity<{ email: string }>['claims']['email']>().toEqualTypeOf<string>()
  expectTypeOf<UpstreamIdentity<{ email: string }>['claims']>().toHaveProperty('anything')
})
