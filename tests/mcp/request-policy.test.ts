import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { silentLogger } from '../../src/events/logger.ts'
import { requestPolicy } from '../../src/mcp/request-policy.ts'
import type { GateRequest } from '../../src/resource-server/handler.ts'
import { accessToken } from '../../src/testing.ts'

const policy =
  requestPolicy({ tools: { notes_add: ['notes:write'], purge: ['notes:write', 'admin'] } }, silentLogger) ??
  expect.fail('no policy')

const url = 'https://notes.example.com/mcp'
const post = (body: BodyInit, headers: Record<string, string> = {}) =>
  new Request(url, { method: 'POST', body, headers: { 'Content-Type': 'application/json', ...headers } })
const decide = (request: GateRequest, scopes: string[] = ['notes:read'], parsedBody?: unknown) =>
  policy.decide(request, accessToken({ scopes }), parsedBody)
const toolCall = (name: string, id: number | undefined = 1) => ({
  jsonrpc: '2.0',
  ...(id === undefined ? {} : { id }),
  method: 'tools/call',
  params: { name, arguments: {} },
})

describe('fault 13, a call that needs a scope is decided before dispatch', () => {
  test.each<[object, string[], string[] | 'allow']>([
    [toolCall('notes_add'), ['notes:read'], ['notes:write']],
    [toolCall('notes_add'), ['notes:write'], 'allow'],
    [toolCall('notes_add'), ['notes:writer', 'notes'], ['notes:write']],
    [toolCall('notes_add', undefined), [], ['notes:write']],
    [toolCall('purge'), ['notes:write'], ['admin']],
    [toolCall('purge'), [], ['notes:write', 'admin']],
    [toolCall('notes_list'), [], 'allow'],
    [toolCall('constructor'), [], 'allow'],
    [toolCall('__proto__'), [], 'allow'],
    [{ jsonrpc: '2.0', id: 1, method: 'tools/list' }, [], 'allow'],
    [{ jsonrpc: '2.0', id: 1, result: { content: [] } }, [], 'allow'],
    [{ jsonrpc: '2.0', method: 'notifications/initialized' }, [], 'allow'],
  ])('%j with %j', async (message, scopes, expected) => {
    const decision = await decide(post(JSON.stringify(message)), scopes)
    if (expected === 'allow') expect(decision).toMatchObject({ outcome: 'allow', parsedBody: message })
    else expect(decision).toEqual({ outcome: 'insufficient_scope', scopes: expected })
  })

  test('every member of a batch is decided', async () => {
    const batch = [{ jsonrpc: '2.0', id: 1, method: 'ping' }, toolCall('notes_list', 2), toolCall('notes_add', 3)]
    expect(await decide(post(JSON.stringify(batch)))).toEqual({
      outcome: 'insufficient_scope',
      scopes: ['notes:write'],
    })
    expect((await decide(post(JSON.stringify(batch)), ['notes:write'])).outcome).toBe('allow')
  })

  test('whatever tool of a batch may not be called, the batch is not let through', async () => {
    const names = fc.array(fc.constantFrom('notes_add', 'purge', 'notes_list', 'other'), { minLength: 1, maxLength: 8 })
    const granted = fc.subarray(['notes:read', 'notes:write', 'admin'])
    const needs: Record<string, string[]> = { notes_add: ['notes:write'], purge: ['notes:write', 'admin'] }
    await fc.assert(
      fc.asyncProperty(names, granted, async (tools, scopes) => {
        const decision = await decide(post(JSON.stringify(tools.map((name, id) => toolCall(name, id)))), scopes)
        const allowed = tools.every((name) => (needs[name] ?? []).every((scope) => scopes.includes(scope)))
        expect(decision.outcome).toBe(allowed ? 'allow' : 'insufficient_scope')
      }),
    )
  })

  test('a body that the host read already is decided on as it is', async () => {
    const request = new Request(url, { method: 'POST' })
    expect((await decide(request, [], toolCall('notes_add'))).outcome).toBe('insufficient_scope')
  })

  test('requests without a body of calls are left alone', async () => {
    for (const method of ['GET', 'DELETE']) expect((await decide(new Request(url, { method }))).outcome).toBe('allow')
  })

  test('a body counts whatever the method: servers that don’t look at it would serve it', async () => {
    const body = JSON.stringify(toolCall('notes_add'))
    for (const method of ['PUT', 'PATCH', 'QUERY', 'post', 'DELETE', 'HEAD', 'GET', 'OPTIONS']) {
      const bytes = String(new TextEncoder().encode(body).byteLength)
      for (const length of [{ 'content-length': bytes }, { 'transfer-encoding': 'chunked' }]) {
        const headers = new Headers({ 'content-type': 'application/json', ...length })
        const request = { method, url, headers, body: new Response(body).body, text: async () => body }
        expect((await decide(request)).outcome, `${method} ${JSON.stringify(length)}`).not.toBe('allow')
      }
    }
    const empty = { method: 'DELETE', url, headers: new Headers({ 'content-length': '0' }), body: null }
    expect((await decide({ ...empty, text: async () => '' })).outcome).toBe('allow')
  })
})

