import type { ClientCredentials } from '../oauth/client-authentication.ts'
import { looksLikeClientIdUrl } from '../oauth/client-id-metadata.ts'
import { OAuthError } from '../oauth/errors.ts'
import { type Client, clientRef } from '../records/client.ts'
import type { Stored } from '../records/records.ts'
import type { Arrival, ServerContext } from './context.ts'
import { countFetch, countFetchAgain } from './fetch-limit.ts'
import { type KnownClient, knownClient } from './known-client.ts'
import { PageProblem } from './pages.ts'
import { refused } from './refusal.ts'

/**
 * The client that sends a person here.
 * @throws PageProblem where there is none
 */
export const findClient = async (server: ServerContext, id: string, arrival: Arrival): Promise<Client> => {
  const configured = server.configuredClients.get(id)
  if (configured) return configured
  const { values, now } = await server.records.get(clientRef(id))
  const [stored] = values
  if (!looksLikeClientIdUrl(id) || !server.clientMetadataDocuments) {
    if (stored && stored.value.source !== 'document') return stored.value
    refused(server, 'unknown client', { clientId: id.slice(0, 256) })
    throw new PageProblem('client_unknown', 400)
  }
  const resolved = await server.clientMetadataDocuments.resolve(id, stored, now, {
    beforeFetch: (known) => limitFetches(server, arrival, known),
  })
  if (resolved.kind === 'client') return resolved.client.value
  refused(server, `${resolved.kind}: ${resolved.reason}`, { clientId: id.slice(0, 256) })
  switch (resolved.kind) {
    case 'refused':
      throw new PageProblem('client_unknown', 400)
    case 'unreachable':
      throw new PageProblem('client_document_unreachable', 503, { retryAfter: 30 })
    default:
      throw new PageProblem('client_document_refused', 400)
  }
}

const limitFetches = async (server: ServerContext, arrival: Arrival, known: boolean): Promise<void> => {
  const retryAfter = await (known ? countFetchAgain : countFetch)(server, arrival)
  if (retryAfter === undefined) return
  refused(server, 'too many client metadata documents from one address')
  throw new PageProblem('too_many_requests', 429, { retryAfter })
}

type Candidates = readonly (KnownClient | undefined)[]

/**
 * The candidates as the configuration or their metadata documents describe them now. Registered clients are passed through as they were read. A
 * document is fetched only for the client of `ofGrant`: who has no grant can't make us ask anybody. Else our copy must do, however old.
 * @param clients what was read for the credentials' candidates, at `now`
 * @throws OAuthError `temporarily_unavailable` where a document can't be reached and no copy is good any more
 */
export const describedClients = async (
  server: ServerContext,
  { candidates }: ClientCredentials,
  clients: readonly (Stored<Client> | undefined)[],
  now: number,
  ofGrant: string | undefined,
): Promise<Candidates> => {
  if (!candidates.some(({ clientId }) => looksLikeClientIdUrl(clientId))) {
    return candidates.map(({ clientId }, index) => knownClient(server, clientId, clients[index]))
  }
  return Promise.all(
    candidates.map(async ({ clientId }, index) => {
      const stored = clients[index]
      if (!looksLikeClientIdUrl(clientId)) return knownClient(server, clientId, stored)
      if (!server.clientMetadataDocuments) return stored?.value.source === 'document' ? undefined : stored
      if (clientId !== ofGrant) return stored
      const resolved = await server.clientMetadataDocuments.resolve(clientId, stored, now, { lastGoodCopy: true })
      if (resolved.kind === 'client') return resolved.client
      if (resolved.kind !== 'unreachable') return undefined
      throw new OAuthError('temporarily_unavailable', 'the metadata document of the client can not be reached now', {
        reason: resolved.reason,
      })
    }),
  )
}

/**
 * Whether the credentials name a metadata document of which we have no copy (any more), and no other client. Without a grant there is nothing that
 * it would be fetched for.
 */
export const isUndescribed = (
  { clientMetadataDocuments }: ServerContext,
  { candidates }: ClientCredentials,
  clients: Candidates,
): boolean =>
  clientMetadataDocuments !== undefined &&
  candidates.some(({ clientId }) => looksLikeClientIdUrl(clientId)) &&
  !clients.some(Boolean)
