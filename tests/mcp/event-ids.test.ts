import { randomUUID } from 'node:crypto'
import type { RequestListener } from 'node:http'
import { getRequestListener } from '@hono/node-server'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { StreamableHTTPServerTransport as NodeTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import { WebStandardStreamableHTTPServerTransport as WebTransport } from '@modelcontextprotocol/sdk/server/webStandardStreamableHttp.js'
import { CallToolResultSchema } from '@modelcontextprotocol/sdk/types.js'
import express from 'express'
import fastify from 'fastify'
import { Hono } from 'hono'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { AuditEvent } from '../../src/events/audit.ts'
import type { Auth } from '../../src/http/auth.ts'
import * as onExpress from '../../src/http/express.ts'
import * as onFastify from '../../src/http/fastify.ts'
import * as onHono from '../../src/http/hono.ts'
import * as onNode from '../../src/http/node.ts'
import { requireAccessToken } from '../../src/identity/context.ts'
import type { HandlerContext } from '../../src/resource-server/handler.ts'
import { type MintedFacts, type TestIssuer, testIssuer } from '../../src/testing.ts'
import { resourceServer } from '../../src/verify-only.ts'
import { listen, type Running } from '../http/adapters/servers.ts'

/** One table of events for all sessions: whoever names an event of it gets what follows, whosever it is. */
class Events {
  readonly stored: { readonly id: string; readonly stream: string; readonly message: object }[] = []

  async storeEvent(stream: string, message: object): Promise<string> {
    const id = `${stream}-${this.stored.length}`
    this.stored.push({ id, stream, message })
    return id
  }

  async replayEventsAfter(
    last: string,
    { send }: { send: (id: string, message: never) => Promise<void> },
  ): Promise<string> {
    const at = this.stored.findIndex(({ id }) => id === last)
    const stream = this.stored[at]?.stream ?? ''
    for (const event of this.stored.slice(at + 1))
      if (event.stream === stream) await send(event.id, event.message as never)
    return stream
  }
}

let events: Events
let audited: AuditEvent[]
let running: Running[]
let issuer: TestIssuer
/** What the tool `wait` waits for. */
let release: () => void
let released: Promise<void>

beforeEach(() => {
  events = new Events()
  audited = []
  running = []
  issuer = testIssuer()
  released = new Promise((resolve) => {
    release = resolve
  })
})
afterEach(async () => {
  for (const each of running) await each.close()
})

const notesServer = () => {
  const server = new McpServer({ name: 'notes', version: '1.0.0' })
  const secret = () => ({ content: [{ type: 'text' as const, text: `a secret of ${requireAccessToken().subject}` }] })
  server.registerTool('secret', {}, secret)
  server.registerTool('wait', {}, async () => {
    await released
    return secret()
  })
  return server
}

const nodeSessions = (stateless = false) => {
  const sessions = new Map<string, NodeTransport>()
  return async (request: onNode.NodeRequest, response: Parameters<RequestListener>[1], body?: unknown) => {
    const id = request.headers['mcp-session-id']
    let transport = typeof id === 'string' ? sessions.get(id) : undefined
    if (!transport) {
      const fresh = new NodeTransport({
        ...(!stateless && {
          sessionIdGenerator: randomUUID,
          onsessioninitialized: (made: string) => void sessions.set(made, fresh),
        }),
        eventStore: events,
      })
      await notesServer().connect(fresh as Parameters<McpServer['connect']>[0])
      transport = fresh
    }
    await transport.handleRequest(request as Parameters<NodeTransport['handleRequest']>[0], response, body)
  }
}

const webSessions = () => {
  const sessions = new Map<string, WebTransport>()
  return async (request: Request, { authInfo, parsedBody }: Partial<HandlerContext>) => {
    const id = request.headers.get('mcp-session-id')
    let transport = id === null ? undefined : sessions.get(id)
    if (!transport) {
      const fresh = new WebTransport({
        sessionIdGenerator: randomUUID,
        onsessioninitialized: (made) => void sessions.set(made, fresh),
        eventStore: events,
      })
      await notesServer().connect(fresh as Parameters<McpServer['connect']>[0])
      transport = fresh
    }
    return transport.handleRequest(request, {
      ...(authInfo && { authInfo }),
      ...(parsedBody === undefined ? {} : { parsedBody }),
    })
  }
}

const overFetch = (gated: ReturnType<Auth['gate']>): RequestListener =>
  getRequestListener((request) => gated(request), { overrideGlobalObjects: false })

const hosts: Record<string, (auth: Auth) => RequestListener> = {
  'node:http': (auth) => onNode.listener(auth, { '/mcp': nodeSessions() }),
  'node:http, without sessions': (auth) => onNode.listener(auth, { '/mcp': nodeSessions(true) }),
  'express with json()': (auth) => {
    const serve = nodeSessions()
    const app = express()
    app.use(express.json())
    app.all('/mcp', onExpress.protect(auth, '/mcp'), (request, response) => serve(request, response, request.body))
    return app
  },
  fastify: (auth) => {
    const serve = nodeSessions()
    const app = fastify()
    app.all('/mcp', { preHandler: onFastify.protect(auth, '/mcp') }, (request, reply) => {
      reply.hijack()
      return serve(request.raw, reply.raw, request.body)
    })
    const ready = app.ready()
    return (request, response) => void ready.then(() => app.routing(request, response))
  },
  'a fetch host': (auth) => overFetch(auth.gate('/mcp', webSessions())),
  'hono as middleware': (auth) => {
    const serve = webSessions()
    const app = new Hono<{ Variables: { auth: onHono.AuthInfo; parsedBody?: unknown } }>()
    app.all('/mcp', onHono.protect(auth, '/mcp'), (c) =>
      serve(c.req.raw, { authInfo: c.get('auth'), parsedBody: c.get('parsedBody') }),
    )
    return getRequestListener((app as unknown as Hono).fetch, { overrideGlobalObjects: false })
  },
}

/** With a policy its filter stands in the response's way, too. */
const policies: [string, object][] = [
  ['without a policy', {}],
  ['with a policy', { scopes: { write: 'Write' }, tools: { secret: [], wait: [], other: ['write'] } }],
]

const start = async (host: (auth: Auth) => RequestListener, policy: object = {}) => {
  const server = await listen((origin) =>
    host(
      resourceServer({
        resource: `${origin}/mcp`,
        issuers: [issuer],
        audit: (event) => void audited.push(event),
        ...policy,
      }),
    ),
  )
  running.push(server)
  return new URL(`${server.origin}/mcp`)
}

const alice = { subject: 'alice', clientId: 'editor' }
const others: MintedFacts[] = [
  { subject: 'mallory', clientId: 'editor' },
  { subject: 'alice', clientId: 'other' },
  { ...alice, actor: { issuer: 'https://issuer.test', subject: 'agent' } },
  { subject: 'editor', clientId: 'editor' },
]

const send = (url: URL, facts: MintedFacts, method: string, more: Record<string, string>, message?: object) =>
  fetch(url, {
    method,
    headers: {
      Authorization: `Bearer ${issuer.accessToken(facts).token}`,
      Accept: method === 'GET' ? 'text/event-stream' : 'application/json, text/event-stream',
      'MCP-Protocol-Version': '2025-11-25',
      ...(message && { 'Content-Type': 'application/json' }),
      ...more,
    },
    ...(message && { body: JSON.stringify(message) }),
  })

const call = { jsonrpc: '2.0', id: 2, method: 'tools/call', params: { name: 'secret', arguments: {} } }

/** A session, where the host keeps such; as headers. */
const begin = async (url: URL, facts: MintedFacts): Promise<Record<string, string>> => {
  const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'test', version: '1' } }
  const response = await send(url, facts, 'POST', {}, { jsonrpc: '2.0', id: 1, method: 'initialize', params })
  expect(response.status).toBe(200)
  await response.text()
  const id = response.headers.get('Mcp-Session-Id')
  return id === null ? {} : { 'Mcp-Session-Id': id }
}

