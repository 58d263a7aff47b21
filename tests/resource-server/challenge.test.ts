import { expect, test } from 'vitest'
import {
  type Challenge,
  challengeHeader,
  challengeResponse,
  rpcErrorResponse,
  unavailableResponse,
} from '../../src/resource-server/challenge.ts'
import { createHostCheck, createOriginCheck, isHost, isOrigin } from '../../src/resource-server/hosts.ts'
import { readAccessToken } from '../../src/resource-server/presented-token.ts'
import { requestWithSession, responseWithSession } from '../../src/resource-server/session-header.ts'

const challenge: Challenge = {
  error: 'invalid_token',
  description: 'say "why"\\ now\r\n\u00e4',
  scopes: ['ab', 'b c', '"', 'd', ''],
  metadataUrl: 'https://x.example/"meta',
}
const refusal = 'error="invalid_token", error_description="say \'why\'\' now"'
const place = 'resource_metadata="https://x.example/\'meta"'

test('a challenge is Bearer first, in quoted values that need no escapes', () => {
  expect(challengeHeader(challenge)).toBe(`Bearer ${refusal}, scope="ab d", ${place}`)
  expect(challengeHeader({ ...challenge, scopes: [] })).toBe(`Bearer ${refusal}, ${place}`)
})

test('who speaks DPoP reads the error in the challenge of DPoP', () => {
  const algorithms = ['ES256', 'EdDSA']
  const bearer = `Bearer ${refusal}, scope="ab d", ${place}`
  expect(challengeHeader({ ...challenge, algorithms })).toBe(`${bearer}, DPoP algs="ES256 EdDSA"`)
  expect(challengeHeader({ ...challenge, algorithms, speaksDpop: true })).toBe(
    `Bearer scope="ab d", ${place}, DPoP ${refusal}, scope="ab d", algs="ES256 EdDSA"`,
  )
})

test.each([
  ['invalid_token', 401],
  ['invalid_dpop_proof', 401],
  ['use_dpop_nonce', 401],
  ['insufficient_scope', 403],
  ['invalid_request', 400],
] as const)('%s is answered with %i', async (error, status) => {
  const response = challengeResponse({ ...challenge, error, description: 'x' }, { 'DPoP-Nonce': 'n' })
  expect(response.status).toBe(status)
  expect(await response.json()).toEqual({ error, error_description: 'x' })
  expect(Object.fromEntries(response.headers)).toMatchObject({
    'cache-control': 'no-store',
    'content-type': 'application/json',
    'dpop-nonce': 'n',
    'www-authenticate': expect.stringContaining(`error="${error}"`),
  })
})

test('our own trouble is 503 with a time, and no challenge', async () => {
  const response = unavailableResponse(7)
  expect(response.status).toBe(503)
  expect(Object.fromEntries(response.headers)).toEqual({
    'cache-control': 'no-store',
    'content-type': 'application/json',
    'retry-after': '7',
  })
  expect(await response.json()).toMatchObject({
    error: 'temporarily_unavailable',
    error_description: expect.stringMatching(/./),
  })
})

test('a refusal that no token would change is in the words of JSON-RPC', async () => {
  expect(await rpcErrorResponse(403, -32_000, 'no').json()).toEqual({
    jsonrpc: '2.0',
    error: { code: -32_000, message: 'no' },
    id: null,
  })
  const response = rpcErrorResponse(400, -32_600, 'no', { id: 7, data: { why: 1 } })
  expect([response.status, response.headers.get('cache-control')]).toEqual([400, 'no-store'])
  expect(await response.json()).toEqual({
    jsonrpc: '2.0',
    error: { code: -32_600, message: 'no', data: { why: 1 } },
    id: 7,
  })
})

