import { fileURLToPath } from 'node:url'
import { Client as ClientV2 } from '@modelcontextprotocol/client'
import { StdioClientTransport as StdioV2 } from '@modelcontextprotocol/client/stdio'
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js'
import { StdioClientTransport as StdioV1 } from '@modelcontextprotocol/sdk/client/stdio.js'
import { InMemoryTransport as MemoryV1 } from '@modelcontextprotocol/sdk/inMemory.js'
import { McpServer as McpServerV1 } from '@modelcontextprotocol/sdk/server/mcp.js'
import { McpServer as McpServerV2, InMemoryTransport as MemoryV2 } from '@modelcontextprotocol/server'
import { beforeEach, describe, expect, test } from 'vitest'
import type { AuditEvent } from '../../src/events/audit.ts'
import type { Auth } from '../../src/http/auth.ts'
import { requireUser } from '../../src/identity/context.ts'
import { accessTokenOf } from '../../src/mcp/token-of.ts'
import { identify, type MessageTransport } from '../../src/stdio.ts'
import { type TestIssuer, testIssuer } from '../../src/testing.ts'
import { resourceServer } from '../../src/verify-only.ts'

const resource = 'https://notes.example.com/mcp'
let issuer: TestIssuer
let auth: Auth
let events: AuditEvent[]
beforeEach(() => {
  issuer = testIssuer()
  events = []
  auth = resourceServer({
    resource,
    issuers: [issuer],
    scopes: { 'notes:read': 'Read', 'notes:write': 'Write' },
    tools: { notes_add: ['notes:write'], purge: () => false },
    lists: 'usable',
    audit: (event) => void events.push(event),
  })
})

const later = <T>(make: () => T) => new Promise<T>((resolve) => setTimeout(() => resolve(make()), 2))
const whoami = (carrier: unknown) =>
  later(() => {
    const user = requireUser(auth)
    const same = accessTokenOf(carrier, auth) === user
    return { content: [{ type: 'text' as const, text: `${user.subject} ${same}` }] }
  })
const added = () => ({ content: [{ type: 'text' as const, text: 'added' }] })

const sdks = {
  'SDK v1': async (identified: <T extends MessageTransport>(transport: T) => T) => {
    const [near, far] = MemoryV1.createLinkedPair()
    const server = new McpServerV1({ name: 'notes', version: '1' })
    server.registerTool('whoami', {}, whoami)
    for (const name of ['notes_add', 'purge']) server.registerTool(name, {}, added)
    await server.connect(identified(far))
    const client = new ClientV1({ name: 'test', version: '1' })
    await client.connect(near)
    return client
  },
  'SDK v2': async (identified: <T extends MessageTransport>(transport: T) => T) => {
    const [near, far] = MemoryV2.createLinkedPair()
    const server = new McpServerV2({ name: 'notes', version: '1' })
    server.registerTool('whoami', {}, whoami)
    for (const name of ['notes_add', 'purge']) server.registerTool(name, {}, added)
    await server.connect(identified(far))
    const client = new ClientV2({ name: 'test', version: '1' })
    await client.connect(near as unknown as Parameters<typeof client.connect>[0])
    return client
  },
}

describe.each(Object.entries(sdks))('a server without HTTP (%s)', (_sdk, connect) => {
  const start = (facts: Parameters<TestIssuer['accessToken']>[0] = { subject: 'alice', scopes: ['notes:read'] }) => {
    const token = issuer.accessToken(facts)
    return { token, connected: connect((transport) => identify(auth, resource, token.token, transport)) }
  }

  test('its handlers know who calls, and get the one object', async () => {
    const client = await start().connected
    expect(await client.callTool({ name: 'whoami' })).toMatchObject({ content: [{ text: 'alice true' }] })
    await client.close()
  })

  test('the policy applies, to calls and lists', async () => {
    const client = await start().connected
    expect((await client.listTools()).tools.map(({ name }) => name)).toEqual(['whoami'])
    await expect(client.callTool({ name: 'notes_add' })).rejects.toThrow(/more scopes: notes:read notes:write/)
    await expect(client.callTool({ name: 'purge' })).rejects.toThrow(/Not allowed/)
    expect(events.map(({ type }) => type)).toEqual(['access.refused', 'access.refused'])
    await client.close()
    const writer = await start({ scopes: ['notes:write'] }).connected
    expect((await writer.listTools()).tools.map(({ name }) => name)).toEqual(['whoami', 'notes_add'])
    expect(await writer.callTool({ name: 'notes_add' })).toMatchObject({ content: [{ text: 'added' }] })
    await writer.close()
  })

  test('a token that ends, ends what it allows', async () => {
    const { token, connected } = start()
    const client = await connected
    await client.callTool({ name: 'whoami' })
    issuer.revoke(token)
    await expect(client.callTool({ name: 'whoami' })).rejects.toThrow(/expired, revoked/)
    issuer.setAvailable(false)
    await expect(client.callTool({ name: 'whoami' })).rejects.toThrow(/cannot be verified at the moment/)
    await client.close()
  })

  test('a token that is no good lets nobody begin', async () => {
    await expect(connect((transport) => identify(auth, resource, 'unknown', transport))).rejects.toThrow(/revoked/)
    for (const none of [undefined, '']) {
      await expect(connect((transport) => identify(auth, resource, none, transport))).rejects.toThrow(/environment/)
    }
    await expect(start({ resource: 'https://other.example/mcp' }).connected).rejects.toThrow(/not for this resource/)
  })
})

