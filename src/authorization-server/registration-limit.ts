import { OAuthError } from '../oauth/errors.ts'
import { countArrival, countShare } from './arrival-limit.ts'
import type { ServerContext } from './context.ts'

const hour = 3_600_000
/** Registrations in an hour of one address, on a person's own computer or in a small office. */
const few = 10
/** Of what all may: the rest is left to addresses with few registrations, so that it takes very many to keep everybody from registering. */
const ofMany = 3 / 4

/**
 * Counts a registration, for its address and for all. The address comes first, so that one that is over its limit uses up nothing of what
 * the others have; nor does one with many use up what is left to those with few.
 * @throws OAuthError with status 429 and `Retry-After`
 */
export const countRegistration = async (
  { registration: { perAddress: ofAddress, total: ofUnknown }, records }: ServerContext,
  address: string | undefined,
): Promise<void> => {
  if (address !== undefined) {
    const limit = { ofAddress, ofUnknown }
    const { share, expiresIn } = await countShare(records.store, 'registrations/of', address, limit, hour)
    check(share > 1 ? expiresIn : undefined, 'per_address')
    if (share > few / ofAddress) {
      const all = await records.store.increment('registrations/all', 0, hour)
      check(all.value >= ofUnknown * ofMany ? all.expiresIn : undefined, 'total')
    }
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
