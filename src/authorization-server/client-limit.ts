import { hashStrings } from '../crypto/hash.ts'
import { OAuthError } from '../oauth/errors.ts'
import type { AuthenticatedClient } from './client-authentication.ts'
import type { ServerContext } from './context.ts'

/** Generous: what one client that went wild, or whose secret was stolen, may cost. */
const defaultTokensPerClient = 30_000
/** Milliseconds. */
const period = 600_000

/**
 * Counts what a client asks for without a person at hand. Only one that has proven who it is: by naming another's id nobody can use up what that
 * one has.
 * @throws OAuthError with status 429 and `Retry-After`
 */
export const countRequest = async (
  { records, limits: { tokensPerClient = defaultTokensPerClient } = {} }: Pick<ServerContext, 'records' | 'limits'>,
  { client, authentication }: AuthenticatedClient,
): Promise<void> => {
  if (authentication === 'none') return
  const key = `limit/tokens/${hashStrings(client.value.id)}`
  const { value, expiresIn } = await records.store.increment(key, 1, period)
  if (value <= tokensPerClient) return
  throw new OAuthError('temporarily_unavailable', 'too many requests of this client: try again later', {
    status: 429,
    headers: { 'Retry-After': String(Math.max(1, Math.ceil(expiresIn / 1000))) },
    reason: 'rate_limit_per_client',
  })
}
