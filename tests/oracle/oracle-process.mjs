/**
 * `oidc-provider` as an authorization server for one resource, as near to ours as its options allow. It prints `issuer URL`; each line of
 * JSON on stdin asks for what a person's approval would have given, and is answered by a line of JSON.
 */
import { createHash, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { createInterface } from 'node:readline'
import { exportJWK, generateKeyPair } from 'jose'
import Provider, { errors } from 'oidc-provider'

const server = createServer()
server.listen(0, '127.0.0.1')
await once(server, 'listening')
const issuer = `http://127.0.0.1:${server.address().port}`
const resource = `${issuer}/mcp`

const key = async (alg) => {
  const { privateKey } = await generateKeyPair(alg, { extractable: true })
  return { ...(await exportJWK(privateKey)), kid: alg, alg, use: 'sig' }
}

const provider = new Provider(issuer, {
  jwks: { keys: [await key('RS256'), await key('ES256')] },
  cookies: { keys: [randomUUID()] },
  scopes: ['openid', 'offline_access', 'notes:read', 'notes:write'],
  pkce: { required: () => true },
  rotateRefreshToken: true,
  expiresWithSession: async () => false,
  clientAuthMethods: ['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'],
  findAccount: async (_context, id) => ({ accountId: id, claims: async () => ({ sub: id }) }),
  features: {
    devInteractions: { enabled: false },
    registration: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => resource,
      useGrantedResource: () => true,
      getResourceServerInfo: (_context, indicator) => {
        if (indicator !== resource) throw new errors.InvalidTarget()
        return {
          scope: 'notes:read notes:write',
          audience: resource,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: 'ES256' } },
        }
      },
    },
  },
})
server.on('request', provider.callback())

const mint = async ({ clientId, redirectUri, verifier, scope, refreshToken }) => {
  const client = await provider.Client.find(clientId)
  const accountId = 'alice'
  const grant = new provider.Grant({ accountId, clientId })
  grant.addResourceScope(resource, scope)
  const grantId = await grant.save()
  const granted = { accountId, client, grantId, gty: 'authorization_code', scope, resource }
  const authTime = Math.floor(Date.now() / 1000)
  if (refreshToken) return new provider.RefreshToken({ ...granted, authTime }).save()
  const codeChallenge = createHash('sha256').update(verifier).digest('base64url')
  const how = { redirectUri, codeChallenge, codeChallengeMethod: 'S256', authTime }
  return new provider.AuthorizationCode({ ...granted, ...how }).save()
}

console.log(`issuer ${issuer}`)
createInterface({ input: process.stdin }).on('line', async (line) => {
  const asked = JSON.parse(line)
  console.log(`minted ${asked.number} ${await mint(asked)}`)
})
