import { createMcpHandler, McpServer } from '@modelcontextprotocol/server'
import { jwks, requireUser, resourceServer } from 'countersign'

export const handler = (resource: string, issuer: string) => {
  const auth = resourceServer({
    resource,
    issuers: [jwks(issuer)],
    scopes: { 'notes:read': 'Read your notes', 'notes:write': 'Change your notes' },
    defaultScopes: ['notes:read'],
    tools: { notes_add: ['notes:write'] },
  })

  const mcp = createMcpHandler(
    auth.server(() => {
      const server = new McpServer({ name: 'notes', version: '1.0.0' })
      server.registerTool('whoami', { description: 'Who is calling' }, () => ({
        content: [{ type: 'text', text: requireUser(auth).subject }],
      }))
      server.registerTool('notes_add', { description: 'Add a note' }, () => ({
        content: [{ type: 'text', text: 'Added.' }],
      }))
      return server
    }),
  )
  const gated = auth.gate(resource, mcp)
  return async (request: Request): Promise<Response> => (await auth.respond(request)) ?? gated(request)
}
