import type { JWTPayload } from 'jose'
import { base64url } from '../crypto/bytes.ts'
import { signJwt } from '../crypto/jws.ts'
import type { UpstreamFacts } from '../identity/access-token.ts'
import { writeActor } from '../identity/actor.ts'
import type { Json, JsonObject } from '../identity/json.ts'
import { OAuthError } from '../oauth/errors.ts'
import { formatScope } from '../oauth/scope.ts'
import { actorOf, type Grant } from '../records/grant.ts'
import { setClaim } from '../upstream/claims.ts'
import type { Identified } from '../upstream/custody.ts'
import { clientIdPrefix } from './client-id.ts'
import type { ServerContext } from './context.ts'
import { leaveOutLargest, longestAccessToken } from './fitting-claims.ts'
import { accessTokenLifetime } from './lifetimes.ts'
import { permittedScopes, type Target } from './target.ts'

export const accessTokenType = 'at+jwt'

export interface IssuedAccessToken {
  readonly token: string
  /** Its `jti`. */
  readonly id: string
  readonly scopes: readonly string[]
  /** Seconds. */
  readonly expiresIn: number
  readonly type: 'Bearer' | 'DPoP'
}

/**
 * Signs what a grant says now: a snapshot for verifiers that have no store.
 * @param now the store's clock, milliseconds since the epoch
 * @param jkt thumbprint of the key that the token is bound to
 * @param options.longest what it may live at most, in seconds
 * @param options.mayAct the client that may act for the subject with a token exchange
 * @param options.read the upstream session, where it was read already
 * @throws OAuthError `invalid_grant` where the upstream session no longer says who this is
 * @see RFC 9068 §2.2
 */
export const issueAccessToken = async (
  server: ServerContext,
  grant: Grant,
  target: Target,
  now: number,
  jkt: string | undefined,
  {
    longest = Number.POSITIVE_INFINITY,
    mayAct,
    read,
  }: {
    readonly longest?: number | undefined
    readonly mayAct?: string | undefined
    readonly read?: Pick<Identified, 'session' | 'now'> | undefined
  } = {},
): Promise<IssuedAccessToken> => {
  if (namesClient(server, grant.subject, grant.clientId)) {
    throw new OAuthError('invalid_grant', 'sign in again', { reason: 'subject_is_a_client' })
  }
  const { facts: upstream, scopes: permitted } = await identityOf(server, grant, read)
  const scopes = permittedScopes(server, target, permitted)
  const actor = actorOf(grant)
  const endsAt = Math.min(Math.floor(grant.expiresAt / 1000), Math.floor(now / 1000) + longest)
  const claims: Claims = {
    iss: grant.issuer,
    sub: grant.subject,
    client_id: grant.clientId,
    auth_time: grant.authTime,
    grant_id: grant.id,
  }
  if (actor) claims.act = writeActor(actor)
  // RFC 8693 §4.4
  if (mayAct !== undefined) claims.may_act = { iss: grant.issuer, sub: mayAct, client_id: mayAct }
  setUpstream(claims, server, upstream)
  return sign(server, { resource: target.resource, scopes }, now, endsAt, jkt, claims)
}

/** Filled step by step: every token is made of one, and to put it together of parts takes several times as long. */
type Claims = JWTPayload

const setUpstream = (claims: Claims, { tokenClaims }: ServerContext, upstream: UpstreamFacts): void => {
  claims.upstream_provider = upstream.provider
  claims.upstream_claims = upstreamClaims(upstream, tokenClaims)
}

/**
 * Signs that a client is itself: `sub` names the client. No grant is behind it.
 * @param now the store's clock, milliseconds since the epoch
 * @param jkt thumbprint of the key that the token is bound to
 * @param upstream of a workload: what its platform says that it is
 * @see RFC 9068 §2.2
 */
export const issueClientToken = (
  server: ServerContext,
  clientId: string,
  target: Target,
  now: number,
  jkt: string | undefined,
  upstream?: UpstreamFacts,
): Promise<IssuedAccessToken> => {
  const claims: Claims = { iss: server.issuer, sub: clientId, client_id: clientId }
  if (upstream) setUpstream(claims, server, upstream)
  return sign(server, target, now, Number.POSITIVE_INFINITY, jkt, claims)
}

const sign = async (
  server: ServerContext,
  { resource, scopes }: Target,
  now: number,
  endsAt: number,
  jkt: string | undefined,
  claims: Claims,
): Promise<IssuedAccessToken> => {
  const id = base64url(server.random.bytes(16))
  const issuedAt = Math.floor(now / 1000)
  const expiresAt = Math.min(issuedAt + accessTokenLifetime(server, resource), endsAt)
  claims.aud = resource
  if (scopes.length > 0) claims.scope = formatScope(scopes)
  claims.iat = issuedAt
  claims.exp = expiresAt
  claims.jti = id
  if (jkt !== undefined) claims.cnf = { jkt }
  const token = await signFitting(server, claims)
  return {
    token,
    id,
    scopes,
    expiresIn: Math.max(0, expiresAt - issuedAt),
    type: jkt === undefined ? 'Bearer' : 'DPoP',
  }
}

/** What makes a token too long to be sent stays on the server, where handlers and introspection read it; the token says that there is more. */
const signFitting = async (server: ServerContext, claims: Claims): Promise<string> => {
  const token = await signJwt(server.keys.signingKey(), accessTokenType, claims)
  const { upstream_claims: upstream } = claims as { upstream_claims?: JsonObject }
  if (token.length <= longestAccessToken || upstream === undefined) return token
  // To say so needs room, too.
  const { left, omitted } = leaveOutLargest(upstream, token.length - longestAccessToken + 200)
  if (omitted.length === 0) return token
  claims.upstream_claims = left
  claims.upstream_claims_omitted = omitted
  server.logger.warn('claims of the provider are left out of an access token, which would be too long', {
    claims: omitted,
    characters: token.length,
  })
  return signJwt(server.keys.signingKey(), accessTokenType, claims)
}

/**
 * A provider whose subjects people can choose must not make a person look like a client: verifiers tell a client's own token by its `sub`.
 * @see RFC 9700 §4.15
 */
const namesClient = ({ configuredClients }: ServerContext, subject: string, clientId: string): boolean =>
  subject === clientId || subject.startsWith(clientIdPrefix) || configuredClients.has(subject)

const identityOf = async (
  server: ServerContext,
  grant: Grant,
  read: Pick<Identified, 'session' | 'now'> | undefined,
): Promise<Identified> => {
  const identified = await server.custody.identity(grant.upstreamSession, read)
  if (typeof identified !== 'string') return identified
  throw new OAuthError('invalid_grant', 'sign in again', { reason: `upstream_${identified}` })
}

/** A client can read its token, so it carries only what the server names, besides who vouched for whom. */
const upstreamClaims = ({ issuer, subject, claims }: UpstreamFacts, named: readonly string[]): JsonObject => {
  const told: { [name: string]: Json | undefined } = {}
  for (const name of named) if (Object.hasOwn(claims, name)) setClaim(told, name, claims[name])
  told.iss = issuer
  told.sub = subject
  return told
}
