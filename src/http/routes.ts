import { authorize } from '../authorization-server/authorize.ts'
import { callback } from '../authorization-server/callback.ts'
import { consentDecision, consentPage } from '../authorization-server/consent.ts'
import type { Arrival, ServerContext } from '../authorization-server/context.ts'
import { jwksEndpoint, metadataEndpoint } from '../authorization-server/metadata.ts'
import { PageProblem, page, type Reply } from '../authorization-server/pages.ts'
import { callbackOf } from '../authorization-server/provider-sign-in.ts'
import { registerEndpoint } from '../authorization-server/register.ts'
import { revokeEndpoint } from '../authorization-server/revoke.ts'
import { signIn, signInPage } from '../authorization-server/sign-in.ts'
import { tokenEndpoint } from '../authorization-server/token.ts'
import { metadataPath } from '../oauth/server-metadata.ts'
import type { Branding } from './branding.ts'
import { createPageResponder } from './page-response.ts'

/** Answers a request to one of the authorization server's routes; undefined for any other. It never throws. */
export interface Routes {
  (request: Request, arrival?: Arrival): Promise<Response | undefined>
  /** True for the paths that are answered. */
  readonly handles: (pathname: string) => boolean
}

type MachineEndpoint = (server: ServerContext, request: Request, arrival: Arrival) => Promise<Response>
type PersonEndpoint = (server: ServerContext, request: Request, arrival: Arrival) => Promise<Reply>

type Route =
  | { readonly for: 'machine'; readonly endpoint: MachineEndpoint }
  | { readonly for: 'person'; readonly GET: PersonEndpoint; readonly POST?: PersonEndpoint }

/**
 * The authorization server's routes: its metadata, its endpoints and its pages.
 * @throws ConfigurationError for branding that can't be shown
 */
export const createRoutes = (server: ServerContext, branding: Branding): Routes => {
  const respond = createPageResponder(branding)
  const table = routeTable(server)
  const answer = async (request: Request, arrival: Arrival = {}): Promise<Response | undefined> => {
    const route = table.get(new URL(request.url).pathname)
    if (!route) return undefined
    return route.for === 'machine'
      ? answerMachine(server, route.endpoint, request, arrival)
      : answerPerson(server, respond, route, request, arrival)
  }
  return Object.assign(answer, { handles: (pathname: string) => table.has(pathname) })
}

const routeTable = (server: ServerContext): ReadonlyMap<string, Route> => {
  const { issuer, endpoints, providers } = server
  const machine = (endpoint: MachineEndpoint): Route => ({ for: 'machine', endpoint })
  const pathOf = (url: string) => new URL(url).pathname
  return new Map<string, Route>([
    [metadataPath(issuer), machine(metadataEndpoint)],
    [pathOf(endpoints.jwks), machine(jwksEndpoint)],
    [pathOf(endpoints.register), machine(registerEndpoint)],
    [pathOf(endpoints.token), machine(tokenEndpoint)],
    [pathOf(endpoints.revoke), machine(revokeEndpoint)],
    [pathOf(endpoints.authorize), { for: 'person', GET: authorize }],
    [pathOf(endpoints.consent), { for: 'person', GET: consentPage, POST: consentDecision }],
    [pathOf(endpoints.signIn), { for: 'person', GET: signInPage, POST: signIn }],
    ...providers
      .filter(({ open }) => open.kind === 'redirect')
      .map((provider): [string, Route] => [
        pathOf(callbackOf(server, provider.id)),
        { for: 'person', GET: (context, request, arrival) => callback(context, request, arrival, provider) },
      ]),
  ])
}

const answerMachine = async (
  server: ServerContext,
  endpoint: MachineEndpoint,
  request: Request,
  arrival: Arrival,
): Promise<Response> => {
  try {
    return await endpoint(server, request, arrival)
  } catch (error) {
    server.logger.error('an endpoint could not answer', { error })
    return Response.json(
      { error: 'temporarily_unavailable', error_description: 'the server has trouble of its own: try again' },
      { status: 503, headers: { 'Cache-Control': 'no-store', 'Retry-After': '5', 'Access-Control-Allow-Origin': '*' } },
    )
  }
}

const answerPerson = async (
  server: ServerContext,
  respond: (reply: Reply) => Response,
  route: Extract<Route, { for: 'person' }>,
  request: Request,
  arrival: Arrival,
): Promise<Response> => {
  const allow = ['GET', 'HEAD', ...(route.POST ? ['POST'] : []), 'OPTIONS'].join(', ')
  if (request.method === 'OPTIONS') return new Response(null, { status: 204, headers: { Allow: allow } })
  // Who only looks (a link checker, a preview) begins nothing.
  if (request.method === 'HEAD')
    return withoutBody(respond(page({ kind: 'problem', problem: 'method_refused', status: 200 })))
  const endpoint = request.method === 'GET' ? route.GET : request.method === 'POST' ? route.POST : undefined
  if (!endpoint) {
    const response = respond(page({ kind: 'problem', problem: 'method_refused', status: 405 }))
    response.headers.set('Allow', allow)
    return response
  }
  try {
    return respond(await endpoint(server, request, arrival))
  } catch (error) {
    if (error instanceof PageProblem) return respond(page(error.page))
    server.logger.error('a page could not be made', { error })
    return respond(page({ kind: 'problem', problem: 'unavailable', status: 503, retryAfter: 5 }))
  }
}

const withoutBody = (response: Response): Response => new Response(null, response)
