import { readClientCredentials } from '../oauth/client-authentication.ts'
import { OAuthError } from '../oauth/errors.ts'
import { readForm } from '../oauth/parameters.ts'
import { put } from '../records/records.ts'
import { revokedTokenRef } from '../records/revocation.ts'
import { authenticateClient, candidateRefs, claimedClientId } from './client-authentication.ts'
import type { Arrival, ServerContext } from './context.ts'
import { answerMachine } from './endpoint.ts'
import { describedClients, isUndescribed } from './find-client.ts'
import { revokeGrant } from './grants.ts'
import { findPresented, readToken } from './presented-token.ts'
import { commitRevocation } from './revocations.ts'
import type { SignedAccessToken } from './signed-access-token.ts'

const maximumBody = 65_536

/**
 * Ends the grant of an access token or of a refresh token; of a client's own token, that token. What is no token of ours, or none any more, is answered like one that was.
 * @see RFC 7009
 */
export const revokeEndpoint = (server: ServerContext, request: Request, arrival: Arrival = {}): Promise<Response> =>
  answerMachine(server, request, 'revoke', async () => {
    const about: { clientId?: string } = {}
    try {
      await revoke(server, request, arrival, about)
      return {}
    } catch (error) {
      if (error instanceof OAuthError && error.status < 500) {
        server.audit({ type: 'revocation.refused', reason: error.reason, ...about })
      }
      throw error
    }
  })

const revoke = async (
  server: ServerContext,
  request: Request,
  arrival: Arrival,
  about: { clientId?: string },
): Promise<void> => {
  const form = await readForm(request, maximumBody)
  const authorization = request.headers.get('authorization')
  const credentials = readClientCredentials(authorization, form)
  about.clientId = claimedClientId(credentials)
  const read = await server.records.get(...candidateRefs(credentials))
  const token = await findPresented(server, readToken(form))
  const grant = token?.grant
  const clients = await describedClients(server, credentials, read.values, read.now, grant?.value.clientId)
  if (!grant && isUndescribed(server, credentials, clients)) return
  const { client } = await authenticateClient(server, credentials, clients, authorization, read.now, {
    ...arrival,
    grantOf: grant?.value.clientId,
  })
  const issuedTo = grant?.value.clientId ?? (token?.kind === 'access' ? token.signed.clientId : undefined)
  if (issuedTo !== undefined && issuedTo !== client.value.id) {
    throw new OAuthError('invalid_grant', 'the token was issued to another client', { reason: 'other_client' })
  }
  if (grant) await revokeGrant(server, grant, 'client')
  else if (token?.kind === 'access') await revokeClientToken(server, token.signed, read.now)
}

/** A client's own token has no grant that could end: it alone does. */
const revokeClientToken = async (
  server: ServerContext,
  { id, grant, clientId, expiresAt }: SignedAccessToken,
  now: number,
): Promise<void> => {
  const left = expiresAt * 1000 - now
  if (grant !== undefined || left <= 0) return
  await commitRevocation(server, id, now, { puts: [put(revokedTokenRef(id), {}, left + margin)] })
  server.audit({ type: 'client.token_revoked', clientId })
}

/** Clocks differ. Milliseconds. */
const margin = 60_000
