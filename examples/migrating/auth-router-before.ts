import { requireBearerAuth } from '@modelcontextprotocol/sdk/server/auth/middleware/bearerAuth.js'
import { ProxyOAuthServerProvider } from '@modelcontextprotocol/sdk/server/auth/providers/proxyProvider.js'
import { mcpAuthRouter } from '@modelcontextprotocol/sdk/server/auth/router.js'
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import express from 'express'
import { createRemoteJWKSet, jwtVerify } from 'jose'

export const app = (url: string, upstream: string, redirectUris: string[]) => {
  const keys = createRemoteJWKSet(new URL(`${upstream}/jwks`))
  const provider = new ProxyOAuthServerProvider({
    endpoints: { authorizationUrl: `${upstream}/auth`, tokenUrl: `${upstream}/token` },
    verifyAccessToken: async (token) => {
      const { payload } = await jwtVerify(token, keys)
      const scopes = String(payload.scope).split(' ')
      return { token, clientId: String(payload.client_id), scopes, expiresAt: payload.exp ?? 0 }
    },
    getClient: async (client_id) => ({ client_id, redirect_uris: redirectUris }),
  })

  const app = express()
  app.use(mcpAuthRouter({ provider, issuerUrl: new URL(upstream), baseUrl: new URL(url) }))
  app.post('/mcp', requireBearerAuth({ verifier: provider }), express.json(), async (request, response) => {
    const server = new McpServer({ name: 'notes', version: '1.0.0' })
    server.registerTool('whoami', { description: 'Who is calling' }, ({ authInfo }) => ({
      content: [{ type: 'text', text: `somebody, through ${authInfo?.clientId}` }],
    }))
    const transport = new StreamableHTTPServerTransport()
    response.on('close', () => void server.close())
    await server.connect(transport as Parameters<typeof server.connect>[0])
    await transport.handleRequest(request, response, request.body)
  })
  return app
}
