import { accountDecision, accountPage } from '../authorization-server/account-page.ts'
import { authorize } from '../authorization-server/authorize.ts'
import { backchannelLogout, logoutAddress } from '../authorization-server/backchannel-logout.ts'
import { callback } from '../authorization-server/callback.ts'
import { consentDecision, consentPage } from '../authorization-server/consent.ts'
import type { Arrival, Endpoints, ServerContext } from '../authorization-server/context.ts'
import { introspectEndpoint } from '../authorization-server/introspect.ts'
import { jwksEndpoint, metadataEndpoint } from '../authorization-server/metadata.ts'
import { PageProblem, page, type Reply } from '../authorization-server/pages.ts'
import { postedCallback } from '../authorization-server/posted-callback.ts'
import { callbackOf } from '../authorization-server/provider-sign-in.ts'
import { pushedRequestEndpoint } from '../authorization-server/pushed-request.ts'
import { registerEndpoint } from '../authorization-server/register.ts'
import { revokeEndpoint } from '../authorization-server/revoke.ts'
import { signIn, signInPage } from '../authorization-server/sign-in.ts'
import { tokenEndpoint } from '../authorization-server/token.ts'
import type { Logger } from '../events/logger.ts'
import { metadataPath } from '../oauth/server-metadata.ts'
import { parseLocales } from '../policy/sign-in.ts'
import type { RequestInfo } from '../resource-server/handler.ts'
import type { Branding } from './branding.ts'
import { createPageResponder } from './page-response.ts'
import { acceptedLanguages } from './pages/language.ts'

/** The authorization server's own routes. */
export interface Routes {
  /** True for the paths that are answered. */
  handles(pathname: string): boolean
  /** Undefined for a path that is none of ours. It never throws. */
  respond(request: Request, info?: RequestInfo): Promise<Response | undefined>
}

/** What the routes are made of: all that is known before anything is opened. */
export interface RoutesOptions {
  readonly issuer: string
  readonly endpoints: Endpoints
  readonly providerIds: readonly string[]
  readonly branding: Branding
  readonly logger: Logger
  /** Where this fails, it is our own trouble: 503. */
  readonly open: () => Promise<ServerContext>
}

type MachineEndpoint = (server: ServerContext, request: Request, arrival: Arrival) => Promise<Response>
type PersonEndpoint = (server: ServerContext, request: Request, arrival: Arrival) => Promise<Reply>

type Route =
  | { readonly for: 'machine'; readonly endpoint: MachineEndpoint }
  | { readonly for: 'person'; readonly GET: PersonEndpoint; readonly POST?: PersonEndpoint }

/** The authorization server's routes: its metadata, its endpoints and its pages. */
export const createRoutes = (options: RoutesOptions): Routes => {
  const { issuer, branding } = options
  const answer = createPageResponder({ ...branding, name: branding.name ?? new URL(issuer).hostname })
  const table = routeTable(options)
  return {
    handles: (pathname) => table.has(pathname),
    async respond(request, { remoteAddress } = {}) {
      const route = table.get(new URL(request.url).pathname)
      if (!route) return undefined
      const arrival = remoteAddress === undefined ? {} : { address: remoteAddress }
      return route.for === 'machine'
        ? answerMachine(options, route.endpoint, request, arrival)
        : answerPerson(options, answer, route, request, arrival)
    },
  }
}

const routeTable = ({ issuer, endpoints, providerIds }: RoutesOptions): ReadonlyMap<string, Route> => {
  const machine = (endpoint: MachineEndpoint): Route => ({ for: 'machine', endpoint })
  const pathOf = (url: string) => new URL(url).pathname
  return new Map<string, Route>([
    [metadataPath(issuer), machine(metadataEndpoint)],
    [pathOf(endpoints.jwks), machine(jwksEndpoint)],
    [pathOf(endpoints.register), machine(registerEndpoint)],
    [pathOf(endpoints.token), machine(tokenEndpoint)],
    [pathOf(endpoints.pushed), machine(pushedRequestEndpoint)],
    [pathOf(endpoints.revoke), machine(revokeEndpoint)],
    [pathOf(endpoints.introspect), machine(introspectEndpoint)],
    [pathOf(endpoints.authorize), { for: 'person', GET: authorize }],
    [pathOf(endpoints.consent), { for: 'person', GET: consentPage, POST: consentDecision }],
    [pathOf(endpoints.account), { for: 'person', GET: accountPage, POST: accountDecision }],
    [pathOf(endpoints.signIn), { for: 'person', GET: signInPage, POST: signIn }],
    ...providerIds.map((id): [string, Route] => [
      pathOf(callbackOf({ endpoints }, id)),
      {
        for: 'person',
        GET: (server, request, arrival) => callback(server, request, arrival, id),
        POST: (server, request) => postedCallback(server, request, id),
      },
    ]),
    ...providerIds.map((id): [string, Route] => [
      pathOf(logoutAddress({ endpoints }, id)),
      machine((server, request) => backchannelLogout(server, request, id)),
    ]),
  ])
}

const answerMachine = async (
  { open, logger }: RoutesOptions,
  endpoint: MachineEndpoint,
  request: Request,
  arrival: Arrival,
): Promise<Response> => {
  try {
    return await endpoint(await open(), request, arrival)
  } catch (error) {
    logger.error('an endpoint could not answer', { error })
    return Response.json(
      { error: 'temporarily_unavailable', error_description: 'the server has trouble of its own: try again' },
      { status: 503, headers: { 'Cache-Control': 'no-store', 'Retry-After': '5', 'Access-Control-Allow-Origin': '*' } },
    )
  }
}

const answerPerson = async (
  { open, logger }: RoutesOptions,
  answer: (reply: Reply, locales: readonly string[]) => Response,
  route: Extract<Route, { for: 'person' }>,
  request: Request,
  arrival: Arrival,
): Promise<Response> => {
  const locales = wantedLanguages(request)
  const respond = (reply: Reply) => answer(reply, locales)
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
    return respond(await endpoint(await open(), request, arrival))
  } catch (error) {
    if (error instanceof PageProblem) {
      return tellProgram(request, error) ?? respond(page(error.page))
    }
    logger.error('a page could not be made', { error })
    return respond(page({ kind: 'problem', problem: 'unavailable', status: 503, retryAfter: 5 }))
  }
}

/**
 * Some clients ask themselves, before they open a browser, whether their registration is still known; on this answer they register again, where
 * a page would leave the person stuck. A browser always accepts HTML.
 */
const tellProgram = ({ headers }: Request, { page: { problem, status } }: PageProblem): Response | undefined => {
  if (problem !== 'client_unknown' || headers.get('accept') !== 'application/json') return undefined
  const body = { error: 'invalid_client', error_description: 'this client is not registered here: register again' }
  return Response.json(body, { status, headers: { 'Cache-Control': 'no-store' } })
}

/** What the client asked for, then what the browser accepts. @see OpenID Connect Core §3.1.2.1 */
const wantedLanguages = (request: Request): readonly string[] => [
  ...parseLocales(new URL(request.url).searchParams.get('ui_locales') ?? undefined),
  ...acceptedLanguages(request.headers.get('accept-language')),
]

const withoutBody = (response: Response): Response => new Response(null, response)