describe('what can’t be decided is not dispatched', () => {
  const malformed = async (request: GateRequest, parsedBody?: unknown) => {
    const decision = await decide(request, ['notes:write', 'admin'], parsedBody)
    return decision.outcome === 'malformed' ? [decision.status, decision.reason] : decision
  }

  test.each<[string, string]>([
    ['', 'body_not_json'],
    ['{', 'body_not_json'],
    ['null', 'not_json_rpc'],
    ['7', 'not_json_rpc'],
    ['"tools/call"', 'not_json_rpc'],
    ['[]', 'batch_size'],
    ['[[]]', 'not_json_rpc'],
    ['{}', 'not_json_rpc'],
    ['{"method":7}', 'not_json_rpc'],
    ['{"method":["tools/call"]}', 'not_json_rpc'],
    ['{"method":"tools/call"}', 'nameless_call'],
    ['{"method":"tools/call","params":[]}', 'nameless_call'],
    ['{"method":"tools/call","params":{"name":["notes_add"]}}', 'nameless_call'],
    ['{"method":"resources/read","params":{"name":"x"}}', 'nameless_call'],
    ['{"method":"ping","method":"tools/call","params":{"name":"x"}}', 'duplicate_keys'],
    ['{"method":"tools/call","params":{"name":"notes_list","name":"notes_add"}}', 'duplicate_keys'],
    ['{"method":"tools/call","params":{"name":"notes_list","n\\u0061me":"notes_add"}}', 'duplicate_keys'],
    ['{"params":{"name":"notes_list"},"method":"tools/call","params":{"name":"notes_add"}}', 'duplicate_keys'],
    ['[{"method":"ping"},{"method":"ping","id":1,"id":2}]', 'duplicate_keys'],
    ['{"method":"ping","text":"\\\\","method":"tools/call","params":{"name":"x"}}', 'duplicate_keys'],
    ['{"params":{"a":[{}],"b":{"c":[]}},"method":"ping","method":"ping"}', 'duplicate_keys'],
    ['{"method":"tools/call","params":{"name":"notes_list","__proto__":{"name":"notes_add"}}}', 'prototype_member'],
    ['{"__proto__":{"method":"tools/call","params":{"name":"notes_add"}},"result":{}}', 'prototype_member'],
    ['[{"method":"ping"},{"method":"ping","__proto__":{"id":1}}]', 'prototype_member'],
  ])('%s', async (body, reason) => {
    expect(await malformed(post(body))).toEqual([400, reason])
  })

  test.each([
    '{"method":"tools/call","params":{"name":"x","arguments":{"a":1,"b":{"a":2},"c":[{"a":1},{"a":2}]}}}',
    '{"method":"tools/call","params":{"name":"x","arguments":{"text":"\\"name\\":\\"name\\", {[\\\\"}}}',
    '[{"method":"ping","id":1},{"method":"ping","id":2}]',
    '{"method":"tools/call","params":{"name":"a\\",\\"name\\":\\"b"}}',
    '{"method":"ping","params":{"a":"\\\\","b":"{\\\\\\"}","c":1}}',
  ])('the same name at different places is no duplicate: %s', async (body) => {
    expect((await decide(post(body))).outcome).toBe('allow')
  })

  test('JSON that some writer made is never taken for one with duplicates', async () => {
    await fc.assert(
      fc.asyncProperty(fc.jsonValue({ maxDepth: 5 }), async (value) => {
        const message = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'x', arguments: value } }
        expect((await decide(post(JSON.stringify(message, null, 2)))).outcome).toBe('allow')
      }),
    )
  })

  test('a batch without bound', async () => {
    const batch = Array.from({ length: 101 }, (_, id) => ({ jsonrpc: '2.0', id, method: 'ping' }))
    expect(await malformed(post(JSON.stringify(batch)))).toEqual([400, 'batch_size'])
  })

  test.each(['gzip', 'deflate', 'br', 'identity, gzip', 'x'])('a body with Content-Encoding %s', async (encoding) => {
    expect(await malformed(post('{}', { 'Content-Encoding': encoding }))).toEqual([415, 'body_encoded'])
  })

  test('Content-Encoding: identity says nothing', async () => {
    expect((await decide(post(JSON.stringify(toolCall('x')), { 'Content-Encoding': 'identity' }))).outcome).toBe(
      'allow',
    )
  })

  const large = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping', params: { text: 'x'.repeat(4 * 1024 * 1024) } })
  test('a body over 4 MiB, announced or not', async () => {
    expect(await malformed(post(large, { 'Content-Length': String(large.length) }))).toEqual([413, 'body_too_large'])
    expect(await malformed(post(large))).toEqual([413, 'body_too_large'])
    expect(await malformed(post(large, { 'Content-Length': '7' }))).toEqual([413, 'body_too_large'])
  })

  test('a body that never ends is not read to its end', async () => {
    let sent = 0
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        sent += 1
        controller.enqueue(new Uint8Array(1024 * 1024).fill(0x20))
      },
    })
    const request = new Request(url, { method: 'POST', body, duplex: 'half' } as RequestInit)
    expect(await malformed(request)).toEqual([413, 'body_too_large'])
    expect(sent).toBeLessThan(10)
  })

  test('a member that a copy inherits from, where the host has parsed the body', async () => {
    const hidden = JSON.parse('{"method":"tools/call","params":{"name":"notes_list","__proto__":{"name":"notes_add"}}}')
    expect(await malformed(post(''), hidden)).toEqual([400, 'prototype_member'])
    expect(await malformed(post(''), [toolCall('notes_list'), hidden])).toEqual([400, 'prototype_member'])
    // Arguments are the tool's own, whatever their names.
    const own = JSON.parse('{"method":"tools/call","params":{"name":"notes_list","arguments":{"__proto__":1}}}')
    expect((await decide(post(''), [], own)).outcome).toBe('allow')
  })

  test('a body that breaks off', async () => {
    const body = new ReadableStream<Uint8Array>({ pull: (controller) => controller.error(new Error('reset')) })
    const request = new Request(url, { method: 'POST', body, duplex: 'half' } as RequestInit)
    expect(await malformed(request)).toEqual([400, 'body_unreadable'])
  })

  test('any bytes are decided, and none of them is an error', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
        const decision = await decide(post(bytes as unknown as BodyInit))
        expect(['allow', 'malformed']).toContain(decision.outcome)
      }),
    )
  })
})

