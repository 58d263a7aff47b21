/**
 * The peer at the token endpoint: rotating refresh tokens of a public client on SQLite, access tokens that are ES256 JWTs (which it doesn't
 * store); an id_token only where the scope has `openid`. JWTs it doesn't introspect: with `BENCH_OPAQUE` its access tokens are opaque, and stored.
 */
import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { exportJWK, generateKeyPair } from 'jose'
import { Provider } from 'oidc-provider'
import { listen, report } from '../harness/measured.ts'
import { MACHINE, RESOURCE_SERVER, SECRET } from './clients.ts'
import { sqliteAdapter } from './sqlite-adapter.ts'

const REDIRECT_URI = 'http://127.0.0.1:9/callback'

const data = process.env.BENCH_DATA
if (data === undefined) throw new Error('BENCH_DATA names no folder')
const server = createServer()
const port = await listen(server)
const issuer = `http://localhost:${port}`
const resource = `${issuer}/mcp`
const key = async (alg: string) => {
  const { privateKey } = await generateKeyPair(alg, { extractable: true })
  return { ...(await exportJWK(privateKey)), kid: alg, alg, use: 'sig' }
}

const provider = new Provider(issuer, {
  adapter: sqliteAdapter(join(data, 'provider.db')),
  jwks: { keys: [await key('RS256'), await key('ES256')] },
  cookies: { keys: [randomUUID()] },
  scopes: ['openid', 'offline_access', 'notes:read', 'notes:write'],
  clients: [MACHINE, RESOURCE_SERVER].map((id) => ({
    client_id: id,
    client_secret: SECRET,
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
  })),
  rotateRefreshToken: true,
  expiresWithSession: async () => false,
  ttl: { AccessToken: 3600, RefreshToken: 30 * 86_400, Grant: 30 * 86_400 },
  findAccount: async (_context: unknown, id: string) => ({ accountId: id, claims: async () => ({ sub: id }) }),
  features: {
    devInteractions: { enabled: false },
    registration: { enabled: true },
    clientCredentials: { enabled: true },
    introspection: { enabled: true, allowedPolicy: () => true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => resource,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({
        scope: 'notes:read notes:write',
        audience: resource,
        accessTokenTTL: 3600,
        ...(process.env.BENCH_OPAQUE === undefined
          ? { accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256', kid: 'ES256' } } }
          : { accessTokenFormat: 'opaque' }),
      }),
    },
  },
})

server.on('request', provider.callback())
/** What a case asks for, as if the person had approved it just now. */
interface Question {
  readonly want: 'refresh token' | 'codes' | 'access token'
  readonly clientId: string
  readonly scope: string
  /** Of codes: one for each. */
  readonly challenges?: readonly string[]
}

report(port, undefined, async (question) => {
  const { want, clientId, scope, challenges = [] } = question as Question
  const client = await provider.Client.find(clientId)
  const accountId = randomUUID()
  const grant = new provider.Grant({ accountId, clientId })
  grant.addResourceScope(resource, 'notes:read')
  if (scope.includes('openid')) grant.addOIDCScope('openid')
  const grantId = await grant.save()
  const authTime = Math.floor(Date.now() / 1000)
  const granted = { accountId, client, grantId, gty: 'authorization_code', scope, resource, authTime }
  if (want === 'refresh token') return new provider.RefreshToken(granted).save()
  if (want === 'access token') {
    const resourceServer = new provider.ResourceServer(resource, { scope: 'notes:read', audience: resource })
    return new provider.AccessToken({ ...granted, resourceServer }).save()
  }
  const codes: string[] = []
  for (const codeChallenge of challenges) {
    // Each of a grant of its own, as people give them.
    const own = new provider.Grant({ accountId, clientId })
    own.addResourceScope(resource, 'notes:read')
    const code = { ...granted, grantId: await own.save(), redirectUri: REDIRECT_URI, codeChallenge }
    codes.push(await new provider.AuthorizationCode({ ...code, codeChallengeMethod: 'S256' }).save())
  }
  return codes
})
