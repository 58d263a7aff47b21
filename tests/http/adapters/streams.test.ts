import { getRequestListener } from '@hono/node-server'
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import express from 'express'
import fastify from 'fastify'
import { Hono } from 'hono'
import { afterEach, expect, test } from 'vitest'
import type { Auth } from '../../../src/http/auth.ts'
import * as onExpress from '../../../src/http/express.ts'
import * as onFastify from '../../../src/http/fastify.ts'
import * as onHono from '../../../src/http/hono.ts'
import * as onNode from '../../../src/http/node.ts'
import { testIssuer } from '../../../src/testing.ts'
import { resourceServer } from '../../../src/verify-only.ts'
import { listen } from './servers.ts'

const ends: (() => unknown)[] = []
afterEach(async () => {
  for (const end of ends.splice(0)) await end()
})

/** A real transport's stream for what the server has to say, opened by GET. */
const serveStream = async (request: onNode.NodeRequest, response: Parameters<onNode.NodeListener>[1]) => {
  const server = new McpServer({ name: 'notes', version: '1.0.0' })
  const transport = new StreamableHTTPServerTransport()
  await server.connect(transport as Parameters<typeof server.connect>[0])
  await transport.handleRequest(request as Parameters<typeof transport.handleRequest>[0], response)
}
const endless = () => {
  const body = new ReadableStream({ start: (controller) => controller.enqueue(new TextEncoder().encode(': open\n\n')) })
  return new Response(body, { headers: { 'Content-Type': 'text/event-stream' } })
}

test.each<[string, (auth: Auth) => Parameters<typeof listen>[0] extends (origin: string) => infer L ? L : never]>([
  ['express, SDK v1', (auth) => express().use('/mcp', onExpress.protect(auth, '/mcp'), serveStream)],
  [
    'fastify',
    (auth) => {
      const app = fastify()
      app.get('/mcp', onFastify.protect(auth, '/mcp', { fetch: endless }))
      const ready = app.ready()
      return (request, response) => void ready.then(() => app.routing(request, response))
    },
  ],
  ['node, SDK v1', (auth) => onNode.listener(auth, { '/mcp': serveStream })],
  ['node, a fetch handler', (auth) => onNode.listener(auth, { '/mcp': { fetch: endless } })],
  [
    'hono as middleware',
    (auth) => {
      const app = new Hono()
      app.all('/mcp', onHono.protect(auth, '/mcp'), endless)
      return getRequestListener(app.fetch, { overrideGlobalObjects: false })
    },
  ],
])('%s: a stream ends soon after its token, with a policy and without', async (_, make) => {
  const endsWithItsToken = async (policy: object) => {
    const issuer = testIssuer()
    const running = await listen((origin) =>
      make(resourceServer({ resource: `${origin}/mcp`, issuers: [issuer], ...policy })),
    )
    ends.push(() => running.close())
    const token = issuer.accessToken()
    const response = await fetch(`${running.origin}/mcp`, {
      headers: { Authorization: `Bearer ${token.token}`, Accept: 'text/event-stream' },
    })
    expect(response.status).toBe(200)
    const ended = response.text().then(
      () => 'ended',
      () => 'ended',
    )
    const later = (ms: number) => new Promise((resolve) => setTimeout(() => resolve('open'), ms))
    expect(await Promise.race([ended, later(1_200)])).toBe('open')
    issuer.revoke(token)
    expect(await Promise.race([ended, later(60_000)])).toBe('ended')
  }
  await Promise.all([{}, { tools: { x: ['y'] } }].map(endsWithItsToken))
})
