import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import { type Countersign, requireUser } from 'countersign'
import { protect, routes } from 'countersign/express'
import express from 'express'

/** The official SDK's first version, on Express. */
export const expressApp = (auth: Countersign) => {
  const app = express()
  app.use(routes(auth))
  app.all('/mcp', protect(auth, '/mcp'), async (request, response) => {
    const server = new McpServer({ name: 'notes', version: '1.0.0' })
    server.registerTool('whoami', { description: 'Who is calling' }, () => {
      const { issuer, subject, clientId } = requireUser(auth)
      return { content: [{ type: 'text', text: `${subject} of ${issuer}, through ${clientId}` }] }
    })
    const transport = new StreamableHTTPServerTransport()
    response.on('close', () => void server.close())
    await server.connect(transport as Parameters<typeof server.connect>[0])
    await transport.handleRequest(request, response, request.body)
  })
  return app
}
