import { type ServerType, serve } from '@hono/node-server'
import {
  Client,
  ClientCredentialsProvider,
  PrivateKeyJwtProvider,
  StreamableHTTPClientTransport,
} from '@modelcontextprotocol/client'
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server'
import { Hono } from 'hono'
import { exportJWK, generateKeyPair, type JWK } from 'jose'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Countersign, countersign } from '../../src/countersign.ts'
import type { Auth } from '../../src/http/auth.ts'
import { protect, routes } from '../../src/http/hono.ts'
import { requireAccessToken } from '../../src/identity/context.ts'
import { introspection } from '../../src/resource-server/introspection-verifier.ts'
import { jwks } from '../../src/resource-server/jwks-verifier.ts'
import { memory } from '../../src/store/memory.ts'
import { resourceServer } from '../../src/verify-only.ts'
import { freePort } from '../support/free-port.ts'

const secret = 'a client secret of more than 32 characters'
const running: ServerType[] = []
const origins: string[] = []
let auth: Countersign
let privateKey: JWK

/** A server whose one tool says who calls. */
const listen = async (origin: string, at: Auth, path: string): Promise<void> => {
  const mcp = createMcpHandler(() => {
    const server = new McpServer({ name: 'test', version: '1.0.0' })
    server.registerTool('whoami', { description: 'Who is calling' }, () => ({
      content: [],
      structuredContent: { ...requireAccessToken(at) },
    }))
    return server
  })
  const app = new Hono()
  app.use(routes(at))
  app.all('/mcp', protect(at, path, mcp))
  await new Promise<void>((resolve) => {
    running.push(
      serve(
        { fetch: app.fetch, port: Number(new URL(origin).port), hostname: '127.0.0.1', overrideGlobalObjects: false },
        () => resolve(),
      ),
    )
  })
}

beforeAll(async () => {
  for (let index = 0; index < 3; index++) origins.push(`http://localhost:${await freePort()}`)
  const pair = await generateKeyPair('ES256', { extractable: true })
  const publicKey = await exportJWK(pair.publicKey)
  privateKey = { ...(await exportJWK(pair.privateKey)), alg: 'ES256' }
  const [issuer = '', asking = '', reading = ''] = origins
  const scopes = { 'notes:read': 'Read notes' }
  auth = countersign({
    url: issuer,
    store: memory(),
    audit: () => {},
    resources: { '/mcp': { scopes }, [`${asking}/mcp`]: { scopes }, [`${reading}/mcp`]: { scopes } },
    clients: [
      {
        id: 'nightly-report',
        secret,
        scopes: Object.fromEntries(origins.map((origin) => [`${origin}/mcp`, ['notes:read']])),
      },
      { id: 'signing', jwks: { keys: [publicKey] }, scopes: { '/mcp': ['notes:read'] } },
      { id: 'asking', secret, introspects: [`${asking}/mcp`] },
    ],
  })
  await listen(issuer, auth as Auth, `${issuer}/mcp`)
  const asks = introspection(issuer, { clientId: 'asking', clientSecret: secret })
  const remote = (origin: string, verifier: typeof asks) =>
    resourceServer({ resource: `${origin}/mcp`, issuers: [verifier], scopes })
  await listen(asking, remote(asking, asks), `${asking}/mcp`)
  await listen(reading, remote(reading, jwks(issuer)), `${reading}/mcp`)
})

afterAll(async () => {
  for (const server of running) {
    if ('closeAllConnections' in server) server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
  await auth.close()
})

const connect = async (url: string, clientSecret = secret) => {
  const authProvider = new ClientCredentialsProvider({
    clientId: 'nightly-report',
    clientSecret,
    scope: 'notes:read',
    expectedIssuer: origins[0] ?? '',
  })
  const client = new Client({ name: 'test', version: '1.0.0' })
  await client.connect(new StreamableHTTPClientTransport(new URL(url), { authProvider }))
  return client
}

test.each([
  ['in process', 0],
  ['by introspection', 1],
  ['by its keys', 2],
])('origin 9: an SDK client that acts for itself is told apart by its handler, verified %s', async (_name, index) => {
  const url = `${origins[index]}/mcp`
  const client = await connect(url)
  const { structuredContent } = await client.callTool({ name: 'whoami' })
  await client.close()
  expect(structuredContent).toMatchObject({
    kind: 'client',
    issuer: origins[0],
    subject: 'nightly-report',
    clientId: 'nightly-report',
    scopes: ['notes:read'],
    resource: url,
  })
  expect(structuredContent).not.toHaveProperty('upstream')
})

test('with a key in place of a secret', async () => {
  const authProvider = new PrivateKeyJwtProvider({
    clientId: 'signing',
    privateKey: { ...privateKey },
    algorithm: 'ES256',
    scope: 'notes:read',
    expectedIssuer: origins[0] ?? '',
  })
  const client = new Client({ name: 'test', version: '1.0.0' })
  await client.connect(new StreamableHTTPClientTransport(new URL(`${origins[0]}/mcp`), { authProvider }))
  const { structuredContent } = await client.callTool({ name: 'whoami' })
  await client.close()
  expect(structuredContent).toMatchObject({ kind: 'client', subject: 'signing', clientId: 'signing' })
})

test('with a wrong secret it gets nowhere', async () => {
  await expect(connect(`${origins[0]}/mcp`, `${secret}x`)).rejects.toThrow(/client|401/i)
})
