import { createMcpHandler, McpServer } from '@modelcontextprotocol/server'
import { countersign, type Options, requireUser, type UpstreamClaims } from 'countersign'
import { protect, routes } from 'countersign/hono'
import { Hono } from 'hono'
import { z } from 'zod'

const notes = new Map<string, string[]>()

// A subject is unique only within its issuer, so both are the key.
const owner = () => {
  const { issuer, subject } = requireUser()
  return JSON.stringify([issuer, subject])
}

/** A server that keeps each user's own notes, behind the sign-in that `options` say. */
export const notesServer = (options: Omit<Options<UpstreamClaims>, 'resources'>) => {
  const auth = countersign({
    branding: { name: 'Notes', color: '#0b6e4f' },
    tokenClaims: ['name', 'email'],
    ...options,
    resources: {
      '/mcp': {
        name: 'Notes',
        scopes: { 'notes:read': 'Read your notes', 'notes:write': 'Add and change your notes' },
        defaultScopes: ['notes:read'],
        tools: { notes_list: ['notes:read'], notes_add: ['notes:write'] },
      },
    },
  })

  const mcp = createMcpHandler(() => {
    const server = new McpServer({ name: 'notes', version: '1.0.0' })

    server.registerTool('whoami', { description: 'Who is calling' }, () => {
      const { issuer, subject, upstream } = requireUser(auth)
      return {
        content: [{ type: 'text', text: `${upstream?.claims.name} (${subject} at ${issuer})` }],
        structuredContent: { ...requireUser(auth) },
      }
    })

    server.registerTool('notes_list', { description: 'Your notes' }, () => {
      const mine = notes.get(owner()) ?? []
      return { content: [{ type: 'text', text: mine.join('\n') }], structuredContent: { notes: mine } }
    })

    server.registerTool(
      'notes_add',
      { description: 'Add a note', inputSchema: z.object({ text: z.string().max(10_000) }) },
      ({ text }) => {
        const key = owner()
        notes.set(key, [...(notes.get(key) ?? []), text])
        return { content: [{ type: 'text', text: 'Added.' }] }
      },
    )
    return server
  })

  const app = new Hono()
  app.use(routes(auth))
  app.all('/mcp', protect(auth, '/mcp', mcp))
  return { app, auth }
}
