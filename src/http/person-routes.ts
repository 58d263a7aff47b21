import { accountDecision, accountPage } from '../authorization-server/account-page.ts'
import { authorize } from '../authorization-server/authorize.ts'
import { callback } from '../authorization-server/callback.ts'
import { consentDecision, consentPage } from '../authorization-server/consent.ts'
import type { Arrival, ServerContext } from '../authorization-server/context.ts'
import { PageProblem, page, type Reply } from '../authorization-server/pages.ts'
import { postedCallback } from '../authorization-server/posted-callback.ts'
import { signIn, signInPage } from '../authorization-server/sign-in.ts'
import { parseLocales } from '../policy/sign-in.ts'
import { createPageResponder } from './page-response.ts'
import { acceptedLanguages } from './pages/language.ts'
import type { PersonPath, RoutesOptions } from './routes-options.ts'

type Endpoint = (server: ServerContext, request: Request, arrival: Arrival) => Promise<Reply>

interface Route {
  readonly GET: Endpoint
  readonly POST?: Endpoint
}

/** Answers a request at one of the paths that are for a person's browser. It never throws. */
export type PersonResponder = (path: PersonPath, request: Request, arrival: Arrival) => Promise<Response>

/** What people see: the pages, and the ways between them. */
export const createPersonResponder = (options: RoutesOptions): PersonResponder => {
  const { issuer, branding } = options
  const answer = createPageResponder({ ...branding, name: branding.name ?? new URL(issuer).hostname })
  return (path, request, arrival) => answerPerson(options, answer, routeOf(path), request, arrival)
}

const routeOf = (path: PersonPath): Route => {
  if (typeof path === 'string') return routes[path]
  const { callbackOf: id } = path
  return {
    GET: (server, request, arrival) => callback(server, request, arrival, id),
    POST: (server, request) => postedCallback(server, request, id),
  }
}

const routes: Readonly<Record<Extract<PersonPath, string>, Route>> = {
  authorize: { GET: authorize },
  consent: { GET: consentPage, POST: consentDecision },
  account: { GET: accountPage, POST: accountDecision },
  signIn: { GET: signInPage, POST: signIn },
}

const answerPerson = async (
  { open, logger }: RoutesOptions,
  answer: (reply: Reply, locales: readonly string[]) => Response,
  route: Route,
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
