import { type ClientCredentials, readClientCredentials } from '../oauth/client-authentication.ts'
import { looksLikeClientIdUrl } from '../oauth/client-id-metadata.ts'
import { OAuthError } from '../oauth/errors.ts'
import { readFormText, readParameters } from '../oauth/parameters.ts'
import type { Client } from '../records/client.ts'
import { pushedRequestRef } from '../records/pushed-request.ts'
import { put } from '../records/records.ts'
import { StoreUnavailable } from '../store/store.ts'
import { checkRequest, readAddress } from './authorization-request.ts'
import { limitRequests } from './authorize-limit.ts'
import { authenticateAlone, claimedClientId } from './client-authentication.ts'
import type { Arrival, ServerContext } from './context.ts'
import { nextNonce, readProof, useProof } from './dpop.ts'
import { type Answer, answerMachine } from './endpoint.ts'
import { findClient } from './find-client.ts'
import { PageProblem, type Problem } from './pages.ts'
import { refused } from './refusal.ts'
import { newSecret } from './tokens.ts'

const maximumBody = 65_536

const prefix = 'urn:ietf:params:oauth:request_uri:cs_pr_'

/**
 * Takes an authorization request from the client itself, which proves who it is, and gives it a name: what the browser then brings can be
 * neither read nor changed on the way.
 * @see RFC 9126 §2
 */
export const pushedRequestEndpoint = (
  server: ServerContext,
  request: Request,
  arrival: Arrival = {},
): Promise<Response> =>
  answerMachine(server, request, 'pushed', async () => {
    const about: { clientId?: string } = {}
    try {
      return await push(server, request, arrival, about)
    } catch (error) {
      // What a page would say has its audit event already.
      if (error instanceof PageProblem) throw asOAuthError(error)
      if (error instanceof OAuthError && error.status < 500) refused(server, `pushed: ${error.reason}`, about)
      throw error
    }
  })

const push = async (
  server: ServerContext,
  request: Request,
  arrival: Arrival,
  about: { clientId?: string },
): Promise<Answer> => {
  const { records, endpoints, lifetimes, random } = server
  const body = await readFormText(request, maximumBody)
  const form = new URLSearchParams(body)
  if (form.has('request_uri')) throw new OAuthError('invalid_request', 'request_uri can not be pushed')
  const authorization = request.headers.get('authorization')
  const credentials = readClientCredentials(authorization, form)
  about.clientId = claimedClientId(credentials)
  await limitRequests(server, arrival)
  const proof = await readProof(server, request, endpoints.pushed)
  const client = await authenticated(server, credentials, authorization, arrival)
  if (proof) await useProof(server, proof)
  const query = queryOf(body, form, client.id, proof?.jkt)
  // All is checked now, for the client to learn of it; and again when the person comes.
  const addressed = await readAddress(server, new URL(`${endpoints.authorize}?${query}`), arrival)
  checkRequest(server, addressed)

  const secret = newSecret(random)
  const ref = pushedRequestRef(secret)
  const life = lifetimes.pushedRequest
  const { committed } = await records.commit({
    unchanged: [ref],
    puts: [put(ref, { clientId: client.id, query }, life * 1000)],
  })
  if (!committed) throw new StoreUnavailable('the pushed request was not written')
  const headers = proof ? await nextNonce(server, proof) : {}
  return { status: 201, headers, body: { request_uri: prefix + secret, expires_in: life } }
}

const authenticated = async (
  server: ServerContext,
  credentials: ClientCredentials,
  authorization: string | null,
  arrival: Arrival,
): Promise<Client> => {
  const [{ clientId }] = credentials.candidates
  // As at the authorization endpoint: here a client may be met for the first time.
  if (looksLikeClientIdUrl(clientId)) await findClient(server, clientId, arrival)
  return (await authenticateAlone(server, credentials, authorization, arrival)).client.value
}

const proofs = ['client_secret', 'client_assertion', 'client_assertion_type']

/** The request without what proved the client, with who that is, and with the key that was shown. */
const queryOf = (body: string, form: URLSearchParams, clientId: string, jkt: string | undefined): string => {
  const { dpop_jkt: named } = readParameters(form, ['dpop_jkt'])
  if (named !== undefined && jkt !== undefined && named !== jkt) {
    throw new OAuthError('invalid_dpop_proof', 'dpop_jkt is not the key of the DPoP proof', {
      reason: 'dpop_other_key',
    })
  }
  const own = body.split('&').filter((pair) => {
    const [name] = new URLSearchParams(pair).keys()
    return name !== undefined && !proofs.includes(name) && name !== 'client_id'
  })
  const said = new URLSearchParams({ client_id: clientId, ...(named === undefined && jkt ? { dpop_jkt: jkt } : {}) })
  return [said, ...own].join('&')
}

/**
 * The request that a browser brings the name of: it is used up by it. Any other is answered as it came.
 * @throws PageProblem where there is no such request (any more), or it is another client's: who would be told is not known
 * @see RFC 9126 §4
 */
export const takePushedRequest = async (
  server: ServerContext,
  url: URL,
): Promise<{ readonly url: URL; readonly pushed: boolean }> => {
  const [uri, ...others] = url.searchParams.getAll('request_uri')
  if (others.length > 0 || !uri?.startsWith(prefix)) return { url, pushed: false }
  const ids = url.searchParams.getAll('client_id')
  const [stored] = (await server.records.get(pushedRequestRef(uri.slice(prefix.length)))).values
  if (!stored) throw unusable(server, ids[0], 'pushed: the request is unknown, used or expired')
  if (ids.length !== 1 || ids[0] !== stored.value.clientId) {
    throw unusable(server, ids[0], 'pushed: the request is another client’s')
  }
  const { committed } = await server.records.commit({ unchanged: [stored], deletes: [stored.ref] })
  if (!committed) throw unusable(server, ids[0], 'pushed: the request was used at the same time')
  const taken = new URL(url)
  taken.search = stored.value.query
  return { url: taken, pushed: true }
}

const unusable = (server: ServerContext, clientId: string | undefined, reason: string): PageProblem => {
  refused(server, reason, clientId === undefined ? {} : { clientId: clientId.slice(0, 256) })
  return new PageProblem('request_refused', 400, { detail: 'request_uri is unknown, used or expired' })
}

const codes: Partial<Record<Problem, 'invalid_client' | 'invalid_request' | 'temporarily_unavailable'>> = {
  client_unknown: 'invalid_client',
  client_document_refused: 'invalid_client',
  client_document_unreachable: 'temporarily_unavailable',
  redirect_refused: 'invalid_request',
  request_refused: 'invalid_request',
  too_many_requests: 'temporarily_unavailable',
}

const descriptions = {
  invalid_client: 'the client is unknown or could not be authenticated',
  invalid_request: 'the request is not valid',
  temporarily_unavailable: 'try again later',
} as const

/** What would be a page for a person, in a client's words. @see RFC 9126 §2.3 */
const asOAuthError = (error: PageProblem): unknown => {
  const { problem, status, detail, retryAfter } = error.page
  const code = codes[problem]
  if (!code) return error
  return new OAuthError(code, detail ?? descriptions[code], {
    ...(code === 'temporarily_unavailable' ? { status } : {}),
    ...(retryAfter === undefined ? {} : { headers: { 'Retry-After': String(retryAfter) } }),
  })
}
