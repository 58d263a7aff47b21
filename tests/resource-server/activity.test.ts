import { expect, test, vi } from 'vitest'
import { createActivity } from '../../src/resource-server/activity.ts'
import {
  corsHeaders,
  isPreflight,
  preflightResponse,
  publicPreflightResponse,
  withHeaders,
} from '../../src/resource-server/cors.ts'
import type { GateRequest } from '../../src/resource-server/handler.ts'
import { createMetadataRoutes } from '../../src/resource-server/metadata.ts'
import { createProofMemory } from '../../src/resource-server/proof-memory.ts'

test('what is under way is counted once, and waited for', async () => {
  const activity = createActivity()
  expect([activity.stopped, activity.underWay]).toEqual([false, 0])
  expect(await activity.settled(0)).toBe(true)
  const [zero, one, two] = [activity.begin(), activity.begin(), activity.begin()]
  expect(activity.underWay).toBe(3)
  one()
  one()
  expect(activity.underWay).toBe(2)
  activity.stop()
  expect(activity.stopped).toBe(true)
  let settled: boolean | undefined
  const waiting = activity.settled(3_600_000).then((value) => {
    settled = value
  })
  zero()
  // Whoever waits hears of it, if at all, in this turn.
  await new Promise((resolve) => setImmediate(resolve))
  expect(settled).toBeUndefined()
  two()
  await waiting
  expect([settled, activity.underWay]).toEqual([true, 0])
})

test('what takes too long is waited for no longer, and no timer is left', async () => {
  vi.useFakeTimers()
  try {
    const activity = createActivity()
    const end = activity.begin()
    const late = activity.settled(1_000)
    await vi.advanceTimersByTimeAsync(999)
    const soon = activity.settled(1_000)
    await vi.advanceTimersByTimeAsync(1)
    expect(await late).toBe(false)
    end()
    expect(await soon).toBe(true)
    expect(vi.getTimerCount()).toBe(0)
  } finally {
    vi.useRealTimers()
  }
})

const request = (method: string, headers: Record<string, string>): GateRequest =>
  new Request('https://notes.example.com/mcp', { method, headers })

test('a preflight is an OPTIONS request that asks for a method', () => {
  const asks = { 'access-control-request-method': 'POST' }
  expect(isPreflight(request('OPTIONS', asks))).toBe(true)
  expect(isPreflight(request('OPTIONS', {}))).toBe(false)
  expect(isPreflight(request('POST', asks))).toBe(false)
})

test('a preflight is told what the endpoint takes, and of the tool’s own headers those that it asks for', () => {
  const many = Array.from({ length: 70 }, (_, index) => `mcp-param-${index}`)
  const asked = [
    'x-evil',
    ' Mcp-Param-City',
    'xmcp-param-a',
    'mcp-param-',
    'mcp-param-a b',
    `mcp-param-${'x'.repeat(65)}`,
  ]
  const headers = { origin: 'https://a.example', 'access-control-request-headers': [...asked, ...many].join(',') }
  const response = preflightResponse(request('OPTIONS', headers), () => true)
  expect(response.status).toBe(204)
  expect(Object.fromEntries(response.headers)).toEqual({
    vary: 'Origin, Access-Control-Request-Headers',
    'access-control-allow-origin': 'https://a.example',
    'access-control-allow-methods': 'GET, POST, DELETE, OPTIONS',
    'access-control-max-age': '600',
    'access-control-allow-headers': [
      'Authorization, DPoP, Content-Type, Accept, MCP-Protocol-Version, Mcp-Session-Id, Mcp-Method, Mcp-Name, Last-Event-ID',
      'Mcp-Param-City',
      ...many.slice(0, 63),
    ].join(', '),
  })
  const plain = preflightResponse(request('OPTIONS', { origin: 'https://a.example' }), () => true)
  expect(plain.headers.get('access-control-allow-headers')).toMatch(/Last-Event-ID$/)
  for (const headers of [{ origin: 'https://a.example' }, {}] as Record<string, string>[]) {
    const refused = preflightResponse(request('OPTIONS', headers), () => headers.origin === undefined)
    expect(Object.fromEntries(refused.headers)).toEqual({ vary: 'Origin, Access-Control-Request-Headers' })
  }
})

test('a page may read what clients read, unless the host answered that already', async () => {
  const added = corsHeaders('https://a.example')
  expect(added).toEqual({
    'Access-Control-Allow-Origin': 'https://a.example',
    'Access-Control-Expose-Headers': 'WWW-Authenticate, Mcp-Session-Id, MCP-Protocol-Version, Retry-After, DPoP-Nonce',
    Vary: 'Origin',
  })
  const plain = new Response('x', { status: 201, statusText: 'Made', headers: { Vary: 'Accept' } })
  expect(withHeaders(plain, {})).toBe(plain)
  const readable = withHeaders(plain, added)
  expect([readable.status, readable.statusText, readable.headers.get('vary'), await readable.text()]).toEqual([
    201,
    'Made',
    'Accept, Origin',
    'x',
  ])
  const answered = new Response(null, { headers: { 'Access-Control-Allow-Origin': 'https://b.example' } })
  expect(withHeaders(answered, added)).toBe(answered)
})

test('documents for all are for all pages', () => {
  const response = publicPreflightResponse()
  expect(response.status).toBe(204)
  expect(Object.fromEntries(response.headers)).toEqual({
    'access-control-allow-origin': '*',
    'access-control-allow-methods': 'GET, HEAD, OPTIONS',
    'access-control-allow-headers': 'MCP-Protocol-Version, Accept, Content-Type',
    'access-control-max-age': '600',
  })
})