/** Calls the tool and answers the ids of the events that the caller saw. */
const eventsOfCall = async (url: URL, facts: MintedFacts, session: Record<string, string>): Promise<string[]> => {
  const response = await send(url, facts, 'POST', session, call)
  const text = await response.text()
  expect(text).toContain(`a secret of ${facts.subject}`)
  return [...text.matchAll(/^id: (.*)$/gm)].map(([, id = '']) => id)
}

const untilSeen = async (response: Response, wanted: string): Promise<string> => {
  let text = ''
  const decoder = new TextDecoder()
  for await (const bytes of response.body ?? []) {
    text += decoder.decode(bytes, { stream: true })
    if (text.includes(wanted)) return text
  }
  return expect.fail(`the stream ended with ${text}`)
}

describe.each(Object.entries(hosts))('fault 23: event ids belong to their caller (%s)', (_name, host) => {
  test.each(policies)('a stream is taken up again by its own caller alone, %s', async (_policy, policy) => {
    const url = await start(host, policy)
    const session = await begin(url, alice)
    const seen = await eventsOfCall(url, alice, session)
    const own = events.stored.map(({ id }) => id)
    expect(seen.length).toBeGreaterThan(1)
    expect(seen.filter((id) => own.includes(id))).toEqual([])

    // By any of their tokens.
    const again = await send(url, { ...alice, scopes: ['more'] }, 'GET', { ...session, 'Last-Event-ID': seen[0] ?? '' })
    expect(again.status).toBe(200)
    const replayed = await untilSeen(again, 'a secret of alice')
    expect(replayed).toContain(`id: ${seen[1]}`)

    const refusal = { error: { code: -32001, message: 'Session not found' } }
    for (const facts of others) {
      const theirs = await begin(url, facts)
      audited = []
      const attempts = [...seen, ...own, `${seen[0]}x`, 'garbage'].map((id) => ['GET', id] as const)
      for (const [method, id] of [...attempts, ['POST', seen[0] ?? ''], ['DELETE', seen[0] ?? '']] as const) {
        const headers = { ...theirs, 'Last-Event-ID': id }
        const response = await send(url, facts, method, headers, method === 'POST' ? call : undefined)
        const answer = [response.status, await response.json()]
        expect(answer, `${method} ${id}`).toEqual([404, expect.objectContaining(refusal)])
      }
      expect(new Set(audited.map((event) => 'reason' in event && event.reason))).toEqual(new Set(['session_mismatch']))
    }
    // What the server itself calls it opens nothing, not even to whom it belongs.
    expect((await send(url, alice, 'GET', { ...session, 'Last-Event-ID': own[0] ?? '' })).status).toBe(404)
  })

  test('an id of one kind is none of another', async () => {
    const url = await start(host)
    const session = await begin(url, alice)
    const [event = ''] = await eventsOfCall(url, alice, session)
    const { 'Mcp-Session-Id': id = 'none' } = session
    for (const headers of [{ ...session, 'Last-Event-ID': id }, { 'Mcp-Session-Id': event }]) {
      expect((await send(url, alice, 'GET', headers)).status).toBe(404)
    }
  })
})

