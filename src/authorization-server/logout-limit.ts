import { OAuthError } from '../oauth/errors.ts'
import { LogoutNotForUs } from '../upstream/provider.ts'
import { type ArrivalLimit, counterOf } from './arrival-limit.ts'
import type { Arrival, ServerContext } from './context.ts'

/** Whoever sends so many costs next to nothing; but where all are counted together, who reaches it keeps out what providers say. */
const mostRefused: ArrivalLimit = { ofAddress: 100, ofUnknown: 10_000 }
/** Milliseconds. */
const period = 600_000

/**
 * Runs what a logout token leads to, unless too many from its address were none: each makes us compute, and may make us ask the provider for its keys.
 * What is good does not count: a provider that signs many people out at once is one address. Nor does what says itself that it is for somebody else, which costs
 * nothing: else any other customer of the provider could have us refuse ours. Nor does what nobody can tell while the provider's keys are
 * out of reach: for these it is asked every few seconds at most, whoever sends how many.
 * @throws OAuthError with status 429 and `Retry-After`
 */
export const limitRefusedLogouts = async <T>(
  { records: { store } }: Pick<ServerContext, 'records'>,
  arrival: Arrival,
  run: () => Promise<T>,
): Promise<T> => {
  const { id, most } = counterOf(arrival.address, mostRefused)
  const key = `limit/logout/${id}`
  const { value, expiresIn } = await store.increment(key, 0, period)
  if (value >= most) {
    throw new OAuthError('temporarily_unavailable', 'too many logout tokens that were refused: try again later', {
      status: 429,
      headers: { 'Retry-After': String(Math.max(1, Math.ceil(expiresIn / 1000))) },
      reason: arrival.address === undefined ? 'rate_limit_total' : 'rate_limit_per_address',
    })
  }
  try {
    return await run()
  } catch (error) {
    // What is our own trouble, or the provider's, says nothing of who asked; nor does a provider that serves others, too.
    const counts = error instanceof OAuthError && error.status < 500 && !(error.cause instanceof LogoutNotForUs)
    if (counts) await store.increment(key, 1, period)
    throw error
  }
}
