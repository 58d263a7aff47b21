import { randomUUID } from 'node:crypto'
import {
  createMcpHandler,
  type EventStore,
  fromJsonSchema,
  hostHeaderValidationResponse,
  isLegacyRequest,
  type McpHttpHandler,
  McpServer,
  WebStandardStreamableHTTPServerTransport,
} from '@modelcontextprotocol/server'
import { z } from 'zod'
import { addPrompts, addResources, addTools, text } from './content.ts'
import { addAskingTools, addSessionTools, verify } from './input.ts'

/** What the official suite asks a server for, in both eras, on the SDK's second version. */
export const everythingServer = () => {
  const make = () => {
    const server = new McpServer(
      { name: 'everything', version: '1.0.0' },
      {
        capabilities: {
          tools: { listChanged: true },
          resources: { subscribe: true, listChanged: true },
          prompts: { listChanged: true },
          logging: {},
          completions: {},
        },
        requestState: { verify },
      },
    )
    addTools(server)
    addResources(server)
    addPrompts(server)
    addAskingTools(server)
    addSessionTools(server)
    addTriggers(server, () => modern)
    addSchemas(server)
    server.server.setRequestHandler('resources/subscribe', () => ({}))
    server.server.setRequestHandler('resources/unsubscribe', () => ({}))
    server.server.setRequestHandler('logging/setLevel', () => ({}))
    server.server.setRequestHandler('completion/complete', () => ({
      completion: { values: [], total: 0, hasMore: false },
    }))
    return server
  }
  const modern: McpHttpHandler = createMcpHandler(make)
  const sessions = new Map<string, WebStandardStreamableHTTPServerTransport>()

  const legacy = async (request: Request, options: object): Promise<Response> => {
    const id = request.headers.get('mcp-session-id')
    const known = id === null ? undefined : sessions.get(id)
    if (known) return known.handleRequest(request, options)
    if (id !== null)
      return Response.json(
        { jsonrpc: '2.0', error: { code: -32001, message: 'Session not found' }, id: null },
        { status: 404 },
      )
    const transport = new WebStandardStreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      eventStore: events(),
      retryInterval: 5000,
      onsessioninitialized: (made) => void sessions.set(made, transport),
    })
    await make().connect(transport)
    return transport.handleRequest(request, options)
  }

  return {
    /** @param options `authInfo` and `parsedBody`, as the SDK takes them */
    async fetch(request: Request, options: { readonly parsedBody?: unknown } = {}): Promise<Response> {
      const foreign = hostHeaderValidationResponse(request, ['localhost', '127.0.0.1', '[::1]'])
      if (foreign) return foreign
      const { parsedBody } = options
      const old = await isLegacyRequest(request, ...(parsedBody === undefined ? [] : [parsedBody]))
      return old ? legacy(request, options) : modern.fetch(request, options)
    },
  }
}

const addTriggers = (server: McpServer, handler: () => McpHttpHandler): void => {
  const input = { description: 'Tells listeners', inputSchema: z.object({}) }
  server.registerTool('test_trigger_tool_change', input, () => {
    handler().notify.toolsChanged()
    return { content: [text('told')] }
  })
  server.registerTool('test_trigger_prompt_change', input, () => {
    handler().notify.promptsChanged()
    return { content: [text('told')] }
  })
}

const addSchemas = (server: McpServer): void => {
  const inputSchema = fromJsonSchema<{ region?: string }>({
    type: 'object',
    properties: { region: { type: 'string', ...{ 'x-mcp-header': 'Region' } }, level: { type: 'integer' } },
  })
  server.registerTool('test_x_mcp_header', { description: 'Has a header of its own', inputSchema }, ({ region }) => ({
    content: [text(`region=${region}`)],
  }))
}

const events = (): EventStore => {
  const kept: { id: string; stream: string; message: Parameters<EventStore['storeEvent']>[1] }[] = []
  return {
    async storeEvent(stream, message) {
      const id = `${stream}::${String(kept.length).padStart(9, '0')}`
      kept.push({ id, stream, message })
      return id
    },
    async replayEventsAfter(last, { send }) {
      const stream = last.split('::')[0] ?? last
      for (const event of kept) {
        if (event.stream === stream && event.id > last && Object.keys(event.message).length > 0)
          await send(event.id, event.message)
      }
      return stream
    },
  }
}
