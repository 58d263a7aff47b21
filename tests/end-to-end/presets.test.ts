import { createHash, randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { countersign, requireUser } from '../../src/index.ts'
import { sqlite } from '../../src/store/sqlite.ts'
import { entra } from '../../src/upstream/entra.ts'
import { github } from '../../src/upstream/github.ts'
import { google } from '../../src/upstream/google.ts'
import { okta } from '../../src/upstream/okta.ts'
import type { Provider } from '../../src/upstream/provider.ts'
import { TestBrowser } from '../support/browser.ts'
import { emulatedClient, emulatedTenant, startEmulatedProviders } from '../support/emulated-providers.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const url = 'http://localhost:8787'
const ids = ['github', 'google', 'entra', 'okta']
const folder = temporaryDirectory()
let emulators: Awaited<ReturnType<typeof startEmulatedProviders>>
beforeAll(async () => {
  emulators = await startEmulatedProviders(ids.map((id) => `${url}/authorize/callback/${id}`))
}, 240_000)
afterAll(async () => {
  await emulators?.stop()
  folder.remove()
})

/** A server, and what a client and a handler of it see. */
const serve = (provider: Provider) => {
  const auth = countersign({
    url,
    secret: 'a secret of these tests that is long enough',
    store: sqlite(join(folder.path, `${provider.id}.db`)),
    upstream: provider,
    fetch: emulators.fetch,
    tokenClaims: ['email'],
    audit: () => {},
    resources: { '/mcp': { scopes: { read: 'Read' } } },
  })
  const handler = auth.gate('/mcp', () => Response.json(requireUser(auth)))
  const post = async (path: string, body: URLSearchParams | string) => {
    const headers = typeof body === 'string' ? { 'content-type': 'application/json' } : {}
    const response = await auth.respond(new Request(`${url}${path}`, { method: 'POST', headers, body }))
    return (await response?.json()) as Record<string, string>
  }
  const whoami = async (token = '') => {
    const headers = { authorization: `Bearer ${token}`, accept: 'application/json, text/event-stream' }
    const response = await handler(new Request(`${url}/mcp`, { headers }))
    return (await response.json()) as Record<string, unknown>
  }
  return { auth, post, whoami }
}

test.each([
  [github(emulatedClient), 'alice', 'https://github.com/login/oauth', { login: 'alice', preferred_username: 'alice' }],
  [google(emulatedClient), 'alice@example.com', 'https://accounts.google.com', { hd: 'example.com' }],
  [
    entra({ ...emulatedClient, tenant: emulatedTenant }),
    'alice@example.com',
    `https://login.microsoftonline.com/${emulatedTenant}/v2.0`,
    { tid: emulatedTenant },
  ],
  [
    okta({ ...emulatedClient, domain: 'example.okta.com', authorizationServer: 'default' }),
    'alice@example.com',
    'https://example.okta.com/oauth2/default',
    { preferred_username: 'alice@example.com' },
  ],
] satisfies [Provider, string, string, object][])(
  'origin 1 and 5, fault 15: $id: a handler sees who it is after the exchange, a refresh and a restart',
  async (provider, person, issuer, claims) => {
    const first = serve(provider)
    const redirectUri = 'http://127.0.0.1:9/callback'
    const client = await first.post('/register', JSON.stringify({ redirect_uris: [redirectUri], client_name: 'Test' }))
    const verifier = randomBytes(32).toString('base64url')
    const query = new URLSearchParams({
      response_type: 'code',
      client_id: client.client_id ?? '',
      redirect_uri: redirectUri,
      code_challenge: createHash('sha256').update(verifier).digest('base64url'),
      code_challenge_method: 'S256',
      scope: 'read',
      resource: `${url}/mcp`,
      state: 'a state',
    })
    const browser = new TestBrowser((request) => first.auth.respond(request), url)
    const { left: away } = await browser.submit(await browser.open(`${url}/authorize?${query}`), 'approve')
    const callback = await emulators.pick(away?.href ?? '', person)
    const { left, text } = await browser.open(callback.href)
    expect(left?.searchParams.get('code'), text).toBeTruthy()

    const credentials = {
      client_id: client.client_id ?? '',
      ...(client.client_secret ? { client_secret: client.client_secret } : {}),
    }
    const tokens = await first.post(
      '/token',
      new URLSearchParams({
        ...credentials,
        grant_type: 'authorization_code',
        code: left?.searchParams.get('code') ?? '',
        redirect_uri: redirectUri,
        code_verifier: verifier,
      }),
    )
    const seen = await first.whoami(tokens.access_token)
    expect(seen).toMatchObject({
      kind: 'user',
      issuer: url,
      clientId: client.client_id,
      upstream: {
        provider: provider.id,
        issuer,
        claims: { ...claims, name: 'Alice Example', email: 'alice@example.com', iss: issuer },
      },
      claims: { upstream_claims: { iss: issuer, email: 'alice@example.com' } },
    })

    const refresh = async (by: typeof first, refreshToken = '') => {
      const form = { ...credentials, grant_type: 'refresh_token', refresh_token: refreshToken }
      return by.post('/token', new URLSearchParams(form))
    }
    const expectSame = async (by: typeof first, { access_token: token }: Record<string, string>) => {
      const { subject, upstream, clientId, scopes } = await by.whoami(token)
      expect({ subject, upstream, clientId, scopes }).toEqual({
        subject: seen.subject,
        upstream: seen.upstream,
        clientId: seen.clientId,
        scopes: ['read'],
      })
    }
    const renewed = await refresh(first, tokens.refresh_token)
    await expectSame(first, renewed)
    await first.auth.close()

    const second = serve(provider)
    await expectSame(second, renewed)
    const again = await refresh(second, renewed.refresh_token)
    await expectSame(second, again)
    await second.auth.close()
  },
)