test.each<[string | null, ReturnType<typeof readAccessToken>]>([
  [null, { kind: 'none' }],
  ['', { kind: 'none' }],
  ['Bearer abc', { kind: 'token', token: 'abc', scheme: 'Bearer' }],
  ['bEaReR   a.b_c~d+e/f-g==  ', { kind: 'token', token: 'a.b_c~d+e/f-g==', scheme: 'Bearer' }],
  ['DPoP abc', { kind: 'token', token: 'abc', scheme: 'DPoP' }],
  ['dpop abc', { kind: 'token', token: 'abc', scheme: 'DPoP' }],
  ['Bearer', { kind: 'garbage', scheme: 'Bearer' }],
  ['DPoP', { kind: 'garbage', scheme: 'DPoP' }],
  ['Bearer a b', { kind: 'garbage', scheme: 'Bearer' }],
  ['Bearer =a', { kind: 'garbage', scheme: 'Bearer' }],
  ['Bearer a=b', { kind: 'garbage', scheme: 'Bearer' }],
  ['Bearer "a"', { kind: 'garbage', scheme: 'Bearer' }],
  ['DPoP \u00e4', { kind: 'garbage', scheme: 'DPoP' }],
  ['Bearer a, Bearer b', { kind: 'ambiguous' }],
  ['Bearer a,', { kind: 'ambiguous' }],
  ['DPoP a,b', { kind: 'ambiguous' }],
  ['Basic YTpi, Bearer a', { kind: 'ambiguous' }],
  ['Basic YTpi,dpop a', { kind: 'ambiguous' }],
  ['Basic YTpi', { kind: 'none' }],
  ['Basic YTpi, Basic YTpi', { kind: 'none' }],
  ['Basic Bearer a', { kind: 'none' }],
  ['Basic Bearer', { kind: 'none' }],
  ['Basic dpop', { kind: 'none' }],
  ['Basic dpop a', { kind: 'none' }],
  ['Bearerabc', { kind: 'none' }],
  ['XBearer abc', { kind: 'none' }],
  ['DPoPabc', { kind: 'none' }],
  [`Bearer ${'a'.repeat(16_384)}`, { kind: 'token', token: 'a'.repeat(16_384), scheme: 'Bearer' }],
  [`Bearer ${'a'.repeat(16_385)}`, { kind: 'garbage', scheme: 'Bearer' }],
])('an Authorization header: %j', (header, presented) => {
  expect(readAccessToken(header)).toEqual(presented)
})

const hosts = (resource: string, extra: readonly string[] = []) => {
  const check = createHostCheck(new URL(resource), extra)
  return (host: string | null, url = 'https://else.example') =>
    check({ method: 'GET', url, headers: { get: () => host }, body: null, text: async () => '' })
}

test('a Host is the resource’s own, with its port or the usual one, or was named', () => {
  const let_in = hosts('https://notes.example.com/mcp', ['Proxy.internal', '10.0.0.7:8080'])
  for (const host of [
    'notes.example.com',
    'NOTES.example.com',
    'notes.example.com:443',
    'proxy.internal',
    'proxy.internal:443',
    '10.0.0.7:8080',
  ]) {
    expect([host, let_in(host)]).toEqual([host, true])
  }
  for (const host of [
    'notes.example.com:80',
    'notes.example.com:8443',
    'proxy.internal:80',
    '10.0.0.7',
    '10.0.0.7:8080:443',
    'localhost',
    '127.0.0.1',
    '',
  ]) {
    expect([host, let_in(host)]).toEqual([host, false])
  }
  // A host that keeps the header to itself made the URL of it.
  expect(let_in(null, 'https://notes.example.com/mcp')).toBe(true)
  expect(let_in(null, 'https://evil.example/mcp')).toBe(false)
})

test('a loopback resource has any loopback name, with its own port', () => {
  for (const name of ['localhost', '127.0.0.1', '[::1]']) {
    expect(hosts('http://127.0.0.1:8787/mcp')(`${name}:8787`)).toBe(true)
    expect(hosts('http://127.0.0.1:8787/mcp')(name)).toBe(false)
    expect(hosts('http://localhost/mcp')(name)).toBe(true)
    expect(hosts('http://localhost/mcp')(`${name}:80`)).toBe(true)
    expect(hosts('http://localhost/mcp')(`${name}:443`)).toBe(false)
    expect(hosts('https://localhost/mcp')(`${name}:443`)).toBe(true)
  }
})

test('an Origin is the resource’s own, one of this computer, or was named', () => {
  const let_in = createOriginCheck(new URL('https://notes.example.com/mcp'), [
    'https://App.example.com/',
    'chrome-extension://abcdef',
    'vscode-webview://panel/index.html',
  ])
  for (const origin of [
    'https://notes.example.com',
    'https://app.example.com',
    'chrome-extension://abcdef',
    'vscode-webview://panel',
    'http://localhost:6274',
    'https://127.0.0.1',
    'http://[::1]:1',
  ]) {
    expect([origin, let_in(origin)]).toEqual([origin, true])
  }
  for (const origin of [
    'null',
    'http://notes.example.com',
    'https://app.example.com.evil.example',
    'chrome-extension://other',
    'http://localhost:6274/',
    'http://LOCALHOST',
    'http://localhost@evil.example',
    'ftp://localhost',
    'xhttp://localhost',
    'http://',
    'localhost',
    '',
  ]) {
    expect([origin, let_in(origin)]).toEqual([origin, false])
  }
})

