import { consentRef } from '../records/consent.ts'
import { grantRef, isAuthorization } from '../records/grant.ts'
import type { AuthorizationRequest, ResourceScopes } from '../records/interaction.ts'
import { put } from '../records/records.ts'
import { StoreUnavailable } from '../store/store.ts'
import type { Somebody } from './account-label.ts'
import { codeLocation, errorLocation } from './authorization-response.ts'
import type { ServerContext } from './context.ts'
import { issueCode } from './grants.ts'
import { advance, type InteractionChange, type OpenInteraction } from './interaction.ts'
import { PageProblem, type Reply, redirect } from './pages.ts'
import { refused } from './refusal.ts'

/** What a person allows a client, remembered for each resource: it accumulates. */
const rememberConsents = async (
  server: ServerContext,
  request: AuthorizationRequest,
  account: string,
  resources: ResourceScopes,
): Promise<void> => {
  for (const [resource, scopes] of Object.entries(resources)) {
    await rememberConsent(server, request, account, resource, scopes)
  }
}

const rememberConsent = async (
  { records }: ServerContext,
  { clientId, redirectHost }: AuthorizationRequest,
  account: string,
  resource: string,
  scopes: readonly string[],
): Promise<void> => {
  const ref = consentRef(account, clientId, redirectHost, resource)
  for (let attempt = 0; attempt < 10; attempt++) {
    const { values, now } = await records.get(ref)
    const [before] = values
    const all = [...new Set([...(before?.value.scopes ?? []), ...scopes])]
    const consent = {
      account,
      clientId,
      redirectHost,
      resource,
      scopes: all,
      createdAt: before?.value.createdAt ?? now,
      updatedAt: now,
    }
    const result = await records.commit({ unchanged: [before ?? ref], puts: [put(ref, consent)] })
    if (result.committed) return
  }
  throw new StoreUnavailable('a consent changed again and again')
}

/** What this account allowed this client before, of the resources that are asked for; those without a consent are left out. */
export const rememberedScopes = async (
  server: ServerContext,
  { clientId, redirectHost, resources }: AuthorizationRequest,
  account: string,
): Promise<ResourceScopes> => {
  const names = Object.keys(resources)
  const { values } = await server.records.get(...names.map((name) => consentRef(account, clientId, redirectHost, name)))
  return Object.fromEntries(values.flatMap((stored) => (stored ? [[stored.value.resource, stored.value.scopes]] : [])))
}

/** Issues a code without asking, on the ground of what the person allowed before. */
export const grantAgain = async (
  server: ServerContext,
  request: AuthorizationRequest,
  { account, upstreamSession, authTime }: Somebody,
): Promise<Reply> => {
  const { clientId, resources } = request
  const { code } = await issueCode(server, { request, account, upstreamSession, authTime, resources })
  server.audit({ type: 'consent.approved', clientId, resources, remembered: true })
  return redirect(codeLocation(server, request, code))
}

/**
 * Issues the code and ends the interaction, once: of two requests that get here together one ends it, and the other gets the same answer.
 * The loser's grant is never told to anybody, and ends with its code.
 */
export const finish = async (
  server: ServerContext,
  open: OpenInteraction,
  resources: ResourceScopes,
  { account, upstreamSession, authTime }: Somebody,
  change: InteractionChange = {},
): Promise<Reply> => {
  const { request } = open.value
  await rememberConsents(server, request, account.id, resources)
  const { code, grant } = await issueCode(server, { request, account, upstreamSession, authTime, resources })
  const location = codeLocation(server, request, code)
  await advance(server, open, {
    ...change,
    finished: { location, grant, at: open.now },
    upstream: undefined,
    signedIn: { account: account.id, upstreamSession, authTime },
  })
  return redirect(location)
}

/** Ends the interaction with the person's refusal. */
export const deny = async (server: ServerContext, open: OpenInteraction): Promise<Reply> => {
  const { request, id } = open.value
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
export const answerFinished = async (
  server: ServerContext,
  { value, now }: OpenInteraction,
): Promise<Reply | undefined> => {
  const { finished } = value
  if (!finished) return undefined
  if (finished.grant === undefined) {
    if (now - finished.at <= sameAnswerFor) return redirect(finished.location)
  } else {
    const read = await server.records.get(grantRef(finished.grant))
    const [stored] = read.values
    const code = isAuthorization(stored) ? stored.value.code : undefined
    if (code && !code.redeemed && code.expiresAt > read.now) return redirect(finished.location)
  }
  refused(server, 'interaction: it was answered before', { interaction: value.id, clientId: value.request.clientId })
  throw new PageProblem('interaction_answered', 409)
}
