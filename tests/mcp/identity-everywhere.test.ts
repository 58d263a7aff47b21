import { Client as ClientV2, StreamableHTTPClientTransport as TransportV2 } from '@modelcontextprotocol/client'
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { completable as completableV1 } from '@modelcontextprotocol/sdk/server/completable.js'
import { McpServer as McpServerV1, ResourceTemplate as TemplateV1 } from '@modelcontextprotocol/sdk/server/mcp.js'
import { WebStandardStreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/webStandardStreamableHttp.js'
import { SubscribeRequestSchema } from '@modelcontextprotocol/sdk/types.js'
import {
  completable as completableV2,
  createMcpHandler,
  McpServer as McpServerV2,
  requireScopes,
  ResourceTemplate as TemplateV2,
} from '@modelcontextprotocol/server'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { Auth } from '../../src/http/auth.ts'
import * as onNode from '../../src/http/node.ts'
import { requireUser } from '../../src/identity/context.ts'
import { accessTokenOf } from '../../src/mcp/token-of.ts'
import type { FetchHandler } from '../../src/resource-server/handler.ts'
import { challengeOf, type TestIssuer, testIssuer } from '../../src/testing.ts'
import { resourceServer } from '../../src/verify-only.ts'
import { listen, type Running } from '../http/adapters/servers.ts'

/** Where identity was seen: at which handler, whose, and whether what the SDK handed over was the very same. */
let seen: [string, string, boolean | undefined][]

const see = async (auth: Auth, where: string, carrier?: unknown): Promise<string> => {
  await new Promise((resolve) => setTimeout(resolve, 1))
  const user = requireUser(auth)
  seen.push([where, user.subject, carrier === undefined ? undefined : accessTokenOf(carrier, auth) === user])
  return user.subject
}
const user = (value: string) => ({
  messages: [{ role: 'user' as const, content: { type: 'text' as const, text: value } }],
})
const contents = (uri: URL, value: string) => ({ contents: [{ uri: uri.href, text: value }] })

const serverV1 = (auth: Auth): FetchHandler => ({
  async fetch(request, { authInfo, parsedBody }) {
    const server = new McpServerV1({ name: 'notes', version: '1' })
    server.registerTool('tool', {}, async (extra) => ({
      content: [{ type: 'text', text: await see(auth, 'tool', extra) }],
    }))
    server.registerResource('fixed', 'notes://fixed', {}, async (uri, extra) =>
      contents(uri, await see(auth, 'resource', extra)),
    )
    const complete = { id: async () => [await see(auth, 'completion of a resource')] }
    const template = new TemplateV1('notes://by/{id}', {
      list: async (extra) => ({ resources: [{ uri: 'notes://by/1', name: await see(auth, 'list', extra) }] }),
      complete,
    })
    server.registerResource('by', template, {}, async (uri, _variables, extra) =>
      contents(uri, await see(auth, 'template', extra)),
    )
    server.server.registerCapabilities({ resources: { subscribe: true } })
    server.server.setRequestHandler(SubscribeRequestSchema, async (_request, extra) => {
      await see(auth, 'subscription', extra)
      return {}
    })
    const argsSchema = { name: completableV1(z.string(), async () => [await see(auth, 'completion of a prompt')]) }
    server.registerPrompt('prompt', { argsSchema }, async (_args, extra) => user(await see(auth, 'prompt', extra)))
    const transport = new WebStandardStreamableHTTPServerTransport()
    await server.connect(transport as Parameters<typeof server.connect>[0])
    return transport.handleRequest(request, { authInfo, parsedBody })
  },
})

const serverV2 = (auth: Auth): FetchHandler =>
  createMcpHandler(
    auth.server((context) => {
      seen.push(['factory', requireUser(auth).subject, accessTokenOf(context, auth) === requireUser(auth)])
      const server = new McpServerV2({ name: 'notes', version: '1' })
      server.registerTool('tool', {}, async (ctx) => ({
        content: [{ type: 'text', text: await see(auth, 'tool', ctx) }],
      }))
      const scopeChallenge = requireScopes('notes:read', 'notes:write')
      server.registerTool('challenged', { scopeChallenge }, async (ctx) => ({
        content: [{ type: 'text', text: await see(auth, 'challenged', ctx) }],
      }))
      server.registerResource('fixed', 'notes://fixed', {}, async (uri, ctx) =>
        contents(uri, await see(auth, 'resource', ctx)),
      )
      const template = new TemplateV2('notes://by/{id}', {
        list: async (ctx) => ({ resources: [{ uri: 'notes://by/1', name: await see(auth, 'list', ctx) }] }),
        complete: { id: async () => [await see(auth, 'completion of a resource')] },
      })
      server.registerResource('by', template, {}, async (uri, _variables, ctx) =>
        contents(uri, await see(auth, 'template', ctx)),
      )
      const argsSchema = z.object({
        name: completableV2(z.string(), async () => [await see(auth, 'completion of a prompt')]),
      })
      server.registerPrompt('prompt', { argsSchema }, async (_args, ctx) => user(await see(auth, 'prompt', ctx)))
      return server
    }) as Parameters<typeof createMcpHandler>[0],
  )

let issuer: TestIssuer
let running: Running | undefined
beforeEach(() => {
  issuer = testIssuer()
  seen = []
})
afterEach(() => running?.close())

const start = async (make: (auth: Auth) => FetchHandler): Promise<URL> => {
  running = await listen((origin) => {
    const auth = resourceServer({ resource: `${origin}/mcp`, issuers: [issuer] })
    return onNode.listener(auth, { '/mcp': make(auth) as { fetch: never } })
  })
  return new URL(`${running.origin}/mcp`)
}

const clients = {
  async 'client v1'(url: URL, headers: Record<string, string>) {
    const client = new ClientV1({ name: 't', version: '1' })
    await client.connect(new TransportV1(url, { requestInit: { headers } }) as Parameters<typeof client.connect>[0])
    return client
  },
  async 'client v2, 2026-07-28'(url: URL, headers: Record<string, string>) {
    const client = new ClientV2({ name: 't', version: '1' }, { versionNegotiation: { mode: 'auto' } })
    await client.connect(new TransportV2(url, { requestInit: { headers } }))
    return client
  },
}

const everywhere = [
  'tool',
  'list',
  'resource',
  'template',
  'prompt',
  'completion of a prompt',
  'completion of a resource',
]

describe.each([
  ['SDK v1', serverV1],
  ['SDK v2', serverV2],
] as const)('every handler of %s knows who calls', (_sdk, make) => {
  test.each(Object.entries(clients))(
    'origin 1, origin 11: tools, resources, prompts, completions (%s)',
    async (_name, connect) => {
      const url = await start(make)
      await Promise.all(
        ['ann', 'bob'].map(async (subject) => {
          const { token } = issuer.accessToken({ subject })
          const client = await connect(url, { Authorization: `Bearer ${token}` })
          await client.callTool({ name: 'tool' })
          const { resources } = await client.listResources()
          expect(resources.map(({ name }) => name)).toContain(subject)
          expect(await client.readResource({ uri: 'notes://fixed' })).toMatchObject({ contents: [{ text: subject }] })
          expect(await client.readResource({ uri: 'notes://by/7' })).toMatchObject({ contents: [{ text: subject }] })
          const prompt = await client.getPrompt({ name: 'prompt', arguments: { name: 'x' } })
          expect(prompt.messages).toMatchObject([{ content: { text: subject } }])
          const completed = await client.complete({
            ref: { type: 'ref/prompt', name: 'prompt' },
            argument: { name: 'name', value: 'a' },
          })
          expect(completed.completion.values).toEqual([subject])
          const byId = { type: 'ref/resource' as const, uri: 'notes://by/{id}' }
          expect((await client.complete({ ref: byId, argument: { name: 'id', value: '' } })).completion.values).toEqual(
            [subject],
          )
          await client.close()
        }),
      )
      for (const where of everywhere) {
        const subjects = seen.filter(([at]) => at === where).map(([, subject]) => subject)
        expect(subjects.sort(), where).toEqual(['ann', 'bob'])
      }
      expect(seen.filter(([, , same]) => same === false)).toEqual([])
    },
  )
})

test('origin 1: subscriptions, in each era as it has them', async () => {
  const headers = (subject: string) => ({ Authorization: `Bearer ${issuer.accessToken({ subject }).token}` })
  const client = await clients['client v1'](await start(serverV1), headers('ann'))
  await client.subscribeResource({ uri: 'notes://fixed' })
  await client.close()
  expect(seen).toEqual([['subscription', 'ann', true]])
  await running?.close()

  seen = []
  const url = await start(serverV2)
  const meta = {
    'io.modelcontextprotocol/protocolVersion': '2026-07-28',
    'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1' },
    'io.modelcontextprotocol/clientCapabilities': {},
  }
  const stream = await fetch(url, {
    method: 'POST',
    headers: {
      ...headers('bob'),
      ...{ 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream' },
      ...{ 'MCP-Protocol-Version': '2026-07-28', 'Mcp-Method': 'subscriptions/listen' },
    },
    body: JSON.stringify({
      ...{ jsonrpc: '2.0', id: 1, method: 'subscriptions/listen' },
      params: { _meta: meta, notifications: { toolsListChanged: true } },
    }),
  })
  expect([stream.status, stream.headers.get('Content-Type')]).toEqual([200, 'text/event-stream'])
  expect(seen).toEqual([['factory', 'bob', true]])
  await stream.body?.cancel()
})

test('a tool’s own scope challenge, as the SDK evaluates it: complete, and with our metadata', async () => {
  const url = await start(serverV2)
  const call = (scopes: string[]) =>
    fetch(url, {
      method: 'POST',
      headers: {
        Authorization: `Bearer ${issuer.accessToken({ scopes }).token}`,
        ...{ 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream' },
      },
      body: JSON.stringify({
        jsonrpc: '2.0',
        id: 1,
        method: 'tools/call',
        params: { name: 'challenged', arguments: {} },
      }),
    })
  expect(challengeOf(await call(['notes:read']))).toMatchObject({
    ...{ status: 403, error: 'insufficient_scope', scopes: ['notes:read', 'notes:write'] },
    metadataUrl: `${url.origin}/.well-known/oauth-protected-resource/mcp`,
  })
  const allowed = await call(['notes:read', 'notes:write'])
  expect(await allowed.text()).toContain('test-user')
  expect(seen.filter(([where]) => where === 'challenged')).toHaveLength(1)
})
