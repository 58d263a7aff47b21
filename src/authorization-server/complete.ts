import { grantRef, isAuthorization } from '../records/grant.ts'
import type { AuthorizationRequest, ResourceScopes } from '../records/interaction.ts'
import type { Somebody } from './account-label.ts'
import { readClient } from './asking.ts'
import { codeLocation, errorLocation } from './authorization-response.ts'
import { limitCodes } from './authorize-limit.ts'
import { ConsentWithdrawn, enlargedConsents, standingConsents } from './consents.ts'
import type { ServerContext } from './context.ts'
import { issueCode } from './grants.ts'
import {
  advance,
  advanceWith,
  type InteractionChange,
  isOfClient,
  type OpenAuthorization,
  type OpenInteraction,
} from './interaction.ts'
import { PageProblem, type Reply, redirect } from './pages.ts'
import { refused } from './refusal.ts'

/** Issues a code without asking, on the ground of what the person allowed before. Undefined where that was withdrawn meanwhile. */
export const grantAgain = async (
  server: ServerContext,
  request: AuthorizationRequest,
  { account, upstreamSession, authTime }: Somebody,
): Promise<Reply | undefined> => {
  const { clientId, resources } = request
  const standing = () => standingConsents(server, request, account.id)
  await limitCodes(server, account.id, clientId)
  try {
    const { code } = await issueCode(server, { request, account, upstreamSession, authTime, resources }, standing)
    server.audit({ type: 'consent.approved', clientId, resources, remembered: true })
    return redirect(codeLocation(server, request, code))
  } catch (error) {
    if (error instanceof ConsentWithdrawn) return undefined
    throw error
  }
}

/**
 * Issues the code and ends the interaction, in one commit: of two requests that get here together one does, and the other gets its answer. So
 * nothing is granted or remembered that was declined in another tab.
 */
export const finish = async (
  server: ServerContext,
  open: OpenAuthorization,
  resources: ResourceScopes,
  { account, upstreamSession, authTime }: Somebody,
  change: InteractionChange = {},
): Promise<Reply> => {
  const { request } = open.value
  await readClient(server, request)
  await limitCodes(server, account.id, request.clientId)
  const ended = advanceWith(server, open)
  const approval = { request, account, upstreamSession, authTime, resources }
  const { code } = await issueCode(server, approval, async ({ code, grant }) => {
    const { unchanged, puts } = await ended({
      ...change,
      finished: { location: codeLocation(server, request, code), grant, at: open.now },
      upstream: undefined,
      signedIn: { account: account.id, upstreamSession, authTime },
    })
    const consents = await enlargedConsents(server, request, account.id, resources)
    return {
      unchanged: [...unchanged, ...(consents.unchanged ?? [])],
      puts: [...puts, ...(consents.puts ?? [])],
    }
  })
  return redirect(codeLocation(server, request, code))
}

/** Ends the interaction with the person's refusal. */
export const deny = async (server: ServerContext, open: OpenAuthorization): Promise<Reply> => {
  const { request, id } = open.value
  await readClient(server, request)
  const location = errorLocation(server, request, 'access_denied', 'the person declined')
  await advance(server, open, { finished: { location, at: open.now }, upstream: undefined })
  server.audit({ type: 'consent.denied', clientId: request.clientId, interaction: id })
  return redirect(location)
}

// A second click.
const sameAnswerFor = 10_000

/**
 * The answer of an interaction that has ended, for whoever sends a form again or comes back to a page. The same code is given again only while
 * the client has not redeemed it: presented twice later it would look stolen, and cost the person the session.
 */
export const answerFinished = async (server: ServerContext, open: OpenInteraction): Promise<Reply | undefined> => {
  const { value, now } = open
  const { finished } = value
  if (!finished) return undefined
  if (!isOfClient(open)) return redirect(finished.location)
  if (finished.grant === undefined) {
    if (now - finished.at <= sameAnswerFor) return redirect(finished.location)
  } else {
    const read = await server.records.get(grantRef(finished.grant))
    const [stored] = read.values
    const code = isAuthorization(stored) ? stored.value.code : undefined
    if (code && !code.redeemed && code.expiresAt > read.now) return redirect(finished.location)
  }
  refused(server, 'interaction: it was answered before', {
    interaction: value.id,
    clientId: open.value.request.clientId,
  })
  throw new PageProblem('interaction_answered', 409)
}
