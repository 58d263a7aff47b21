import { hashStrings } from '../crypto/hash.ts'
import { addressBlock } from '../net/address-block.ts'
import { OAuthError } from '../oauth/errors.ts'
import { counterOf } from './arrival-limit.ts'
import type { ServerContext } from './context.ts'

const hour = 3_600_000

/**
 * Counts a registration, for its address and for all. The address comes first, so that one that is over its limit uses up nothing of what
 * the others have.
 * @throws OAuthError with status 429 and `Retry-After`
 */
export const countRegistration = async (
  { registration, records }: ServerContext,
  address: string | undefined,
): Promise<void> => {
  if (address !== undefined) {
    const key = `registrations/of/${hashStrings(addressBlock(address))}`
    await count(records.store, key, registration.perAddress, 'per_address')
  }
  await count(records.store, 'registrations/all', registration.total, 'total')
}

/** Counts a change of a registration, for its address, or for all where addresses are not known. @throws OAuthError with status 429 and `Retry-After` */
export const countChange = async (
  { registration, records }: ServerContext,
  address: string | undefined,
): Promise<void> => {
  const { perAddress: ofAddress, total: ofUnknown } = registration
  const { id, most } = counterOf(address, { ofAddress, ofUnknown })
  const which = address === undefined ? 'changes_total' : 'changes_per_address'
  await count(records.store, `registrations/changed-by/${id}`, most, which)
}

const count = async (
  store: ServerContext['records']['store'],
  key: string,
  limit: number,
  which: string,
): Promise<void> => {
  const { value, expiresIn } = await store.increment(key, 1, hour)
  if (value <= limit) return
  throw new OAuthError('temporarily_unavailable', 'too many registrations: try again later', {
    status: 429,
    headers: { 'Retry-After': String(Math.max(1, Math.ceil(expiresIn / 1000))) },
    reason: `rate_limit_${which}`,
  })
}
