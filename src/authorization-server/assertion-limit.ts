import { OAuthError } from '../oauth/errors.ts'
import { type ArrivalLimit, countArrival } from './arrival-limit.ts'
import type { Arrival, ServerContext } from './context.ts'

// As with authorization requests: each makes us keep something, for an hour at most.
const most: ArrivalLimit = { ofAddress: 3_000, ofUnknown: 30_000 }
const period = 600_000

/**
 * Counts an assertion that a client of its own making proved itself by, where nothing that a person granted is at stake: anybody can have such a
 * client, and we remember each assertion that was used.
 * @throws OAuthError with status 429 and `Retry-After`
 */
export const countAssertion = async (
  { records }: Pick<ServerContext, 'records'>,
  { address }: Arrival,
): Promise<void> => {
  const expiresIn = await countArrival(records.store, 'limit/client-assertion', address, most, period)
  if (expiresIn === undefined) return
  throw new OAuthError('temporarily_unavailable', 'too many client assertions: try again later', {
    status: 429,
    headers: { 'Retry-After': String(Math.max(1, Math.ceil(expiresIn / 1000))) },
    reason: address === undefined ? 'rate_limit_total' : 'rate_limit_per_address',
  })
}
