import { hashStrings } from '../crypto/hash.ts'
import { addressBlock, addressSite, blocksOfSite } from '../net/address-block.ts'
import type { Store } from '../store/store.ts'

/** How often in a period: an address, and all together where the host does not say where they come from. */
export interface ArrivalLimit {
  readonly ofAddress: number
  readonly ofUnknown: number
}

interface Counter {
  readonly id: string
  readonly most: number
}

/** On which counter a request counts, and how much there may be on it. */
export const counterOf = (address: string | undefined, { ofAddress, ofUnknown }: ArrivalLimit): Counter =>
  address === undefined
    ? { id: 'unknown', most: ofUnknown }
    : { id: hashStrings(addressBlock(address)), most: ofAddress }

const counterOfSite = (address: string | undefined, { ofAddress }: ArrivalLimit): Counter | undefined => {
  const site = address === undefined ? undefined : addressSite(address)
  return site === undefined ? undefined : { id: hashStrings(site), most: ofAddress * blocksOfSite }
}

/**
 * Counts a request. What is too much for its address counts no further: one that goes wild uses up nothing of what the others of its site have.
 * Answers in how many milliseconds to come again, where it was too much.
 * @param key what the counters are below
 * @param period milliseconds
 */
export const countArrival = async (
  store: Store,
  key: string,
  address: string | undefined,
  limit: ArrivalLimit,
  period: number,
): Promise<number | undefined> => {
  for (const counter of [counterOf(address, limit), counterOfSite(address, limit)]) {
    if (!counter) continue
    const { value, expiresIn } = await store.increment(`${key}/${counter.id}`, 1, period)
    if (value > counter.most) return expiresIn
  }
  return undefined
}
