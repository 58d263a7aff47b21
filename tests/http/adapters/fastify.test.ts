import fastify from 'fastify'
import { afterEach, expect, test } from 'vitest'
import { countersign } from '../../../src/countersign.ts'
import { protect, routes } from '../../../src/http/fastify.ts'
import { requireUser } from '../../../src/identity/context.ts'
import { memory } from '../../../src/store/memory.ts'
import { testIssuer } from '../../../src/testing.ts'
import { resourceServer } from '../../../src/verify-only.ts'
import { listen, type Running } from './servers.ts'

let running: Running | undefined
afterEach(() => running?.close())

test('the authorization server’s own routes are served, forms too, and no other is touched', async () => {
  running = await listen((origin) => {
    const auth = countersign({ url: origin, store: memory(), resources: { '/mcp': {} }, audit: () => {} })
    const app = fastify()
    app.register(routes(auth))
    app.get('/other', () => 'untouched')
    const ready = app.ready()
    return (request, response) => void ready.then(() => app.routing(request, response))
  })
  const { origin } = running
  const metadata = await fetch(`${origin}/.well-known/oauth-authorization-server`)
  expect(await metadata.json()).toMatchObject({ issuer: origin, token_endpoint: `${origin}/token` })
  const registered = await fetch(`${origin}/register`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ redirect_uris: ['http://127.0.0.1/callback'], token_endpoint_auth_method: 'none' }),
  })
  expect(registered.status).toBe(201)
  const { client_id } = (await registered.json()) as { client_id: string }
  const body = new URLSearchParams({ grant_type: 'authorization_code', client_id, code: 'none', code_verifier: 'x' })
  const token = await fetch(`${origin}/token?a=b`, { method: 'POST', body })
  expect([token.status, await token.json()]).toMatchObject([400, { error: expect.stringMatching(/^invalid_/) }])
  expect(await (await fetch(`${origin}/other`)).text()).toBe('untouched')
  expect(await (await fetch(`${origin}/elsewhere`)).json()).toMatchObject({ statusCode: 404 })
  expect((await fetch(`${origin}/tokens`, { method: 'POST' })).status).toBe(404)
})

test('what Fastify itself answers behind the gate: identity below the hook, and headers of the gate', async () => {
  const issuer = testIssuer()
  running = await listen((origin) => {
    const auth = resourceServer({ resource: `${origin}/mcp`, issuers: [issuer] })
    const app = fastify()
    app.register(async (scope) => {
      scope.addHook('preHandler', protect(auth, '/mcp'))
      scope.all('/mcp', async () => {
        await new Promise((resolve) => setTimeout(resolve, 2))
        return { subject: requireUser(auth).subject }
      })
    })
    const ready = app.ready()
    return (request, response) => void ready.then(() => app.routing(request, response))
  })
  const url = `${running.origin}/mcp`
  expect((await fetch(url)).status).toBe(401)
  const Authorization = `Bearer ${issuer.accessToken({ subject: 'alice' }).token}`
  const response = await fetch(url, { headers: { Authorization, Origin: 'http://localhost:6274' } })
  expect(await response.json()).toEqual({ subject: 'alice' })
  expect(response.headers.get('Access-Control-Allow-Origin')).toBe('http://localhost:6274')
})
