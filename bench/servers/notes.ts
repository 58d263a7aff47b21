import { createMcpHandler, McpServer } from '@modelcontextprotocol/server'
import { z } from 'zod'

/** Who owns the notes that a call sees: the caller where there is a gate, anybody where there is none. */
export type Owner = () => string

/** The example's MCP server, with its three tools; only where the owner comes from differs between the variants. */
export function notesHandler(owner: Owner) {
  const notes = new Map<string, readonly string[]>()
  return createMcpHandler(() => {
    const server = new McpServer({ name: 'notes', version: '1.0.0' })
    server.registerTool('whoami', { description: 'Who is calling' }, () => ({
      content: [{ type: 'text', text: owner() }],
    }))
    server.registerTool('notes_list', { description: 'Your notes' }, () => {
      const mine = notes.get(owner()) ?? []
      return { content: [{ type: 'text', text: mine.join('\n') }], structuredContent: { notes: mine } }
    })
    server.registerTool(
      'notes_add',
      { description: 'Add a note', inputSchema: z.object({ text: z.string().max(10_000) }) },
      ({ text }) => {
        notes.set(owner(), [...(notes.get(owner()) ?? []), text])
        return { content: [{ type: 'text', text: 'Added.' }] }
      },
    )
    return server
  })
}
