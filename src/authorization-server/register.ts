import { hashSecret } from '../crypto/hash.ts'
import { type ClientMetadata, clientInformationResponse, parseClientMetadata } from '../oauth/client-metadata.ts'
import { OAuthError } from '../oauth/errors.ts'
import { readJson } from '../oauth/parameters.ts'
import { type Client, clientRef } from '../records/client.ts'
import { put } from '../records/records.ts'
import { StoreUnavailable } from '../store/store.ts'
import { newClientId } from './client-id.ts'
import type { Arrival, ServerContext } from './context.ts'
import { answerMachine } from './endpoint.ts'
import { countRegistration } from './registration-limit.ts'
import { newSecret } from './tokens.ts'

const maximumBody = 65_536

/** Dynamic client registration. @see RFC 7591 §3 */
export const registerEndpoint = (server: ServerContext, request: Request, arrival: Arrival = {}): Promise<Response> =>
  answerMachine(server, request, 'register', async () => {
    try {
      const body = await readJson(request, maximumBody, 'invalid_client_metadata')
      const metadata = parseClientMetadata(body, {
        privateSchemes: server.privateSchemes,
        assertions: server.assertions?.enterprise ?? false,
      })
      checkKeys(server, metadata)
      await countRegistration(server, arrival.address)
      return { status: 201, body: await register(server, metadata) }
    } catch (error) {
      if (error instanceof OAuthError && error.status < 500) {
        const from = arrival.address === undefined ? {} : { address: arrival.address }
        server.audit({ type: 'client.refused', reason: error.reason, ...from })
      }
      throw error
    }
  })

/** Whom strangers may make us ask for keys, the operator's rules for metadata documents say. */
const checkKeys = ({ clientMetadataDocuments }: ServerContext, { keys }: ClientMetadata): void => {
  if (!keys || 'jwks' in keys || clientMetadataDocuments?.mayFetch(keys.jwksUri)) return
  throw new OAuthError('invalid_client_metadata', 'jwks_uri: keys are not fetched from there: send jwks')
}

/** Writes a client that nobody has used yet: it is forgotten soon, unless it is. */
const register = async (server: ServerContext, metadata: ClientMetadata): Promise<object> => {
  const { records, random, lifetimes } = server
  const clientId = newClientId(random)
  const { keys, tokenEndpointAuthMethod: authentication } = metadata
  const clientSecret = authentication.startsWith('client_secret') ? `cs_cs_${newSecret(random)}` : undefined
  const ref = clientRef(clientId)
  const { now } = await records.get(ref)
  const life = lifetimes.unusedClient * 1000
  const client: Client = {
    id: clientId,
    source: 'dynamic',
    ...(metadata.clientName === undefined ? {} : { name: metadata.clientName }),
    ...(metadata.clientUri === undefined ? {} : { uri: metadata.clientUri }),
    redirectUris: metadata.redirectUris.map(({ text }) => text),
    applicationType: metadata.applicationType,
    authentication,
    ...(clientSecret === undefined ? {} : { secretHash: hashSecret(clientSecret) }),
    ...(keys === undefined ? {} : { keys }),
    grantTypes: metadata.grantTypes,
    ...(metadata.dpopBoundAccessTokens ? { dpopBoundAccessTokens: true } : {}),
    createdAt: now,
    expiresAt: now + life,
  }
  const { committed } = await records.commit({ unchanged: [ref], puts: [put(ref, client, life)] })
  if (!committed) throw new StoreUnavailable('the new client was not written')
  server.audit({
    type: 'client.registered',
    clientId,
    ...(client.name === undefined ? {} : { name: client.name }),
    redirectHosts: metadata.redirectUris.map(({ host }) => host),
  })
  return clientInformationResponse({
    clientId,
    ...(clientSecret === undefined ? {} : { clientSecret }),
    issuedAt: Math.floor(now / 1000),
    metadata,
  })
}
