import { request } from 'node:http'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { afterEach, beforeAll, expect, test } from 'vitest'
import { authenticate } from '../../../src/http/fastmcp.ts'
import { accessTokenOf } from '../../../src/mcp/token-of.ts'
import { type MintedFacts, type TestIssuer, testIssuer } from '../../../src/testing.ts'
import { type ResourceServerOptions, resourceServer } from '../../../src/verify-only.ts'
import { freePort } from '../../support/free-port.ts'
import { npmTool } from '../../support/npm-tool.ts'

/** What is used of the package, which is installed beside the project. */
interface Server {
  addTool(tool: {
    name: string
    canAccess?(session: unknown): boolean
    execute(args: unknown, context: { session: unknown }): Promise<string>
  }): void
  start(options: {
    transportType: 'httpStream'
    httpStream: { host: string; port: number; stateless?: boolean }
  }): Promise<void>
  stop(): Promise<void>
}
let FastMCP: new (options: { name: string; version: string; authenticate: unknown; health?: object }) => Server
beforeAll(async () => {
  const modules = await npmTool('fastmcp', '4.20.16')
  const entry = pathToFileURL(join(modules, 'fastmcp/dist/FastMCP.js')).href
  FastMCP = ((await import(entry)) as { FastMCP: typeof FastMCP }).FastMCP
})

let server: Server | undefined
let issuer: TestIssuer
let url: URL
afterEach(() => server?.stop())

const start = async (options: Partial<ResourceServerOptions> = {}, stateless = false) => {
  const port = await freePort()
  url = new URL(`http://127.0.0.1:${port}/mcp`)
  issuer = testIssuer()
  const auth = resourceServer({ resource: url.href, issuers: [issuer], scopes: { write: 'Write' }, ...options })
  server = new FastMCP({ name: 'notes', version: '1.0.0', authenticate: authenticate(auth, '/mcp') })
  server.addTool({
    name: 'whoami',
    async execute(_args, { session }) {
      const token = accessTokenOf(session, auth)
      return `${token?.subject} of ${token?.issuer} through ${token?.clientId}`
    },
  })
  server.addTool({
    name: 'notes_add',
    canAccess: (session) => accessTokenOf(session)?.scopes.includes('write') ?? false,
    execute: async () => 'added',
  })
  await server.start({ transportType: 'httpStream', httpStream: { host: '127.0.0.1', port, stateless } })
}

const connect = async (facts: MintedFacts) => {
  const client = new Client({ name: 'test', version: '1.0.0' })
  const { token } = issuer.accessToken(facts)
  const transport = new StreamableHTTPClientTransport(url, {
    requestInit: { headers: { Authorization: `Bearer ${token}` } },
  })
  await client.connect(transport as Parameters<typeof client.connect>[0])
  return { client, transport }
}

test.each([false, true])(
  'its tools know who calls, and its own decisions stand on it (stateless: %s)',
  async (stateless) => {
    await start({}, stateless)
    const people = await Promise.all(
      ['ann', 'bob'].map((subject) =>
        connect({ subject, clientId: 'editor', scopes: subject === 'bob' ? ['write'] : [] }),
      ),
    )
    for (const [at, name] of ['ann', 'bob'].entries()) {
      const client = people[at]?.client ?? expect.fail('no client')
      expect(await client.callTool({ name: 'whoami' })).toMatchObject({
        content: [{ text: `${name} of https://issuer.test through editor` }],
      })
      const tools = (await client.listTools()).tools.map((tool) => tool.name)
      expect(tools).toEqual(name === 'bob' ? ['whoami', 'notes_add'] : ['whoami'])
      await client.close()
    }
  },
)

test('without a good token: our challenge', async () => {
  await start()
  const ask = (headers: Record<string, string>) =>
    fetch(url, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream', ...headers },
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' }),
    })
  for (const headers of [{}, { Authorization: 'Bearer unknown' }] as Record<string, string>[]) {
    const response = await ask(headers)
    expect(response.status).toBe(401)
    expect(response.headers.get('WWW-Authenticate')).toContain(`resource_metadata="${url.origin}/.well-known/`)
  }
  issuer.setAvailable(false)
  const down = await ask({ Authorization: `Bearer ${issuer.accessToken().token}` })
  expect([down.status, down.headers.get('WWW-Authenticate')]).toEqual([503, null])
})

test('fault 23: another caller’s token does not continue a session', async () => {
  await start()
  const { client, transport } = await connect({ subject: 'ann' })
  const call = (facts: MintedFacts, method = 'POST') =>
    fetch(url, {
      method,
      headers: {
        ...{ 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream' },
        ...{ 'Mcp-Session-Id': transport.sessionId ?? '', 'MCP-Protocol-Version': '2025-11-25' },
        Authorization: `Bearer ${issuer.accessToken(facts).token}`,
      },
      ...(method === 'POST' && {
        body: JSON.stringify({
          jsonrpc: '2.0',
          id: 5,
          method: 'tools/call',
          params: { name: 'whoami', arguments: {} },
        }),
      }),
    })
  for (const method of ['POST', 'GET', 'DELETE']) expect((await call({ subject: 'mallory' }, method)).status).toBe(404)
  expect(await (await call({ subject: 'ann' })).text()).toContain('ann of')
  await client.close()
})

test('fault 23: the older transport, which asks for a token but once, is not served', async () => {
  await start()
  const headers = { Authorization: `Bearer ${issuer.accessToken({ subject: 'ann' }).token}` }
  for (const path of ['/sse', '/sse?x', '/x/../sse', '/./sse']) {
    const status = await new Promise<number | undefined>((resolve, reject) => {
      // As it is: `fetch` would send another path.
      const asked = request({ host: url.hostname, port: url.port, path, headers }, (response) => {
        response.destroy()
        resolve(response.statusCode)
      })
      asked.on('error', reject).end()
    })
    expect(status, path).toBe(404)
  }
})

test('a policy that could not be applied lets nobody through', async () => {
  await start({ tools: { notes_add: ['write'] } })
  await expect(connect({ subject: 'ann' })).rejects.toThrow(/policy of this resource/)
})
