import { base64url } from '../../crypto/bytes.ts'
import { hashSecret, matchesSecret } from '../../crypto/hash.ts'
import { OAuthError } from '../../oauth/errors.ts'
import { readParameters } from '../../oauth/parameters.ts'
import { verifyS256 } from '../../oauth/pkce.ts'
import { findRedirectUri } from '../../oauth/redirect-uri.ts'
import { decideRedemption } from '../../policy/redemption.ts'
import { initialRefreshState } from '../../policy/refresh.ts'
import { clientRef } from '../../records/client.ts'
import {
  type AuthorizationGrant,
  accountGrantRef,
  clientGrantRef,
  grantRef,
  isAuthorization,
  sessionGrantRef,
} from '../../records/grant.ts'
import { type Put, put } from '../../records/records.ts'
import { type IssuedAccessToken, issueAccessToken } from '../access-token.ts'
import { clientPuts } from '../client-life.ts'
import type { ServerContext } from '../context.ts'
import { checkBinding } from '../dpop.ts'
import { revokeGrant } from '../grants.ts'
import { knownClient, unchangedClient } from '../known-client.ts'
import { longestAccessTokenLifetime } from '../lifetimes.ts'
import { targetOf } from '../target.ts'
import { type Code, parseCode } from '../tokens.ts'
import {
  AuditedRefusal,
  decideUntilFinal,
  type Exchange,
  type GrantType,
  invalidGrant,
  type TokenResponse,
  tokenResponse,
  tryCommit,
} from './grant-type.ts'
import { currentRefreshToken, grantLife } from './refresh-state.ts'

const parameterNames = ['code', 'redirect_uri', 'code_verifier', 'resource'] as const

interface Redemption {
  readonly code: Code | undefined
  readonly redirectUri: string
  readonly codeVerifier: string
  readonly resource?: readonly string[]
}

/** @see RFC 6749 §4.1.3, RFC 7636 §4.5 */
export const authorizationCode: GrantType = {
  refusal: 'code.refused',
  read(form) {
    const {
      code,
      redirect_uri: redirectUri,
      code_verifier: codeVerifier,
      resource,
    } = readParameters(form, parameterNames)
    if (code === undefined) throw new OAuthError('invalid_request', 'code is missing')
    if (redirectUri === undefined) throw new OAuthError('invalid_request', 'redirect_uri is missing')
    if (codeVerifier === undefined) throw new OAuthError('invalid_request', 'code_verifier is missing')
    const redemption = { code: parseCode(code), redirectUri, codeVerifier, ...(resource ? { resource } : {}) }
    return {
      grant: redemption.code?.grant,
      session: redemption.code?.session,
      exchange: (server, exchange) => redeem(server, redemption, exchange),
    }
  },
}

const redeem = async (server: ServerContext, redemption: Redemption, first: Exchange): Promise<TokenResponse> => {
  const { records } = server
  const attempt = base64url(server.random.bytes(16))
  const { client, jkt } = first
  let accessToken: IssuedAccessToken | undefined

  const reread = async (): Promise<Exchange> => {
    const { values, now } = await records.get(grantRef(redemption.code?.grant ?? ''), clientRef(client.value.id))
    const known = knownClient(server, client.value.id, values[1])
    if (!known) throw invalidGrant('client_gone')
    // The session may have changed as well.
    return { ...first, grant: values[0], session: undefined, client: known, now }
  }

  return decideUntilFinal(first, reread, async (exchange) => {
    const grant = checkedGrant(server, redemption, exchange)
    const target = targetOf(server, grant.value, redemption)
    checkBinding(server, exchange.client.value, target.resource, jkt)
    await exchange.useProof?.()
    const { code } = grant.value
    const { expiresAt, redeemed: before } = code
    const decision = decideRedemption({ now: exchange.now, expiresAt, attempt, redeemed: before })
    if (decision === 'expired') throw invalidGrant('expired')
    if (decision === 'duplicate' || decision === 'replay') {
      const revoked = decision === 'replay'
      if (revoked) await revokeGrant(server, grant, 'code_replay')
      server.audit({ type: 'code.replayed', clientId: client.value.id, grant: grant.value.id, revoked })
      throw new AuditedRefusal('invalid_grant', 'the code was used before')
    }
    // Signed before the commit: once the code is spent, nothing may go wrong any more.
    accessToken ??= await issueAccessToken(server, grant.value, target, exchange.now, jkt, {
      mayAct: client.value.mayAct,
      read: exchange.session && { session: exchange.session.value, now: exchange.now },
    })
    if (decision === 'redeemed') return succeed(server, grant.value, accessToken)
    const redeemed = redeemedGrant(server, grant.value, exchange, attempt)
    const result = await tryCommit(records, {
      unchanged: [grant, ...unchangedClient(exchange.client)],
      puts: [
        ...grantPuts(server, redeemed, exchange.now),
        ...clientPuts(server, exchange.client.value, redeemed, exchange.now),
      ],
    })
    if (!result) return undefined
    return succeed(server, redeemed, accessToken)
  })
}

