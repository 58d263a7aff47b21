import { Hono } from 'hono'
import { expect, test } from 'vitest'
import { protect, routes } from '../../../src/http/hono.ts'
import { requireUser } from '../../../src/identity/context.ts'
import { testIssuer } from '../../../src/testing.ts'
import { resourceServer } from '../../../src/verify-only.ts'

test('a handler behind the gate knows who called', async () => {
  const issuer = testIssuer()
  const auth = resourceServer({ resource: 'http://localhost/mcp', issuers: [issuer] })
  const app = new Hono()
  app.use(routes(auth))
  app.all(
    '/mcp',
    protect(auth, '/mcp', () => new Response(requireUser(auth).subject)),
  )
  app.get('/other', (c) => c.text('untouched'))
  const { token } = issuer.accessToken({ subject: 'alice' })

  const refused = await app.request('/mcp')
  expect(refused.status).toBe(401)
  const metadata = await app.request('/.well-known/oauth-protected-resource/mcp')
  expect(await metadata.json()).toMatchObject({
    resource: 'http://localhost/mcp',
    authorization_servers: [issuer.issuer],
  })
  expect(await (await app.request('/other')).text()).toBe('untouched')
  const admitted = await app.request('/mcp', { headers: { Authorization: `Bearer ${token}` } })
  expect(await admitted.text()).toBe('alice')
})
