import type { IncomingMessage, ServerResponse } from 'node:http'
import { withAccessToken } from '../identity/context.ts'
import type { AuthInfo, FetchObject } from '../resource-server/handler.ts'
import type { Admission, Auth } from './auth.ts'
import { admission, routes as nodeRoutes, protect as protectNode } from './node.ts'
import { type NodeRequest, pathOf } from './node-request.ts'

export type { Admission, Auth, AuthInfo }

/** What is used of Fastify 5; by its form, so that an application's copy of Fastify may be any. */
export interface FastifyRequest {
  readonly raw: IncomingMessage
  readonly body?: unknown
}

export interface FastifyReply {
  readonly raw: ServerResponse
  hijack(): unknown
}

export type FastifyHook = (request: FastifyRequest, reply: FastifyReply, done: (error?: Error) => void) => void

export interface FastifyApplication {
  addHook(name: 'onRequest', hook: FastifyHook): unknown
}

export type FastifyPlugin = (app: FastifyApplication, options: unknown, done: (error?: Error) => void) => void

/** A plugin that serves the server's own routes, and touches no other: `app.register(routes(auth))`, before the application's routes. */
export const routes = <Upstream>(auth: Auth<Upstream>): FastifyPlugin => {
  const respond = nodeRoutes(auth)
  const plugin: FastifyPlugin = (app, _options, done) => {
    // Before Fastify reads the body, of which it knows fewer forms than these routes need.
    app.addHook('onRequest', (request, reply, next) => {
      if (!auth.handles(pathOf(request.raw))) return next()
      reply.hijack()
      respond(request.raw, reply.raw).catch(() => reply.raw.destroy())
    })
    done()
  }
  // For the whole application, and not for what the plugin itself adds: as `fastify-plugin` marks it.
  return Object.assign(plugin, { [Symbol.for('skip-override')]: true })
}

/**
 * The gate. With a handler as the SDK's `createMcpHandler` makes it, it is a route's handler: `app.all('/mcp', protect(auth, '/mcp', mcp))`. Without
 * one it is a hook: `app.all('/mcp', { preHandler: protect(auth, '/mcp') }, handler)`. It sets `request.raw.auth` for the MCP SDKs, and what follows
 * runs inside the token's context.
 * @throws Error at once, if no resource is configured at `path`
 */
export function protect<Upstream>(
  auth: Auth<Upstream>,
  path: string,
  handler: FetchObject<Upstream>,
): (request: FastifyRequest, reply: FastifyReply) => void
export function protect<Upstream>(auth: Auth<Upstream>, path: string): FastifyHook
export function protect<Upstream>(auth: Auth<Upstream>, path: string, handler?: FetchObject<Upstream>): FastifyHook {
  if (handler) {
    const listen = protectNode(auth, path, handler)
    return (request, reply) => {
      reply.hijack()
      listen(withBody(request), reply.raw).catch(() => reply.raw.destroy())
    }
  }
  const admit = admission(auth, path)
  return (request, reply, done) => {
    const raw = withBody(request)
    const answer = async () => {
      const admitted = await admit(raw, reply.raw)
      if (admitted) withAccessToken(admitted.accessToken, () => done())
      else reply.hijack()
    }
    answer().catch(done)
  }
}

/** Fastify keeps what it read of the body beside the request. */
const withBody = ({ raw, body }: FastifyRequest): NodeRequest => {
  const request: NodeRequest = raw
  if (body !== undefined && body !== null) request.body = body
  return request
}
