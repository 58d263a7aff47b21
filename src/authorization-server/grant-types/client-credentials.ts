import { OAuthError } from '../../oauth/errors.ts'
import { readParameters } from '../../oauth/parameters.ts'
import { findResource, sameResource } from '../../oauth/resource.ts'
import type { Client } from '../../records/client.ts'
import { issueClientToken } from '../access-token.ts'
import type { ServerContext } from '../context.ts'
import { checkBinding } from '../dpop.ts'
import { narrowedScopes, type Target } from '../target.ts'
import { type Exchange, type GrantType, type TokenResponse, tokenResponse } from './grant-type.ts'

interface Asked {
  readonly scope?: string
  readonly resource?: readonly string[]
}

/**
 * A client's own access token. There is no grant and no refresh token: it lives by its client.
 * @see RFC 6749 §4.4, RFC 9068 §2.2
 */
export const clientCredentials: GrantType = {
  refusal: 'token.refused',
  ofClients: true,
  byClientAlone: true,
  read(form) {
    const asked = readParameters(form, ['scope', 'resource'])
    return { grant: undefined, exchange: (server, exchange) => issue(server, asked, exchange) }
  },
}

const issue = async (
  server: ServerContext,
  asked: Asked,
  { client: { value: client }, authentication, now, jkt, useProof }: Exchange,
): Promise<TokenResponse> => {
  // No public client is registered for it; but whoever could pose as one would be it.
  if (authentication === 'none') throw new OAuthError('unauthorized_client', 'this client has no secret')
  const target = clientTarget(server, client, asked)
  checkBinding(server, client, target.resource, jkt)
  await useProof?.()
  const accessToken = await issueClientToken(server, client.id, target, now, jkt)
  server.audit({ type: 'client.token_issued', clientId: client.id, ...target })
  return tokenResponse(accessToken, undefined)
}

/**
 * One of the resources that the client may use for itself, and no more than its scopes there. Left out, the resource is the only one.
 * @throws OAuthError `invalid_target`, `invalid_scope`
 */
export const clientTarget = (server: ServerContext, { scopes = {} }: Client, { resource, scope }: Asked): Target => {
  const allowed = Object.keys(scopes).filter((each) => findResource(server.resources, each))
  const wanted = new Set((resource ?? allowed).map((one) => allowed.find((each) => sameResource(each, one))))
  const [target] = wanted
  if (target === undefined || wanted.has(undefined)) {
    throw new OAuthError('invalid_target', 'resource is not one that this client may use for itself')
  }
  if (wanted.size > 1) throw new OAuthError('invalid_target', 'an access token is for one resource: name it')
  const { implies } = findResource(server.resources, target) ?? {}
  return { resource: target, scopes: narrowedScopes(scopes[target] ?? [], scope, implies) }
}
