import type { AccessTokenFacts, UpstreamFacts } from '../identity/access-token.ts'
import { type Actor, readActor, sameActor } from '../identity/actor.ts'
import { TokenInvalid } from '../identity/verifier.ts'
import { jwtBearerGrantType } from '../oauth/assertion.ts'
import { looksLikeClientIdUrl } from '../oauth/client-id-metadata.ts'
import { type WorkloadStatement, workloadRef } from '../records/assertion.ts'
import { type Client, clientRef } from '../records/client.ts'
import { actorOf, type ExchangeGrant, type Grant, grantRef } from '../records/grant.ts'
import type { Stored } from '../records/records.ts'
import { revokedTokenRef } from '../records/revocation.ts'
import type { ServerContext } from './context.ts'
import { knownClient } from './known-client.ts'
import type { SignedAccessToken } from './signed-access-token.ts'
import { permittedScopes } from './target.ts'
import { checkStanding, type FreshFor } from './upstream-standing.ts'
import { clientOfWorkload } from './workload-assertion.ts'

export interface Identified {
  /** What is known of whom a token is from, but for the token itself and where it was presented. */
  readonly facts: Omit<AccessTokenFacts, 'token' | 'resource'>
  /** Absent from a client's own token. */
  readonly grant?: Grant
  /** What ends the token when it is revoked: its grant, and all that this one descends from; or the token itself. */
  readonly standsOn: readonly string[]
  readonly freshFor?: FreshFor
  /** The client that may act for the person now, whatever was so when the token was signed. */
  readonly mayAct?: string
}

/**
 * What the store says of a token that was signed by us: whether it still lives, and what is newer there than in the token.
 * @throws TokenInvalid, StoreUnavailable, VerifierUnavailable
 */
export const identify = (server: ServerContext, signed: SignedAccessToken): Promise<Identified> =>
  signed.grant === undefined ? identifyClient(server, signed) : identifyUser(server, signed, signed.grant)

const identifyUser = async (server: ServerContext, signed: SignedAccessToken, id: string): Promise<Identified> => {
  const { issuer, subject, clientId, scopes, expiresAt, claims } = signed
  const [stored, client] = (await server.records.get(grantRef(id), clientRef(clientId))).values
  if (!stored) throw new TokenInvalid('revoked')
  const grant = stored.value
  const granted = grant.resources[signed.resource]
  if (grant.issuer !== issuer || grant.subject !== subject || grant.clientId !== clientId || !granted) {
    throw new TokenInvalid('claims')
  }
  if (!mayLive(server, clientId, client)) throw new TokenInvalid('revoked')
  if (grant.kind === 'exchange' && !mayExchange(server, clientId, client)) throw new TokenInvalid('revoked')
  const actor = actorOf(grant)
  if (!sameActor(actor, actorIn(signed))) throw new TokenInvalid('claims')
  const standsOn = await livingChain(server, grant)
  const identified = await server.custody.identity(grant.upstreamSession)
  if (identified === 'schema') throw new TokenInvalid('schema')
  if (identified === 'gone') throw new TokenInvalid('revoked')
  const freshFor = await checkStanding(server, identified)
  const mayAct = knownClient(server, clientId, client)?.value.mayAct
  return {
    facts: {
      kind: 'user',
      issuer,
      subject,
      clientId,
      actor,
      scopes: permittedScopes(
        server,
        { resource: signed.resource, scopes: scopes.filter((scope) => granted.includes(scope)) },
        identified.scopes,
      ),
      expiresAt,
      claims,
      upstream: identified.facts,
    },
    grant,
    standsOn,
    ...(freshFor === undefined ? {} : { freshFor }),
    ...(mayAct === undefined ? {} : { mayAct }),
  }
}

/** @throws TokenInvalid for an `act` that is no chain: without it the token would seem to be the person's own */
const actorIn = ({ claims: { act }, issuer }: SignedAccessToken): Actor | undefined => {
  if (act === undefined) return undefined
  const actor = readActor(act, issuer)
  if (!actor) throw new TokenInvalid('claims')
  return actor
}

