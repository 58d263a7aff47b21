import { signJwt } from '../crypto/jws.ts'
import type { AccessToken, UpstreamFacts } from '../identity/access-token.ts'
import { boundKeyOf } from '../identity/confirmation.ts'
import type { JsonObject } from '../identity/json.ts'
import { TokenInvalid } from '../identity/verifier.ts'
import { readClientCredentials } from '../oauth/client-authentication.ts'
import { OAuthError } from '../oauth/errors.ts'
import { signedIntrospectionMediaType, signedIntrospectionType } from '../oauth/introspection.ts'
import { prefers } from '../oauth/media-type.ts'
import { readForm } from '../oauth/parameters.ts'
import { formatScope } from '../oauth/scope.ts'
import { decideRefresh } from '../policy/refresh.ts'
import { type Client, clientRef } from '../records/client.ts'
import type { AuthorizationGrant } from '../records/grant.ts'
import { authenticateAlone, claimedClientId } from './client-authentication.ts'
import type { Arrival, ServingContext } from './context.ts'
import { type Answer, answerMachine } from './endpoint.ts'
import { grantLife } from './grant-types/refresh-state.ts'
import { mayLive } from './identify.ts'
import { findRefreshToken, looksLikeRefreshToken, readToken } from './presented-token.ts'
import type { RefreshToken } from './tokens.ts'

const maximumBody = 65_536

/**
 * Tells a resource server what a token says now. Only to who authenticates, and only of tokens for the resources that it serves; of all
 * others it learns nothing, not even that they are good.
 * @see RFC 7662, RFC 9701
 */
export const introspectEndpoint = (
  server: ServingContext,
  request: Request,
  arrival: Arrival = {},
): Promise<Response> =>
  answerMachine(server, request, 'introspect', async () => {
    const about: { clientId?: string } = {}
    try {
      return await introspect(server, request, arrival, about)
    } catch (error) {
      if (error instanceof OAuthError && error.status < 500) {
        server.audit({ type: 'introspection.refused', reason: error.reason, ...about })
      }
      throw error
    }
  })

/** What is said of a token; `text` is its JSON. */
interface Said {
  readonly answer: JsonObject
  readonly text: string
}

const said = (answer: JsonObject): Said => ({ answer, text: JSON.stringify(answer) })

const inactive = said({ active: false })

const introspect = async (
  server: ServingContext,
  request: Request,
  arrival: Arrival,
  about: { clientId?: string },
): Promise<Answer> => {
  const form = await readForm(request, maximumBody)
  const authorization = request.headers.get('authorization')
  const credentials = readClientCredentials(authorization, form)
  about.clientId = claimedClientId(credentials)
  const { client, authentication } = await authenticateAlone(server, credentials, authorization, arrival)
  if (authentication === 'none' || !client.value.introspects?.length) {
    throw new OAuthError('unauthorized_client', 'this client is not registered for introspection', { status: 403 })
  }
  const { answer, text } = await describe(server, client.value, readToken(form))
  if (!prefers(request.headers.get('accept'), signedIntrospectionMediaType, 'application/json')) {
    return { body: text }
  }
  return {
    body: await signed(server, client.value.id, answer),
    headers: { 'Content-Type': signedIntrospectionMediaType },
  }
}

const describe = async (server: ServingContext, client: Client, text: string): Promise<Said> => {
  if (!looksLikeRefreshToken(text)) return describeAccessToken(server, client, text)
  const found = await findRefreshToken(server, text)
  return found ? describeRefreshToken(server, client, found.token, found.grant.value, found.now) : inactive
}

/** What was said, for whom and when. Neither `sub` nor `exp` stands beside it, so that it is no token. @see RFC 9701 §5 */
const signed = async (
  { keys, issuer, records, verifier }: ServingContext,
  clientId: string,
  answer: JsonObject,
): Promise<string> => {
  const now = verifier.storeTime() ?? (await records.get()).now
  return signJwt(keys.signingKey(), signedIntrospectionType, {
    iss: issuer,
    aud: clientId,
    iat: Math.floor(now / 1000),
    token_introspection: answer,
  })
}

const serves = ({ introspects = [] }: Client, resource: string): boolean => introspects.includes(resource)

const describeAccessToken = async ({ verifier }: ServingContext, client: Client, text: string): Promise<Said> => {
  try {
    return saidOf(await verifier.inspect(text, (resource) => serves(client, resource)))
  } catch (error) {
    if (error instanceof TokenInvalid) return inactive
    throw error
  }
}

/** The same for everybody who may ask, as long as the token is remembered as it is. */
const saidOf = (token: AccessToken): Said => {
  const known = saidBefore.get(token)
  if (known) return known
  const now = said(answerFor(token))
  saidBefore.set(token, now)
  return now
}

const saidBefore = new WeakMap<AccessToken, Said>()

/** The token's own facts, and what is newer in the store over them. */
const answerFor = ({
  claims: { upstream_claims_omitted: _shorter, ...claims },
  scopes,
  upstream,
}: AccessToken): JsonObject => ({
  ...claims,
  active: true,
  token_type: boundKeyOf(claims) === undefined ? 'Bearer' : 'DPoP',
  scope: formatScope(scopes),
  ...(upstream ? { upstream_provider: upstream.provider, upstream_claims: claimsOf(upstream) } : {}),
})

/** All of them, as a handler behind our own gate gets them: who asks is a server of ours, and the client doesn't read this. */
const claimsOf = ({ claims, issuer, subject }: Pick<UpstreamFacts, 'claims' | 'issuer' | 'subject'>): JsonObject => ({
  ...claims,
  iss: issuer,
  sub: subject,
})

/**
 * Its audience is this server alone: a resource server that takes whatever is active must not take a refresh token for an access token.
 */
const describeRefreshToken = async (
  server: ServingContext,
  client: Client,
  { generation }: RefreshToken,
  grant: AuthorizationGrant,
  now: number,
): Promise<Said> => {
  const scopes = Object.entries(grant.resources).filter(([resource]) => serves(client, resource))
  if (scopes.length === 0 || !grant.refresh || grant.expiresAt <= now) return inactive
  const graceMs = server.lifetimes.refreshGrace * 1000
  const { kind } = decideRefresh({ ...grant.refresh, now, presented: generation, graceMs })
  if (kind === 'replay' || kind === 'ahead') return inactive
  const [stored] = (await server.records.get(clientRef(grant.clientId))).values
  const identified = await server.custody.identity(grant.upstreamSession)
  if (!mayLive(server, grant.clientId, stored) || typeof identified === 'string') return inactive
  const { usedAt } = grant.refresh
  return said({
    active: true,
    token_type: 'refresh_token',
    iss: grant.issuer,
    sub: grant.subject,
    client_id: grant.clientId,
    aud: grant.issuer,
    scope: formatScope([...new Set(scopes.flatMap(([, granted]) => granted))]),
    exp: Math.floor((usedAt + grantLife(server, grant, usedAt)) / 1000),
    auth_time: grant.authTime,
    grant_id: grant.id,
    ...(grant.jkt === undefined ? {} : { cnf: { jkt: grant.jkt } }),
    upstream_provider: identified.facts.provider,
    upstream_claims: claimsOf(identified.facts),
  })
}
