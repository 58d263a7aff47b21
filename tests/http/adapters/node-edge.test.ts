import { randomUUID } from 'node:crypto'
import { request as httpRequest, type RequestListener } from 'node:http'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import express from 'express'
import { Hono } from 'hono'
import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import type { Auth } from '../../../src/http/auth.ts'
import * as onExpress from '../../../src/http/express.ts'
import * as onHono from '../../../src/http/hono.ts'
import * as onNode from '../../../src/http/node.ts'
import { getAccessToken, requireUser } from '../../../src/identity/context.ts'
import type { RequestInfo } from '../../../src/resource-server/handler.ts'
import { testIssuer } from '../../../src/testing.ts'
import { resourceServer } from '../../../src/verify-only.ts'
import { listen, type Running } from './servers.ts'

let running: Running | undefined
afterEach(() => running?.close())

const start = async (make: (auth: Auth, origin: string) => RequestListener) => {
  const issuer = testIssuer()
  running = await listen((origin) =>
    make(resourceServer({ resource: `${origin}/mcp`, issuers: [issuer], tools: { add: ['w'] } }), origin),
  )
  return { issuer, origin: running.origin }
}

/** An `Auth` whose own route tells what reached it. */
const echoing = (auth: Auth): Auth => ({
  ...auth,
  handles: (path) => path === '/echo',
  respond: async (request: Request, info?: RequestInfo) =>
    Response.json({ type: request.headers.get('content-type'), body: await request.text(), from: info?.remoteAddress }),
})

describe('a server’s own routes get their body, whoever read it before', () => {
  const form = 'grant_type=refresh_token&resource=a&resource=b&x=%26'
  const json = { redirect_uris: ['http://localhost/callback'], n: 1 }
  test.each<[string, (auth: Auth) => RequestListener]>([
    ['express', (auth) => express().use(onExpress.routes(auth))],
    [
      'express with parsers before',
      (auth) => express().use(express.json(), express.urlencoded(), onExpress.routes(auth)),
    ],
    ['node', (auth) => onNode.listener(auth, {})],
  ])('%s', async (_, make) => {
    const { origin } = await start((auth) => make(echoing(auth)))
    const sent = async (type: string, body: string) => {
      const response = await fetch(`${origin}/echo`, { method: 'POST', headers: { 'Content-Type': type }, body })
      return (await response.json()) as { body: string; from: string }
    }
    const asForm = await sent('application/x-www-form-urlencoded', form)
    expect(new URLSearchParams(asForm.body)).toEqual(new URLSearchParams(form))
    expect(asForm.from).toBe('127.0.0.1')
    expect(JSON.parse((await sent('application/json', JSON.stringify(json))).body)).toEqual(json)
    expect((await fetch(`${origin}/other`)).status).toBe(404)
  })
})

test.each<[string, (auth: Auth) => RequestListener]>([
  ['express', (auth) => express().use('/mcp', onExpress.protect(auth, '/mcp'), (_, res) => void res.end('in'))],
  ['node', (auth) => onNode.listener(auth, { '/mcp': (_, res) => res.end('in') })],
])('%s: a second Authorization header does not go unseen', async (_, make) => {
  const { issuer, origin } = await start(make)
  const bearer = `Bearer ${issuer.accessToken().token}`
  const statusWith = (authorization: string[]) =>
    new Promise<number | undefined>((resolve, reject) => {
      const request = httpRequest(`${origin}/mcp`, (response) => {
        response.resume()
        resolve(response.statusCode)
      })
      request.on('error', reject)
      request.setHeader('Authorization', authorization)
      request.end()
    })
  expect(await statusWith([bearer])).toBe(200)
  expect(await statusWith([bearer, bearer])).toBe(400)
  expect(await statusWith([bearer, 'Basic YTpi'])).toBe(400)
})

test('express: below a mount path the gate is the same', async () => {
  const { issuer, origin } = await start((auth) => {
    const router = express.Router()
    router.all('/', onExpress.protect(auth, '/mcp'), (_, res) => void res.end(requireUser(auth).subject))
    return express().use('/mcp', router)
  })
  const headers = { Authorization: `Bearer ${issuer.accessToken({ subject: 'alice' }).token}` }
  expect(await (await fetch(`${origin}/mcp`, { headers })).text()).toBe('alice')
  expect((await fetch(`${origin}/mcp`)).status).toBe(401)
})

