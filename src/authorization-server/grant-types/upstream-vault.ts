import { UpstreamTokenUnavailable } from '../../identity/access-token.ts'
import { OAuthError } from '../../oauth/errors.ts'
import { findResource } from '../../oauth/resource.ts'
import { parseScope } from '../../oauth/scope.ts'
import { accessTokenType } from '../../oauth/token-exchange.ts'
import type { Grant } from '../../records/grant.ts'
import type { ServerContext } from '../context.ts'
import type { Identified } from '../identify.ts'
import type { SignedAccessToken } from '../signed-access-token.ts'
import type { Exchange, TokenResponse } from './grant-type.ts'

export interface UpstreamRequest {
  readonly signed: SignedAccessToken
  readonly facts: Identified['facts']
  readonly grant: Grant
  readonly actorToken: string | undefined
  /** Of `resource` and `audience` together. */
  readonly targets: readonly string[]
  readonly scope?: string | undefined
}

/** Whether what is asked for is a token of the provider where the person signed in: it is named by its issuer. */
export const isUpstreamRequest = (
  { resources }: ServerContext,
  { facts, targets }: Pick<UpstreamRequest, 'facts' | 'targets'>,
): boolean => {
  const [target, ...others] = targets
  if (target === undefined || others.length > 0) return false
  return target === facts.upstream?.issuer && findResource(resources, target) === undefined
}

/**
 * Hands a resource server the provider's token of exactly the person whose token it was called with. Only where the operator lets this client
 * have that provider's tokens, and the token is addressed to a resource that it serves. Never the application that the person granted it to.
 * @see RFC 8693 §2
 */
export const handOutUpstreamToken = async (
  server: ServerContext,
  { client: { value: client }, authentication, useProof }: Exchange,
  { signed, facts, grant, actorToken, scope }: UpstreamRequest,
): Promise<TokenResponse> => {
  const { upstream } = facts
  const { exchange: policy } = client
  if (authentication === 'none') throw new OAuthError('unauthorized_client', 'this client has no secret')
  if (!upstream || !policy?.upstream?.includes(upstream.provider)) throw notPermitted('upstream_not_permitted')
  // Addressed to it: neither `may_act` nor a policy for other clients' tokens is enough for what is not ours.
  if (!policy.serves.includes(signed.resource)) throw notPermitted('upstream_not_addressed')
  if (signed.clientId === client.id) throw notPermitted('upstream_of_own_token')
  if (actorToken !== undefined) {
    throw new OAuthError('invalid_request', 'actor_token: the provider’s token says nothing of an actor')
  }
  await useProof?.()
  const token = await tokenOf(upstream.accessToken)
  const identified = await server.custody.identity(grant.upstreamSession)
  const tokens = typeof identified === 'string' ? undefined : identified.session.tokens
  const known = tokens?.accessToken === token ? tokens : undefined
  const left =
    known?.expiresAt === undefined || typeof identified === 'string' ? undefined : known.expiresAt - identified.now
  const wanted = scope === undefined ? [] : parseScope(scope)
  const has = known?.scope?.split(' ') ?? []
  if (!wanted?.every((each) => has.includes(each))) {
    throw new OAuthError('invalid_scope', 'the provider’s token does not have these scopes')
  }
  server.audit({
    type: 'upstream.handed_out',
    clientId: client.id,
    provider: upstream.provider,
    session: grant.upstreamSession,
    grant: grant.id,
    account: grant.account,
    resource: signed.resource,
  })
  return {
    access_token: token,
    token_type: 'Bearer',
    issued_token_type: accessTokenType,
    ...(left === undefined ? {} : { expires_in: Math.max(0, Math.floor(left / 1000)) }),
    ...(known?.scope === undefined ? {} : { scope: known.scope }),
  }
}

const notPermitted = (reason: string): OAuthError =>
  new OAuthError('invalid_target', 'this client may not have a token for this audience', { reason })

const tokenOf = async (accessToken: (() => Promise<string>) | undefined): Promise<string> => {
  try {
    if (!accessToken) throw new UpstreamTokenUnavailable('none')
    return await accessToken()
  } catch (error) {
    if (!(error instanceof UpstreamTokenUnavailable)) throw error
    const { reason } = error
    if (reason === 'down') {
      throw new OAuthError('temporarily_unavailable', 'the identity provider is out of reach: try again', {
        cause: error,
      })
    }
    throw new OAuthError('invalid_target', 'there is no token of the provider: the person must sign in again', {
      reason: `upstream_${reason}`,
    })
  }
}
