import { randomBytes } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import { join } from 'node:path'
import { DpopSession } from '@modelcontextprotocol/client'
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server'
import { decodeJwt } from 'jose'
import * as client from 'openid-client'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Countersign, countersign } from '../../src/countersign.ts'
import type { AuditEvent } from '../../src/events/audit.ts'
import type { Auth } from '../../src/http/auth.ts'
import { protect, routes } from '../../src/http/node.ts'
import { requireAccessToken } from '../../src/identity/context.ts'
import { introspection } from '../../src/resource-server/introspection-verifier.ts'
import type { IssuerVerifier } from '../../src/resource-server/issuer.ts'
import { jwks } from '../../src/resource-server/jwks-verifier.ts'
import { memory } from '../../src/store/memory.ts'
import { localAccounts } from '../../src/upstream/local.ts'
import { resourceServer } from '../../src/verify-only.ts'
import { freePort } from '../support/free-port.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'
import { createFormBrowser } from './support/form-browser.ts'
import { authorize, browserOf, createApplication } from './support/oauth-client.ts'
import { connectV2 } from './support/sdk-clients.ts'
import { signIn } from './support/sign-in.ts'

const secret = 'a client secret of more than 32 characters'
const person = { username: 'demo', password: randomBytes(12).toString('base64url') }
const scopes = { 'notes:read': 'Read notes', 'notes:write': 'Write notes' }
const redirectUri = 'http://127.0.0.1:9/callback'

