import { countersign } from 'countersign'
import { memory } from 'countersign/store/memory'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { expressApp } from '../../examples/express.ts'
import { fastifyApp } from '../../examples/fastify.ts'
import { routeHandlers } from '../../examples/next.ts'
import { type JwksIssuer, startJwksIssuer } from '../support/jwks-issuer.ts'

const resource = 'https://notes.example.com/mcp'
const metadata = 'https://notes.example.com/.well-known/oauth-protected-resource/mcp'
const whoami = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'whoami', arguments: {} } }

let issuer: JwksIssuer
beforeAll(async () => {
  issuer = await startJwksIssuer(resource)
})
afterAll(() => issuer.close())

test('Next.js route handlers: who calls, a challenge, and the metadata that it names', async () => {
  const { mcp, wellKnown } = routeHandlers(resource, issuer.issuer)
  // As Next calls them.
  const context = { params: Promise.resolve({}), parsedBody: 'not ours', remoteAddress: 'nor this' }
  const call = (method: 'GET' | 'POST' | 'DELETE' | 'OPTIONS', init: RequestInit) =>
    (mcp[method] as (request: Request, context: object) => Promise<Response>)(
      new Request(resource, { method, ...init }),
      context,
    )
  const headers = {
    Authorization: `Bearer ${await issuer.sign()}`,
    'Content-Type': 'application/json',
    Accept: 'application/json, text/event-stream',
  }
  const answer = await call('POST', { headers, body: JSON.stringify(whoami) })
  expect(answer.status).toBe(200)
  expect(await answer.text()).toContain('"alice"')
  for (const method of ['GET', 'POST', 'DELETE'] as const) {
    const refused = await call(method, {})
    expect(refused.status).toBe(401)
    expect(refused.headers.get('WWW-Authenticate')).toContain(`resource_metadata="${metadata}"`)
  }
  const preflight = { Origin: 'http://localhost:6274', 'Access-Control-Request-Method': 'POST' }
  expect((await call('OPTIONS', { headers: preflight })).status).toBe(204)
  expect(await (await wellKnown.GET(new Request(metadata))).json()).toMatchObject({ resource })
  expect((await wellKnown.GET(new Request('https://notes.example.com/.well-known/other'))).status).toBe(404)
})

test('the applications on Express and Fastify answer with a challenge, and their metadata', async () => {
  const url = 'http://localhost:8787'
  const auth = countersign({ url, store: memory(), resources: { '/mcp': {} }, audit: () => {} })
  const app = fastifyApp(auth)
  const headers = { host: 'localhost:8787' }
  const challenge = await app.inject({ method: 'POST', url: '/mcp', headers, payload: whoami })
  expect([challenge.statusCode, challenge.headers['www-authenticate']]).toEqual([401, expect.stringContaining(url)])
  const document = await app.inject({ url: '/.well-known/oauth-protected-resource/mcp', headers })
  expect(document.json()).toMatchObject({ resource: `${url}/mcp`, authorization_servers: [url] })
  await app.close()

  const server = expressApp(auth).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as { port: number }
  expect((await fetch(`http://127.0.0.1:${port}/.well-known/oauth-protected-resource/mcp`)).status).toBe(200)
  await new Promise((resolve) => server.close(resolve))
  await auth.close()
})
