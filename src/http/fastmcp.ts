import type { IncomingMessage } from 'node:http'
import { principal } from '../identity/principal.ts'
import { rpcErrorResponse } from '../resource-server/challenge.ts'
import type { AuthInfo } from '../resource-server/handler.ts'
import { lastEventHeader, sessionHeader } from '../resource-server/session-header.ts'
import type { Admission, Auth } from './auth.ts'
import { gateRequest } from './node-request.ts'

export type { Admission, Auth, AuthInfo }

/**
 * The gate as the `authenticate` of the TypeScript package `fastmcp`: `new FastMCP({ authenticate: authenticate(auth, '/mcp') })`. Its tools find the
 * caller with `accessTokenOf(context.session)`. That package decides by tool in `canAccess`, and shows no request's body here: a resource with
 * `tools`, `resources` or `prompts` of its own would go unguarded, and is refused. A session stays with the first caller who uses it in this process.
 * Its HTTP+SSE transport (`/sse`), of which it asks for no token after the first request, is not served.
 * @throws Error at once, if no resource is configured at `path`
 */
export const authenticate = <Upstream>(
  auth: Auth<Upstream>,
  path: string,
): ((request: IncomingMessage | undefined) => Promise<AuthInfo>) => {
  auth.gate(path, () => new Response(null, { status: 500 }))
  const callers = new Map<string, string>()
  // Both in the order of their last use, so that what was left goes first.
  const sessions = new Map<string, Set<string>>()

  const forget = (id: string, caller: string): void => {
    callers.delete(id)
    const own = sessions.get(caller)
    own?.delete(id)
    if (own?.size === 0) sessions.delete(caller)
  }

  const checkSession = (id: string, caller: string): void => {
    const known = callers.get(id) ?? caller
    if (known !== caller || id.length > longestId) throw rpcErrorResponse(404, -32001, 'Session not found')
    const own = sessions.get(caller) ?? new Set()
    sessions.delete(caller)
    sessions.set(caller, own)
    own.delete(id)
    own.add(id)
    callers.set(id, caller)
    // Whoever names ever new ones loses their own, and nobody else's.
    const [oldest] = own
    if (own.size > mostOfCaller && oldest !== undefined) forget(oldest, caller)
    const [idle] = sessions
    const [idleOldest] = idle?.[1] ?? []
    if (callers.size > maximumSessions && idle && idleOldest !== undefined) forget(idleOldest, idle[0])
  }

  return async (request) => {
    if (!request) throw new Error('no request to authenticate: on stdio, `countersign/stdio` says who calls')
    if (opensOlderTransport(request)) throw rpcErrorResponse(404, -32000, 'The HTTP+SSE transport is not served')
    const { url, headers, body, text } = gateRequest(request)
    const ours = (name: string) => (theirs.has(name.toLowerCase()) ? null : headers.get(name))
    // As a request without a body, which is read already.
    const asked = { method: 'GET', url, headers: { get: ours }, body, text }
    const admission = await auth.admit(path, asked, { remoteAddress: request.socket.remoteAddress })
    if (!admission.admitted) throw admission.response
    if (admission.guard.filter) throw rpcErrorResponse(500, -32603, 'The policy of this resource can’t be applied here')
    const session = headers.get(sessionHeader)
    if (session !== null) checkSession(session, principal(admission.accessToken).key)
    return admission.authInfo
  }
}

/** What that package calls its sessions and events is not ours, events are kept by session there, and the body it has read. */
const theirs: ReadonlySet<string> = new Set([sessionHeader, lastEventHeader, 'content-length', 'transfer-encoding'])
/** That package asks nobody who posts to a session of HTTP+SSE: it would go on without a token, and whoever knew its id could use it. */
const opensOlderTransport = ({ method, url = '' }: IncomingMessage): boolean =>
  method === 'GET' && URL.canParse(url, anywhere) && new URL(url, anywhere).pathname === '/sse'
const anywhere = 'http://localhost'

const maximumSessions = 100_000
const mostOfCaller = 1_000
/** Theirs have 36 characters. */
const longestId = 256
