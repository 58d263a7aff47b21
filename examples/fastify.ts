import { createMcpHandler, McpServer } from '@modelcontextprotocol/server'
import { type Countersign, requireUser } from 'countersign'
import { protect, routes } from 'countersign/fastify'
import fastify from 'fastify'

/** The official SDK's second version, on Fastify. */
export const fastifyApp = (auth: Countersign) => {
  const mcp = createMcpHandler(() => {
    const server = new McpServer({ name: 'notes', version: '1.0.0' })
    server.registerTool('whoami', { description: 'Who is calling' }, () => {
      const { issuer, subject, clientId } = requireUser(auth)
      return { content: [{ type: 'text', text: `${subject} of ${issuer}, through ${clientId}` }] }
    })
    return server
  })

  const app = fastify()
  app.register(routes(auth))
  app.all('/mcp', protect(auth, '/mcp', mcp))
  return app
}