const ids = { requested: 'own-1', issue: (id: string) => `for-caller-${id}`, events: undefined }

test('the server behind the gate sees its own session id, and the caller another', async () => {
  const presented = new Request('https://x.example/mcp', {
    method: 'POST',
    headers: { 'mcp-session-id': 'caller-1', 'x-kept': 'yes' },
    body: '{}',
  })
  const inner = requestWithSession(presented, ids)
  expect([inner.headers.get('mcp-session-id'), inner.headers.get('x-kept'), inner.method]).toEqual([
    'own-1',
    'yes',
    'POST',
  ])
  expect(await inner.text()).toBe('{}')
  const read = requestWithSession(new Request('https://x.example', { headers: { 'mcp-session-id': 'c' } }), {
    ...ids,
    requested: undefined,
  })
  expect(read.headers.has('mcp-session-id')).toBe(false)
  expect(read.body).toBeNull()
  const outer = responseWithSession(
    new Response('body', { status: 202, statusText: 'Taken', headers: { 'Mcp-Session-Id': 'own-2' } }),
    ids,
  )
  expect([outer.headers.get('mcp-session-id'), outer.status, outer.statusText]).toEqual([
    'for-caller-own-2',
    202,
    'Taken',
  ])
  expect(await outer.text()).toBe('body')
})

test('the server behind the gate sees its own event id, or none', () => {
  const events = { requested: 'own-event', issue: (id: string) => id, issueEndpoint: (url: string) => url }
  const presented = new Request('https://x.example', { headers: { 'last-event-id': 'caller-event' } })
  const seen = (session: typeof ids | (Omit<typeof ids, 'events'> & { events: typeof events })) =>
    requestWithSession(presented, session).headers.get('last-event-id')
  expect(seen({ ...ids, events })).toBe('own-event')
  expect(seen(ids)).toBeNull()
})

test('a request or a response without a session stays as it is', () => {
  const request = new Request('https://x.example')
  const response = new Response()
  expect(requestWithSession(request, ids)).toBe(request)
  expect(responseWithSession(response, ids)).toBe(response)
  const named = new Request('https://x.example', { headers: { 'mcp-session-id': 'a' } })
  const answered = new Response(null, { headers: { 'mcp-session-id': 'a' } })
  expect(requestWithSession(named, undefined)).toBe(named)
  expect(responseWithSession(answered, undefined)).toBe(answered)
})

test('a body that was read already is not sent again', async () => {
  const request = new Request('https://x.example', { method: 'POST', headers: { 'mcp-session-id': 'a' }, body: 'read' })
  await request.text()
  expect(requestWithSession(request, ids).body).toBeNull()
})

test('a host is named without a scheme, a path, or anything else that no Host says', () => {
  for (const host of ['notes.example.com', 'localhost:3000', '[::1]:8080', 'a']) {
    expect([host, isHost(host)]).toEqual([host, true])
  }
  const none = ['', 'https://notes.example.com', '/a', 'a/', 'a b', ' a', 'a ', 'a\n', 'me@a', 'a?', 'a#', 'a,b']
  for (const text of none) expect([text, isHost(text)]).toEqual([text, false])
})

test('an origin is named with its scheme and its host', () => {
  const origins = ['https://app.example.com', 'HTTPS://App.example.com/', 'http://[::1]:3000', 'a://b']
  for (const origin of [...origins, 'chrome-extension://abcdef', 'vscode-webview://panel/index.html']) {
    expect([origin, isOrigin(origin)]).toEqual([origin, true])
  }
  const none = [
    '',
    '*',
    'null',
    'app.example.com',
    'app.example.com:443',
    'mailto:a@example.com',
    'https:a',
    'https:/a',
  ]
  for (const text of [...none, 'https://', 'https:///a', ' https://a', '1a://b', 'https://a b', 'https://[']) {
    expect([text, isOrigin(text)]).toEqual([text, false])
  }
})
