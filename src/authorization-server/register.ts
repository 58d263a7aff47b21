import { hashSecret, matchesSecret } from '../crypto/hash.ts'
import type { ClientMetadata } from '../oauth/client-metadata.ts'
import { OAuthError } from '../oauth/errors.ts'
import { readJson } from '../oauth/parameters.ts'
import { type Client, clientRef } from '../records/client.ts'
import { put } from '../records/records.ts'
import { StoreUnavailable } from '../store/store.ts'
import { newClientId } from './client-id.ts'
import type { Arrival, ServerContext } from './context.ts'
import { type Answer, answerMachine } from './endpoint.ts'
import { bearerOf, invalidToken, manageRegistration } from './manage-registration.ts'
import { needsSecret, readRegistration, registered, registrationResponse } from './registration.ts'
import { countRegistration } from './registration-limit.ts'
import { newSecret } from './tokens.ts'

const maximumBody = 65_536

/** Dynamic client registration; and, with a client's id, the management of one. @see RFC 7591 §3, RFC 7592 §2 */
export const registerEndpoint = (server: ServerContext, request: Request, arrival: Arrival = {}): Promise<Response> =>
  answerMachine(server, request, 'register', async () => {
    try {
      return request.method === 'POST'
        ? await register(server, request, arrival)
        : await manageRegistration(server, request, arrival)
    } catch (error) {
      if (error instanceof OAuthError && error.status < 500) {
        const from = arrival.address === undefined ? {} : { address: arrival.address }
        server.audit({ type: 'client.refused', reason: error.reason, ...from })
      }
      throw error
    }
  })

const register = async (server: ServerContext, request: Request, { address }: Arrival): Promise<Answer> => {
  checkInitialAccess(server, request)
  const body = await readJson(request, maximumBody, 'invalid_client_metadata')
  const metadata = readRegistration(server, body)
  await countRegistration(server, address)
  return { status: 201, body: await write(server, metadata) }
}

/** @see RFC 7591 §3 */
const checkInitialAccess = ({ registration }: ServerContext, request: Request): void => {
  const { initialAccessTokens: hashes } = registration
  if (!hashes) return
  const token = bearerOf(request)
  if (token === undefined) throw invalidToken('no_initial_access_token')
  // All are compared, so that the time says nothing of which one was near.
  if (!hashes.map((hash) => matchesSecret(token, hash)).includes(true)) throw invalidToken('wrong_initial_access_token')
}

/** Writes a client that nobody has used yet: it is forgotten soon, unless it is. */
const write = async (server: ServerContext, metadata: ClientMetadata): Promise<object> => {
  const { records, random, lifetimes } = server
  const id = newClientId(random)
  const secret = needsSecret(metadata) ? `cs_cs_${newSecret(random)}` : undefined
  const token = `cs_ra_${newSecret(random)}`
  const ref = clientRef(id)
  const { now } = await records.get(ref)
  const life = lifetimes.unusedClient * 1000
  const client: Client = {
    id,
    source: 'dynamic',
    ...registered(metadata, secret === undefined ? undefined : hashSecret(secret)),
    management: { hash: hashSecret(token) },
    createdAt: now,
    expiresAt: now + life,
  }
  const { committed } = await records.commit({ unchanged: [ref], puts: [put(ref, client, life)] })
  if (!committed) throw new StoreUnavailable('the new client was not written')
  server.audit({
    type: 'client.registered',
    clientId: id,
    ...(client.name === undefined ? {} : { name: client.name }),
    redirectHosts: metadata.redirectUris.map(({ host }) => host),
  })
  return registrationResponse(server, client, token, secret)
}
