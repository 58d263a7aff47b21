import type { RequestListener, ServerResponse } from 'node:http'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js'
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { SSEServerTransport } from '@modelcontextprotocol/sdk/server/sse.js'
import express from 'express'
import fastify from 'fastify'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { AuditEvent } from '../../src/events/audit.ts'
import type { Auth } from '../../src/http/auth.ts'
import * as onExpress from '../../src/http/express.ts'
import * as onFastify from '../../src/http/fastify.ts'
import * as onNode from '../../src/http/node.ts'
import { requireAccessToken } from '../../src/identity/context.ts'
import { type MintedFacts, type TestIssuer, testIssuer } from '../../src/testing.ts'
import { type ResourceServerOptions, resourceServer } from '../../src/verify-only.ts'
import { listen, type Running } from '../http/adapters/servers.ts'

let running: Running | undefined
let issuer: TestIssuer
let audited: AuditEvent[]
let logged: string[]
/** Whom the server served, whatever became of the answer. */
let served: string[]

beforeEach(() => {
  issuer = testIssuer()
  audited = []
  logged = []
  served = []
})
afterEach(() => running?.close())

/** As the SDK's own examples serve this transport. */
const sse = () => {
  const sessions: Record<string, SSEServerTransport> = {}
  return {
    async open(response: ServerResponse, messages = '/messages') {
      const transport = new SSEServerTransport(messages, response)
      sessions[transport.sessionId] = transport
      const server = new McpServer({ name: 'notes', version: '1.0.0' })
      for (const name of ['whoami', 'notes_add']) {
        server.registerTool(name, {}, () => {
          const { subject } = requireAccessToken()
          served.push(subject)
          return { content: [{ type: 'text', text: subject }] }
        })
      }
      await server.connect(transport as Parameters<McpServer['connect']>[0])
    },
    async post(id: unknown, request: onNode.NodeRequest, response: ServerResponse, body?: unknown) {
      const transport = sessions[id as string]
      if (!transport) return void response.writeHead(400).end('the server itself does not know this session')
      await transport.handlePostMessage(
        request as Parameters<SSEServerTransport['handlePostMessage']>[0],
        response,
        body,
      )
    },
  }
}

const searchOf = (url = '') => new URL(url, 'http://localhost').searchParams

const hosts: Record<string, (auth: Auth) => RequestListener> = {
  'node:http': (auth) => {
    const { open, post } = sse()
    const stream = onNode.protect(auth, '/sse', (_request, response) => open(response))
    // Whatever the method, as a server might.
    const messages = onNode.protect(auth, '/sse', (request, response, body) =>
      post(searchOf(request.url).get('sessionId'), request, response, body),
    )
    return (request, response) => (request.url?.startsWith('/sse') ? stream : messages)(request, response)
  },
  // With the parser of nested parameters that Express 4 has by default.
  'express with json()': (auth) => {
    const { open, post } = sse()
    const app = express()
    app.set('query parser', 'extended')
    app.use(express.json())
    app.get('/sse', onExpress.protect(auth, '/sse'), (_request, response) => open(response))
    app.all('/messages', onExpress.protect(auth, '/sse'), (request, response) =>
      post(request.query.sessionId, request, response, request.body),
    )
    return app
  },
  fastify: (auth) => {
    const { open, post } = sse()
    const app = fastify()
    const preHandler = onFastify.protect(auth, '/sse')
    app.get('/sse', { preHandler }, (_request, reply) => {
      reply.hijack()
      return open(reply.raw)
    })
    app.post('/messages', { preHandler }, (request, reply) => {
      reply.hijack()
      return post((request.query as { sessionId?: unknown }).sessionId, request.raw, reply.raw, request.body)
    })
    const ready = app.ready()
    return (request, response) => void ready.then(() => app.routing(request, response))
  },
}

