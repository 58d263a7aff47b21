import type { SessionIds } from './handler.ts'

/** In lower case, as Node has it. */
export const sessionHeader = 'mcp-session-id'

/** A request as the server behind the gate may see it: with its own session id, or with none. */
export const requestWithSession = (request: Request, session: SessionIds | undefined): Request => {
  const presented = request.headers.get(sessionHeader)
  if (!session || presented === null) return request
  const headers = new Headers(request.headers)
  if (session.requested === undefined) headers.delete(sessionHeader)
  else headers.set(sessionHeader, session.requested)
  const { method, signal } = request
  // A body that was read already is handed on beside the request.
  const body = request.bodyUsed ? null : request.body
  return new Request(request.url, { method, headers, signal, ...(body && { body, duplex: 'half' }) } as RequestInit)
}

/** A response as the caller may see it. */
export const responseWithSession = (response: Response, session: SessionIds | undefined): Response => {
  const id = response.headers.get(sessionHeader)
  if (!session || id === null) return response
  const headers = new Headers(response.headers)
  headers.set(sessionHeader, session.issue(id))
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers })
}
