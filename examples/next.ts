import { createMcpHandler, McpServer } from '@modelcontextprotocol/server'
import { jwks, requireUser, resourceServer } from 'countersign'

/** What `app/mcp/route.ts` exports of a Next.js application, and `app/.well-known/[...path]/route.ts`. */
export const routeHandlers = (resource: string, issuer: string) => {
  const auth = resourceServer({ resource, issuers: [jwks(issuer)] })
  const mcp = createMcpHandler(() => {
    const server = new McpServer({ name: 'notes', version: '1.0.0' })
    server.registerTool('whoami', { description: 'Who is calling' }, () => {
      return { content: [{ type: 'text', text: requireUser(auth).subject }] }
    })
    return server
  })

  const gated = auth.gate(resource, mcp)
  // Next hands over a second argument of its own, which is not ours.
  const serve = (request: Request) => gated(request)
  const wellKnown = async (request: Request) => (await auth.respond(request)) ?? new Response(null, { status: 404 })
  return {
    mcp: { GET: serve, POST: serve, DELETE: serve, OPTIONS: serve },
    wellKnown: { GET: wellKnown, OPTIONS: wellKnown },
  }
}
