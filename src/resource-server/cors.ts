import type { GateRequest } from './handler.ts'

/** A browser asks first whether it may send the request. It carries no credentials then, so that it must not meet the gate. */
export const isPreflight = (request: GateRequest): boolean =>
  request.method === 'OPTIONS' && request.headers.get('access-control-request-method') !== null

/** Answers a preflight to the MCP endpoint; an origin that is not allowed gets no permission, and its browser stops there. */
export const preflightResponse = (request: GateRequest, originAllowed: (origin: string) => boolean): Response => {
  const origin = request.headers.get('origin')
  const headers = new Headers({ Vary: 'Origin, Access-Control-Request-Headers' })
  if (origin !== null && originAllowed(origin)) {
    headers.set('Access-Control-Allow-Origin', origin)
    headers.set('Access-Control-Allow-Methods', 'GET, POST, DELETE, OPTIONS')
    headers.set('Access-Control-Allow-Headers', allowedHeaders(request.headers.get('access-control-request-headers')))
    headers.set('Access-Control-Max-Age', '600')
  }
  return new Response(null, { status: 204, headers })
}

/** What lets an allowed origin's page read a response. */
export const corsHeaders = (origin: string): Readonly<Record<string, string>> => ({
  'Access-Control-Allow-Origin': origin,
  'Access-Control-Expose-Headers': exposedHeaders,
  Vary: 'Origin',
})

/** A response with such headers, unless the host answered the question already. */
export const withHeaders = (response: Response, added: Readonly<Record<string, string>>): Response => {
  const entries = Object.entries(added)
  if (entries.length === 0 || response.headers.has('access-control-allow-origin')) return response
  const headers = new Headers(response.headers)
  for (const [name, value] of entries) headers.append(name, value)
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers })
}

/** For documents that anybody may read. */
export const publicCors = { 'Access-Control-Allow-Origin': '*' } as const

/** Answers a preflight to such a document. */
export const publicPreflightResponse = (): Response =>
  new Response(null, {
    status: 204,
    headers: {
      ...publicCors,
      'Access-Control-Allow-Methods': 'GET, HEAD, OPTIONS',
      'Access-Control-Allow-Headers': 'MCP-Protocol-Version, Accept, Content-Type',
      'Access-Control-Max-Age': '600',
    },
  })

const exposedHeaders = 'WWW-Authenticate, Mcp-Session-Id, MCP-Protocol-Version, Retry-After, DPoP-Nonce'

const requestHeaders =
  'Authorization, DPoP, Content-Type, Accept, MCP-Protocol-Version, Mcp-Session-Id, Mcp-Method, Mcp-Name, Last-Event-ID'

/** A wildcard would not cover `Authorization`, and a tool's own `Mcp-Param-` headers can't be listed beforehand. */
const allowedHeaders = (requested: string | null): string => {
  const parameters = (requested ?? '')
    .split(',')
    .map((name) => name.trim())
    .filter((name) => parameterHeader.test(name))
    .slice(0, 64)
  return [requestHeaders, ...parameters].join(', ')
}

const parameterHeader = /^mcp-param-[a-z0-9-]{1,64}$/i
