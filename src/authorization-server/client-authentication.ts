import { base64url } from '../crypto/bytes.ts'
import { matchesSecret } from '../crypto/hash.ts'
import { type ClientCredentials, invalidClient } from '../oauth/client-authentication.ts'
import { type Client, clientRef } from '../records/client.ts'
import type { Ref } from '../records/records.ts'
import { verifyClientAssertion } from './client-assertion.ts'
import type { Arrival, ClientArrival, ServerContext } from './context.ts'
import { describedClients } from './find-client.ts'
import type { KnownClient } from './known-client.ts'

export interface AuthenticatedClient {
  readonly client: KnownClient
  readonly authentication: Authentication
}

const strengths = ['none', 'secret', 'key'] as const
export type Authentication = (typeof strengths)[number]

/** Whether a client shows less than it did before. */
export const isWeaker = (now: Authentication, before: Authentication | undefined): boolean =>
  before !== undefined && strengths.indexOf(now) < strengths.indexOf(before)

/** Where the clients are that the credentials may mean: one for each candidate, to be read in one go. */
export const candidateRefs = (credentials: ClientCredentials): Ref<Client>[] =>
  credentials.candidates.map(({ clientId }) => clientRef(clientId))

/** The candidates, where the configuration has them all: then the store need not be asked. It must be for an assertion, which is used up there. */
export const configuredCandidates = (
  { configuredClients }: Pick<ServerContext, 'configuredClients'>,
  { candidates, assertion }: ClientCredentials,
): readonly KnownClient[] | undefined => {
  if (assertion !== undefined) return undefined
  const clients: KnownClient[] = []
  for (const { clientId } of candidates) {
    const value = configuredClients.get(clientId)
    if (!value) return undefined
    clients.push({ value })
  }
  return clients
}

/**
 * The client that the credentials prove, where nothing else decides that is stored. Whom the configuration has costs no store.
 * @throws as `authenticateClient`; StoreUnavailable
 */
export const authenticateAlone = async (
  server: ServerContext,
  credentials: ClientCredentials,
  authorization: string | null,
  arrival: Arrival,
): Promise<AuthenticatedClient> => {
  const configured = configuredCandidates(server, credentials)
  if (configured) return authenticateBySecret(credentials, configured, authorization)
  const { values, now } = await server.records.get(...candidateRefs(credentials))
  const clients = await describedClients(server, credentials, values, now, undefined)
  return authenticateClient(server, credentials, clients, authorization, now, arrival)
}

/**
 * The client that the credentials prove, of those that were read for `candidateRefs`.
 * @param now the store's clock
 * @throws OAuthError `invalid_client`; `temporarily_unavailable` where its keys can't be had
 * @see RFC 6749 §2.3
 */
export const authenticateClient = async (
  server: ServerContext,
  credentials: ClientCredentials,
  clients: readonly (KnownClient | undefined)[],
  authorization: string | null,
  now: number,
  arrival: ClientArrival,
): Promise<AuthenticatedClient> => {
  if (credentials.assertion === undefined) return authenticateBySecret(credentials, clients, authorization)
  const [client] = clients
  if (!client) throw invalidClient(authorization, 'unknown_client')
  await verifyClientAssertion(server, client.value, credentials.assertion, now, arrival)
  return { client, authentication: 'key' }
}

/** A client with a secret must show it; one without has none to show. Which of the two ways a secret is sent is the client's choice. */
const authenticateBySecret = (
  credentials: ClientCredentials,
  clients: readonly (KnownClient | undefined)[],
  authorization: string | null,
): AuthenticatedClient => {
  for (const [index, { secret }] of credentials.candidates.entries()) {
    const client = clients[index]
    // Each candidate costs the same, whether there is such a client or not; who has proven itself learns nothing by the time.
    const proven = secret === undefined ? client?.value.authentication === 'none' : knowsSecret(client?.value, secret)
    if (client && proven) {
      return { client, authentication: client.value.authentication === 'none' ? 'none' : 'secret' }
    }
  }
  throw invalidClient(authorization, clients.some(Boolean) ? 'wrong_client_secret' : 'unknown_client')
}

const knowsSecret = (client: Client | undefined, secret: string): boolean =>
  matchesSecret(secret, client?.secretHash ?? decoyHash)

/** Nobody knows a secret with this hash. */
const decoyHash = base64url(new Uint8Array(32))

/** As an operator finds it in the audit log: what was claimed, not what was proven. */
export const claimedClientId = (credentials: ClientCredentials): string =>
  credentials.candidates[0].clientId.slice(0, 256)
