import { randomUUID } from 'node:crypto'
import { type RequestListener, request } from 'node:http'
import { getRequestListener } from '@hono/node-server'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { McpServer as McpServerV1 } from '@modelcontextprotocol/sdk/server/mcp.js'
import { StreamableHTTPServerTransport as NodeTransportV1 } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import { WebStandardStreamableHTTPServerTransport as WebTransportV1 } from '@modelcontextprotocol/sdk/server/webStandardStreamableHttp.js'
import {
  McpServer as McpServerV2,
  WebStandardStreamableHTTPServerTransport as WebTransportV2,
} from '@modelcontextprotocol/server'
import express from 'express'
import { Hono } from 'hono'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { AuditEvent } from '../../src/events/audit.ts'
import type { Auth } from '../../src/http/auth.ts'
import * as onExpress from '../../src/http/express.ts'
import * as onHono from '../../src/http/hono.ts'
import * as onNode from '../../src/http/node.ts'
import { requireAccessToken } from '../../src/identity/context.ts'
import type { HandlerContext } from '../../src/resource-server/handler.ts'
import { type MintedFacts, type TestIssuer, testIssuer } from '../../src/testing.ts'
import { type ResourceServerOptions, resourceServer } from '../../src/verify-only.ts'
import { listen, type Running } from '../http/adapters/servers.ts'

/** The sessions of a server, by the ids that it gave them itself. */
type Sessions<Transport> = Map<string, Transport>

const whoami = () => ({ content: [{ type: 'text' as const, text: requireAccessToken().subject }] })

const serverV1 = (): McpServerV1 => {
  const server = new McpServerV1({ name: 'notes', version: '1.0.0' }, { capabilities: { logging: {} } })
  server.registerTool('whoami', {}, whoami)
  return server
}

/** As the SDK's own examples keep sessions. */
const nodeV1 = (ids: string[]) => {
  const sessions: Sessions<NodeTransportV1> = new Map()
  return async (request: onNode.NodeRequest, response: Parameters<RequestListener>[1], body?: unknown) => {
    const id = request.headers['mcp-session-id']
    let transport = typeof id === 'string' ? sessions.get(id) : undefined
    if (!transport) {
      if (id !== undefined) return void response.writeHead(404).end('the server itself does not know this session')
      const fresh = new NodeTransportV1({
        sessionIdGenerator: randomUUID,
        onsessioninitialized: (made) => {
          ids.push(made)
          sessions.set(made, fresh)
        },
      })
      await serverV1().connect(fresh as Parameters<McpServerV1['connect']>[0])
      transport = fresh
    }
    await transport.handleRequest(request as Parameters<NodeTransportV1['handleRequest']>[0], response, body)
  }
}

const web =
  (ids: string[], make: (made: (id: string) => void) => Promise<WebTransportV1 | WebTransportV2>) =>
  async (sessions: Sessions<WebTransportV1 | WebTransportV2>, request: Request, context: Partial<HandlerContext>) => {
    const id = request.headers.get('mcp-session-id')
    let transport = id === null ? undefined : sessions.get(id)
    if (!transport) {
      if (id !== null) return new Response('the server itself does not know this session', { status: 404 })
      const fresh: WebTransportV1 | WebTransportV2 = await make((made) => {
        ids.push(made)
        sessions.set(made, fresh)
      })
      transport = fresh
    }
    const { authInfo, parsedBody } = context
    const options = { ...(authInfo && { authInfo }), ...(parsedBody === undefined ? {} : { parsedBody }) }
    return transport.handleRequest(request, options)
  }

const webV1 = (ids: string[]) => {
  const sessions = new Map()
  const serve = web(ids, async (made) => {
    const transport = new WebTransportV1({ sessionIdGenerator: randomUUID, onsessioninitialized: made })
    await serverV1().connect(transport as Parameters<McpServerV1['connect']>[0])
    return transport
  })
  return (request: Request, context: Partial<HandlerContext>) => serve(sessions, request, context)
}