describe('headers that repeat what the body says', () => {
  const encoded = (name: string) => `=?base64?${Buffer.from(name).toString('base64')}?=`
  test.each<[Record<string, string>, string]>([
    [{ 'Mcp-Method': 'tools/call', 'Mcp-Name': 'notes_list' }, 'allow'],
    [{ 'Mcp-Method': 'tools/call' }, 'allow'],
    [{ 'Mcp-Name': encoded('notes_list') }, 'allow'],
    [{ 'Mcp-Method': 'tools/list' }, 'malformed'],
    [{ 'Mcp-Method': 'Tools/Call' }, 'malformed'],
    [{ 'Mcp-Method': 'tools/call', 'Mcp-Name': 'notes_add' }, 'malformed'],
    [{ 'Mcp-Name': encoded('notes_add') }, 'malformed'],
    [{ 'Mcp-Name': '=?base64?***?=' }, 'malformed'],
  ])('%j for notes_list: %s', async (headers, outcome) => {
    const decision = await decide(post(JSON.stringify(toolCall('notes_list')), headers))
    expect(decision.outcome).toBe(outcome)
    if (decision.outcome === 'malformed') expect(decision).toMatchObject({ status: 400, code: -32020 })
  })

  test('for a batch they can only be wrong', async () => {
    const batch = [toolCall('notes_list', 1), toolCall('notes_list', 2)]
    expect((await decide(post(JSON.stringify(batch), { 'Mcp-Method': 'tools/call' }))).outcome).toBe('malformed')
  })
})

test('where nothing is required there is no policy, and no body is read', () => {
  expect(requestPolicy({}, silentLogger)).toBeUndefined()
  expect(requestPolicy({ tools: {} }, silentLogger)).toBeUndefined()
})

describe('refusals answer the request that they are about', () => {
  const modern = { 'MCP-Protocol-Version': '2026-07-28' }
  const strict =
    requestPolicy({ tools: { notes_list: [] }, unlisted: 'deny' }, silentLogger) ?? expect.fail('no policy')
  const ask = (message: object, headers = {}) =>
    strict.decide(post(JSON.stringify(message), headers), accessToken(), undefined)
  const unknown = { jsonrpc: '2.0', id: 'a', method: 'vendor/execute' }

  test('with its id', async () => {
    expect(await ask(toolCall('other', 7))).toEqual({ outcome: 'forbid', reason: 'policy_unlisted', id: 7 })
    expect(await ask(toolCall('notes_list', 8), { ...modern, 'Mcp-Method': 'ping' })).toMatchObject({
      code: -32020,
      id: 8,
    })
    expect(await ask({ ...toolCall('other'), id: { not: 'an id' } })).not.toHaveProperty('id')
  })

  test('a method that is not there is not found where that can’t mean a session', async () => {
    const notFound = { outcome: 'malformed', status: 404, code: -32601 }
    expect(await ask(unknown, modern)).toMatchObject({ ...notFound, id: 'a', reason: 'policy_unlisted' })
    expect(await ask(unknown)).toMatchObject({ outcome: 'forbid', id: 'a' })
    expect(await ask({ jsonrpc: '2.0', id: 1, method: 'resources/subscribe' }, modern)).toMatchObject(notFound)
    expect(await ask({ jsonrpc: '2.0', id: 1, method: 'resources/subscribe' })).toMatchObject({ status: 400 })
  })
})
