import type { AccessToken } from '../identity/access-token.ts'
import type { AuthInfo } from '../resource-server/handler.ts'

/** The key of `AuthInfo.extra` under which the access token is. */
export const extraKey = 'countersign'

/** What the SDKs hand on to their handlers. Fresh for each request, because it can be changed by whoever gets it. */
export const createAuthInfo = (token: AccessToken<unknown>, resourceMetadataUrl: string): AuthInfo => ({
  token: token.token,
  clientId: token.clientId,
  scopes: [...token.scopes],
  expiresAt: token.expiresAt,
  resource: new URL(token.resource),
  resourceMetadataUrl,
  extra: { [extraKey]: token },
})
