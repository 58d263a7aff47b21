import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { getRequestListener } from '@hono/node-server'
import { toNodeHandler } from '@modelcontextprotocol/node'
import { McpServer as McpServerV1 } from '@modelcontextprotocol/sdk/server/mcp.js'
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import { createMcpHandler, McpServer as McpServerV2 } from '@modelcontextprotocol/server'
import express5 from 'express'
import fastify, { type FastifyInstance } from 'fastify'
import { Hono } from 'hono'
import type { Auth } from '../../../src/http/auth.ts'
import * as onExpress from '../../../src/http/express.ts'
import * as onFastify from '../../../src/http/fastify.ts'
import * as onHono from '../../../src/http/hono.ts'
import * as onNode from '../../../src/http/node.ts'
import type { AccessToken } from '../../../src/identity/access-token.ts'
import { requireAccessToken } from '../../../src/identity/context.ts'
import { accessTokenOf } from '../../../src/mcp/token-of.ts'

/** What a handler saw: by AsyncLocalStorage, and by what the SDK handed it. */
const report = (auth: Auth, carrier: unknown) => {
  const current = requireAccessToken(auth)
  const seen = { ...current, sameObject: accessTokenOf(carrier, auth) === current }
  return { content: [{ type: 'text' as const, text: JSON.stringify(seen) }] }
}

const later = <T>(make: () => T): Promise<T> => new Promise((resolve) => setTimeout(() => resolve(make()), 2))
const added = { content: [{ type: 'text' as const, text: 'added' }] }

const serverV1 = (auth: Auth): McpServerV1 => {
  const server = new McpServerV1({ name: 'notes', version: '1.0.0' })
  server.registerTool('whoami', {}, (extra) => later(() => report(auth, extra)))
  server.registerTool('notes_add', {}, () => added)
  return server
}

const handlerV2 = (auth: Auth) =>
  createMcpHandler(
    auth.server(() => {
      const server = new McpServerV2({ name: 'notes', version: '1.0.0' })
      server.registerTool('whoami', {}, (ctx) => later(() => report(auth, ctx)))
      server.registerTool('notes_add', {}, () => added)
      return server
    }),
  )

/** The usual stateless way to serve with SDK v1: a server and a transport for each request. */
const serveV1 = async (
  auth: Auth,
  request: onNode.NodeRequest,
  response: Parameters<RequestListener>[1],
  parsedBody?: unknown,
): Promise<void> => {
  const server = auth.server(() => serverV1(auth))()
  const transport = new StreamableHTTPServerTransport()
  response.on('close', () => void server.close())
  // The SDK's own declarations don't agree with each other under exactOptionalPropertyTypes.
  await server.connect(transport as Parameters<McpServerV1['connect']>[0])
  await transport.handleRequest(request as Parameters<typeof transport.handleRequest>[0], response, parsedBody)
}

const overHono = (app: Hono): RequestListener => getRequestListener(app.fetch, { overrideGlobalObjects: false })

/** Fastify starts in its own time, and makes a server of its own that is not used here. */
const overFastify = (fill: (app: FastifyInstance) => void): RequestListener => {
  const app = fastify({ bodyLimit: 3 * 1024 * 1024 })
  fill(app)
  app.get('/other', (_, reply) => reply.send('untouched'))
  const ready = app.ready()
  return (request, response) => void ready.then(() => app.routing(request, response))
}

