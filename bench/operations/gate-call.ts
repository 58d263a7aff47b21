import type { Operation } from './operation.ts'

export const RESOURCE = 'http://localhost:8787/mcp'
export const SCOPE = 'notes:read'

export type Respond = (request: Request) => Response | Promise<Response>
type Context = { readonly parsedBody?: unknown }

export const toolsCall = (name: string): object => ({
  jsonrpc: '2.0',
  id: 1,
  method: 'tools/call',
  params: { name, arguments: { query: 'bench' } },
})

const answer = Response.json({ jsonrpc: '2.0', id: 1, result: { content: [] } })

/** The least that a handler does: it reads the message. */
export async function handle(request: Request, context: Context = {}): Promise<Response> {
  const { method } = (context.parsedBody ?? JSON.parse(await request.text())) as { method?: unknown }
  if (typeof method !== 'string') throw new Error('the message did not reach the handler')
  return answer
}

/** How a token comes in: in bytes, which become another string with each request. */
export const asHeader = (token: string): Buffer => Buffer.from(`Bearer ${token}`, 'latin1')

const plainCall = Buffer.from(JSON.stringify(toolsCall('notes_list')))

/** Sends a message with a token. @param accept throws where the answer is not what was asked for: a fast refusal must not count */
export const gateCall =
  (
    respond: Respond,
    token: () => Buffer,
    body: () => Buffer = () => plainCall,
    accept: (response: Response) => void | Promise<void> = isAnswer,
  ): Operation['call'] =>
  async () => {
    const response = await respond(incoming(token(), body()))
    const accepted = accept(response)
    if (accepted) await accepted
  }

const isAnswer = (response: Response): void => {
  if (response !== answer) throw new Error(`the handler did not answer, but ${response.status}`)
}

/**
 * A request as a host's HTTP server has it. Not a real `Request`: to make one costs several times what is to be measured, differently each
 * time.
 */
function incoming(authorization: Buffer, body: Buffer): Request {
  const headers = new Map([
    ['host', 'localhost:8787'],
    ['authorization', authorization.toString('latin1')],
    ['content-type', 'application/json'],
    ['content-length', String(body.length)],
    ['accept', 'application/json, text/event-stream'],
    ['mcp-protocol-version', '2025-11-25'],
  ])
  const request = {
    method: 'POST',
    url: RESOURCE,
    headers: { get: (name: string) => headers.get(name) ?? null, has: (name: string) => headers.has(name) },
    body: null,
    text: async () => body.toString('utf8'),
  }
  return request as unknown as Request
}