const start = async (host: (auth: Auth) => RequestListener, options: Partial<ResourceServerOptions> = {}) => {
  const error = (message: string) => void logged.push(message)
  const silent = () => {}
  running = await listen((origin) =>
    host(
      resourceServer({
        resource: `${origin}/sse`,
        issuers: [issuer],
        audit: (event) => void audited.push(event),
        logger: { debug: silent, info: silent, warn: silent, error },
        ...options,
      }),
    ),
  )
  return new URL(`${running.origin}/sse`)
}

const bearer = (facts: MintedFacts) => ({ Authorization: `Bearer ${issuer.accessToken(facts).token}` })
const alice = { subject: 'alice', clientId: 'editor' }
const others: [string, MintedFacts][] = [
  ['another person', { subject: 'mallory', clientId: 'editor' }],
  ['the same person through another client', { subject: 'alice', clientId: 'other' }],
  ['an agent that acts for the same person', { ...alice, actor: { issuer: 'https://issuer.test', subject: 'agent' } }],
]

const connect = async (url: URL, facts: MintedFacts) => {
  const client = new Client({ name: 'test', version: '1.0.0' })
  const transport = new SSEClientTransport(url, { requestInit: { headers: bearer(facts) } })
  await client.connect(transport as Parameters<typeof client.connect>[0])
  return client
}

/** Opens a stream; answers where its caller is told to post to, and what else comes on it. */
const open = async (url: URL, facts: MintedFacts) => {
  const controller = new AbortController()
  const response = await fetch(url, {
    headers: { ...bearer(facts), Accept: 'text/event-stream' },
    signal: controller.signal,
  })
  expect(response.status).toBe(200)
  const reader = (response.body ?? expect.fail('no stream')).pipeThrough(new TextDecoderStream()).getReader()
  let text = ''
  const until = async (wanted: RegExp): Promise<RegExpExecArray> => {
    for (;;) {
      const found = wanted.exec(text)
      if (found) return found
      const { done, value } = await reader.read()
      if (done) return expect.fail(`the stream ended with ${text}`)
      text += value
    }
  }
  const [, endpoint = ''] = await until(/^event: endpoint\ndata: (.*)\n/m)
  return { endpoint: new URL(endpoint, url), until, close: () => controller.abort() }
}

const call = (name = 'whoami') => ({ jsonrpc: '2.0', id: 7, method: 'tools/call', params: { name, arguments: {} } })

const post = async (
  to: URL | string,
  facts: MintedFacts,
  { method = 'POST', headers = {}, message = call() }: { method?: string; headers?: object; message?: object } = {},
) => {
  const response = await fetch(to, {
    method,
    headers: { ...bearer(facts), 'Content-Type': 'application/json', ...headers },
    body: JSON.stringify(message),
  })
  return { status: response.status, text: await response.text() }
}

