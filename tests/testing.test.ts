import { describe, expect, expectTypeOf, test } from 'vitest'
import { z } from 'zod'
import { getAccessToken, requireUser } from '../src/identity/context.ts'
import { jwks } from '../src/resource-server/jwks-verifier.ts'
import { accessToken, challengeOf, clientToken, testIssuer, withAccessToken } from '../src/testing.ts'
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

describe('what a refused client is told', () => {
  const resource = 'https://notes.example.com/mcp'
  const issuer = testIssuer()
  const auth = resourceServer({
    ...{ resource, issuers: [issuer], scopes: { a: 'A', b: 'B' }, defaultScopes: ['a'] },
    tools: { add: ['b'], never: () => false },
  })
  const gated = auth.gate(resource, () => new Response('in'))
  const call = (tool: string, headers: Record<string, string>) =>
    gated(
      new Request(resource, {
        method: 'POST',
        headers,
        body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: tool } }),
      }),
    )
  const bearer = () => ({ Authorization: `Bearer ${issuer.accessToken({ scopes: ['a'] }).token}` })

  test('is read from the response', async () => {
    const metadataUrl = 'https://notes.example.com/.well-known/oauth-protected-resource/mcp'
    expect(challengeOf(await call('add', {}))).toEqual({
      ...{ status: 401, scheme: 'Bearer', error: 'invalid_token', scopes: ['a'], metadataUrl },
      description: expect.any(String),
    })
    expect(challengeOf(await call('add', bearer()))).toMatchObject({
      ...{ status: 403, error: 'insufficient_scope', scopes: ['a', 'b'], metadataUrl },
    })
  })

  test('is nothing where nothing would help', async () => {
    expect(challengeOf(await call('never', bearer()))).toBeUndefined()
    issuer.setAvailable(false)
    expect(challengeOf(await call('add', bearer()))).toBeUndefined()
    expect(challengeOf(new Response())).toBeUndefined()
  })

  test('of any server', () => {
    const header = 'Bearer realm="x", error="invalid_token", error_description="no, scope=\'y\'", scope=""'
    const response = new Response(null, { status: 401, headers: { 'WWW-Authenticate': header } })
    expect(challengeOf(response)).toEqual({
      ...{ status: 401, scheme: 'Bearer', error: 'invalid_token', description: "no, scope='y'" },
      ...{ scopes: [], metadataUrl: undefined },
    })
  })
})