/** Client, redirect URI and PKCE come first: failing them changes nothing. */
const checkedGrant = (server: ServerContext, { code, redirectUri, codeVerifier }: Redemption, exchange: Exchange) => {
  const { grant, client } = exchange
  if (!code) throw invalidGrant('malformed')
  if (!isAuthorization(grant)) throw invalidGrant('unknown_or_expired')
  const { value } = grant
  if (!matchesSecret(code.secret, value.code.hash)) throw invalidGrant('wrong_secret')
  if (code.session !== value.upstreamSession) throw invalidGrant('other_session')
  if (value.clientId !== client.value.id) throw invalidGrant('other_client')
  if (value.code.redirectUri !== redirectUri) throw invalidGrant('other_redirect_uri')
  // Whoever is behind an address that was taken from the client meanwhile gets nothing for what was sent there.
  const { redirectUris } = client.value
  const isStanding = redirectUris.includes(redirectUri) || findRedirectUri(redirectUris, redirectUri, server)
  if (!isStanding) throw invalidGrant('redirect_uri_gone')
  if (!verifyS256(codeVerifier, value.code.codeChallenge, hashSecret)) throw invalidGrant('wrong_code_verifier')
  if (value.code.jkt !== undefined && value.code.jkt !== exchange.jkt) throw invalidGrant('other_dpop_key')
  if (value.issuer !== server.issuer) throw invalidGrant('other_issuer')
  return grant
}

const redeemedGrant = (
  server: ServerContext,
  grant: AuthorizationGrant,
  { client, authentication, now, jkt }: Exchange,
  attempt: string,
): AuthorizationGrant => {
  const redeemed: AuthorizationGrant = Object.assign({}, grant, {
    clientAuthentication: authentication,
    code: Object.assign({}, grant.code, { redeemed: { attempt, at: now } }),
    ...(jkt === undefined ? {} : { jkt }),
  })
  if (!client.value.grantTypes.includes('refresh_token')) {
    const expiresAt = Math.min(grant.expiresAt, now + longestAccessTokenLifetime(server, grant) * 1000)
    return Object.assign(redeemed, { expiresAt })
  }
  const salt = base64url(server.random.bytes(32))
  const { generation, superseded } = initialRefreshState
  const refresh = { generation, superseded, salt, keyId: server.keys.macKey().id, usedAt: now }
  return Object.assign(redeemed, { refresh })
}

const grantPuts = (server: ServerContext, grant: AuthorizationGrant, now: number): Put[] => {
  const whole = Math.max(1, grant.expiresAt - now)
  return [
    put(grantRef(grant.id), grant, grantLife(server, grant, now)),
    put(accountGrantRef(grant.account, grant.id), { clientId: grant.clientId }, whole),
    put(clientGrantRef(grant.clientId, grant.id), {}, whole),
    put(sessionGrantRef(grant.upstreamSession, grant.id), {}, whole),
  ]
}

const succeed = async (
  server: ServerContext,
  grant: AuthorizationGrant,
  accessToken: IssuedAccessToken,
): Promise<TokenResponse> => {
  const refreshToken = await currentRefreshToken(server, grant)
  server.audit({ type: 'code.redeemed', clientId: grant.clientId, grant: grant.id })
  return tokenResponse(accessToken, refreshToken)
}
