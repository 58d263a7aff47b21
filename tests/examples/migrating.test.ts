import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { getRequestListener } from '@hono/node-server'
import { memory } from 'countersign/store/memory'
import { accessToken, withAccessToken } from 'countersign/testing'
import { UnsecuredJWT } from 'jose'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import * as authRouterAfter from '../../examples/migrating/auth-router-after.ts'
import * as authRouterBefore from '../../examples/migrating/auth-router-before.ts'
import * as oauthProxyAfter from '../../examples/migrating/oauth-proxy-after.ts'
import * as subjectAfter from '../../examples/migrating/subject-after.ts'
import * as subjectBefore from '../../examples/migrating/subject-before.ts'
import * as verifierAfter from '../../examples/migrating/verifier-after.ts'
import * as verifierBefore from '../../examples/migrating/verifier-before.ts'
import { authorize, browserOf, createApplication } from '../end-to-end/support/oauth-client.ts'
import { connectV1, connectV2 } from '../end-to-end/support/sdk-clients.ts'
import { type JwksIssuer, startJwksIssuer } from '../support/jwks-issuer.ts'
import { type OidcProvider, oidcSubject, startOidcProvider } from '../support/oidc-provider.ts'

// Real programs, on machines that may be busy.

const running: (() => Promise<void>)[] = []
const listen = async (make: (url: string) => RequestListener): Promise<string> => {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  server.on('request', make(url))
  running.push(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  return url
}
afterEach(async () => {
  for (const stop of running.splice(0)) await stop()
})

describe('with a real provider', () => {
  let provider: OidcProvider
  beforeAll(async () => {
    provider = await startOidcProvider()
  })
  afterAll(() => provider?.stop())
  const alice = { username: 'alice', password: 'any' }

  test('from the first SDK’s router: before, clients were sent to the provider itself', async () => {
    const url = await listen((origin) => authRouterBefore.app(origin, provider.issuer, ['http://127.0.0.1:9/callback']))
    const metadata = (await (await fetch(`${url}/.well-known/oauth-authorization-server`)).json()) as object
    expect(metadata).toMatchObject({ issuer: `${provider.issuer}/` })
    expect((await fetch(`${url}/mcp`, { method: 'POST' })).status).toBe(401)
    // Whatever redirect the client names, the provider must know it.
    const query = { client_id: 'any', redirect_uri: 'http://127.0.0.1:9/callback', response_type: 'code' }
    const more = { code_challenge: 'x'.repeat(43), code_challenge_method: 'S256' }
    const request = `${url}/authorize?${new URLSearchParams({ ...query, ...more })}`
    const sent = await fetch(request, { redirect: 'manual' })
    expect(sent.headers.get('Location')).toMatch(new RegExp(`^${provider.issuer}/auth\\?`))
    expect(sent.headers.get('Location')).toContain('client_id=any')
  })

  test('and after: any client, the provider’s people, and who they are', async () => {
    const { issuer, clientId, clientSecret } = provider
    const url = await listen((origin) => {
      const { app, auth } = authRouterAfter.app(
        origin,
        { issuer, clientId, clientSecret },
        { store: memory(), audit: () => {} },
      )
      running.push(() => auth.close())
      return app
    })
    const application = createApplication()
    const browser = browserOf(application)
    const client = await connectV1(`${url}/mcp`, application, () => authorize(application, browser, alice))
    expect(await client.call('whoami')).toEqual({
      subject: expect.any(String),
      clientId: application.kept.client?.client_id,
      email: 'alice@example.com',
    })
    await client.close()
  })

  test('from an OAuth proxy: endpoints instead of discovery, one app there, all claims here', async () => {
    const { issuer: site, clientId, clientSecret } = provider
    const url = await listen((origin) => {
      const { app, auth } = oauthProxyAfter.app(
        origin,
        { site, clientId, clientSecret },
        { store: memory(), audit: () => {} },
      )
      running.push(() => auth.close())
      return getRequestListener(app.fetch, { overrideGlobalObjects: false })
    })
    const application = createApplication()
    const browser = browserOf(application)
    const client = await connectV2(`${url}/mcp`, application, () => authorize(application, browser, alice))
    expect(await client.call('whoami')).toMatchObject({
      clientId: application.kept.client?.client_id,
      subject: oidcSubject('alice'),
      claims: { email: 'alice@example.com', name: 'Alice Example' },
    })
    await client.close()
  })
})

describe('from a verifier written by hand', () => {
  const resource = 'https://notes.example.com/mcp'
  let issuer: JwksIssuer
  beforeAll(async () => {
    issuer = await startJwksIssuer(resource)
  })
  afterAll(() => issuer.close())

  const handlers = () => ({
    before: verifierBefore.handler(resource, issuer.issuer),
    after: verifierAfter.handler(resource, issuer.issuer),
  })
  const call = (handler: (request: Request) => Promise<Response>, token: string, name: string) =>
    handler(
      new Request(resource, {
        method: 'POST',
        headers: {
          ...{ Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
          Accept: 'application/json, text/event-stream',
        },
        body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name, arguments: {} } }),
      }),
    )

  test('the same tokens are taken, and the same calls refused with the same challenge', async () => {
    const challenge = /scope="([^"]*)"/
    for (const handler of Object.values(handlers())) {
      const token = await issuer.sign()
      expect(await (await call(handler, token, 'whoami')).text()).toContain('"alice"')
      const refused = await call(handler, token, 'notes_add')
      expect(refused.status).toBe(403)
      expect(challenge.exec(refused.headers.get('WWW-Authenticate') ?? '')?.[1]).toBe('notes:read notes:write')
      expect((await call(handler, `${token}x`, 'whoami')).status).toBe(401)
    }
  })

  test('and what only a hand forgets', async () => {
    const { before, after } = handlers()
    const idToken = await issuer.sign({}, { typ: 'JWT' })
    expect([(await call(before, idToken, 'whoami')).status, (await call(after, idToken, 'whoami')).status]).toEqual([
      200, 401,
    ])
    const token = await issuer.sign()
    issuer.mode = 'down'
    const cold = handlers()
    expect([
      (await call(cold.before, token, 'whoami')).status,
      (await call(cold.after, token, 'whoami')).status,
    ]).toEqual([401, 503])
    issuer.mode = 'ok'
  })
})

describe('from a subject that stood as the client', () => {
  const token = new UnsecuredJWT({ sub: 'alice', scope: 'notes:read', exp: 9_999_999_999 }).encode()

  test('data that was kept by it finds its owner, and nobody else', () => {
    const { notes } = subjectBefore
    notes.set('alice', ['milk'])
    notes.set('bob', ['bread'])
    expect(subjectBefore.notesOf(subjectBefore.authInfoOf(token))).toEqual(['milk'])

    const kept = { notes, formerIssuer: 'https://issuer.example.com' }
    const as = (issuer: string, subject: string, clientId: string) =>
      withAccessToken(accessToken({ issuer, subject, clientId }), () => subjectAfter.notesOf(kept))
    // Another issuer's alice is somebody else, and so is a client of that name.
    expect(as('https://other.example.com', 'alice', 'editor')).toEqual([])
    expect(as('https://issuer.example.com', 'carol', 'alice')).toEqual([])
    for (const client of ['editor', 'terminal']) {
      expect(as('https://issuer.example.com', 'alice', client)).toEqual(['milk'])
    }
    expect([...notes.keys()]).toEqual(['bob', '["https://issuer.example.com","alice"]'])
  })
})
