import { OAuthError } from '../oauth/errors.ts'
import { mayRedirectError, maySkipConsent } from '../policy/consent.ts'
import { decidePrompt } from '../policy/sign-in.ts'
import { consentRef } from '../records/consent.ts'
import type { Somebody } from './account-label.ts'
import { askingClient } from './asking.ts'
import { type AddressedRequest, checkRequest, readAddress } from './authorization-request.ts'
import { errorLocation } from './authorization-response.ts'
import { limitRequests } from './authorize-limit.ts'
import { readBrowserSession } from './browser-session.ts'
import { grantAgain } from './complete.ts'
import { rememberedScopes } from './consents.ts'
import type { Arrival, ServerContext } from './context.ts'
import { beginInteraction, pageOf } from './interaction.ts'
import { PageProblem, type Reply, redirect } from './pages.ts'
import { takePushedRequest } from './pushed-request.ts'
import { refused } from './refusal.ts'

/** The authorization endpoint. @see RFC 6749 §3.1 */
export const authorize = async (server: ServerContext, request: Request, arrival: Arrival): Promise<Reply> => {
  const { url, pushed } = await takePushedRequest(server, new URL(request.url))
  const addressed = await readAddress(server, url, arrival)
  const somebody = await readBrowserSession(server, request)
  try {
    if (!pushed && (server.requirePushedRequests || addressed.client.requirePushedRequests)) {
      throw new OAuthError('invalid_request', 'push the authorization request first')
    }
    return await begin(server, request, arrival, addressed, somebody)
  } catch (error) {
    if (!(error instanceof OAuthError)) throw error
    return refuse(server, addressed, somebody, error)
  }
}

const begin = async (
  server: ServerContext,
  request: Request,
  arrival: Arrival,
  addressed: AddressedRequest,
  somebody: Somebody | undefined,
): Promise<Reply> => {
  const authorization = checkRequest(server, addressed)
  await limitRequests(server, arrival)
  const { prompt, maxAge, redirectKind, resources } = authorization
  const remembered = somebody ? await rememberedScopes(server, authorization, somebody.account.id) : {}
  const ownSession = somebody !== undefined
  const decision = decidePrompt({
    prompt,
    maxAge,
    session: somebody,
    consentSkippable: Object.entries(resources).every(([resource, requested]) =>
      maySkipConsent({ ownSession, remembered: remembered[resource], requested, redirectKind }),
    ),
    now: server.clock.now(),
  })
  if (decision.kind === 'error') throw new OAuthError(decision.error, decision.description)
  const { signIn, selectAccount, create, consent } = decision
  if (somebody && !signIn && !selectAccount && !create && !consent) {
    // Where the person has just disconnected the client, it is decided again.
    return (await grantAgain(server, authorization, somebody)) ?? begin(server, request, arrival, addressed, somebody)
  }
  const shown = selectAccount || create ? undefined : somebody?.account.id
  const { interaction, cookies } = await beginInteraction(server, request, authorization, shown)
  return redirect(pageOf(server.endpoints.consent, interaction.id), cookies)
}

/** An error before the person has acted: to the client where that can't be used to send people anywhere, else on a page with a link. */
const refuse = async (
  server: ServerContext,
  { client, redirectUri, state }: AddressedRequest,
  somebody: Somebody | undefined,
  error: OAuthError,
): Promise<Reply> => {
  refused(server, `${error.code}: ${error.reason}`, { clientId: client.id })
  const location = errorLocation(server, { redirectUri: redirectUri.text, state }, error.code, error.description)
  const allowed = mayRedirectError({
    // A document is the client's own word.
    registration: client.source === 'configured' ? 'configured' : 'dynamic',
    consented: somebody !== undefined && (await hasConsented(server, somebody.account.id, client.id, redirectUri.host)),
    redirectKind: redirectUri.kind,
  })
  if (allowed) return redirect(location)
  const asking = askingClient(client, { redirectKind: redirectUri.kind, redirectHost: redirectUri.host })
  throw new PageProblem('request_refused', 400, { client: asking, detail: error.description, back: location })
}

/** Whether this person allowed this client something before, at any of our resources. */
const hasConsented = async (server: ServerContext, account: string, clientId: string, redirectHost: string) => {
  const refs = server.resources.map(({ identifier }) => consentRef(account, clientId, redirectHost, identifier))
  return (await server.records.get(...refs)).values.some((consent) => consent !== undefined)
}
