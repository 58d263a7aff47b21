import type { AuthorizationGrant } from '../../records/grant.ts'
import type { ServerContext } from '../context.ts'
import { longestAccessTokenLifetime } from '../lifetimes.ts'
import { deriveRefreshToken } from '../tokens.ts'

/**
 * The current refresh token of a grant, where it has one. It is kept nowhere: it is derived.
 * Undefined also where its key was retired: then nobody can hold it any more.
 */
export const currentRefreshToken = async (
  { keys }: ServerContext,
  { id, upstreamSession, refresh }: AuthorizationGrant,
): Promise<string | undefined> => {
  const key = refresh && (await keys.macKeyById(refresh.keyId))
  return key && deriveRefreshToken({ grant: id, session: upstreamSession }, refresh.generation, refresh.salt, key)
}

/** How long a redeemed grant is kept if it is not used, in milliseconds: as long as the longest of its tokens, and never beyond its end. */
export const grantLife = (server: ServerContext, grant: AuthorizationGrant, now: number): number => {
  const accessToken = longestAccessTokenLifetime(server, grant)
  const unused = grant.refresh ? Math.max(server.lifetimes.refreshToken, accessToken) : accessToken
  return Math.max(1, Math.min(unused * 1000, grant.expiresAt - now))
}
