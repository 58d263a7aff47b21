import { expect, test } from 'vitest'
import { countersign } from '../../src/countersign.ts'
import { memory } from '../../src/store/memory.ts'

const url = 'http://localhost:8787'

const server = (trustedProxies?: readonly string[]) => {
  const auth = countersign({
    url,
    store: memory(),
    audit: () => {},
    registration: { perAddress: 2 },
    resources: { '/mcp': {} },
    trustedProxies,
  })
  return async (remoteAddress: string, forwarded: string) => {
    const body = JSON.stringify({ redirect_uris: ['http://127.0.0.1/callback'], token_endpoint_auth_method: 'none' })
    const headers = { 'content-type': 'application/json', 'x-forwarded-for': forwarded }
    const request = new Request(`${url}/register`, { method: 'POST', headers, body })
    return (await auth.respond(request, { remoteAddress }))?.status
  }
}

test('limits count the client behind a trusted proxy, not the proxy', async () => {
  const register = server(['10.0.0.0/8'])
  const alice = [1, 2, 3].map(() => register('10.0.0.1', '203.0.113.5'))
  expect((await Promise.all(alice)).toSorted()).toEqual([201, 201, 429])
  expect(await register('10.0.0.2', '203.0.113.6')).toBe(201)
})

test('fault 22: without a trusted proxy the header changes nothing', async () => {
  const register = server()
  const statuses = await Promise.all(['1.1.1.1', '2.2.2.2', '3.3.3.3'].map((said) => register('203.0.113.5', said)))
  expect(statuses.toSorted()).toEqual([201, 201, 429])
})

test('a proxy that was forgotten is warned of, once: else strangers could use up what everybody behind it may', async () => {
  const warnings: unknown[] = []
  const warn = (message: string, details?: object) => void warnings.push([message, details])
  const auth = countersign({
    ...{ url, store: memory(), audit: () => {}, resources: { '/mcp': {} } },
    logger: { debug() {}, info() {}, warn, error() {} },
  })
  const ask = (remoteAddress: string, headers: Record<string, string>) =>
    auth.respond(new Request(`${url}/jwks`, { headers }), { remoteAddress })
  await ask('203.0.113.5', {})
  await ask('10.0.0.1', {})
  expect(warnings).toEqual([])
  for (const said of ['1.1.1.1', '2.2.2.2']) await ask('10.0.0.1', { 'x-forwarded-for': said })
  expect(warnings).toEqual([[expect.stringContaining('trustedProxies'), { address: '10.0.0.1' }]])
  await auth.close()
})

test('a proxy that is no address is refused at start, with where it stands', () => {
  expect(() => server(['load-balancer'])).toThrow(/^trustedProxies\[0\]: expected/)
})