/** The ways of Express, on either of its versions: their types differ in nothing that is used here. */
export const expressHosts = (express: typeof express5): Readonly<Record<string, (auth: Auth) => RequestListener>> => ({
  'express, SDK v1': (auth) => {
    const app = express()
    app.use(onExpress.routes(auth))
    app.all('/mcp', onExpress.protect(auth, '/mcp'), (req, res) => serveV1(auth, req, res, req.body))
    app.get('/other', (_, res) => void res.send('untouched'))
    return app
  },

  'express with json() before, SDK v1': (auth) => {
    const app = express()
    app.use(express.json())
    app.use(onExpress.routes(auth))
    app.all('/mcp', onExpress.protect(auth, '/mcp'), (req, res) => serveV1(auth, req, res, req.body))
    app.get('/other', (_, res) => void res.send('untouched'))
    return app
  },

  'express with json() after, SDK v1': (auth) => {
    const app = express()
    app.use(onExpress.routes(auth))
    app.all('/mcp', onExpress.protect(auth, '/mcp'), express.json(), (req, res) => serveV1(auth, req, res, req.body))
    app.get('/other', (_, res) => void res.send('untouched'))
    return app
  },

  'express, SDK v2': (auth) => {
    const app = express()
    app.use(onExpress.routes(auth))
    app.all('/mcp', onExpress.protect(auth, '/mcp', handlerV2(auth)))
    app.get('/other', (_, res) => void res.send('untouched'))
    return app
  },

  'express with json() before, SDK v2': (auth) => {
    const app = express()
    app.use(express.json())
    app.use(onExpress.routes(auth))
    app.all('/mcp', onExpress.protect(auth, '/mcp', handlerV2(auth)))
    app.get('/other', (_, res) => void res.send('untouched'))
    return app
  },
})

/** Every way to put the gate in front of an SDK server. */
export const hosts: Readonly<Record<string, (auth: Auth) => RequestListener>> = {
  'hono, SDK v2': (auth) => {
    const app = new Hono()
    app.use(onHono.routes(auth))
    app.all('/mcp', onHono.protect(auth, '/mcp', handlerV2(auth)))
    app.get('/other', (c) => c.text('untouched'))
    return overHono(app)
  },

  'hono as middleware, SDK v2': (auth) => {
    const mcp = handlerV2(auth)
    const app = new Hono<{ Variables: { auth: onHono.AuthInfo; parsedBody?: unknown } }>()
    app.use(onHono.routes(auth))
    app.all('/mcp', onHono.protect(auth, '/mcp'), (c) =>
      mcp.fetch(c.req.raw, { authInfo: c.get('auth'), parsedBody: c.get('parsedBody') }),
    )
    app.get('/other', (c) => c.text('untouched'))
    return overHono(app as unknown as Hono)
  },

  'any fetch host, SDK v2': (auth) => {
    const gated = auth.gate('/mcp', handlerV2(auth))
    const fetch = async (request: Request) =>
      (await auth.respond(request)) ??
      (new URL(request.url).pathname === '/mcp' ? gated(request) : new Response('untouched'))
    return getRequestListener(fetch, { overrideGlobalObjects: false })
  },

  'node:http, SDK v2': (auth) => onNode.listener(auth, { '/mcp': handlerV2(auth) }, (_, res) => res.end('untouched')),

  'node:http, SDK v2 by its own adapter': (auth) =>
    onNode.listener(auth, { '/mcp': toNodeHandler(handlerV2(auth)) as onNode.NodeHandler }, (_, res) =>
      res.end('untouched'),
    ),

  'node:http, SDK v1': (auth) =>
    onNode.listener(auth, { '/mcp': (request, response, body) => serveV1(auth, request, response, body) }, (_, res) =>
      res.end('untouched'),
    ),

  ...expressHosts(express5),

  'fastify, SDK v2': (auth) =>
    overFastify((app) => {
      app.register(onFastify.routes(auth))
      app.all('/mcp', onFastify.protect(auth, '/mcp', handlerV2(auth)))
    }),

  'fastify with a hook, SDK v1': (auth) =>
    overFastify((app) => {
      app.register(onFastify.routes(auth))
      app.all('/mcp', { preHandler: onFastify.protect(auth, '/mcp') }, (request, reply) => {
        reply.hijack()
        return serveV1(auth, request.raw, reply.raw, request.body)
      })
    }),
}

export interface Running {
  readonly origin: string
  close(): Promise<void>
}

/** Listens on a free loopback port; what serves is made when the port is known. */
export const listen = async (make: (origin: string) => RequestListener): Promise<Running> => {
  let serve: RequestListener | undefined
  const server = createServer((request, response) => serve?.(request, response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  serve = make(origin)
  return {
    origin,
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

export type Seen = AccessToken & { readonly sameObject: boolean }