test('two questions of one id: the answer to the one is not filtered in place of the other’s', async () => {
  const sent: object[] = []
  const token = issuer.accessToken({ subject: 'alice', scopes: ['notes:read'] })
  const transport: MessageTransport = { send: async (message) => void sent.push(message) }
  identify(auth, resource, token.token, transport)
  const asked: { id: number; method: string }[] = []
  transport.onmessage = (message) => void asked.push(message as { id: number; method: string })
  transport.onmessage?.({ jsonrpc: '2.0', id: 1, method: 'tools/list' })
  transport.onmessage?.({ jsonrpc: '2.0', id: 1, method: 'ping' })
  await expect.poll(() => asked.length + sent.length).toBe(2)
  const list = { tools: [{ name: 'whoami' }, { name: 'notes_add' }, { name: 'purge' }] }
  for (const { id, method } of asked.toReversed()) {
    await transport.send({ jsonrpc: '2.0', id, result: method === 'ping' ? {} : list })
  }
  expect(JSON.stringify(sent)).toContain('whoami')
  expect(JSON.stringify(sent)).not.toContain('purge')
  // Once it was answered, the id is free.
  transport.onmessage?.({ jsonrpc: '2.0', id: 1, method: 'ping' })
  await expect.poll(() => asked).toHaveLength(2)
})

test('who asks is answered also when something of ours breaks, and is told nothing of it', async () => {
  const sent: object[] = []
  const transport: MessageTransport = { send: async (message) => void sent.push(message) }
  const broken = { admit: () => Promise.reject(new Error('a secret detail')) }
  identify(broken, resource, issuer.accessToken().token, transport)
  transport.onmessage = () => {}
  transport.onmessage({ jsonrpc: '2.0', method: 'notifications/initialized' })
  transport.onmessage({ jsonrpc: '2.0', id: 7, method: 'ping' })
  await expect.poll(() => sent).toEqual([{ jsonrpc: '2.0', id: 7, error: { code: -32603, message: 'Internal error' } }])
})

test('answers come in the order of the questions, whatever the policy waits for', async () => {
  const order: string[] = []
  const transport: MessageTransport = { send: async () => {} }
  auth = resourceServer({ resource, issuers: [issuer], tools: { slow: () => later(() => true) } })
  identify(auth, resource, issuer.accessToken().token, transport)
  transport.onmessage = (message) => void order.push((message as { method: string }).method)
  transport.onmessage?.({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'slow' } })
  transport.onmessage?.({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 1 } })
  await expect.poll(() => order).toEqual(['tools/call', 'notifications/cancelled'])
})

describe('the example, as a real process', () => {
  const program = fileURLToPath(new URL('../../examples/stdio.ts', import.meta.url))
  const settings = (env: Record<string, string>) => ({
    ...{
      command: process.execPath,
      args: ['--conditions=source', '--import', 'tsx', program],
      stderr: 'ignore' as const,
    },
    env: { PATH: process.env.PATH ?? '', ...env },
  })

  test.each(['v1', 'v2'])('is started with the environment that identifies the caller (client %s)', async (version) => {
    const transport = settings({ NOTES_TOKEN: 'alice-at-home' })
    const client =
      version === 'v1' ? new ClientV1({ name: 't', version: '1' }) : new ClientV2({ name: 't', version: '1' })
    await (client instanceof ClientV1 ? client.connect(new StdioV1(transport)) : client.connect(new StdioV2(transport)))
    expect(await client.callTool({ name: 'whoami' })).toMatchObject({ content: [{ text: 'alice, through desktop' }] })
    expect((await client.listTools()).tools.map(({ name }) => name)).toEqual(['whoami'])
    await client.close()
  })

  test('and without it does not start', async () => {
    const client = new ClientV2({ name: 't', version: '1' })
    await expect(client.connect(new StdioV2(settings({})))).rejects.toThrow()
  })
})
