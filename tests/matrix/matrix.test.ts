import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Countersign, countersign } from '../../src/countersign.ts'
import { listener } from '../../src/http/node.ts'
import { memory } from '../../src/store/memory.ts'
import { passwords } from '../attacks/support/target.ts'
import { createFormBrowser } from '../end-to-end/support/form-browser.ts'
import { signIn } from '../end-to-end/support/sign-in.ts'
import { type DocumentServer, documentServer } from '../support/document-server.ts'
import {
  type Authentication,
  asClient,
  authentications,
  authorizationRequest,
  call,
  type Discovered,
  discover,
  type Identity,
  type Keys,
  newKeys,
  redirectUri,
  register,
  revisions,
} from './client.ts'

// Every revision of the MCP specification, by every way to be known to the server, by every way to authenticate; over HTTP alone.

const SECRET = 'a secret of a configured client, with : and % in it'
const registrations = ['configured', 'document', 'dynamic'] as const
type Registration = (typeof registrations)[number]

let http: Server
let web: DocumentServer
let auth: Countersign<unknown>
let mcp: string
let keys: Keys

const configuredId = (authentication: Authentication) => `configured-${authentication.replaceAll('_', '-')}`

beforeAll(async () => {
  keys = await newKeys()
  web = await documentServer()
  http = createServer()
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  const url = `http://127.0.0.1:${(http.address() as AddressInfo).port}`
  mcp = `${url}/mcp`
  auth = countersign<unknown>({
    url,
    store: memory(),
    audit: () => {},
    upstream: passwords,
    clientMetadataDocuments: { loopback: true },
    clients: authentications.map((authentication) => ({
      id: configuredId(authentication),
      name: 'A configured client',
      redirectUris: [redirectUri],
      ...(authentication.startsWith('client_secret') ? { secret: SECRET } : {}),
      ...(authentication === 'private_key_jwt' ? { jwks: { keys: keys.jwks.keys.map((key) => ({ ...key })) } } : {}),
    })),
    resources: { '/mcp': { scopes: { 'notes:read': 'Read your notes' }, defaultScopes: ['notes:read'] } },
  })
  const whoami = { fetch: (_request: Request, { accessToken }: { accessToken: object }) => Response.json(accessToken) }
  http.on('request', listener(auth, { '/mcp': whoami }))
})
afterAll(async () => {
  await auth?.close()
  await web?.stop()
  http?.closeAllConnections()
  http?.close()
})

const known: Readonly<
  Record<Registration, (found: Discovered, revision: string, how: Authentication) => Promise<Identity>>
> = {
  configured: async (_found, _revision, authentication) => ({
    id: configuredId(authentication),
    authentication,
    ...(authentication.startsWith('client_secret') ? { secret: SECRET } : {}),
    ...(authentication === 'private_key_jwt' ? { key: keys.privateKey } : {}),
  }),
  async document({ server }, revision, authentication) {
    expect(server.client_id_metadata_document_supported).toBe(true)
    web.metadata = {
      redirect_uris: [redirectUri],
      token_endpoint_auth_method: authentication,
      ...(authentication === 'private_key_jwt' ? { jwks: { keys: keys.jwks.keys.map((key) => ({ ...key })) } } : {}),
    }
    return { id: `${web.origin}/${revision}/${authentication}.json`, authentication, key: keys.privateKey }
  },
  dynamic: (found, revision, authentication) =>
    register(found, revisions.find((one) => one === revision) ?? '2025-03-26', authentication),
}

const approve = async (url: URL) => {
  const browser = createFormBrowser({ away: (to) => to.href.startsWith(`${redirectUri}?`) })
  return (await signIn(browser, url, { username: 'Alice', password: 'right' })).end
}

describe.each(revisions)('a client of %s', (revision) => {
  describe.each(registrations)('%s', (registration) => {
    // A document is for everybody to read: there is no secret that it could have.
    const possible = authentications.filter((how) => registration !== 'document' || !how.startsWith('client_secret'))

    test.each(possible)('%s: from the first 401 to a call, a refresh and a sign-out', async (authentication) => {
      const found = await discover(mcp, revision)
      expect(found.server.token_endpoint_auth_methods_supported).toContain(authentication)
      const identity = await known[registration](found, revision, authentication)
      const asked = authorizationRequest(found, revision, identity)
      const code = asked.codeIn(await approve(asked.url))
      const resource = found.resource === undefined ? {} : { resource: found.resource }

      const redeemed = await asClient(found.server.token_endpoint, found, identity, {
        grant_type: 'authorization_code',
        code,
        code_verifier: asked.verifier,
        redirect_uri: redirectUri,
        ...resource,
      })
      expect(redeemed).toMatchObject({ status: 200, body: { token_type: 'Bearer', scope: 'notes:read' } })
      const first = await call(mcp, revision, redeemed.body.access_token)
      expect(first.status).toBe(200)
      const seen = (await first.json()) as Record<string, unknown>
      expect(seen).toMatchObject({ kind: 'user', issuer: auth.issuer, clientId: identity.id, resource: mcp })

      const refreshed = await asClient(found.server.token_endpoint, found, identity, {
        grant_type: 'refresh_token',
        refresh_token: redeemed.body.refresh_token ?? '',
        ...resource,
      })
      expect(refreshed.status).toBe(200)
      const second = await call(mcp, revision, refreshed.body.access_token)
      const { subject, issuer, clientId, scopes } = (await second.json()) as Record<string, unknown>
      expect({ subject, issuer, clientId, scopes }).toEqual({
        subject: seen.subject,
        issuer: seen.issuer,
        clientId: seen.clientId,
        scopes: seen.scopes,
      })

      const token = refreshed.body.refresh_token ?? ''
      const revoked = await asClient(String(found.server.revocation_endpoint), found, identity, { token })
      expect(revoked.status).toBe(200)
      expect((await call(mcp, revision, refreshed.body.access_token)).status).toBe(401)
    })
  })

  test.each(['client_secret_basic', 'client_secret_post'] as const)(
    'document, %s: is refused on a page, since a document keeps no secret',
    async (authentication) => {
      const found = await discover(mcp, revision)
      const { url } = authorizationRequest(found, revision, await known.document(found, revision, authentication))
      const response = await fetch(url, { redirect: 'manual' })
      expect([response.status, response.headers.get('location')]).toEqual([400, null])
    },
  )
})
