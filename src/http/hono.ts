import { withAccessToken } from '../identity/context.ts'
import type { AuthInfo, FetchHandler } from '../resource-server/handler.ts'
import type { Admission, Auth } from './auth.ts'
import { pathOf } from './path.ts'

export type { Admission, Auth, AuthInfo, FetchHandler }

/** What is used of Hono's context; by its form, so that an application's copy of Hono may be any. */
export interface HonoContext {
  readonly req: { raw: Request }
  readonly env: unknown
  get res(): Response
  set res(response: Response | undefined)
}

export type HonoMiddleware = (context: HonoContext, next: () => Promise<void>) => Promise<Response | undefined>

/** Middleware that serves the server's own routes, and touches no other: `app.use(routes(auth))`. */
export const routes =
  <Upstream>(auth: Auth<Upstream>): HonoMiddleware =>
  async (context, next) => {
    const request = context.req.raw
    if (auth.handles(pathOf(request.url))) {
      const response = await auth.respond(request, { remoteAddress: remoteAddress(context) })
      if (response) return response
    }
    await next()
    return undefined
  }

/**
 * Puts the gate in front of a handler: `app.all('/mcp', protect(auth, '/mcp', mcp))`. Without a handler it is middleware: what follows
 * runs inside the token's context, and `c.get('auth')`, `c.get('accessToken')` and, where the body was read, `c.get('parsedBody')` are set.
 * @throws Error at once, if no resource is configured at `path`
 */
export const protect = <Upstream>(
  auth: Auth<Upstream>,
  path: string,
  handler?: FetchHandler<Upstream>,
): HonoMiddleware => {
  const gated = auth.gate(path, handler ?? unused)
  if (handler) {
    return (context) =>
      gated(context.req.raw, {
        remoteAddress: remoteAddress(context),
        parsedBody: variables(context).get('parsedBody'),
      })
  }
  return async (context, next) => {
    const values = variables(context)
    const admission = await auth.admit(path, context.req.raw, {
      remoteAddress: remoteAddress(context),
      parsedBody: values.get('parsedBody'),
    })
    if (!admission.admitted) return admission.response
    values.set('auth', admission.authInfo)
    values.set('accessToken', admission.accessToken)
    if (admission.parsedBody !== undefined) values.set('parsedBody', admission.parsedBody)
    context.req.raw = admission.forward(context.req.raw)
    const done = admission.guard.begin()
    let response: Response
    try {
      await withAccessToken(admission.accessToken, next)
      response = await admission.finish(context.res)
    } finally {
      done()
    }
    // Taken away first: otherwise what it replaces lends it its headers, the length among them.
    if (response !== context.res) context.res = undefined
    context.res = response
    return undefined
  }
}

/** The types of an application's own variables stand in the way of declaring these two in the context's form. */
const variables = (context: HonoContext) =>
  context as unknown as { get(name: string): unknown; set(name: string, value: unknown): void }

/** Of the socket, where the application runs on Node's HTTP server. */
const remoteAddress = ({ env }: HonoContext): string | undefined =>
  (env as { incoming?: { socket?: { remoteAddress?: string } } } | undefined)?.incoming?.socket?.remoteAddress

const unused = () => new Response(null, { status: 500 })
