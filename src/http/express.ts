import type { ServerResponse } from 'node:http'
import { withAccessToken } from '../identity/context.ts'
import type { AuthInfo, FetchObject } from '../resource-server/handler.ts'
import type { Admission, Auth } from './auth.ts'
import { admission, routes as nodeRoutes, protect as protectNode } from './node.ts'
import type { NodeRequest } from './node-request.ts'

export type { Admission, Auth, AuthInfo, NodeRequest }

/** Middleware of Express 5; by its form, so that an application's copy of Express may be any. */
export type ExpressMiddleware = (
  request: NodeRequest,
  response: ServerResponse,
  next: (error?: unknown) => void,
) => Promise<void>

/** Middleware that serves the server's own routes, and touches no other: `app.use(routes(auth))`, at the application's root. */
export const routes = <Upstream>(auth: Auth<Upstream>): ExpressMiddleware => {
  const respond = nodeRoutes(auth)
  return async (request, response, next) => {
    if (!(await respond(request, response))) next()
  }
}

/**
 * The gate as middleware: `app.post('/mcp', protect(auth, '/mcp'), handler)`. It sets `request.auth` for the MCP SDKs, and what follows
 * runs inside the token's context. It works before and after `express.json()`; where it had to read the body, `request.body` is set.
 * With a handler as the SDK's `createMcpHandler` makes it, it answers the request itself.
 * @throws Error at once, if no resource is configured at `path`
 */
export const protect = <Upstream>(
  auth: Auth<Upstream>,
  path: string,
  handler?: FetchObject<Upstream>,
): ExpressMiddleware => {
  if (handler) {
    const listen = protectNode(auth, path, handler)
    return (request, response) => listen(request, response)
  }
  const admit = admission(auth, path)
  return async (request, response, next) => {
    const admitted = await admit(request, response)
    if (admitted) withAccessToken(admitted.accessToken, () => next())
  }
}
