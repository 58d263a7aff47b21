import type { AccessTokenFacts } from '../identity/access-token.ts'
import { TokenInvalid } from '../identity/verifier.ts'
import { looksLikeClientIdUrl } from '../oauth/client-id-metadata.ts'
import { type Client, clientRef } from '../records/client.ts'
import { grantRef } from '../records/grant.ts'
import type { Stored } from '../records/records.ts'
import type { ServerContext } from './context.ts'
import { knownClient } from './known-client.ts'
import type { SignedAccessToken } from './signed-access-token.ts'

/** What is known of whom a token is from, but for the token itself and where it was presented. */
export type Identified = Omit<AccessTokenFacts, 'token' | 'resource'>

/**
 * What the store says of a token that was signed by us: whether it still lives, and what is newer there than in the token.
 * @throws TokenInvalid, StoreUnavailable
 */
export const identify = async (server: ServerContext, signed: SignedAccessToken): Promise<Identified> => {
  const { grant: id, issuer, subject, clientId, scopes, expiresAt, claims } = signed
  const [stored, client] = (await server.records.get(grantRef(id), clientRef(clientId))).values
  if (!stored) throw new TokenInvalid('revoked')
  const grant = stored.value
  const granted = grant.resources[signed.resource]
  if (grant.issuer !== issuer || grant.subject !== subject || grant.clientId !== clientId || !granted) {
    throw new TokenInvalid('claims')
  }
  if (!mayLive(server, clientId, client)) throw new TokenInvalid('revoked')
  const identified = await server.custody.identity(grant.upstreamSession)
  if (identified === 'schema') throw new TokenInvalid('schema')
  if (identified === 'gone') throw new TokenInvalid('revoked')
  return {
    kind: grant.kind,
    issuer,
    subject,
    clientId,
    scopes: scopes.filter((scope) => granted.includes(scope)),
    expiresAt,
    claims,
    upstream: identified.facts,
  }
}

/** A client that was deleted takes its tokens with it. The copy of a metadata document may go before the grants do: it says nothing. */
const mayLive = (server: ServerContext, clientId: string, stored: Stored<Client> | undefined): boolean =>
  looksLikeClientIdUrl(clientId) || knownClient(server, clientId, stored) !== undefined
