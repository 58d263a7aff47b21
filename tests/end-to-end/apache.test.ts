import { chmodSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { openid } from '../../src/upstream/openid.ts'
import { findApache, startApache } from '../support/apache.ts'
import { type OidcProvider, signInAt, startOidcProvider } from '../support/oidc-provider.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'
import { upstreamWorld, type World, worldUrl } from '../support/upstream-world.ts'

vi.setConfig({ hookTimeout: 240_000 })

const found = await findApache()
const secret = 'a client secret of more than 32 characters'

describe.skipIf('skip' in found)('origin 2: a web server’s module verifies our tokens by the key set alone', () => {
  const folder = temporaryDirectory()
  let provider: OidcProvider
  let world: World
  let apache: Awaited<ReturnType<typeof startApache>>
  const keys = createServer(async (_request, response) => {
    const answer = await world.auth.respond(new Request(`${worldUrl}/jwks`))
    response.writeHead(answer?.status ?? 404, { 'content-type': 'application/json' })
    response.end(await answer?.text())
  })
  beforeAll(async () => {
    chmodSync(folder.path, 0o755)
    provider = await startOidcProvider()
    const { issuer, clientId, clientSecret } = provider
    const scopes = ['openid', 'profile', 'email', 'groups']
    world = upstreamWorld(openid({ issuer, clientId, clientSecret, scopes }), {
      tokenClaims: ['email', 'groups'],
      clients: [{ id: 'machine', secret, scopes: { '/mcp': ['read'], '/other': ['look'] } }],
    })
    await new Promise<void>((resolve) => keys.listen(0, '127.0.0.1', resolve))
    const { port } = keys.address() as AddressInfo
    apache = await startApache(
      folder.path,
      `OAuth2TokenVerify jwks_uri http://127.0.0.1:${port}/jwks jwks_uri.ssl_verify=false&verify.exp=required
<Location />
  AuthType oauth2
  Require oauth2_claim aud:${worldUrl}/mcp
  Header always set X-Subject "expr=%{env:OAUTH2_CLAIM_sub}"
  Header always set X-Upstream "expr=%{env:OAUTH2_CLAIM_upstream_claims}"
</Location>`,
    )
  })
  afterAll(async () => {
    await apache?.stop()
    keys.close()
    keys.closeAllConnections()
    await provider?.stop()
    folder.remove()
  })

  const get = (token?: string) =>
    fetch(apache.origin, token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } })

  test('origin 1 and 2, fault 17: what the option named is there, the same as for the handler', async () => {
    const { accessToken } = await world.connect((url) => signInAt(url))
    const inside = await world.whoami(accessToken)
    const answer = await get(accessToken)
    expect([answer.status, await answer.text()], apache.log()).toEqual([200, 'inside'])
    expect(answer.headers.get('x-subject')).toBe(inside.subject)
    const { upstream_claims: signed } = inside.claims as { upstream_claims: object }
    expect(JSON.parse(answer.headers.get('x-upstream') ?? '{}')).toEqual(signed)
    expect(signed).toEqual({
      iss: provider.issuer,
      sub: 'sub-alice',
      email: 'alice@example.com',
      groups: ['people', 'team-alice'],
    })
  })

  test('without a token, with another audience’s, or one that was changed, nobody gets in', async () => {
    expect((await get()).status).toBe(401)
    const { accessToken } = await world.connect((url) => signInAt(url))
    const machine = async (path: string) => {
      const resource = `${worldUrl}${path}`
      const form = { grant_type: 'client_credentials', client_id: 'machine', client_secret: secret, resource }
      return (await world.post('/token', new URLSearchParams(form))).access_token
    }
    expect([(await get(await machine('/mcp'))).status, (await get(await machine('/other'))).status]).toEqual([200, 401])
    const [header = '', payload = '', signature = ''] = accessToken.split('.')
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as object
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const forged = [
      `${header}.${part({ ...claims, sub: 'somebody' })}.${signature}`,
      `${part({ alg: 'none', typ: 'at+jwt' })}.${payload}.`,
      `${header}.${payload}.`,
    ]
    for (const token of forged) expect((await get(token)).status).toBe(401)
  })
})