test('SDK v1 with sessions: each call of a session is its own caller’s', async () => {
  const { issuer, origin } = await start((auth) => {
    const sessions = new Map<string, StreamableHTTPServerTransport>()
    return onNode.listener(auth, {
      '/mcp': async (request, response, body) => {
        let transport = sessions.get(String(request.headers['mcp-session-id']))
        if (!transport) {
          const made = new StreamableHTTPServerTransport({
            sessionIdGenerator: () => randomUUID(),
            onsessioninitialized: (id) => void sessions.set(id, made),
          })
          const server = new McpServer({ name: 'x', version: '1' })
          server.registerTool('whoami', {}, async (extra) => {
            await new Promise((resolve) => setTimeout(resolve, 2))
            const id =
              extra.authInfo?.token === getAccessToken()?.token ? requireUser(auth).scopes.join(' ') : 'mixed up'
            return { content: [{ type: 'text', text: id }] }
          })
          await server.connect(made as Parameters<typeof server.connect>[0])
          transport = made
        }
        await transport.handleRequest(request as Parameters<typeof transport.handleRequest>[0], response, body)
      },
    })
  })
  const tokens = ['a', 'b', 'c'].map((scope) => issuer.accessToken({ scopes: [scope] }).token)
  let turn = 0
  const transport = new StreamableHTTPClientTransport(new URL(`${origin}/mcp`), {
    fetch: (url, init) => {
      const headers = new Headers(init?.headers)
      headers.set('Authorization', `Bearer ${tokens[turn]}`)
      return fetch(url, { ...init, headers })
    },
  })
  const client = new Client({ name: 'test', version: '1' })
  await client.connect(transport as Parameters<typeof client.connect>[0])
  expect(transport.sessionId).toBeDefined()
  const seen: unknown[] = []
  for (turn = 0; turn < 3; turn += 1) seen.push((await client.callTool({ name: 'whoami' })).content)
  turn = 0
  await client.close()
  expect(seen).toEqual(['a', 'b', 'c'].map((text) => [{ type: 'text', text }]))
})

test('node: a handler that fails is told nobody, and the server goes on', async () => {
  const logged = vi.spyOn(console, 'error').mockImplementation(() => {})
  onTestFinished(() => logged.mockRestore())
  const handlers: Record<string, onNode.NodeHandler> = {
    'at once': () => {
      throw new Error('secret of the handler')
    },
    later: async () => Promise.reject(new Error('secret of the handler')),
    'in the midst': async (_, response) => {
      response.write('begun')
      throw new Error('secret of the handler')
    },
  }
  let handler = handlers['at once']
  const { issuer, origin } = await start((auth) =>
    onNode.listener(auth, { '/mcp': (...given) => handler?.(...given) }, () => handler?.({} as never, {} as never)),
  )
  const headers = { Authorization: `Bearer ${issuer.accessToken().token}` }
  for (const name of ['at once', 'later']) {
    handler = handlers[name]
    const response = await fetch(`${origin}/mcp`, { headers })
    expect([name, response.status, await response.text()]).toEqual([name, 500, ''])
  }
  handler = handlers['in the midst']
  await expect(fetch(`${origin}/mcp`, { headers }).then((response) => response.text())).rejects.toThrow()
  handler = handlers.later
  expect((await fetch(`${origin}/other`)).status).toBe(500)
  expect(logged).toHaveBeenCalledTimes(4)
  handler = (_, response) => response.end('in')
  expect(await (await fetch(`${origin}/mcp`, { headers })).text()).toBe('in')
})

test('an unknown path is an error at once, in every adapter', async () => {
  const auth = resourceServer({ resource: 'https://notes.example.com/mcp', issuers: [testIssuer()] })
  for (const protect of [
    () => onHono.protect(auth, '/other'),
    () => onHono.protect(auth, '/other', () => new Response()),
    () => onExpress.protect(auth, '/other'),
    () => onNode.protect(auth, '/other', () => undefined),
    () => onNode.listener(auth, { '/mcp/': () => undefined }),
  ]) {
    expect(protect).toThrow(/no resource is configured at .*"\/mcp"/)
  }
})

test('a tool that needs a scope which the resource does not have is refused at start', () => {
  const options = { resource: 'https://notes.example.com/mcp', issuers: [testIssuer()], scopes: { read: 'Read' } }
  expect(() => resourceServer({ ...options, tools: { add: ['write'] } })).toThrow(/tools\["add"\].*read/)
})

test('a handler that answers with headers that can’t be changed', async () => {
  const issuer = testIssuer()
  const auth = resourceServer({ resource: 'http://localhost/mcp', issuers: [issuer] })
  const app = new Hono().all(
    '/mcp',
    onHono.protect(auth, '/mcp', () => Response.redirect('http://localhost/x')),
  )
  const headers = { Origin: 'http://localhost:6274', Authorization: `Bearer ${issuer.accessToken().token}` }
  const response = await app.request('/mcp', { headers })
  expect(response.status).toBe(302)
  expect(response.headers.get('Access-Control-Allow-Origin')).toBe('http://localhost:6274')
})

test('a host’s own CORS answer stays as it is', async () => {
  const issuer = testIssuer()
  const auth = resourceServer({ resource: 'http://localhost/mcp', issuers: [issuer] })
  const handler = auth.gate('/mcp', () => new Response('x', { headers: { 'Access-Control-Allow-Origin': '*' } }))
  const headers = { Origin: 'http://localhost:6274', Authorization: `Bearer ${issuer.accessToken().token}` }
  const response = await handler(new Request('http://localhost/mcp', { headers }))
  expect(response.headers.get('Access-Control-Allow-Origin')).toBe('*')
  expect(response.headers.has('Access-Control-Expose-Headers')).toBe(false)
})
