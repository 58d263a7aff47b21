import type { AccessToken } from '../identity/access-token.ts'
import type { AuthInfo } from '../resource-server/handler.ts'

/** The key of `AuthInfo.extra` under which the access token is. */
export const extraKey = 'countersign'

/**
 * What the SDKs hand on to their handlers. Fresh for each request, because it can be changed by whoever gets it. The URL is made when somebody asks
 * for it: few handlers do, and it costs more than all the rest.
 */
export const createAuthInfo = (token: AccessToken<unknown>, resourceMetadataUrl: string): AuthInfo => {
  let resource: URL | undefined
  return {
    token: token.token,
    clientId: token.clientId,
    scopes: [...token.scopes],
    expiresAt: token.expiresAt,
    get resource() {
      resource ??= new URL(token.resource)
      return resource
    },
    set resource(changed) {
      resource = changed
    },
    resourceMetadataUrl,
    // Written out: a computed name takes longer than all the rest.
    extra: { countersign: token } satisfies Record<typeof extraKey, unknown>,
  }
}
