import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js'
import { accessTokenOf, countersign, requireUser } from 'countersign'
import { protect, routes } from 'countersign/express'
import express from 'express'
import { z } from 'zod'
import { start } from './setting.ts'

// The same tools on SDK v1 and Express, a session-less server for each request, as its documentation has it.
await start((options) => {
  const auth = countersign({
    ...options,
    resources: {
      '/mcp': {
        scopes: { 'notes:read': 'Read your notes', 'notes:write': 'Add and change your notes' },
        defaultScopes: ['notes:read'],
        tools: { notes_list: ['notes:read'], notes_add: ['notes:write'] },
      },
    },
  })

  const mcp = () => {
    const server = new McpServer({ name: 'notes', version: '1.0.0' })
    server.registerTool('whoami', { description: 'Who is calling' }, (extra) => {
      const user = requireUser(auth)
      if (accessTokenOf(extra) !== user) throw new Error('the SDK hands over another identity')
      return { content: [], structuredContent: { ...user } }
    })
    server.registerTool('notes_add', { description: 'Add a note', inputSchema: { text: z.string() } }, () => ({
      content: [{ type: 'text', text: 'Added.' }],
    }))
    return server
  }

  const app = express()
  app.use(routes(auth))
  app.use('/mcp', protect(auth, '/mcp'))
  app.post('/mcp', express.json(), async (request, response) => {
    const transport = new StreamableHTTPServerTransport({})
    response.on('close', () => transport.close())
    // The SDK's own declarations don't hold under exactOptionalPropertyTypes.
    await mcp().connect(transport as Transport)
    await transport.handleRequest(request, response, request.body)
  })
  app.all('/mcp', (_request, response) => {
    response.status(405).end()
  })
  return { auth, listener: app }
})
