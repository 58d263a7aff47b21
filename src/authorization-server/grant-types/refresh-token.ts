import { OAuthError } from '../../oauth/errors.ts'
import { readParameters } from '../../oauth/parameters.ts'
import { decideRefresh } from '../../policy/refresh.ts'
import { clientRef } from '../../records/client.ts'
import { type AuthorizationGrant, grantRef, isAuthorization, type RefreshState } from '../../records/grant.ts'
import { put, type Stored } from '../../records/records.ts'
import { type IssuedAccessToken, issueAccessToken } from '../access-token.ts'
import { type Authentication, isWeaker } from '../client-authentication.ts'
import type { ServerContext } from '../context.ts'
import { checkBinding, missingProof } from '../dpop.ts'
import { revokeGrant } from '../grants.ts'
import { knownClient } from '../known-client.ts'
import { targetOf } from '../target.ts'
import { isGenuine, parseRefreshToken, type RefreshToken } from '../tokens.ts'
import { asksProviders, standingAtRefresh } from '../upstream-standing.ts'
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

const parameterNames = ['refresh_token', 'scope', 'resource'] as const

interface Refreshing {
  readonly presented: RefreshToken | undefined
  readonly scope?: string
  readonly resource?: readonly string[]
}

/** @see RFC 6749 §6 */
export const refreshToken: GrantType = {
  refusal: 'refresh.refused',
  read(form) {
    const { refresh_token: token, ...parameters } = readParameters(form, parameterNames)
    if (token === undefined) throw new OAuthError('invalid_request', 'refresh_token is missing')
    const presented = parseRefreshToken(token)
    return {
      grant: presented?.grant,
      session: presented?.session,
      exchange: (server, exchange) => refresh(server, { presented, ...parameters }, exchange),
    }
  },
}

const refresh = async (server: ServerContext, refreshing: Refreshing, first: Exchange): Promise<TokenResponse> => {
  const { records, lifetimes } = server
  const { client } = first
  let accessToken: IssuedAccessToken | undefined

  const reread = async (): Promise<Exchange> => {
    const { values, now } = await records.get(grantRef(refreshing.presented?.grant ?? ''), clientRef(client.value.id))
    const known = knownClient(server, client.value.id, values[1])
    if (!known) throw invalidGrant('client_gone')
    // The session may have changed as well.
    return { ...first, grant: values[0], session: undefined, client: known, now }
  }

  return decideUntilFinal(first, reread, async (exchange) => {
    const { grant, state, presented, jkt } = await checkedGrant(server, refreshing, exchange)
    const target = targetOf(server, grant.value, refreshing)
    checkBinding(server, exchange.client.value, target.resource, jkt)
    await exchange.useProof?.()
    const { now } = exchange
    const facts = { clientId: client.value.id, grant: grant.value.id, presented: presented.generation }
    // Written out: this takes several times as long to put together of parts.
    const decision = decideRefresh({
      generation: state.generation,
      superseded: state.superseded,
      now,
      presented: presented.generation,
      graceMs: lifetimes.refreshGrace * 1000,
      restore: server.restored,
    })
    if (decision.kind === 'ahead') throw invalidGrant('ahead')
    if (decision.kind === 'replay') {
      await revokeGrant(server, grant, 'refresh_replay')
      server.audit({ type: 'refresh.replayed', ...facts, generation: state.generation })
      throw new AuditedRefusal('invalid_grant', 'the refresh token was replaced long ago: sign in again')
    }
    // Signed before the commit: once the token is rotated, nothing may go wrong any more.
    accessToken ??= await issueAccessToken(server, grant.value, target, now, jkt, {
      longest: await standingAtRefresh(server, grant.value),
      mayAct: client.value.mayAct,
      // Who asks a provider may have heard more since.
      read: asksProviders(server) ? undefined : exchange.session && { session: exchange.session.value, now },
    })
    if (!('next' in decision)) {
      const current = await currentRefreshToken(server, grant.value)
      if (current === undefined) throw invalidGrant('retired_key')
      server.audit({ type: 'refresh.repeated', ...facts, generation: state.generation })
      return tokenResponse(accessToken, current)
    }
    // Assigned, here and where a code is redeemed: to spread what was read takes ten times as long.
    const next: AuthorizationGrant = Object.assign({}, grant.value, {
      refresh: Object.assign({}, state, decision.next, { keyId: server.keys.macKey().id, usedAt: now }),
    })
    const result = await tryCommit(records, {
      unchanged: [grant],
      puts: [put(grant.ref, next, grantLife(server, next, now))],
    })
    if (!result) return undefined
    const { generation } = decision.next
    server.audit(
      decision.kind === 'rotate'
        ? { type: 'refresh.rotated', clientId: facts.clientId, grant: facts.grant, generation }
        : { type: 'refresh.caught_up', ...facts, generation },
    )
    return tokenResponse(accessToken, await currentRefreshToken(server, next))
  })
}

/** MAC, client and authentication come first: failing them changes nothing. */
const checkedGrant = async (
  server: ServerContext,
  { presented }: Refreshing,
  { grant, client, authentication, jkt }: Exchange,
): Promise<{
  grant: Stored<AuthorizationGrant>
  state: RefreshState
  presented: RefreshToken
  jkt: string | undefined
}> => {
  if (!presented) throw invalidGrant('malformed')
  if (!isAuthorization(grant)) throw invalidGrant('unknown_or_ended')
  const { refresh: state, issuer, clientId, clientAuthentication } = grant.value
  if (!state) throw invalidGrant('no_refresh_token')
  // An unknown id makes the ring be read again; where that fails, it is our own trouble and not the client's.
  const key = await server.keys.macKeyById(presented.keyId)
  if (!key) throw invalidGrant('unknown_key')
  if (!isGenuine(presented, state.salt, key)) throw invalidGrant('forged')
  if (clientId !== client.value.id) throw invalidGrant('other_client')
  if (isWeaker(authentication, clientAuthentication)) throw invalidGrant('weaker_authentication')
  if (issuer !== server.issuer) throw invalidGrant('other_issuer')
  return { grant, state, presented, jkt: keyOf(grant.value, authentication, jkt) }
}

/**
 * The key that the access token is bound to. A public client's is that of its redemption, or none for ever: whoever stole an unbound refresh
 * token must not make it his alone. A client that proves who it is may change its key, and not do without one.
 * @param jkt of the key that was proven with the request
 * @see RFC 9449 §5
 */
const keyOf = (
  { jkt: bound, clientAuthentication }: AuthorizationGrant,
  authentication: Authentication,
  jkt: string | undefined,
): string | undefined => {
  if (bound === undefined) return authentication === 'none' ? undefined : jkt
  if (jkt === undefined) throw missingProof()
  if (clientAuthentication === 'none' && jkt !== bound) throw invalidGrant('other_dpop_key')
  return jkt
}
