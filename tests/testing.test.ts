import { describe, expect, expectTypeOf, test } from 'vitest'
import { z } from 'zod'
import { getAccessToken, requireUser } from '../src/identity/context.ts'
import { jwks } from '../src/resource-server/jwks-verifier.ts'
import { accessToken, clientToken, testIssuer, withAccessToken } from '../src/testing.ts'
import { resourceServer } from '../src/verify-only.ts'

describe('a handler without a server', () => {
  const greet = () => `Hello, ${requireUser().upstream?.claims.name}`

  test('any token in a line', () => {
    const alice = accessToken({ subject: 'alice', scopes: ['notes:read'], upstream: { claims: { name: 'Alice' } } })
    expect(withAccessToken(alice, greet)).toBe('Hello, Alice')
    expect(alice).toMatchObject({ kind: 'user', subject: 'alice', scopes: ['notes:read'], claims: { sub: 'alice' } })
  })

  test('every fact can be set', async () => {
    const actor = { issuer: 'https://i.example', subject: 'agent' }
    const token = accessToken({
      ...{ issuer: 'https://i.example', clientId: 'c', actor, resource: 'https://r.example', expiresAt: 7 },
      claims: { tenant: 'acme' },
      upstream: { provider: 'google', issuer: 'https://g.example', subject: '1', accessToken: async () => 'theirs' },
    })
    expect(token).toMatchObject({
      ...{ issuer: 'https://i.example', clientId: 'c', actor, resource: 'https://r.example', expiresAt: 7 },
      claims: { tenant: 'acme', iss: 'https://i.example', client_id: 'c' },
      upstream: { provider: 'google', issuer: 'https://g.example', subject: '1' },
    })
    await expect(token.upstream?.accessToken()).resolves.toBe('theirs')
  })

  test('a client’s own token', () => {
    expect(clientToken({ clientId: 'robot' })).toMatchObject({ kind: 'client', subject: 'robot', clientId: 'robot' })
    expect(accessToken({ clientId: 'robot', subject: 'robot' }).kind).toBe('client')
  })

  test('no two tokens are the same', () => {
    expect(accessToken().token).not.toBe(accessToken().token)
  })

  test('a token for a source is vouched for by that one alone, and has its types', () => {
    const server = () =>
      resourceServer({ resource: 'https://r.example/mcp', issuers: [testIssuer<{ email: string }>()] })
    const [auth, other] = [server(), server()]
    const token = accessToken({ upstream: { claims: { email: 'a@example.com' } } }, auth)
    withAccessToken(token, () => {
      const email = requireUser(auth).upstream?.claims.email
      expectTypeOf(email).toEqualTypeOf<string | undefined>()
      expect(email).toBe('a@example.com')
      expect(getAccessToken(other)).toBeUndefined()
    })
    withAccessToken(accessToken(), () => expect(getAccessToken(auth)).toBeUndefined())
  })
})

describe('a server without network', () => {
  const start = () => {
    const issuer = testIssuer()
    const auth = resourceServer({ resource: 'https://notes.example.com/mcp', issuers: [issuer] })
    const handler = auth.gate('/mcp', () => new Response(requireUser(auth).subject))
    const call = (token: string) =>
      handler(new Request('https://notes.example.com/mcp', { headers: { Authorization: `Bearer ${token}` } }))
    return { issuer, call }
  }

  test('the gate takes what its issuer minted, and nothing else', async () => {
    const { issuer, call } = start()
    expect(await (await call(issuer.accessToken({ subject: 'alice' }).token)).text()).toBe('alice')
    expect((await call(accessToken({ subject: 'alice' }).token)).status).toBe(401)
    expect((await call(start().issuer.accessToken().token)).status).toBe(401)
  })

  test('a token can be revoked, and the issuer be away', async () => {
    const { issuer, call } = start()
    const token = issuer.accessToken()
    issuer.setAvailable(false)
    expect((await call(token.token)).status).toBe(503)
    issuer.setAvailable(true)
    expect((await call(token.token)).status).toBe(200)
    issuer.revoke(token)
    expect((await call(token.token)).status).toBe(401)
  })

  test('a token for another resource, and one that is over', async () => {
    const { issuer, call } = start()
    expect((await call(issuer.accessToken({ resource: 'https://other.example.com' }).token)).status).toBe(401)
    expect((await call(issuer.accessToken({ expiresAt: 1 }).token)).status).toBe(401)
    expect((await call(issuer.accessToken({ resource: 'https://notes.example.com/mcp/' }).token)).status).toBe(200)
  })
})

test('design 2, the types of a schema that an issuer is given reach the handler', () => {
  const issuer = jwks('https://issuer.example.com', { claims: z.object({ email: z.email() }) })
  const auth = resourceServer({ resource: 'https://notes.example.com/mcp', issuers: [issuer] })
  const token = accessToken({ upstream: { claims: { email: 'a@example.com' } } }, auth)
  withAccessToken(token, () => {
    expectTypeOf(requireUser(auth).upstream?.claims.email).toEqualTypeOf<string | undefined>()
    expect(requireUser(auth)).toBe(token)
  })
})
