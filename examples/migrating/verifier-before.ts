import {
  createMcpHandler,
  McpServer,
  OAuthError,
  OAuthErrorCode,
  requireBearerAuth,
  requireScopes,
} from '@modelcontextprotocol/server'
import { createRemoteJWKSet, jwtVerify } from 'jose'

export const handler = (resource: string, issuer: string) => {
  const keys = createRemoteJWKSet(new URL(`${issuer}/jwks`))
  const authenticate = requireBearerAuth({
    verifier: {
      async verifyAccessToken(token) {
        try {
          const { payload } = await jwtVerify(token, keys, { issuer, audience: resource })
          return {
            token,
            clientId: String(payload.client_id),
            scopes: String(payload.scope).split(' '),
            expiresAt: payload.exp ?? 0,
            extra: { sub: payload.sub },
          }
        } catch {
          throw new OAuthError(OAuthErrorCode.InvalidToken, 'The token is not good')
        }
      },
    },
    resourceMetadataUrl: new URL('/.well-known/oauth-protected-resource/mcp', resource).href,
  })

  const mcp = createMcpHandler(() => {
    const server = new McpServer({ name: 'notes', version: '1.0.0' })
    server.registerTool('whoami', { description: 'Who is calling' }, (ctx) => ({
      content: [{ type: 'text', text: String(ctx.http?.authInfo?.extra?.sub) }],
    }))
    const options = { description: 'Add a note', scopeChallenge: requireScopes('notes:read', 'notes:write') }
    server.registerTool('notes_add', options, () => ({ content: [{ type: 'text', text: 'Added.' }] }))
    return server
  })
  return async (request: Request): Promise<Response> => {
    const authInfo = await authenticate(request)
    return authInfo instanceof Response ? authInfo : mcp.fetch(request, { authInfo })
  }
}
