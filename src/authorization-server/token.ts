import { jwtBearerGrantType } from '../oauth/assertion.ts'
import { type ClientCredentials, invalidClient, readClientCredentials } from '../oauth/client-authentication.ts'
import { OAuthError } from '../oauth/errors.ts'
import { readForm, readParameters } from '../oauth/parameters.ts'
import { tokenExchangeGrantType } from '../oauth/token-exchange.ts'
import type { Client } from '../records/client.ts'
import { grantRef } from '../records/grant.ts'
import type { Stored } from '../records/records.ts'
import { upstreamSessionRef } from '../records/upstream-session.ts'
import {
  type AuthenticatedClient,
  authenticateClient,
  candidateRefs,
  claimedClientId,
  configuredCandidates,
} from './client-authentication.ts'
import { countRequest } from './client-limit.ts'
import type { Arrival, ServerContext, ServingContext } from './context.ts'
import { nextNonce, readProof, useProof } from './dpop.ts'
import { type Answer, answerMachine } from './endpoint.ts'
import { describedClients, isUndescribed } from './find-client.ts'
import { authorizationCode } from './grant-types/authorization-code.ts'
import { clientCredentials } from './grant-types/client-credentials.ts'
import { AuditedRefusal, type GrantType, invalidGrant, type Presented } from './grant-types/grant-type.ts'
import { jwtBearer } from './grant-types/jwt-bearer.ts'
import { refreshToken } from './grant-types/refresh-token.ts'
import { tokenExchange } from './grant-types/token-exchange.ts'

const grantTypes: ReadonlyMap<string, GrantType> = new Map([
  ['authorization_code', authorizationCode],
  ['refresh_token', refreshToken],
  ['client_credentials', clientCredentials],
  [jwtBearerGrantType, jwtBearer],
  [tokenExchangeGrantType, tokenExchange],
])

const maximumBody = 65_536

/** The token endpoint. @see RFC 6749 §3.2 */
export const tokenEndpoint = (server: ServingContext, request: Request, arrival: Arrival = {}): Promise<Response> =>
  answerMachine(server, request, 'token', () => exchange(server, request, arrival))

const exchange = async (server: ServingContext, request: Request, arrival: Arrival): Promise<Answer> => {
  const about: About = { event: 'token.refused' }
  try {
    return await exchangeAbout(server, request, arrival, about)
  } catch (error) {
    if (error instanceof OAuthError && error.status < 500 && !(error instanceof AuditedRefusal)) {
      const { event: type, clientId, grant } = about
      const facts = { ...(clientId === undefined ? {} : { clientId }), ...(grant === undefined ? {} : { grant }) }
      server.audit({ type, reason: error.reason, ...facts })
    }
    throw error
  }
}

/** What is known of a request, for the audit log, when it is refused. */
interface About {
  event: GrantType['refusal']
  clientId?: string
  grant?: string | undefined
}

const exchangeAbout = async (
  server: ServingContext,
  request: Request,
  arrival: Arrival,
  about: About,
): Promise<Answer> => {
  const form = await readForm(request, maximumBody)
  const { grant_type: name } = readParameters(form, ['grant_type'])
  if (name === undefined) throw new OAuthError('invalid_request', 'grant_type is missing')
  const type = grantTypes.get(name)
  if (!type || type.isServed?.(server) === false) {
    const served = [...grantTypes].filter(([, each]) => each.isServed?.(server) !== false)
    throw new OAuthError('unsupported_grant_type', `use one of ${served.map(([each]) => each).join(', ')}`)
  }
  about.event = type.refusal

  const authorization = request.headers.get('authorization')
  const presented = type.read(form)
  about.grant = presented.grant
  const credentials =
    presented.vouch && isAnonymous(form, authorization) ? undefined : readClientCredentials(authorization, form)
  if (credentials) about.clientId = claimedClientId(credentials)
  const proof = await readProof(server, request, server.endpoints.token)
  const { grant, session, read, now } = await readStored(server, type, presented, credentials)
  const vouched = await presented.vouch?.(server, now)
  if (vouched) about.clientId ??= vouched.clientId
  const authenticated = vouched?.proves
    ? vouchedClient(server, vouched.clientId, credentials)
    : await authenticate(server, {
        credentials,
        read,
        authorization,
        arrival,
        now,
        of: grant?.value.clientId ?? vouched?.clientId,
      })
  if (!authenticated.client.value.grantTypes.includes(name)) {
    throw new OAuthError('unauthorized_client', `this client is not registered for ${name}`)
  }
  if (type.ofClients) await countRequest(server, authenticated)
  const { client, authentication } = authenticated
  if (!proof) return { body: await presented.exchange(server, { client, authentication, grant, session, now }) }
  let used: Promise<void> | undefined
  const use = (): Promise<void> => {
    used ??= useProof(server, proof)
    return used
  }
  const proven = { jkt: proof.jkt, useProof: use }
  const body = await presented.exchange(server, { client, authentication, grant, session, now, ...proven })
  // Where a grant type forgot: nobody is told what a second use got.
  await use()
  return { body, headers: await nextNonce(server, proof) }
}

/**
 * One snapshot for all that is decided here, and the store's clock. Where the request names no grant or session, the key is one that none has; where
 * nothing of it can be in the store, none is asked.
 */
const readStored = async (
  server: ServingContext,
  { byClientAlone }: GrantType,
  presented: Presented,
  credentials: ClientCredentials | undefined,
) => {
  if (byClientAlone && credentials && configuredCandidates(server, credentials)) {
    const now = server.verifier.storeTime()
    if (now !== undefined) return { grant: undefined, session: undefined, read: [], now }
  }
  const {
    values: [grant, session, ...read],
    now,
  } = await server.records.get(
    grantRef(presented.grant ?? ''),
    upstreamSessionRef(presented.session ?? ''),
    ...(credentials ? candidateRefs(credentials) : []),
  )
  return { grant, session, read, now }
}

interface Authenticating {
  readonly credentials: ClientCredentials | undefined
  readonly read: readonly (Stored<Client> | undefined)[]
  readonly authorization: string | null
  readonly arrival: Arrival
  readonly now: number
  /** The client that the request is about, where that is known without its word. */
  readonly of: string | undefined
}

const authenticate = async (
  server: ServerContext,
  { credentials, read, authorization, arrival, now, of }: Authenticating,
): Promise<AuthenticatedClient> => {
  if (!credentials) throw new OAuthError('invalid_request', 'client_id is missing')
  const clients = await describedClients(server, credentials, read, now, of)
  if (of === undefined && isUndescribed(server, credentials, clients)) throw invalidGrant('unknown_or_ended')
  const { address } = arrival
  const facts = address === undefined ? { grantOf: of } : { address, grantOf: of }
  return authenticateClient(server, credentials, clients, authorization, now, facts)
}

/** Nothing in the request says who the client is. */
const isAnonymous = (form: URLSearchParams, authorization: string | null): boolean =>
  !authorization && !['client_id', 'client_secret', 'client_assertion'].some((name) => form.has(name))

/** What is presented proves the client, so that it needs no secret; but if the client says who it is, it must be that one. */
const vouchedClient = (
  { configuredClients }: ServerContext,
  id: string,
  credentials: ClientCredentials | undefined,
): AuthenticatedClient => {
  const value = configuredClients.get(id)
  if (!value) throw invalidClient(null, 'unknown_client')
  if (credentials && (credentials.method !== 'none' || credentials.candidates[0].clientId !== id)) {
    throw invalidClient(null, 'not_the_client_of_the_assertion')
  }
  return { client: { value }, authentication: 'key' }
}