describe.each(Object.entries(hosts))('fault 23: sessions of HTTP+SSE belong to their caller (%s)', (name, host) => {
  test('a real client works as ever, and sees what it may', async () => {
    const url = await start(host, { tools: { notes_add: ['write'] }, lists: 'usable' })
    const client = await connect(url, alice)
    expect(await client.callTool({ name: 'whoami' })).toMatchObject({ content: [{ text: 'alice' }] })
    expect((await client.listTools()).tools.map((tool) => tool.name)).toEqual(['whoami'])
    await expect(client.callTool({ name: 'notes_add' })).rejects.toThrow(/403/)
    await client.close()
    expect(served).toEqual(['alice'])
  })

  test('it goes on with another token of the same caller', async () => {
    const stream = await open(await start(host), alice)
    expect((await post(stream.endpoint, { ...alice, scopes: ['more'] })).status).toBe(202)
    await stream.until(/"text":"alice"/)
    stream.close()
  })

  test.each(others)('%s posts nothing into it, and learns nothing', async (_who, facts) => {
    const url = await start(host)
    const [stream, theirs] = [await open(url, alice), await open(url, facts)]
    const session = stream.endpoint.searchParams.get('sessionId') ?? expect.fail('no session')
    const own = theirs.endpoint.searchParams.get('sessionId') ?? expect.fail('no session')
    const mark = encodeURIComponent(theirs.endpoint.searchParams.get('cs_session') ?? expect.fail('not bound'))
    const spelt = [
      ...[`sessionId=${session}`, `sessionId=${session}&cs_session=${mark}`, `cs_session=${mark}&sessionId=${session}`],
      ...[
        `sessionId=${own}&cs_session=${mark}&sessionId=${session}`,
        `sessionId=${session}&sessionId=${own}&cs_session=${mark}`,
      ],
      ...[`%73ession%49d=${session}&cs_session=${mark}`, `sessionId[]=${session}`, `sessionId[0]=${session}`],
      ...[
        `[sessionId]=${session}`,
        `[sessionId]=${session}&sessionId=${own}&cs_session=${mark}`,
        `;sessionId=${session}`,
      ],
      ...[`a=1;sessionId=${session}`, `SessionId=${session}`, `session_id=${session}`],
      ...[`sessionId=${session}&cs_session=`, `sessionId=${session}&cs_session=${session}`, `sessionId=unknown`],
    ].map((query) => `${stream.endpoint.origin}/messages?${query}`)
    audited = []
    const answers = new Set<string>()
    for (const to of [stream.endpoint.href, ...spelt]) {
      const { status, text } = await post(to, facts)
      expect(status, to).toBe(404)
      answers.add(text)
    }
    // By any revision that the request says, and by any method.
    const modern = { 'MCP-Protocol-Version': '2026-07-28', 'Mcp-Method': 'tools/call', 'Mcp-Name': 'whoami' }
    expect((await post(stream.endpoint, facts, { headers: modern })).status).toBe(404)
    if (name !== 'fastify') {
      for (const method of ['PUT', 'PATCH', 'DELETE']) {
        expect((await post(stream.endpoint, facts, { method })).status).toBe(404)
      }
    }
    expect([...answers]).toEqual([expect.stringContaining('Session not found')])
    expect(new Set(audited.map((event) => 'reason' in event && event.reason))).toEqual(new Set(['session_mismatch']))

    // And both go on.
    expect((await post(stream.endpoint, alice)).status).toBe(202)
    await stream.until(/"text":"alice"/)
    expect((await post(theirs.endpoint, facts)).status).toBe(202)
    await theirs.until(new RegExp(`"text":"${facts.subject}"`))
    expect(served).toEqual(['alice', facts.subject])
    for (const each of [stream, theirs]) each.close()
  })

  test('without what binds it not even its own caller may name it', async () => {
    const stream = await open(await start(host), alice)
    stream.endpoint.searchParams.delete('cs_session')
    expect((await post(stream.endpoint, alice)).status).toBe(404)
    expect(served).toEqual([])
    stream.close()
  })
})

test('design 3, policy: whatever method a call comes with, it is decided on', async () => {
  const url = await start(hosts['node:http'] ?? expect.fail('no host'), { tools: { notes_add: ['write'] } })
  const stream = await open(url, alice)
  for (const method of ['POST', 'PUT', 'PATCH']) {
    expect((await post(stream.endpoint, alice, { method, message: call('notes_add') })).status, method).toBe(403)
  }
  expect((await post(stream.endpoint, alice, { method: 'DELETE', message: call('notes_add') })).status).toBe(400)
  expect((await post(stream.endpoint, alice, { method: 'PUT' })).status).toBe(202)
  await stream.until(/"text":"alice"/)
  expect(served).toEqual(['alice'])
  stream.close()
})

test('an endpoint that names no session is not told: nothing would bind it', async () => {
  const url = await start((auth) =>
    onNode.listener(auth, {
      '/sse': (_request, response) => {
        response.writeHead(200, { 'Content-Type': 'text/event-stream' })
        response.write(': hello\n\n')
        response.write('event: endpoint\ndata: /messages/a-session-in-the-path\n\n')
      },
    }),
  )
  const text = await fetch(url, { headers: bearer(alice) }).then(
    (response) => response.text().catch(() => 'cut'),
    () => 'cut',
  )
  expect(text).not.toContain('a-session-in-the-path')
  expect(logged).toEqual([expect.stringContaining('sessionId')])
})