const webV2 = (ids: string[]) => {
  const sessions = new Map()
  const serve = web(ids, async (made) => {
    const transport = new WebTransportV2({ sessionIdGenerator: randomUUID, onsessioninitialized: made })
    const server = new McpServerV2({ name: 'notes', version: '1.0.0' })
    server.registerTool('whoami', {}, whoami)
    await server.connect(transport)
    return transport
  })
  return (request: Request, context: Partial<HandlerContext>) => serve(sessions, request, context)
}

const fetchOf = (gated: ReturnType<Auth['gate']>) => (request: Request) => gated(request)

const hosts: Record<string, (auth: Auth, ids: string[]) => RequestListener> = {
  'node:http, SDK v1': (auth, ids) => onNode.listener(auth, { '/mcp': nodeV1(ids) }),
  'express with json(), SDK v1': (auth, ids) => {
    const app = express()
    const serve = nodeV1(ids)
    app.use(express.json())
    app.all('/mcp', onExpress.protect(auth, '/mcp'), (request, response) => serve(request, response, request.body))
    return app
  },
  'fetch host, SDK v1': (auth, ids) =>
    getRequestListener(fetchOf(auth.gate('/mcp', webV1(ids))), { overrideGlobalObjects: false }),
  'fetch host, SDK v2': (auth, ids) =>
    getRequestListener(fetchOf(auth.gate('/mcp', webV2(ids))), { overrideGlobalObjects: false }),
  'hono as middleware, SDK v2': (auth, ids) => {
    const serve = webV2(ids)
    const app = new Hono<{ Variables: { auth: onHono.AuthInfo; parsedBody?: unknown } }>()
    app.all('/mcp', onHono.protect(auth, '/mcp'), (c) =>
      serve(c.req.raw, { authInfo: c.get('auth'), parsedBody: c.get('parsedBody') }),
    )
    return getRequestListener((app as unknown as Hono).fetch, { overrideGlobalObjects: false })
  },
}

const alice = { subject: 'alice', clientId: 'editor' }
const others: [string, MintedFacts][] = [
  ['another person', { subject: 'mallory', clientId: 'editor' }],
  ['the same person through another client', { subject: 'alice', clientId: 'other' }],
  ['an agent that acts for the same person', { ...alice, actor: { issuer: 'https://issuer.test', subject: 'agent' } }],
  ['a client by itself', { subject: 'editor', clientId: 'editor' }],
]

let running: Running[]
let issuer: TestIssuer
let events: AuditEvent[]
let ids: string[]

beforeEach(() => {
  running = []
  issuer = testIssuer()
  events = []
  ids = []
})
afterEach(async () => {
  for (const each of running) await each.close()
})

type Host = (auth: Auth, ids: string[]) => RequestListener

/** @param node the host part of the resource, where several nodes answer for one */
const start = async (host: Host, options: Partial<ResourceServerOptions> = {}, names?: string[]) => {
  const server = await listen((origin) => {
    const auth = resourceServer({
      resource: `${origin}/mcp`,
      issuers: [issuer],
      audit: (event) => void events.push(event),
      ...options,
    })
    return host(auth, names ?? ids)
  })
  running.push(server)
  return new URL(`${server.origin}/mcp`)
}

const bearer = (facts: MintedFacts = alice) => `Bearer ${issuer.accessToken(facts).token}`

const initialize = {
  ...{ jsonrpc: '2.0', id: 1, method: 'initialize' },
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'test', version: '1' } },
}
const call = { jsonrpc: '2.0', id: 2, method: 'tools/call', params: { name: 'whoami', arguments: {} } }

const send = (
  url: URL,
  authorization: string,
  session: string | undefined,
  { method = 'POST', message = call, ...headers }: Record<string, unknown> & { method?: string; message?: object } = {},
) =>
  fetch(url, {
    method,
    headers: {
      Authorization: authorization,
      Accept: method === 'GET' ? 'text/event-stream' : 'application/json, text/event-stream',
      'MCP-Protocol-Version': '2025-11-25',
      ...(session === undefined ? {} : { 'Mcp-Session-Id': session }),
      ...(method === 'POST' ? { 'Content-Type': 'application/json' } : {}),
      ...(headers as Record<string, string>),
    },
    ...(method === 'POST' ? { body: JSON.stringify(message) } : {}),
  })

