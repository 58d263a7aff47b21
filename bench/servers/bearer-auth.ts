/**
 * The MCP server behind the SDK's own gate, with a verifier as its users write it: on jose, where every token is verified and none remembered; or,
 * with `BENCH_INTROSPECTION`, one that asks the issuer over HTTP and keeps the answer until the token expires.
 */
import { createServer } from 'node:http'
import { getRequestListener } from '@hono/node-server'
import { OAuthError, OAuthErrorCode, requireBearerAuth } from '@modelcontextprotocol/server'
import { Hono } from 'hono'
import { createLocalJWKSet, exportJWK, generateKeyPair, type JWTPayload, jwtVerify, SignJWT } from 'jose'
import { listen, report } from '../harness/measured.ts'
import { notesHandler } from './notes.ts'

const server = createServer()
const port = await listen(server)
const issuer = `http://localhost:${port}`
const resource = new URL(`${issuer}/mcp`)

const { privateKey, publicKey } = await generateKeyPair('ES256')
const keys = createLocalJWKSet({ keys: [{ ...(await exportJWK(publicKey)), kid: 'one', alg: 'ES256', use: 'sig' }] })

type ClaimsOf = (token: string) => Promise<JWTPayload>

const byJose: ClaimsOf = async (token) => {
  const checks = { issuer, audience: resource.href, typ: 'at+jwt', requiredClaims: ['exp', 'sub', 'client_id'] }
  return (await jwtVerify(token, keys, checks).catch(refuse)).payload
}

const cache = new Map<string, JWTPayload>()
const byIntrospection: ClaimsOf = async (token) => {
  const known = cache.get(token)
  if (known && (known.exp ?? 0) * 1000 > Date.now()) return known
  const answer = await fetch(`${issuer}/introspect`, { method: 'POST', body: new URLSearchParams({ token }) })
  const claims = (await answer.json()) as JWTPayload
  if (claims.active !== true || claims.iss !== issuer || claims.aud !== resource.href) return refuse()
  cache.set(token, claims)
  return claims
}

const refuse = (): never => {
  throw new OAuthError(OAuthErrorCode.InvalidToken, 'the token is not valid')
}

const claimsOf = process.env.BENCH_INTROSPECTION === undefined ? byJose : byIntrospection
const gate = requireBearerAuth({
  requiredScopes: ['notes:read'],
  resourceMetadataUrl: `${issuer}/.well-known/oauth-protected-resource/mcp`,
  expectedResource: resource,
  verifier: {
    async verifyAccessToken(token) {
      const { client_id: clientId, scope, exp = 0, sub } = await claimsOf(token)
      const scopes = String(scope).split(' ')
      return { token, clientId: String(clientId), scopes, expiresAt: exp, resource, extra: { subject: sub } }
    },
  },
})

const mcp = notesHandler(() => 'anybody')
const app = new Hono()
app.all('/mcp', async (context) => {
  const authInfo = await gate(context.req.raw)
  return authInfo instanceof Response ? authInfo : mcp.fetch(context.req.raw, { authInfo })
})

const claims = {
  client_id: '2f1c7a4e-8f0b-4a55-9d35-1b9a8a2f7d10',
  scope: 'notes:read',
  auth_time: Math.floor(Date.now() / 1000),
  grant: 'a6b2f1d0c3e84957a1b2c3d4e5f60718',
  upstream_claims: { iss: issuer, sub: 'a person', name: 'Demo User', email: 'demo@example.com' },
}
const token = await new SignJWT(claims)
  .setProtectedHeader({ alg: 'ES256', kid: 'one', typ: 'at+jwt' })
  .setIssuer(issuer)
  .setSubject('acc_0123456789abcdef0123456789abcdef')
  .setAudience(resource.href)
  .setIssuedAt()
  .setExpirationTime('1h')
  .setJti(crypto.randomUUID())
  .sign(privateKey)

// The issuer, as far as it is asked: which token it was makes no difference here.
app.post('/introspect', async (context) => {
  const { token: presented } = await context.req.parseBody()
  const times = { iat: claims.auth_time, exp: claims.auth_time + 3_600 }
  return context.json({ ...claims, ...times, active: true, iss: issuer, sub: presented, aud: resource.href })
})

server.on('request', getRequestListener(app.fetch))
report(port, { token })
