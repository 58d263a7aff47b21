import { McpServer } from '@modelcontextprotocol/server'
import { StdioServerTransport, serveStdio } from '@modelcontextprotocol/server/stdio'
import { requireUser, resourceServer, staticTokens } from 'countersign'
import { identify } from 'countersign/stdio'

const resource = 'http://localhost/notes'
const auth = resourceServer({
  resource,
  issuers: [staticTokens({ 'alice-at-home': { subject: 'alice', clientId: 'desktop', scopes: ['notes:read'] } })],
  scopes: { 'notes:read': 'Read your notes', 'notes:write': 'Change your notes' },
  tools: { notes_add: ['notes:write'] },
  lists: 'usable',
})

/** On stdio the environment says who calls: whoever starts the server gives it a token, by a name of its own. */
const transport = identify(auth, resource, process.env.NOTES_TOKEN, new StdioServerTransport())

serveStdio(
  () => {
    const server = new McpServer({ name: 'notes', version: '1.0.0' })
    server.registerTool('whoami', { description: 'Who is calling' }, () => {
      const { subject, clientId } = requireUser(auth)
      return { content: [{ type: 'text', text: `${subject}, through ${clientId}` }] }
    })
    server.registerTool('notes_add', { description: 'Add a note' }, () => ({
      content: [{ type: 'text', text: 'Added.' }],
    }))
    return server
  },
  { transport },
)