test('a real client takes up the stream that it lost, and gets what it was to be told', async () => {
  const url = await start(hosts['express with json()'] ?? expect.fail('no host'))
  const connect = async (sessionId?: string) => {
    const client = new Client({ name: 'test', version: '1.0.0' })
    const transport = new StreamableHTTPClientTransport(url, {
      requestInit: { headers: { Authorization: `Bearer ${issuer.accessToken(alice).token}` } },
      ...(sessionId !== undefined && { sessionId }),
    })
    await client.connect(transport as Parameters<typeof client.connect>[0])
    return { client, transport }
  }
  const request = { method: 'tools/call' as const, params: { name: 'wait', arguments: {} } }

  const lost = await connect()
  let last = ''
  const never = lost.client.request(request, CallToolResultSchema, {
    onresumptiontoken: (token) => {
      last = token
    },
  })
  never.catch(() => {})
  await vi.waitFor(() => expect(last).not.toBe(''), { timeout: 30_000 })
  const { sessionId } = lost.transport
  await lost.client.close()
  release()
  await vi.waitFor(() => expect(JSON.stringify(events.stored)).toContain('a secret of alice'), { timeout: 30_000 })

  const found = await connect(sessionId)
  const result = await found.client.request(request, CallToolResultSchema, { resumptionToken: last })
  expect(result).toMatchObject({ content: [{ text: 'a secret of alice' }] })
  await found.client.close()
})

test('where no stream can be taken up again, such a header is ignored and taken away', async () => {
  const url = await start((auth) =>
    overFetch(auth.gate('/mcp', (request) => Response.json([...request.headers.keys()]))),
  )
  const headers = { 'MCP-Protocol-Version': '2026-07-28', 'Last-Event-ID': 'anything', 'Mcp-Session-Id': 'anything' }
  const response = await send(url, alice, 'GET', headers)
  expect(response.status).toBe(200)
  expect(await response.json()).not.toEqual(expect.arrayContaining([expect.stringMatching(/last-event|session/)]))
})

test('a stream that its handler compressed is left as it is: its ids are good for nobody', async () => {
  const compressed = new Uint8Array([0x1f, 0x8b, 0xff, 0xfe, 0x0a, 0x0a])
  const headers = { 'Content-Type': 'text/event-stream', 'Content-Encoding': 'x-unknown' }
  for (const host of [
    (auth: Auth) => overFetch(auth.gate('/mcp', () => new Response(compressed, { headers }))),
    (auth: Auth) =>
      onNode.listener(auth, { '/mcp': (_request, response) => response.writeHead(200, headers).end(compressed) }),
  ]) {
    const url = await start(host)
    const response = await send(url, alice, 'GET', {})
    expect(new Uint8Array(await response.arrayBuffer())).toEqual(compressed)
  }
})

test('a stream whose handler says how long it is arrives whole: its ids make it longer', async () => {
  const text = 'id: 1\ndata: x\n\n'
  const said = ['Content-Type', 'text/event-stream', 'Content-Length', String(text.length)] as const
  const heads = [Object.fromEntries([said.slice(0, 2), said.slice(2)]), [...said]]
  for (const head of heads) {
    const url = await start((auth) =>
      onNode.listener(auth, { '/mcp': (_request, response) => response.writeHead(200, head).end(text) }),
    )
    const response = await send(url, alice, 'GET', {})
    expect(await response.text()).toMatch(/^id: 1\.\S+\ndata: x\n\n$/)
  }
})