/** With nonces, and with bound tokens alone; and as it is by default. */
describe.each([
  { name: 'by default', dpopNonces: false, dpopBoundAccessTokensRequired: false },
  { name: 'with nonces, and no bearer tokens', dpopNonces: true, dpopBoundAccessTokensRequired: true },
])('DPoP $name', ({ dpopNonces, dpopBoundAccessTokensRequired }) => {
  const running: Server[] = []
  const events: AuditEvent[] = []
  const origins: string[] = []
  let auth: Countersign

  const listen = async (origin: string, at: Auth) => {
    const mcp = createMcpHandler(() => {
      const server = new McpServer({ name: 'test', version: '1.0.0' })
      server.registerTool('whoami', { description: 'Who is calling' }, () => ({
        content: [],
        structuredContent: { ...requireAccessToken(at) },
      }))
      server.registerTool('write', { description: 'Writes' }, () => ({
        content: [],
        structuredContent: { done: true },
      }))
      return server
    })
    const own = routes(at)
    const gated = protect(at, `${origin}/mcp`, mcp)
    const server = createServer(async (request, response) => {
      if (!(await own(request, response))) await gated(request, response)
    })
    await new Promise<void>((resolve) => server.listen(Number(new URL(origin).port), '127.0.0.1', resolve))
    running.push(server)
  }

  beforeAll(async () => {
    for (let index = 0; index < 3; index++) origins.push(`http://localhost:${await freePort()}`)
    const [issuer = '', asking = '', reading = ''] = origins
    const bound = {
      scopes,
      defaultScopes: ['notes:read'],
      dpopBoundAccessTokensRequired,
      tools: { write: ['notes:write'] },
    }
    const people = localAccounts()
    auth = countersign({
      url: issuer,
      store: memory(),
      upstream: people,
      audit: (event) => void events.push(event),
      dpopNonces,
      resources: { '/mcp': bound, [`${asking}/mcp`]: bound, [`${reading}/mcp`]: bound },
      clients: [{ id: 'asking', secret, introspects: [`${asking}/mcp`] }],
    }) as Countersign
    await auth.ready()
    await people.accounts.create({ ...person, name: 'Demo', email: 'demo@example.com' })
    await listen(issuer, auth)
    const remote = (origin: string, verifier: IssuerVerifier) =>
      resourceServer({ ...bound, resource: `${origin}/mcp`, issuers: [verifier], dpopNonces })
    await listen(asking, remote(asking, introspection(issuer, { clientId: 'asking', clientSecret: secret })))
    await listen(reading, remote(reading, jwks(issuer)))
  })

  afterAll(async () => {
    for (const server of running) {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    }
    await auth.close()
  })

  const verified = ['in process', 'by introspection', 'by its keys'].map((name, index) => ({ name, index }))

  test.each(verified)('the official client, from the first 401 to a step-up, verified $name', async ({ index }) => {
    const url = `${origins[index]}/mcp`
    const session = await DpopSession.create()
    const application = Object.assign(createApplication(), { dpop: () => session })
    const browser = browserOf(application)
    const ask = () => authorize(application, browser, person)
    const connected = await connectV2(url, application, ask)
    const cnf = { jkt: session.thumbprint }
    const who = await connected.call('whoami')
    expect(who).toMatchObject({ kind: 'user', issuer: origins[0], resource: url, claims: { cnf } })
    expect(application.kept.tokens?.token_type).toBe('DPoP')

    // It asks for more at the 403 that a tool answers, as with a bearer token.
    await expect(connected.call('write')).rejects.toThrow()
    await connected.finish(await ask())
    expect(await connected.call('write')).toEqual({ done: true })
    expect(await connected.call('whoami')).toMatchObject({
      subject: who.subject,
      scopes: ['notes:read', 'notes:write'],
    })
    await connected.close()

    // Whoever has the token, and not the key, has nothing.
    const { access_token: stolen = '' } = application.kept.tokens ?? {}
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' })
    const headers = { 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream' }
    for (const scheme of ['Bearer', 'DPoP']) {
      const sent = { ...headers, Authorization: `${scheme} ${stolen}` }
      expect((await fetch(url, { method: 'POST', body, headers: sent })).status).toBe(401)
    }
  })

  test.each(verified)('openid-client: registration, code, gate, refresh, verified $name', async ({ index }) => {
    const issuer = new URL(origins[0] ?? '')
    const resource = `${origins[index]}/mcp`
    const options = { execute: [client.allowInsecureRequests], algorithm: 'oauth2' as const }
    const metadata = {
      redirect_uris: [redirectUri],
      client_name: 'openid-client',
      token_endpoint_auth_method: 'none',
      dpop_bound_access_tokens: true,
    }
    const configuration = await client.dynamicClientRegistration(issuer, metadata, client.None(), options)
    expect(configuration.clientMetadata()).toMatchObject({ dpop_bound_access_tokens: true })
    const DPoP = client.getDPoPHandle(configuration, await client.randomDPoPKeyPair())
    const jkt = await DPoP.calculateThumbprint()

    const verifier = client.randomPKCECodeVerifier()
    const asked = client.buildAuthorizationUrl(configuration, {
      redirect_uri: redirectUri,
      code_challenge: await client.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
      dpop_jkt: jkt,
      resource,
      scope: 'notes:read',
    })
    const browser = createFormBrowser({ away: (url) => url.href.startsWith(redirectUri) })
    const { end } = await signIn(browser, asked, person)
    const tokens = await client.authorizationCodeGrant(configuration, end, { pkceCodeVerifier: verifier }, {}, { DPoP })
    expect([tokens.token_type, decodeJwt(tokens.access_token).cnf]).toEqual(['dpop', { jkt }])

    const call = async (token: string) => {
      const body = JSON.stringify({
        jsonrpc: '2.0',
        id: 1,
        method: 'tools/call',
        params: { name: 'whoami', arguments: {} },
      })
      const headers = new Headers({ 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream' })
      const once = () =>
        client.fetchProtectedResource(configuration, token, new URL(resource), 'POST', body, headers, { DPoP })
      const response = await once()
      expect(response.status).toBe(200)
      return response.text()
    }
    expect(await call(tokens.access_token)).toContain(jkt)

    const refreshed = await client.refreshTokenGrant(configuration, tokens.refresh_token ?? '', {}, { DPoP })
    expect(decodeJwt(refreshed.access_token).cnf).toEqual({ jkt })
    expect(await call(refreshed.access_token)).toContain(jkt)

    // A thief who has all but the key.
    const thief = client.getDPoPHandle(configuration, await client.randomDPoPKeyPair())
    const stolen = refreshed.refresh_token ?? ''
    await expect(client.refreshTokenGrant(configuration, stolen, {}, { DPoP: thief })).rejects.toMatchObject({
      error: 'invalid_grant',
    })
    await expect(client.refreshTokenGrant(configuration, stolen)).rejects.toMatchObject({ error: 'invalid_dpop_proof' })
    expect(await call((await client.refreshTokenGrant(configuration, stolen, {}, { DPoP })).access_token)).toContain(
      jkt,
    )
  })

  test('a pushed request is bound by its proof: the code is worth nothing to another key', async () => {
    const issuer = new URL(origins[0] ?? '')
    const options = { execute: [client.allowInsecureRequests], algorithm: 'oauth2' as const }
    const metadata = { redirect_uris: [redirectUri], client_name: 'pushing', token_endpoint_auth_method: 'none' }
    const configuration = await client.dynamicClientRegistration(issuer, metadata, client.None(), options)
    const handle = async () => client.getDPoPHandle(configuration, await client.randomDPoPKeyPair())
    const [DPoP, thief] = [await handle(), await handle()]
    const verifier = client.randomPKCECodeVerifier()
    const parameters = {
      redirect_uri: redirectUri,
      code_challenge: await client.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
      resource: `${origins[0]}/mcp`,
      scope: 'notes:read',
    }
    const asked = await client.buildAuthorizationUrlWithPAR(configuration, parameters, { DPoP })
    expect([...asked.searchParams.keys()].sort()).toEqual(['client_id', 'request_uri'])
    const browser = createFormBrowser({ away: (url) => url.href.startsWith(redirectUri) })
    const { end } = await signIn(browser, asked, person)
    const redeem = (proving: client.DPoPHandle) =>
      client.authorizationCodeGrant(configuration, end, { pkceCodeVerifier: verifier }, {}, { DPoP: proving })
    await expect(redeem(thief)).rejects.toMatchObject({ error: 'invalid_grant' })
    expect(decodeJwt((await redeem(DPoP)).access_token).cnf).toEqual({ jkt: await DPoP.calculateThumbprint() })
  })

  test('and no secret of them is in the audit log', () => {
    expect(events.some(({ type }) => type === 'code.redeemed')).toBe(true)
    expect(JSON.stringify(events)).not.toMatch(/eyJ|cs_rt_|cs_ac_/)
  })
})

test('the example is as it says', async () => {
  const { authWithBoundTokens, callWithProof } = await import('../../examples/dpop.ts')
  expect(await (await callWithProof()).text()).toBe('Hello, alice')
  const folder = temporaryDirectory()
  const database = join(folder.path, 'store.db')
  const auth = authWithBoundTokens({ url: 'https://auth.example.com', secret: 'x'.repeat(32), database })
  const document = '/.well-known/oauth-protected-resource'
  for (const [path, required] of [
    ['/payroll', true],
    ['/notes', undefined],
  ] as const) {
    const response = await auth.respond(new Request(`https://auth.example.com${document}${path}`))
    const metadata = (await response?.json()) as Record<string, unknown> | undefined
    expect(metadata).toMatchObject({ resource: `https://auth.example.com${path}` })
    expect(metadata?.dpop_bound_access_tokens_required).toBe(required)
  }
  await auth.close()
  folder.remove()
})