/** Begins a session; answers what the client gets to hold. */
const begin = async (url: URL, authorization: string): Promise<string> => {
  const response = await send(url, authorization, undefined, { message: initialize })
  expect(response.status).toBe(200)
  await response.text()
  return response.headers.get('Mcp-Session-Id') ?? expect.fail('no session')
}

describe.each(Object.entries(hosts))('fault 23: sessions belong to their caller (%s)', (_name, host) => {
  test('a real client works in its session, and ends it', async () => {
    const url = await start(host)
    const client = new Client({ name: 'test', version: '1.0.0' })
    const transport = new StreamableHTTPClientTransport(url, { requestInit: { headers: { Authorization: bearer() } } })
    await client.connect(transport as Parameters<typeof client.connect>[0])
    expect(await client.callTool({ name: 'whoami' })).toMatchObject({ content: [{ text: 'alice' }] })
    expect(await client.callTool({ name: 'whoami' })).toMatchObject({ content: [{ text: 'alice' }] })
    expect(ids).toHaveLength(1)
    expect(transport.sessionId).not.toBe(ids[0])
    await transport.terminateSession()
    await client.close()
  })

  test('it goes on with another token of the same caller', async () => {
    const url = await start(host)
    const session = await begin(url, bearer())
    const response = await send(url, bearer({ ...alice, scopes: ['more'] }), session)
    expect(response.status).toBe(200)
    expect(await response.text()).toContain('alice')
    expect(response.headers.get('Mcp-Session-Id')).toBe(session)
  })

  test.each(others)('%s is told 404, whatever the method, and learns nothing', async (_who, facts) => {
    const url = await start(host)
    const session = await begin(url, bearer())
    for (const method of ['POST', 'GET', 'DELETE']) {
      const response = await send(url, bearer(facts), session, { method })
      expect(response.status).toBe(404)
      expect(response.headers.get('Mcp-Session-Id')).toBeNull()
      expect(await response.json()).toMatchObject({ error: { code: -32001, message: 'Session not found' } })
    }
    expect(events).toMatchObject(Array.from({ length: 3 }, () => ({ reason: 'session_mismatch', status: 404 })))
    // And the session is not ended by it.
    expect((await send(url, bearer(), session)).status).toBe(200)
  })

  test('the server’s own id opens nothing, nor does one of another making', async () => {
    const url = await start(host)
    const session = await begin(url, bearer())
    const [own = expect.fail('no session')] = ids
    const theirs = await begin(url, bearer({ subject: 'mallory' }))
    const [, mac] = /([^.]+)$/.exec(theirs) ?? []
    const forged = [
      ...[own, `${own}.`, session.slice(0, -1), `${session}A`, `${session}, ${session}`],
      ...[session.replace(own, ids[1] ?? ''), session.replace(/[^.]+$/, mac ?? ''), 'garbage', '.'.repeat(40)],
    ]
    for (const each of forged) {
      for (const method of ['POST', 'GET', 'DELETE']) {
        expect((await send(url, bearer(), each, { method })).status, `${method} ${each}`).toBe(404)
      }
    }
  })

  test('a header that is there twice is none', async () => {
    const url = await start(host)
    const session = await begin(url, bearer())
    const theirs = await begin(url, bearer({ subject: 'mallory' }))
    const send = (value: string | string[], authorization: string) =>
      new Promise<number | undefined>((resolve, reject) => {
        const headers = {
          ...{ Authorization: authorization, 'Mcp-Session-Id': value, 'MCP-Protocol-Version': '2025-11-25' },
          ...{ 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream' },
        }
        const asked = request(url, { method: 'POST', headers }, (response) => {
          response.resume()
          resolve(response.statusCode)
        })
        asked.on('error', reject).end(JSON.stringify(call))
      })
    const mallory = bearer({ subject: 'mallory' })
    expect(await send(theirs, mallory)).toBe(200)
    for (const values of [
      [theirs, session],
      [session, theirs],
      [theirs, ids[0] ?? ''],
      [theirs, theirs],
    ]) {
      expect(await send(values, mallory)).toBe(404)
    }
  })

  test('the stream for messages of the server, and its end', async () => {
    const url = await start(host)
    const session = await begin(url, bearer())
    const stream = await send(url, bearer(), session, { method: 'GET' })
    expect(stream.status).toBe(200)
    expect(stream.headers.get('Content-Type')).toContain('text/event-stream')
    expect(stream.headers.get('Mcp-Session-Id')).toBe(session)
    await stream.body?.cancel()
    expect((await send(url, bearer(), session, { method: 'DELETE' })).status).toBe(200)
  })
})

describe('fault 23: with many nodes, and after a restart', () => {
  const host = hosts['fetch host, SDK v1'] as Host
  const secret = 'a secret of the operator, long enough'
  const resource = 'http://127.0.0.1:1/mcp'
  const node = (options: Partial<ResourceServerOptions>) =>
    start(hostOf, { resource, hosts: ['127.0.0.1'], ...options })
  /** Each server listens on a port of its own, and all answer for one resource. */
  const hostOf: Host = (auth) => {
    const seen = auth.gate(
      '/mcp',
      (request) =>
        new Response(request.headers.get('mcp-session-id'), { headers: { 'Mcp-Session-Id': 'the-servers-own' } }),
    )
    return getRequestListener((request) => {
      const headers = new Headers(request.headers)
      headers.set('Host', new URL(resource).host)
      return seen(new Request(resource, { method: request.method, headers }))
    })
  }
  const get = (url: URL, session?: string) => send(url, bearer(), session, { method: 'DELETE' })
  const sessionOf = async (url: URL) => (await get(url)).headers.get('Mcp-Session-Id') ?? expect.fail('no session')

  test('nodes with one secret take each other’s sessions', async () => {
    const session = await sessionOf(await node({ secret }))
    const response = await get(await node({ secret }), session)
    expect(response.status).toBe(200)
    expect(await response.text()).toBe('the-servers-own')
  })

  test('a secret is rotated without losing sessions', async () => {
    const session = await sessionOf(await node({ secret }))
    const rotated = await node({ secret: ['the next secret of the operator, long', secret] })
    expect((await get(rotated, session)).status).toBe(200)
    expect(await sessionOf(rotated)).not.toBe(session)
    expect((await get(await node({ secret: 'the next secret of the operator, long' }), session)).status).toBe(404)
  })

  test('without a secret each process has a key of its own, and says so', async () => {
    const messages: string[] = []
    const log = (message: string) => void messages.push(message)
    const logger = { debug: log, info: log, warn: log, error: log }
    const session = await sessionOf(await node({ logger }))
    expect((await get(await node({}), session)).status).toBe(404)
    expect(messages.filter((each) => each.includes('a key of this process'))).toHaveLength(1)
  })

  test('a weak secret is refused at start', () => {
    const build = (weak: string | [string, ...string[]]) => () =>
      resourceServer({ resource, issuers: [issuer], secret: weak })
    expect(build('short')).toThrow(/secret/)
    expect(build([secret, 'short'])).toThrow(/secret/)
    expect(build([] as unknown as [string])).toThrow(/secret/)
  })

  test('a session of one resource is none of another', async () => {
    const [one, two] = [await start(host, { secret }), await start(host, { secret })]
    expect((await send(two, bearer(), await begin(one, bearer()))).status).toBe(404)
  })

  test('where there are no sessions, a header of that name is ignored and taken away', async () => {
    const url = await node({ secret })
    const response = await send(url, bearer(), 'anything', { method: 'GET', 'MCP-Protocol-Version': '2026-07-28' })
    expect(response.status).toBe(200)
    expect(await response.text()).toBe('')
  })
})
