import type { IncomingMessage } from 'node:http'
import { principal } from '../identity/principal.ts'
import { rpcErrorResponse } from '../resource-server/challenge.ts'
import type { AuthInfo } from '../resource-server/handler.ts'
import { sessionHeader } from '../resource-server/session-header.ts'
import type { Admission, Auth } from './auth.ts'
import { gateRequest } from './node-request.ts'

export type { Admission, Auth, AuthInfo }

/**
 * The gate as the `authenticate` of the TypeScript package `fastmcp`: `new FastMCP({ authenticate: authenticate(auth, '/mcp') })`. Its tools find the
 * caller with `accessTokenOf(context.session)`. That package decides by tool in `canAccess`, and shows no request's body here: a resource with
 * `tools`, `resources` or `prompts` of its own would go unguarded, and is refused. A session stays with the first caller who uses it in this process.
 * @throws Error at once, if no resource is configured at `path`
 */
export const authenticate = <Upstream>(
  auth: Auth<Upstream>,
  path: string,
): ((request: IncomingMessage | undefined) => Promise<AuthInfo>) => {
  auth.gate(path, () => new Response(null, { status: 500 }))
  // In the order of their last use, so that what was left goes first.
  const callers = new Map<string, string>()

  const checkSession = (id: string, caller: string): void => {
    const known = callers.get(id) ?? caller
    if (known !== caller) throw rpcErrorResponse(404, -32001, 'Session not found')
    callers.delete(id)
    callers.set(id, caller)
    const [oldest] = callers.keys()
    if (callers.size > maximumSessions && oldest !== undefined) callers.delete(oldest)
  }

  return async (request) => {
    if (!request) throw new Error('no request to authenticate: on stdio, `countersign/stdio` says who calls')
    const { url, headers, body, text } = gateRequest(request)
    const withoutSession = (name: string) => (name.toLowerCase() === sessionHeader ? null : headers.get(name))
    // As a request without a body, which is read already.
    const asked = { method: 'GET', url, headers: { get: withoutSession }, body, text }
    const admission = await auth.admit(path, asked, { remoteAddress: request.socket.remoteAddress })
    if (!admission.admitted) throw admission.response
    if (admission.guard.filter) throw rpcErrorResponse(500, -32603, 'The policy of this resource can’t be applied here')
    const session = headers.get(sessionHeader)
    if (session !== null) checkSession(session, principal(admission.accessToken).key)
    return admission.authInfo
  }
}

const maximumSessions = 100_000
