import type { TokenEndpointResponse } from 'openid-client'
import type { UpstreamTokens } from '../records/upstream-session.ts'

/** The tokens of an answer; what it leaves out stays as it was before. `now`: milliseconds since the epoch. */
export const tokensOf = (
  answer: TokenEndpointResponse,
  before: Partial<UpstreamTokens>,
  now: number,
): UpstreamTokens => {
  const refreshToken = answer.refresh_token ?? before.refreshToken
  const idToken = answer.id_token ?? before.idToken
  const scope = answer.scope ?? before.scope
  return {
    accessToken: answer.access_token,
    ...(refreshToken === undefined ? {} : { refreshToken }),
    ...(idToken === undefined ? {} : { idToken }),
    ...(scope === undefined ? {} : { scope }),
    ...(answer.expires_in === undefined ? {} : { expiresAt: now + Math.floor(answer.expires_in * 1000) }),
  }
}
