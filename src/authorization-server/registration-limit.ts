import { OAuthError } from '../oauth/errors.ts'
import { countArrival } from './arrival-limit.ts'
import type { ServerContext } from './context.ts'

const hour = 3_600_000

/**
 * Counts a registration, for its address and for all. The address comes first, so that one that is over its limit uses up nothing of what
 * the others have.
 * @throws OAuthError with status 429 and `Retry-After`
 */
export const countRegistration = async (
  { registration: { perAddress: ofAddress, total: ofUnknown }, records }: ServerContext,
  address: string | undefined,
): Promise<void> => {
  if (address !== undefined) {
    const limit = { ofAddress, ofUnknown }
    check(await countArrival(records.store, 'registrations/of', address, limit, hour), 'per_address')
  }
  const all = await records.store.increment('registrations/all', 1, hour)
  check(all.value > ofUnknown ? all.expiresIn : undefined, 'total')
}

/** Counts a change of a registration, for its address, or for all where addresses are not known. @throws OAuthError with status 429 and `Retry-After` */
export const countChange = async (
  { registration: { perAddress: ofAddress, total: ofUnknown }, records }: ServerContext,
  address: string | undefined,
): Promise<void> => {
  const limit = { ofAddress, ofUnknown }
  const which = address === undefined ? 'changes_total' : 'changes_per_address'
  check(await countArrival(records.store, 'registrations/changed-by', address, limit, hour), which)
}

/** @param expiresIn milliseconds until it may be tried again, where it was too much */
const check = (expiresIn: number | undefined, which: string): void => {
  if (expiresIn === undefined) return
  throw new OAuthError('temporarily_unavailable', 'too many registrations: try again later', {
    status: 429,
    headers: { 'Retry-After': String(Math.max(1, Math.ceil(expiresIn / 1000))) },
    reason: `rate_limit_${which}`,
  })
}
