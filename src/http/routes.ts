import { backchannelLogout } from '../authorization-server/backchannel-logout.ts'
import type { Arrival, ServingContext } from '../authorization-server/context.ts'
import { introspectEndpoint } from '../authorization-server/introspect.ts'
import { jwksEndpoint, metadataEndpoint } from '../authorization-server/metadata.ts'
import { callbackOf, logoutAddress } from '../authorization-server/provider-addresses.ts'
import { pushedRequestEndpoint } from '../authorization-server/pushed-request.ts'
import { registerEndpoint } from '../authorization-server/register.ts'
import { revokeEndpoint } from '../authorization-server/revoke.ts'
import { tokenEndpoint } from '../authorization-server/token.ts'
import { metadataPath } from '../oauth/server-metadata.ts'
import type { RequestInfo } from '../resource-server/handler.ts'
import { inStep } from './in-step.ts'
import { pathOf } from './path.ts'
import type { PersonResponder } from './person-routes.ts'
import type { PersonPath, RoutesOptions } from './routes-options.ts'

/** The authorization server's own routes. */
export interface Routes {
  /** True for the paths that are answered. */
  handles(pathname: string): boolean
  /** Undefined for a path that is none of ours. It never throws. */
  respond(request: Request, info?: RequestInfo): Promise<Response | undefined>
}

type MachineEndpoint = (server: ServingContext, request: Request, arrival: Arrival) => Promise<Response>

type Route = { readonly machine: MachineEndpoint } | { readonly person: PersonPath }

/** The authorization server's routes: its metadata, its endpoints and its pages. */
export const createRoutes = (options: RoutesOptions): Routes => {
  const table = routeTable(options)
  let person: Promise<PersonResponder> | undefined
  // Pages take long to load, and a server starts without them: the first person waits a moment.
  const loadPerson = async () => (await import('./person-routes.ts')).createPersonResponder(options)
  return {
    handles: (pathname) => table.has(pathname),
    async respond(request, { remoteAddress } = {}) {
      const route = table.get(pathOf(request.url))
      if (!route) return undefined
      const arrival = remoteAddress === undefined ? {} : { address: remoteAddress }
      if ('machine' in route) return answerMachine(options, route.machine, request, arrival)
      // The name of a host can be such that no URL has it: no browser asks for that.
      if (!URL.canParse(request.url)) return new Response(null, { status: 400 })
      try {
        person ??= loadPerson()
        return await (await person)(route.person, request, arrival)
      } catch (error) {
        person = undefined
        return trouble(options, error)
      }
    },
  }
}

const routeTable = ({ issuer, endpoints, providerIds }: RoutesOptions): ReadonlyMap<string, Route> => {
  return new Map<string, Route>([
    [metadataPath(issuer), { machine: metadataEndpoint }],
    [pathOf(endpoints.jwks), { machine: jwksEndpoint }],
    [pathOf(endpoints.register), { machine: registerEndpoint }],
    [pathOf(endpoints.token), { machine: tokenEndpoint }],
    [pathOf(endpoints.pushed), { machine: pushedRequestEndpoint }],
    [pathOf(endpoints.revoke), { machine: revokeEndpoint }],
    [pathOf(endpoints.introspect), { machine: introspectEndpoint }],
    [pathOf(endpoints.authorize), { person: 'authorize' }],
    [pathOf(endpoints.consent), { person: 'consent' }],
    [pathOf(endpoints.account), { person: 'account' }],
    [pathOf(endpoints.signIn), { person: 'signIn' }],
    ...providerIds.map((id): [string, Route] => [
      pathOf(callbackOf({ endpoints }, id)),
      { person: { callbackOf: id } },
    ]),
    ...providerIds.map((id): [string, Route] => [
      pathOf(logoutAddress({ endpoints }, id)),
      { machine: (server, request, arrival) => backchannelLogout(server, request, id, arrival) },
    ]),
  ])
}

const answerMachine = async (
  options: RoutesOptions,
  endpoint: MachineEndpoint,
  request: Request,
  arrival: Arrival,
): Promise<Response> => {
  try {
    const server = await options.open()
    await inStep()
    return await endpoint(server, request, arrival)
  } catch (error) {
    return trouble(options, error)
  }
}

const trouble = ({ logger }: RoutesOptions, error: unknown): Response => {
  logger.error('an endpoint could not answer', { error })
  return Response.json(
    { error: 'temporarily_unavailable', error_description: 'the server has trouble of its own: try again' },
    { status: 503, headers: { 'Cache-Control': 'no-store', 'Retry-After': '5', 'Access-Control-Allow-Origin': '*' } },
  )
}
