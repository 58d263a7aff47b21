import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import type { AuthInfo, GateRequest } from '../resource-server/handler.ts'

/** A Node request, and what middleware commonly adds to it. */
export interface NodeRequest extends IncomingMessage {
  /** What the MCP SDKs' transports read; as they declare it, since they add it to Express's own types. */
  auth?: (Pick<AuthInfo, 'token' | 'clientId' | 'scopes'> & Partial<AuthInfo>) | undefined
  /** The parsed body, where middleware read it. */
  body?: unknown
  /** What tells the parsers of Express 4 that the body was read. */
  _body?: boolean
  /** The URL before a framework took a mount path off it. */
  originalUrl?: string
}

/** The gate's view of a Node request; nothing is read before the gate asks. */
export const gateRequest = (request: NodeRequest): GateRequest => {
  let stream: ReadableStream<Uint8Array> | undefined
  const body = () => {
    stream ??= Readable.toWeb(request) as ReadableStream<Uint8Array>
    return stream
  }
  return {
    method: request.method ?? 'GET',
    url: `http://${request.headers.host ?? 'localhost'}${request.originalUrl ?? request.url ?? '/'}`,
    headers: { get: (name) => header(request, name) },
    get body() {
      return body()
    },
    text: () => readText(request),
  }
}

/** Also finds what Node drops from `headers`: a second `Authorization` must not go unseen. */
const header = ({ rawHeaders }: IncomingMessage, name: string): string | null => {
  const values: string[] = []
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    if (rawHeaders[at]?.toLowerCase() === name) values.push(rawHeaders[at + 1] ?? '')
  }
  return values.length === 0 ? null : values.join(', ')
}

/** Replaces a header, or takes it away, wherever Node keeps it. @param name in lower case */
export const setHeader = (request: IncomingMessage, name: string, value: string | undefined): void => {
  const { rawHeaders } = request
  if (!(name in request.headers)) return
  for (let at = rawHeaders.length - 2; at >= 0; at -= 2) {
    if (rawHeaders[at]?.toLowerCase() === name) rawHeaders.splice(at, 2)
  }
  delete request.headers[name]
  if (value === undefined) return
  request.headers[name] = value
  rawHeaders.push(name, value)
}

const readText = async (request: IncomingMessage): Promise<string> => {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return new TextDecoder().decode(Buffer.concat(chunks))
}

/** Where the request goes to, without its query. */
export const pathOf = (request: NodeRequest): string => {
  const url = request.originalUrl ?? request.url ?? '/'
  const query = url.indexOf('?')
  return query < 0 ? url : url.slice(0, query)
}

/** Sends a response whose body is short and whole, as those of the gate are. */
export const sendResponse = async (response: Response, outgoing: ServerResponse): Promise<void> => {
  outgoing.writeHead(response.status, Object.fromEntries(response.headers))
  outgoing.end(await response.text())
}
