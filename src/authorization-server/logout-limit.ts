import { hashStrings } from '../crypto/hash.ts'
import { addressBlock } from '../net/address-block.ts'
import { OAuthError } from '../oauth/errors.ts'
import { StoreUnavailable } from '../store/store.ts'
import type { Arrival, ServerContext } from './context.ts'

const mostRefused = 100
/** Milliseconds. */
const period = 600_000

/**
 * Runs what a logout token leads to, unless too many from its address were none: each makes us compute, and may make us ask the provider for its keys.
 * What is good does not count: a provider that signs many people out at once is one address. What nobody can tell while the provider's keys are out of
 * reach does, because each makes us ask for them again.
 * @throws OAuthError with status 429 and `Retry-After`
 */
export const limitRefusedLogouts = async <T>(
  { records: { store } }: Pick<ServerContext, 'records'>,
  { address }: Arrival,
  run: () => Promise<T>,
): Promise<T> => {
  if (address === undefined) return run()
  const key = `limit/logout/${hashStrings(addressBlock(address))}`
  const { value, expiresIn } = await store.increment(key, 0, period)
  if (value >= mostRefused) {
    throw new OAuthError('temporarily_unavailable', 'too many logout tokens that were refused: try again later', {
      status: 429,
      headers: { 'Retry-After': String(Math.max(1, Math.ceil(expiresIn / 1000))) },
      reason: 'rate_limit_per_address',
    })
  }
  try {
    return await run()
  } catch (error) {
    // A store that is away says nothing of who asked.
    if (!(error instanceof StoreUnavailable)) await store.increment(key, 1, period)
    throw error
  }
}
