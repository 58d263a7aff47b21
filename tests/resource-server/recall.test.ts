import { expect, test } from 'vitest'
import type { AccessToken } from '../../src/identity/access-token.ts'
import { TokenInvalid } from '../../src/identity/verifier.ts'
import { type IssuerVerifier, verifierOf } from '../../src/resource-server/issuer.ts'
import { accessToken } from '../../src/testing.ts'
import { type ResourceServerOptions, resourceServer } from '../../src/verify-only.ts'

const resource = 'https://notes.example.com/mcp'

/** An issuer that remembers what it verified; it counts how often it was asked to verify. */
const remembering = (issuer: string, tokens: readonly AccessToken[]) => {
  const known = new Map<string, AccessToken>()
  const asked: string[] = []
  const verifier: IssuerVerifier = {
    issuer,
    recognises: (token) => tokens.some((each) => each.token === token),
    async verify(token) {
      asked.push(token)
      const found = tokens.find((each) => each.token === token)
      if (!found) throw new TokenInvalid('revoked')
      known.set(token, found)
      return found
    },
    recall: (token) => known.get(token),
  }
  return { verifier, asked, forget: () => known.clear() }
}

const serve = (issuers: readonly IssuerVerifier[], options: Partial<ResourceServerOptions> = {}) => {
  const reasons: unknown[] = []
  const auth = resourceServer({
    resource,
    issuers,
    audit: (event) => void reasons.push('reason' in event ? event.reason : event.type),
    ...options,
  })
  const handler = auth.gate('/mcp', (_request, { accessToken: token }) => new Response(token.subject))
  const call = (token: string) =>
    handler(new Request(resource, { method: 'POST', headers: { Authorization: `Bearer ${token}` } }))
  return { call, reasons }
}

test('a token that is remembered is not verified again, until it is forgotten', async () => {
  const token = accessToken({ issuer: 'https://a.example', subject: 'alice' })
  const { verifier, asked, forget } = remembering('https://a.example', [token])
  const { call } = serve([verifier])
  for (let time = 0; time < 3; time += 1) expect(await (await call(token.token)).text()).toBe('alice')
  expect(asked).toHaveLength(1)
  forget()
  expect((await call(token.token)).status).toBe(200)
  expect(asked).toHaveLength(2)
})

test('of several issuers only that which verified a token remembers it', async () => {
  const [ofA, ofB] = ['https://a.example', 'https://b.example'].map((issuer) =>
    accessToken({ issuer, subject: `somebody of ${issuer}` }),
  ) as [AccessToken, AccessToken]
  const a = remembering('https://a.example', [ofA])
  const b = remembering('https://b.example', [ofB])
  const verifier = verifierOf([a.verifier, b.verifier])
  expect(verifier.recall?.(ofB.token, resource)).toBeUndefined()
  await verifier.verify(ofB.token, resource)
  expect(verifier.recall?.(ofB.token, resource)).toBe(ofB)
  expect(verifier.recall?.(ofA.token, resource)).toBeUndefined()
  expect([a.asked, b.asked]).toEqual([[], [ofB.token]])
})

test('an attacker’s copy of a bound token is refused although the token is remembered', async () => {
  const bound = accessToken({ issuer: 'https://a.example', jkt: 'the thumbprint of its client’s key' })
  const { call, reasons } = serve([{ ...remembering('https://a.example', []).verifier, recall: () => bound }])
  const response = await call(bound.token)
  expect([response.status, reasons]).toEqual([401, ['binding']])
  expect(await response.text()).not.toContain(bound.subject)
})

test('a remembered bearer token is refused where only bound ones are taken', async () => {
  const token = accessToken({ issuer: 'https://a.example' })
  const { verifier } = remembering('https://a.example', [token])
  const { call, reasons } = serve([{ ...verifier, recall: () => token }], { dpopBoundAccessTokensRequired: true })
  expect((await call(token.token)).status).toBe(401)
  expect(reasons).toEqual(['binding'])
})

test('fault 5: a memory that fails is our own trouble: 503 and no challenge', async () => {
  const recall = () => {
    throw new Error('out of order')
  }
  const { call, reasons } = serve([{ ...remembering('https://a.example', []).verifier, recall }])
  const response = await call('x')
  expect([response.status, response.headers.get('www-authenticate')]).toEqual([503, null])
  expect(reasons).toEqual(['verifier_unavailable'])
})

test('a policy that fails, at once or later, refuses a remembered token as our own trouble', async () => {
  const token = accessToken({ issuer: 'https://a.example' })
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'x', arguments: {} } })
  const failing = [
    () => {
      throw new Error('at once')
    },
    () => Promise.reject(new Error('later')),
  ]
  for (const allow of failing) {
    const auth = resourceServer({
      resource,
      issuers: [{ ...remembering('https://a.example', []).verifier, recall: () => token }],
      audit: () => {},
      tools: { '*': { allow } },
    })
    const handler = auth.gate('/mcp', () => new Response('let in'))
    const headers = { Authorization: `Bearer ${token.token}`, 'Content-Type': 'application/json' }
    const response = await handler(new Request(resource, { method: 'POST', headers, body }))
    expect([response.status, response.headers.get('www-authenticate')]).toEqual([503, null])
  }
})

test('with another Promise in the global one’s place, as some libraries put there, calls are decided as ever', async () => {
  const token = accessToken({ issuer: 'https://a.example' })
  const { verifier } = remembering('https://a.example', [token])
  const auth = resourceServer({
    resource,
    issuers: [verifier],
    audit: () => {},
    tools: { closed: { allow: async () => false }, open: { allow: async () => true } },
  })
  const tools = [{ name: 'closed' }, { name: 'open' }]
  const handler = auth.gate('/mcp', () => Response.json({ jsonrpc: '2.0', id: 1, result: { tools } }))
  const ask = (method: string, params: object) => {
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })
    const headers = { Authorization: `Bearer ${token.token}`, 'Content-Type': 'application/json' }
    return handler(new Request(resource, { method: 'POST', headers, body }))
  }
  const usual = globalThis.Promise
  const another = class Another<T> extends usual<T> {}
  const decided: unknown[] = []
  // Once verified, once remembered.
  for (const _ of [1, 2]) {
    globalThis.Promise = another as PromiseConstructor
    try {
      const closed = await ask('tools/call', { name: 'closed', arguments: {} })
      const open = await ask('tools/call', { name: 'open', arguments: {} })
      const listed = await ask('tools/list', {})
      decided.push(closed.status, open.status, ((await listed.json()) as { result: unknown }).result)
    } finally {
      globalThis.Promise = usual
    }
  }
  const once = [403, 200, { tools: [{ name: 'open' }] }]
  expect(decided).toEqual([...once, ...once])
})
