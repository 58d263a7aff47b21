/**
 * The peer for refreshing: rotating refresh tokens of a public client on SQLite, access tokens that are ES256 JWTs (which it doesn't
 * store); an id_token only where the scope has `openid`.
 */
import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { exportJWK, generateKeyPair } from 'jose'
import { Provider } from 'oidc-provider'
import { listen, report } from '../harness/measured.ts'
import { sqliteAdapter } from './sqlite-adapter.ts'

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
  rotateRefreshToken: true,
  expiresWithSession: async () => false,
  ttl: { AccessToken: 3600, RefreshToken: 30 * 86_400, Grant: 30 * 86_400 },
  findAccount: async (_context: unknown, id: string) => ({ accountId: id, claims: async () => ({ sub: id }) }),
  features: {
    devInteractions: { enabled: false },
    registration: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => resource,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({
        scope: 'notes:read notes:write',
        audience: resource,
        accessTokenFormat: 'jwt',
        accessTokenTTL: 3600,
        jwt: { sign: { alg: 'ES256', kid: 'ES256' } },
      }),
    },
  },
})

server.on('request', provider.callback())
report(port, undefined, async (question) => {
  const { clientId, scope } = question as { clientId: string; scope: string }
  const client = await provider.Client.find(clientId)
  const accountId = randomUUID()
  const grant = new provider.Grant({ accountId, clientId })
  grant.addResourceScope(resource, 'notes:read')
  if (scope.includes('openid')) grant.addOIDCScope('openid')
  const grantId = await grant.save()
  const granted = { accountId, client, grantId, gty: 'authorization_code', scope, resource }
  return new provider.RefreshToken({ ...granted, authTime: Math.floor(Date.now() / 1000) }).save()
})
