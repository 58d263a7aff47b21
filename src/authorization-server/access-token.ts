import { SignJWT } from 'jose'
import { base64url } from '../crypto/bytes.ts'
import type { UpstreamFacts } from '../identity/access-token.ts'
import type { JsonObject } from '../identity/json.ts'
import { OAuthError } from '../oauth/errors.ts'
import { formatScope } from '../oauth/scope.ts'
import type { Grant } from '../records/grant.ts'
import type { ServerContext } from './context.ts'
import type { Target } from './target.ts'

export const accessTokenType = 'at+jwt'

export interface IssuedAccessToken {
  readonly token: string
  /** Seconds. */
  readonly expiresIn: number
}

/**
 * Signs what a grant says now: a snapshot for verifiers that have no store.
 * @param now the store's clock, milliseconds since the epoch
 * @throws OAuthError `invalid_grant` where the upstream session no longer says who this is
 * @see RFC 9068 §2.2
 */
export const issueAccessToken = async (
  server: ServerContext,
  grant: Grant,
  { resource, scopes }: Target,
  now: number,
): Promise<IssuedAccessToken> => {
  const upstream = await identityOf(server, grant)
  const { id, algorithm, key } = server.keys.signingKey()
  const issuedAt = Math.floor(now / 1000)
  const expiresAt = Math.min(issuedAt + server.lifetimes.accessToken, Math.floor(grant.expiresAt / 1000))
  const token = await new SignJWT({
    iss: grant.issuer,
    sub: grant.subject,
    aud: resource,
    client_id: grant.clientId,
    ...(scopes.length === 0 ? {} : { scope: formatScope(scopes) }),
    iat: issuedAt,
    exp: expiresAt,
    jti: base64url(server.random.bytes(16)),
    auth_time: grant.authTime,
    grant_id: grant.id,
    upstream_provider: upstream.provider,
    upstream_claims: upstreamClaims(upstream, server.tokenClaims),
  })
    .setProtectedHeader({ alg: algorithm, kid: id, typ: accessTokenType })
    .sign(key)
  return { token, expiresIn: Math.max(0, expiresAt - issuedAt) }
}

const identityOf = async (server: ServerContext, grant: Grant): Promise<UpstreamFacts> => {
  const identified = await server.custody.identity(grant.upstreamSession)
  if (typeof identified !== 'string') return identified.facts
  throw new OAuthError('invalid_grant', 'sign in again', { reason: `upstream_${identified}` })
}

/** A client can read its token, so it carries only what the server names, besides who vouched for whom. */
const upstreamClaims = ({ issuer, subject, claims }: UpstreamFacts, named: readonly string[]): JsonObject => ({
  ...Object.fromEntries(named.filter((name) => Object.hasOwn(claims, name)).map((name) => [name, claims[name]])),
  iss: issuer,
  sub: subject,
})