const resourceAt = (identifier: string, more: object = {}) => ({
  ...{ identifier, name: undefined, scopes: { read: 'Read' }, defaultScopes: ['read'] },
  ...more,
})
const wellKnown = 'https://a.example/.well-known/oauth-protected-resource'

test('metadata say what holds of the resource, and nothing else', async () => {
  const document = async (resource: ReturnType<typeof resourceAt>, servers: string[] = []) =>
    (await createMetadataRoutes([resource], servers).respond(new Request(`${wellKnown}/mcp`)))?.json()
  const algorithms = { dpop_signing_alg_values_supported: ['ES256', 'ES384', 'EdDSA', 'Ed25519', 'PS256', 'RS256'] }
  expect(await document(resourceAt('https://a.example/mcp', { defaultScopes: [] }))).toStrictEqual({
    resource: 'https://a.example/mcp',
    bearer_methods_supported: ['header'],
    ...algorithms,
  })
  const bound = resourceAt('https://a.example/mcp', { name: 'Notes', dpopBoundAccessTokensRequired: true })
  expect(await document(bound, ['https://as.example'])).toStrictEqual({
    resource: 'https://a.example/mcp',
    resource_name: 'Notes',
    authorization_servers: ['https://as.example'],
    scopes_supported: ['read'],
    bearer_methods_supported: [],
    ...algorithms,
    dpop_bound_access_tokens_required: true,
  })
})

test('metadata are read, and nothing else is done with them', async () => {
  const routes = createMetadataRoutes([resourceAt('https://a.example/mcp')], [])
  const ask = async (method: string, path = '/mcp') => {
    const response = await routes.respond(new Request(`${wellKnown}${path}`, { method }))
    return response && { ...Object.fromEntries(response.headers), status: response.status, body: await response.text() }
  }
  const headers = {
    'access-control-allow-origin': '*',
    'cache-control': 'public, max-age=300',
    'content-type': 'application/json',
  }
  expect(await ask('GET')).toEqual({ ...headers, status: 200, body: expect.stringContaining('"resource"') })
  expect(await ask('GET', '')).toEqual(await ask('GET'))
  expect(await ask('HEAD')).toEqual({ ...headers, status: 200, body: '' })
  expect(await ask('DELETE')).toEqual({
    'access-control-allow-origin': '*',
    allow: 'GET, HEAD, OPTIONS',
    status: 405,
    body: '',
  })
  expect(await ask('POST', '/other')).toBeUndefined()
  expect([routes.handles(new URL(wellKnown).pathname), routes.handles('/mcp')]).toEqual([true, false])
})

test('by whatever name a server is reached, one resource alone has the metadata at its place', async () => {
  for (const [identifier, path] of [
    ['https://a.example', ''],
    ['https://a.example/mcp', ''],
    ['https://a.example/mcp', '/mcp'],
    ['https://a.example/mcp?tenant=1', ''],
  ] as const) {
    const routes = createMetadataRoutes([resourceAt(identifier)], [])
    const place = `http://10.0.0.7:8080/.well-known/oauth-protected-resource${path}`
    const response = await routes.respond(new Request(place, { headers: { Host: '10.0.0.7:8080' } }))
    expect(await response?.json(), identifier + path).toMatchObject({ resource: identifier })
  }
})

test('of two resources that differ in their query, each has its own metadata', async () => {
  const resources = ['1', '2'].map((tenant) => resourceAt(`https://a.example/mcp?tenant=${tenant}`))
  const routes = createMetadataRoutes(resources, [])
  for (const tenant of ['1', '2']) {
    const response = await routes.respond(new Request(`${wellKnown}/mcp?tenant=${tenant}`))
    expect(await response?.json()).toMatchObject({ resource: `https://a.example/mcp?tenant=${tenant}` })
  }
  expect(await routes.respond(new Request(`${wellKnown}/mcp?tenant=3`))).toBeUndefined()
})

const start = Date.UTC(2026, 10, 22)
const proof = (jkt: string, jti: string, issuedAt = start / 1000) => ({ jkt, jti, issuedAt })

test('used proofs are forgotten when their time is over, every half minute, whatever the clock does', async () => {
  const memory = createProofMemory()
  await memory.use(proof('a', '1'), start)
  // Known for 300 s, and a minute for clocks that differ.
  await memory.use(proof('b', '1', start / 1000 + 330), start + 330_001)
  expect(memory.size).toBe(2)
  await memory.use(proof('b', '2', start / 1000 + 360), start + 360_000)
  expect(memory.size).toBe(3)
  await memory.use(proof('b', '3', start / 1000 + 360), start + 360_001)
  expect(memory.size).toBe(3)
  await memory.use(proof('b', '4', start / 1000 + 360), start + 359_999)
  expect(memory.size).toBe(4)
})

test('where there is no more room, an eighth of what the busiest key used is forgotten, and older proofs of it are refused', async () => {
  const memory = createProofMemory({ capacity: 16 })
  for (let index = 0; index < 16; index += 1) await memory.use(proof('busy', `${index}`, start / 1000 + index), start)
  expect(memory.size).toBe(16)
  expect(await memory.use(proof('quiet', '1'), start)).toBe(true)
  expect(memory.size).toBe(15)
  expect(await memory.use(proof('busy', 'new', start / 1000 + 1), start)).toBe(false)
  expect(await memory.use(proof('busy', 'newer', start / 1000 + 2), start)).toBe(true)
  expect(await memory.use(proof('quiet', '2'), start)).toBe(true)
})
