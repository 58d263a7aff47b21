import type { ServerResponse } from 'node:http'
import { getRequestListener } from '@hono/node-server'
import { withAccessToken } from '../identity/context.ts'
import type { AuthInfo, FetchHandler, FetchObject } from '../resource-server/handler.ts'
import { headersWithSession } from '../resource-server/session-header.ts'
import type { Admission, Auth } from './auth.ts'
import { guardServerResponse } from './guarded-server-response.ts'
import { gateRequest, type NodeRequest, pathOf, sendResponse, setHeader } from './node-request.ts'

export type { Admission, Auth, AuthInfo, FetchHandler, NodeRequest }

/** A request listener of node:http. */
export type NodeListener = (request: NodeRequest, response: ServerResponse) => Promise<void>

/**
 * A handler in Node's own form, for instance the SDK's `toNodeHandler(mcp)` or a v1 transport's `handleRequest`: it finds the caller in
 * `request.auth` and gets the body as its third argument if that was read already.
 */
export type NodeHandler = (request: NodeRequest, response: ServerResponse, parsedBody?: unknown) => unknown

/** Serves the server's own routes. Resolves to false, having touched nothing, for any other request. */
export const routes = <Upstream>(
  auth: Auth<Upstream>,
): ((request: NodeRequest, response: ServerResponse) => Promise<boolean>) => {
  const listen = fetchListener(async (request, remoteAddress) => {
    const response = await auth.respond(request, { remoteAddress })
    return response ?? new Response(null, { status: 404 })
  })
  return async (request, response) => {
    if (!auth.handles(pathOf(request))) return false
    await listen(request, response)
    return true
  }
}

/**
 * Puts the gate in front of a handler: one with `fetch`, as the SDK's `createMcpHandler` makes it, or a function in Node's form.
 * @throws Error at once, if no resource is configured at `path`
 */
export const protect = <Upstream>(
  auth: Auth<Upstream>,
  path: string,
  handler: FetchObject<Upstream> | NodeHandler,
): NodeListener => {
  if (typeof handler !== 'function') {
    const gated = auth.gate(path, handler)
    return fetchListener((request, remoteAddress) => gated(request, { remoteAddress }))
  }
  const admit = admission(auth, path)
  return async (request, response) => {
    const admitted = await admit(request, response)
    if (admitted) await withAccessToken(admitted.accessToken, () => handler(request, response, admitted.parsedBody))
  }
}

/**
 * One listener for a whole server: the server's own routes, protected handlers by their path, and 404 or `otherwise` for the rest. What a handler throws
 * goes to the console, and its caller gets 500, as with handlers that have `fetch`.
 * @throws Error at once, if no resource is configured at one of the paths
 */
export const listener = <Upstream>(
  auth: Auth<Upstream>,
  handlers: Readonly<Record<string, FetchObject<Upstream> | NodeHandler>>,
  otherwise: (request: NodeRequest, response: ServerResponse) => unknown = notFound,
): NodeListener => {
  const own = routes(auth)
  const gated = new Map(Object.entries(handlers).map(([path, handler]) => [path, protect(auth, path, handler)]))
  return async (request, response) => {
    try {
      if (await own(request, response)) return
      await (gated.get(pathOf(request)) ?? otherwise)(request, response)
    } catch (error) {
      // Nobody waits for a listener: what it rejects with would end the process.
      console.error(error)
      if (response.headersSent) response.destroy()
      else response.writeHead(500).end()
    }
  }
}

/** The gate in Node's form: refused requests are answered, admitted ones get `auth` and, where the body was read, `body`. */
export const admission = <Upstream>(auth: Auth<Upstream>, path: string) => {
  auth.gate(path, unused)
  return async (
    request: NodeRequest,
    response: ServerResponse,
  ): Promise<Extract<Admission<Upstream>, { admitted: true }> | undefined> => {
    const admitted = await auth.admit(path, gateRequest(request), {
      remoteAddress: request.socket.remoteAddress,
      parsedBody: request.body,
    })
    if (!admitted.admitted) {
      await sendResponse(admitted.response, response)
      return undefined
    }
    request.auth = admitted.authInfo
    const { session } = admitted.guard
    for (const [name, value] of session ? headersWithSession(session) : []) setHeader(request, name, value)
    if (admitted.parsedBody !== undefined) {
      request.body = admitted.parsedBody
      request._body = true
    }
    for (const [name, value] of Object.entries(admitted.responseHeaders)) response.setHeader(name, value)
    guardServerResponse(response, admitted.guard)
    return admitted
  }
}

const fetchListener = (
  respond: (request: Request, remoteAddress: string | undefined) => Promise<Response>,
): NodeListener => {
  // Without replacing the global Request and Response: they are the application's.
  const listen = getRequestListener((request, { incoming }) => respond(request, incoming.socket.remoteAddress), {
    overrideGlobalObjects: false,
  })
  return (request, response) => {
    restoreBody(request)
    return listen(request, response)
  }
}

/** A body that middleware has read is given back as bytes: the stream is empty by now. */
const restoreBody = (request: NodeRequest & { rawBody?: Buffer }): void => {
  if (request.body === undefined || !request.readableDidRead || request.rawBody) return
  const form = request.headers['content-type']?.startsWith('application/x-www-form-urlencoded')
  request.rawBody = Buffer.from(form ? formText(request.body) : jsonText(request.body))
}

/** What is nested too deeply can be parsed and not written again: then it is no body, and refused as such. */
const jsonText = (body: unknown): string => {
  try {
    return JSON.stringify(body)
  } catch {
    return ''
  }
}

const formText = (body: unknown): string => {
  const form = new URLSearchParams()
  for (const [name, value] of Object.entries(Object(body) as Record<string, unknown>)) {
    for (const each of Array.isArray(value) ? value : [value]) form.append(name, String(each))
  }
  return form.toString()
}

const notFound = (_request: NodeRequest, response: ServerResponse): void => {
  response.writeHead(404).end()
}

const unused = () => new Response(null, { status: 500 })
