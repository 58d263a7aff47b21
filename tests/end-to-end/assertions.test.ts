import { type ServerType, serve } from '@hono/node-server'
import {
  Client,
  CrossAppAccessProvider,
  type OAuthClientProvider,
  StreamableHTTPClientTransport,
} from '@modelcontextprotocol/client'
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server'
import { Hono } from 'hono'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Countersign, countersign } from '../../src/countersign.ts'
import type { Auth } from '../../src/http/auth.ts'
import { protect, routes } from '../../src/http/hono.ts'
import { requireAccessToken } from '../../src/identity/context.ts'
import { idJagType, jwtBearerGrantType } from '../../src/oauth/assertion.ts'
import { jwks } from '../../src/resource-server/jwks-verifier.ts'
import { memory } from '../../src/store/memory.ts'
import { resourceServer } from '../../src/verify-only.ts'
import { freePort } from '../support/free-port.ts'
import { type JwksIssuer, startJwksIssuer } from '../support/jwks-issuer.ts'

const secret = 'a client secret of more than 32 characters'
const running: ServerType[] = []
const origins: string[] = []
let auth: Countersign
let idp: JwksIssuer
let platform: JwksIssuer

/** A server whose one tool says who calls. */
const listen = async (origin: string, at: Auth): Promise<void> => {
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
  app.all('/mcp', protect(at, `${origin}/mcp`, mcp))
  const port = Number(new URL(origin).port)
  await new Promise<void>((resolve) => {
    running.push(
      serve({ fetch: app.fetch, port, hostname: '127.0.0.1', overrideGlobalObjects: false }, () => resolve()),
    )
  })
}

beforeAll(async () => {
  for (let index = 0; index < 2; index++) origins.push(`http://localhost:${await freePort()}`)
  const [issuer = '', elsewhere = ''] = origins
  ;[idp, platform] = await Promise.all([startJwksIssuer(`${issuer}/mcp`), startJwksIssuer(`${issuer}/mcp`)])
  const scopes = { 'notes:read': 'Read notes', 'notes:write': 'Write notes' }
  auth = countersign({
    url: issuer,
    store: memory(),
    audit: () => {},
    tokenClaims: ['email', 'namespace'],
    resources: { '/mcp': { scopes, defaultScopes: ['notes:read'] }, [`${elsewhere}/mcp`]: { scopes } },
    assertions: [
      { kind: 'enterprise', issuer: idp.issuer, provider: 'acme' },
      {
        kind: 'workload',
        issuer: platform.issuer,
        provider: 'cluster',
        audience: issuer,
        workloads: [{ client: 'jobs', subject: 'system:serviceaccount:jobs:*' }],
      },
    ],
    clients: [
      { id: 'agent', secret },
      { id: 'jobs', scopes: Object.fromEntries(origins.map((origin) => [`${origin}/mcp`, ['notes:read']])) },
    ],
  })
  await listen(issuer, auth as Auth)
  const remote = resourceServer({ resource: `${elsewhere}/mcp`, issuers: [jwks(issuer)], scopes })
  await listen(elsewhere, remote as Auth)
})

afterAll(async () => {
  for (const server of running) {
    if ('closeAllConnections' in server) server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
  await Promise.all([auth.close(), idp.close(), platform.close()])
})

const whoami = async (url: string, authProvider: OAuthClientProvider) => {
  const client = new Client({ name: 'test', version: '1.0.0' })
  await client.connect(new StreamableHTTPClientTransport(new URL(url), { authProvider }))
  const { structuredContent } = await client.callTool({ name: 'whoami' })
  await client.close()
  return structuredContent
}

const verifiers = [
  ['in process', 0],
  ['by its keys', 1],
] as const

test.each(verifiers)(
  'origin 2: an SDK client with an enterprise’s assertion reaches a handler that knows the person, verified %s',
  async (_name, index) => {
    const [issuer = ''] = origins
    const url = `${origins[index]}/mcp`
    const asked: unknown[] = []
    const provider = new CrossAppAccessProvider({
      clientId: 'agent',
      clientSecret: secret,
      expectedIssuer: issuer,
      // In place of the enterprise's token endpoint, which gives it for an id_token of the person.
      assertion: async ({ authorizationServerUrl, resourceUrl, scope }) => {
        asked.push([authorizationServerUrl, resourceUrl])
        const claims = {
          aud: authorizationServerUrl,
          resource: resourceUrl,
          client_id: 'agent',
          email: 'a@acme.example',
        }
        return idp.sign({ ...claims, sub: 'U1', exp: Math.floor(Date.now() / 1000) + 300, scope }, { typ: idJagType })
      },
    })
    expect(await whoami(url, provider)).toMatchObject({
      ...{ kind: 'user', issuer, clientId: 'agent', resource: url },
      upstream: { provider: 'acme', issuer: idp.issuer, subject: 'U1', claims: { email: 'a@acme.example' } },
    })
    expect(asked).toEqual([[issuer, url]])
  },
)

/** What a program does that has a JWT in a file, and nothing else. */
const workload = (assertion: string): OAuthClientProvider => {
  let tokens: Awaited<ReturnType<OAuthClientProvider['tokens']>>
  return {
    redirectUrl: undefined,
    clientMetadata: { redirect_uris: [], grant_types: [jwtBearerGrantType], token_endpoint_auth_method: 'none' },
    clientInformation: () => ({ client_id: 'jobs', issuer: origins[0] ?? '' }),
    tokens: () => tokens,
    saveTokens(given) {
      tokens = given
    },
    redirectToAuthorization() {
      throw new Error('there is nobody to redirect')
    },
    saveCodeVerifier() {},
    codeVerifier: () => '',
    prepareTokenRequest: () => new URLSearchParams({ grant_type: jwtBearerGrantType, assertion }),
  }
}

test.each(verifiers)(
  'origin 9: an SDK client with its platform’s JWT is itself, and the handler knows which, verified %s',
  async (_name, index) => {
    const [issuer = ''] = origins
    const url = `${origins[index]}/mcp`
    const now = Math.floor(Date.now() / 1000)
    const sub = 'system:serviceaccount:jobs:nightly'
    const assertion = await platform.sign(
      { sub, aud: issuer, exp: now + 3600, client_id: undefined, scope: undefined, namespace: 'jobs' },
      { typ: null },
    )
    for (let turn = 0; turn < 2; turn++) {
      expect(await whoami(url, workload(assertion))).toMatchObject({
        ...{ kind: 'client', issuer, subject: 'jobs', clientId: 'jobs', scopes: ['notes:read'], resource: url },
        upstream: { provider: 'cluster', issuer: platform.issuer, subject: sub, claims: { namespace: 'jobs' } },
      })
    }
    const stranger = await platform.sign(
      { sub: 'system:serviceaccount:other:x', aud: issuer, exp: now + 60 },
      { typ: null },
    )
    await expect(whoami(url, workload(stranger))).rejects.toThrow()
  },
)
