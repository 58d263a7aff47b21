import { OAuthError, oauthErrorBody } from '../oauth/errors.ts'
import type { ServerContext } from './context.ts'
import { type CorsEndpoint, corsHeaders, corsMethods, preflight } from './cors.ts'

/** What an endpoint answers when all is well. */
export interface Answer {
  readonly status?: number
  /** An object is sent as JSON, a text as it is: as JSON, too, unless a `Content-Type` in the headers says what else it is. */
  readonly body?: object | string
  readonly headers?: Readonly<Record<string, string>>
}

/** Runs an endpoint that machines use: what it throws becomes the RFC's JSON, never a page or a stack. */
export const answerMachine = async (
  server: ServerContext,
  request: Request,
  endpoint: CorsEndpoint,
  handle: () => Answer | Promise<Answer>,
): Promise<Response> => {
  if (request.method === 'OPTIONS') return preflight(endpoint)
  const methods: readonly string[] = corsMethods[endpoint]
  if (!methods.includes(request.method)) return refusedMethod([...methods, 'OPTIONS'].join(', '))
  try {
    const { status = 200, body, headers } = await handle()
    return respond(status, request.method === 'HEAD' ? undefined : body, headers)
  } catch (error) {
    return refuse(toOAuthError(server, endpoint, error))
  }
}

/** Whatever is no refusal in the protocol's words is our own trouble: the client keeps what it has, and tries again. */
const toOAuthError = (server: ServerContext, endpoint: string, error: unknown): OAuthError => {
  if (error instanceof OAuthError && error.status < 500) return error
  server.logger.error(`${endpoint}: could not answer`, { error })
  if (error instanceof OAuthError) return error
  return new OAuthError('temporarily_unavailable', 'the server has trouble of its own: try again', { cause: error })
}

const refuse = (error: OAuthError): Response => respond(error.status, oauthErrorBody(error), error.headers)

const refusedMethod = (allow: string): Response =>
  refuse(new OAuthError('invalid_request', `use ${allow}`, { status: 405, headers: { Allow: allow } }))

const always = { ...corsHeaders, 'X-Content-Type-Options': 'nosniff' }
const uncached = { ...always, 'Cache-Control': 'no-store', Pragma: 'no-cache' }
const json = { 'Content-Type': 'application/json' }
/** Of most answers: made once. */
const uncachedJson = { ...uncached, ...json }

const respond = (
  status: number,
  body: object | string | undefined,
  headers: Readonly<Record<string, string>> | undefined,
): Response => {
  const text = body === undefined ? null : typeof body === 'string' ? body : JSON.stringify(body)
  // Copied: some hosts put a Response of their own in the platform's place, which writes into the headers that it was given.
  if (!headers) return new Response(text, { status, headers: text === null ? { ...uncached } : { ...uncachedJson } })
  return new Response(text, {
    status,
    headers: { ...('Cache-Control' in headers ? always : uncached), ...(text === null ? {} : json), ...headers },
  })
}
