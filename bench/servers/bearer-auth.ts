/** The MCP server behind the SDK's own gate, with a verifier on jose as its users write it: every token is verified, none remembered. */
import { createServer } from 'node:http'
import { getRequestListener } from '@hono/node-server'
import { OAuthError, OAuthErrorCode, requireBearerAuth } from '@modelcontextprotocol/server'
import { Hono } from 'hono'
import { createLocalJWKSet, exportJWK, generateKeyPair, jwtVerify, SignJWT } from 'jose'
import { listen, report } from '../harness/measured.ts'
import { notesHandler } from './notes.ts'

const server = createServer()
const port = await listen(server)
const issuer = `http://localhost:${port}`
const resource = new URL(`${issuer}/mcp`)

const { privateKey, publicKey } = await generateKeyPair('ES256')
const keys = createLocalJWKSet({ keys: [{ ...(await exportJWK(publicKey)), kid: 'one', alg: 'ES256', use: 'sig' }] })

const gate = requireBearerAuth({
  requiredScopes: ['notes:read'],
  resourceMetadataUrl: `${issuer}/.well-known/oauth-protected-resource/mcp`,
  expectedResource: resource,
  verifier: {
    async verifyAccessToken(token) {
      const { payload } = await jwtVerify(token, keys, {
        issuer,
        audience: resource.href,
        typ: 'at+jwt',
        requiredClaims: ['exp', 'sub', 'client_id'],
      }).catch(() => {
        throw new OAuthError(OAuthErrorCode.InvalidToken, 'the token is not valid')
      })
      return {
        token,
        clientId: String(payload.client_id),
        scopes: String(payload.scope).split(' '),
        expiresAt: payload.exp ?? 0,
        resource,
        extra: { subject: payload.sub },
      }
    },
  },
})

const mcp = notesHandler(() => 'anybody')
const app = new Hono()
app.all('/mcp', async (context) => {
  const authInfo = await gate(context.req.raw)
  return authInfo instanceof Response ? authInfo : mcp.fetch(context.req.raw, { authInfo })
})

const token = await new SignJWT({
  client_id: '2f1c7a4e-8f0b-4a55-9d35-1b9a8a2f7d10',
  scope: 'notes:read',
  auth_time: Math.floor(Date.now() / 1000),
  grant: 'a6b2f1d0c3e84957a1b2c3d4e5f60718',
  upstream_claims: { iss: issuer, sub: 'a person', name: 'Demo User', email: 'demo@example.com' },
})
  .setProtectedHeader({ alg: 'ES256', kid: 'one', typ: 'at+jwt' })
  .setIssuer(issuer)
  .setSubject('acc_0123456789abcdef0123456789abcdef')
  .setAudience(resource.href)
  .setIssuedAt()
  .setExpirationTime('1h')
  .setJti(crypto.randomUUID())
  .sign(privateKey)

server.on('request', getRequestListener(app.fetch))
report(port, { token })