/**
 * The grants that must live for this one to. Nothing is written to children when a grant ends: they look for it.
 * @throws TokenInvalid where one has ended, or one of their clients has
 */
const livingChain = async ({ records, ...server }: ServerContext, grant: Grant): Promise<readonly string[]> => {
  if (grant.kind !== 'exchange') return [grant.id]
  const [ancestors, clients] = await Promise.all([
    records.get(...grant.ancestors.map(grantRef)),
    records.get(...grant.clients.map(clientRef)),
  ])
  const clientsById = new Map(grant.clients.map((id, index) => [id, clients.values[index]]))
  if (!chainLives(server, grant, ancestors.values, clientsById)) throw new TokenInvalid('revoked')
  return [...grant.ancestors, grant.id]
}

/** Whether a child may live, of a client that may exchange: all that it descends from must be there, and may be the client's that it is. */
export const chainLives = (
  server: Pick<ServerContext, 'configuredClients'>,
  { clientId, clients }: ExchangeGrant,
  ancestors: readonly (Stored<Grant> | undefined)[],
  clientsById: ReadonlyMap<string, Stored<Client> | undefined>,
): boolean =>
  ancestors.every(
    (ancestor) =>
      ancestor !== undefined &&
      (ancestor.value.kind !== 'exchange' ||
        ancestor.value.clientId === clientId ||
        mayExchange(server, ancestor.value.clientId, clientsById.get(ancestor.value.clientId))),
  ) && clients.every((id) => mayLive(server, id, clientsById.get(id)))

/** Whether a client may exchange now, whatever it might when the token was signed. */
export const mayExchange = (
  server: Pick<ServerContext, 'configuredClients'>,
  clientId: string,
  stored: Stored<Client> | undefined,
): boolean => knownClient(server, clientId, stored)?.value.exchange !== undefined

/** A client that was deleted takes its tokens with it. The copy of a metadata document may go before the grants do: it says nothing. */
export const mayLive = (
  server: Pick<ServerContext, 'configuredClients'>,
  clientId: string,
  stored: Stored<Client> | undefined,
): boolean => looksLikeClientIdUrl(clientId) || knownClient(server, clientId, stored) !== undefined

/** What a client has for itself now, not what it had when the token was signed. */
const identifyClient = async (server: ServerContext, signed: SignedAccessToken): Promise<Identified> => {
  const { id, issuer, subject, clientId, resource, scopes, expiresAt, claims } = signed
  const records = server.records.get(clientRef(clientId), revokedTokenRef(id), workloadRef(id))
  const [stored, revoked, workload] = (await records).values
  const client = knownClient(server, clientId, stored)?.value
  const isWorkload = claims.upstream_provider !== undefined
  const granted = client?.grantTypes.includes(isWorkload ? jwtBearerGrantType : 'client_credentials')
    ? client.scopes?.[resource]
    : undefined
  if (claims.act !== undefined) throw new TokenInvalid('claims')
  if (!granted || revoked) throw new TokenInvalid('revoked')
  const upstream = isWorkload ? await identifyWorkload(server, clientId, workload?.value) : undefined
  return {
    facts: {
      kind: 'client',
      issuer,
      subject,
      clientId,
      scopes: scopes.filter((scope) => granted.includes(scope)),
      expiresAt,
      claims,
      ...(upstream && { upstream }),
    },
    standsOn: [id],
  }
}

/** What its platform said, while the configuration still takes it for this client's. */
const identifyWorkload = async (
  server: ServerContext,
  clientId: string,
  statement: WorkloadStatement | undefined,
): Promise<UpstreamFacts> => {
  const issuer = statement && server.assertions?.issuers.get(statement.issuer)
  if (!statement || issuer?.kind !== 'workload') throw new TokenInvalid('revoked')
  const claims = await server.custody.claimsOf(statement.provider, statement)
  if (claims === 'schema') throw new TokenInvalid('schema')
  if (claims === 'gone' || clientOfWorkload(issuer, statement.subject, claims) !== clientId) {
    throw new TokenInvalid('revoked')
  }
  return { provider: statement.provider, issuer: statement.issuer, subject: statement.subject, claims }
}
