import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import { countersign, type Options, requireUser, type UpstreamClaims } from 'countersign'
import { protect, routes } from 'countersign/express'
import { openid } from 'countersign/upstream/openid'
import express from 'express'

export const app = (
  url: string,
  upstream: { issuer: string; clientId: string; clientSecret: string },
  options: Partial<Options<UpstreamClaims>> = {},
) => {
  const auth = countersign({
    url,
    upstream: openid(upstream),
    resources: { '/mcp': { scopes: { 'notes:read': 'Read your notes' } } },
    ...options,
  })

  const app = express()
  app.use(routes(auth))
  app.all('/mcp', protect(auth, '/mcp'), async (request, response) => {
    const server = new McpServer({ name: 'notes', version: '1.0.0' })
    server.registerTool('whoami', { description: 'Who is calling' }, () => {
      const { subject, clientId, upstream } = requireUser(auth)
      return {
        content: [{ type: 'text', text: `${upstream?.claims.email}, through ${clientId}` }],
        structuredContent: { subject, clientId, email: upstream?.claims.email },
      }
    })
    const transport = new StreamableHTTPServerTransport()
    response.on('close', () => void server.close())
    await server.connect(transport as Parameters<typeof server.connect>[0])
    await transport.handleRequest(request, response, request.body)
  })
  return { app, auth }
}
