import type { SessionIds } from './handler.ts'

/** In lower case, as Node has it. */
export const sessionHeader = 'mcp-session-id'
export const lastEventHeader = 'last-event-id'

/** The headers of a request that name what the server gave out, as the server may see them; undefined: it must not see one. */
export const headersWithSession = (session: SessionIds): readonly (readonly [string, string | undefined])[] => [
  [sessionHeader, session.requested],
  [lastEventHeader, session.events?.requested],
]

/** A request as the server behind the gate may see it: with its own ids, or with none. */
export const requestWithSession = (request: Request, session: SessionIds | undefined): Request => {
  const present = session ? headersWithSession(session).filter(([name]) => request.headers.has(name)) : []
  if (present.length === 0) return request
  const headers = new Headers(request.headers)
  for (const [name, value] of present) {
    if (value === undefined) headers.delete(name)
    else headers.set(name, value)
  }
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
