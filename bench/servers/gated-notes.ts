import type { Server } from 'node:http'
import { getRequestListener } from '@hono/node-server'
import { type Countersign, requireUser } from 'countersign'
import { protect, routes } from 'countersign/hono'
import { Hono } from 'hono'
import { notesHandler } from './notes.ts'

/** What the notes are to Countersign: each tool needs a scope. */
export const resources = {
  '/mcp': {
    scopes: { 'notes:read': 'Read your notes', 'notes:write': 'Add and change your notes' },
    defaultScopes: ['notes:read'],
    tools: { notes_list: ['notes:read'], notes_add: ['notes:write'] },
  },
}

/** Answers as the example does: the gate with the notes behind it, and the routes of the authorization server. */
export async function serveNotes(server: Server, auth: Countersign): Promise<void> {
  await auth.ready()
  const mcp = notesHandler(() => {
    const { issuer, subject } = requireUser(auth)
    return JSON.stringify([issuer, subject])
  })
  const app = new Hono()
  app.use(routes(auth))
  app.all('/mcp', protect(auth, '/mcp', mcp))
  server.on('request', getRequestListener(app.fetch))
}
