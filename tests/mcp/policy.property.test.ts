import { McpServer as McpServerV1, ResourceTemplate as TemplateV1 } from '@modelcontextprotocol/sdk/server/mcp.js'
import { WebStandardStreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/webStandardStreamableHttp.js'
import {
  createMcpHandler,
  McpServer as McpServerV2,
  ResourceTemplate as TemplateV2,
} from '@modelcontextprotocol/server'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { AccessPolicy } from '../../src/mcp/policy/rule.ts'
import type { FetchFunction } from '../../src/resource-server/handler.ts'
import { testIssuer } from '../../src/testing.ts'
import { resourceServer } from '../../src/verify-only.ts'

const url = 'http://localhost:8787/mcp'

/** What the servers below really did, by what their handlers were given. */
let done: string[] = []
const text = (what: string) => {
  done.push(what)
  return { content: [{ type: 'text' as const, text: what }] }
}
const contents = (what: string, uri: URL) => {
  done.push(what)
  return { contents: [{ uri: uri.href, text: what }] }
}
const messages = (what: string) => {
  done.push(what)
  return { messages: [{ role: 'user' as const, content: { type: 'text' as const, text: what } }] }
}
const tools = ['notes_list', 'notes_add', 'admin_purge', 'free']

const serverV1: FetchFunction = async (request, { authInfo, parsedBody }) => {
  const server = new McpServerV1({ name: 'notes', version: '1.0.0' })
  for (const name of tools) server.registerTool(name, {}, () => text(`tool ${name}`))
  server.registerResource('secret', 'notes://secret', {}, (uri) => contents('secret', uri))
  const template = new TemplateV1('notes://{id}/{part}', { list: undefined })
  server.registerResource('note', template, {}, (uri) => contents(uri.hostname === 'secret' ? 'secret' : 'note', uri))
  server.registerPrompt('admin_reset', {}, () => messages('prompt admin_reset'))
  const transport = new WebStandardStreamableHTTPServerTransport({ enableJsonResponse: true })
  await server.connect(transport as Parameters<typeof server.connect>[0])
  return transport.handleRequest(request, { authInfo, parsedBody })
}

const serverV2 = createMcpHandler(() => {
  const server = new McpServerV2({ name: 'notes', version: '1.0.0' })
  for (const name of tools) server.registerTool(name, {}, () => text(`tool ${name}`))
  server.registerResource('secret', 'notes://secret', {}, (uri) => contents('secret', uri))
  const template = new TemplateV2('notes://{id}/{part}', { list: undefined })
  server.registerResource('note', template, {}, (uri) => contents(uri.hostname === 'secret' ? 'secret' : 'note', uri))
  server.registerPrompt('admin_reset', {}, () => messages('prompt admin_reset'))
  return server
})

const policy: AccessPolicy = {
  tools: { 'notes_*': ['read'], notes_add: ['write'], 'admin_*': { scopes: ['admin'], actor: false } },
  resources: { 'notes://{id}/{part}': ['read'], 'notes://secret*': ['admin'] },
  prompts: { '*': ['admin'] },
  lists: 'usable',
  implies: { write: ['read'] },
}
/** The same, said another way. */
const allowed = (what: string, scopes: readonly string[], agent: boolean): boolean => {
  const has = (scope: string) => scopes.includes(scope)
  switch (what) {
    case 'tool notes_list':
      return has('read') || has('write')
    case 'tool notes_add':
      return has('write')
    case 'tool admin_purge':
      return has('admin') && !agent
    case 'note':
      return has('read') || has('write')
    case 'secret':
    case 'prompt admin_reset':
      return has('admin')
    default:
      return what === 'tool free'
  }
}

const name = fc.oneof(
  {
    weight: 9,
    arbitrary: fc.constantFrom(
      ...tools,
      ...tools,
      'admin_reset',
      '__proto__',
      'constructor',
      'NOTES_ADD',
      'notes_add ',
    ),
  },
  { weight: 1, arbitrary: fc.string({ maxLength: 5 }) },
)
const uri = fc.oneof(
  fc.constantFrom(
    ...[
      'notes://secret',
      'notes://secret/',
      'NOTES://secret',
      'notes://secre%74',
      'notes://x/../secret',
      'notes://a/b',
    ],
    ...['notes://secret/x', 'notes://secret/x%2Fy', 'notes://u@secret/x', 'notes://secret:1/x', ' notes://secret\n'],
    ...[
      'notes://secret/./x',
      'notes://secret/a/%2e%2e/x',
      'notes:\\\\secret/x',
      'n\totes://secret',
      'notes://%73ecret/x',
    ],
  ),
  fc.webUrl(),
)
const message = fc.record(
  {
    jsonrpc: fc.constantFrom<unknown>('2.0', '2.0', '2.0', '1.0'),
    id: fc.oneof<fc.Arbitrary<unknown>[]>(fc.nat(9), fc.string({ maxLength: 2 }), fc.constant(null)),
    method: fc.oneof(
      {
        weight: 9,
        arbitrary: fc.constantFrom('tools/call', 'resources/read', 'prompts/get', 'tools/list', 'initialize'),
      },
      { weight: 1, arbitrary: fc.constantFrom('Tools/call', 'tools/call ', 'ping', 'notifications/initialized') },
    ),
    params: fc.oneof(
      { weight: 9, arbitrary: fc.record({ name, uri, arguments: fc.constant({}) }, { requiredKeys: ['name', 'uri'] }) },
      { weight: 1, arbitrary: fc.jsonValue() },
    ),
  },
  { requiredKeys: ['jsonrpc', 'method', 'params'] },
)
/** What a client sends. */
const usual = fc
  .tuple(fc.constantFrom('tools/call', 'resources/read', 'prompts/get'), name, uri)
  .map(([method, name, uri]) => JSON.stringify({ jsonrpc: '2.0', id: 1, method, params: { name, uri } }))
const body = fc.oneof(
  { weight: 14, arbitrary: usual },
  { weight: 4, arbitrary: message.map((each) => JSON.stringify(each)) },
  { weight: 2, arbitrary: fc.array(message, { maxLength: 4 }).map((each) => JSON.stringify(each)) },
  // The second of two members of one name, in the body or in its params.
  { weight: 2, arbitrary: message.map((each) => `{"method":"ping",${JSON.stringify(each).slice(1)}`) },
  {
    weight: 1,
    arbitrary: name.map(
      (each) =>
        `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"free","name":${JSON.stringify(each)}}}`,
    ),
  },
  { weight: 1, arbitrary: fc.string() },
)
const oddHeaders = fc.record(
  {
    'Mcp-Method': fc.constantFrom('tools/call', 'tools/list', 'resources/read'),
    'Mcp-Name': fc.constantFrom('free', 'notes_list', '=?base64?ZnJlZQ==?='),
    'Content-Encoding': fc.constantFrom('identity', 'gzip'),
    'Content-Type': fc.constantFrom('application/json; charset=utf-8', 'text/plain'),
    'MCP-Protocol-Version': fc.constantFrom('2025-06-18', '2026-07-28'),
  },
  { requiredKeys: [] },
)

const headers = fc.oneof({ weight: 4, arbitrary: fc.constant({}) }, { weight: 1, arbitrary: oddHeaders })

describe.each<[string, FetchFunction]>([
  ['SDK v1', serverV1],
  ['SDK v2', (request, context) => serverV2.fetch(request, context)],
])('%s', (_, server) => {
  const issuer = testIssuer()
  const handler = resourceServer({ resource: url, issuers: [issuer], ...policy }).gate('/mcp', server)
  const post = (json: string, scopes: readonly string[], agent: boolean, more: Record<string, string> = {}) => {
    const actor = agent ? { actor: { issuer: 'https://issuer.test', subject: 'agent' } } : {}
    const { token } = issuer.accessToken({ scopes, ...actor })
    const accept = { Accept: 'application/json, text/event-stream', 'Content-Type': 'application/json' }
    const sent = { Authorization: `Bearer ${token}`, ...accept, ...more }
    return handler(new Request(url, { method: 'POST', headers: sent, body: json }))
  }

  test('whatever is executed was allowed by the policy', { timeout: 120_000 }, async () => {
    const executed = new Set<string>()
    const scopes = fc.subarray(['read', 'write', 'admin'])
    await fc.assert(
      fc.asyncProperty(body, scopes, fc.boolean(), headers, async (json, granted, agent, more) => {
        done = []
        const response = await post(json, granted, agent, more)
        await response.text()
        expect(done.filter((what) => !allowed(what, granted, agent))).toEqual([])
        for (const what of done) executed.add(what)
      }),
      { numRuns: 1_500 },
    )
    // Otherwise this test would show nothing.
    expect([...executed].sort()).toEqual(
      ['note', 'prompt admin_reset', 'secret', ...tools.map((tool) => `tool ${tool}`)].sort(),
    )
  })

  test('the lists show what may be used, and no more', async () => {
    const list = async (method: string, member: string, key: string, scopes: string[], agent = false) => {
      const response = await post(JSON.stringify({ jsonrpc: '2.0', id: 1, method, params: {} }), scopes, agent)
      const answer = await response.text()
      const json = answer.startsWith('{') ? answer : (/^data: (\{.*)$/m.exec(answer)?.[1] ?? expect.fail(answer))
      const { result } = JSON.parse(json) as { result: Record<string, Record<string, string>[]> }
      return result[member]?.map((item) => item[key])
    }
    expect(await list('tools/list', 'tools', 'name', [])).toEqual(['free'])
    expect(await list('tools/list', 'tools', 'name', ['write'])).toEqual(['notes_list', 'notes_add', 'free'])
    expect(await list('tools/list', 'tools', 'name', ['admin'])).toEqual(['admin_purge', 'free'])
    expect(await list('tools/list', 'tools', 'name', ['admin'], true)).toEqual(['free'])
    expect(await list('prompts/list', 'prompts', 'name', [])).toEqual([])
    expect(await list('prompts/list', 'prompts', 'name', ['admin'])).toEqual(['admin_reset'])
    expect(await list('resources/list', 'resources', 'uri', ['read'])).toEqual([])
    expect(await list('resources/list', 'resources', 'uri', ['admin'])).toEqual(['notes://secret'])
    expect(await list('resources/templates/list', 'resourceTemplates', 'uriTemplate', [])).toEqual([])
    expect(await list('resources/templates/list', 'resourceTemplates', 'uriTemplate', ['read'])).toEqual([
      'notes://{id}/{part}',
    ])
  })
})
