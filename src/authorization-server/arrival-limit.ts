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

/** How much of what it may its sender has used: from 0 to 1; what is above is too much. */
export interface Share {
  readonly share: number
  /** Milliseconds until it begins anew. */
  readonly expiresIn: number
}

/**
 * Counts a request. What is too much for its address counts no further: one that goes wild uses up nothing of what the others of its site have.
 * Answers what its address has used, or its site where that is more.
 * @param key what the counters are below
 * @param period milliseconds
 */
export const countShare = async (
  store: Store,
  key: string,
  address: string | undefined,
  limit: ArrivalLimit,
  period: number,
): Promise<Share> => {
  let most: Share = { share: 0, expiresIn: period }
  for (const counter of [counterOf(address, limit), counterOfSite(address, limit)]) {
    if (!counter) continue
    const { value, expiresIn } = await store.increment(`${key}/${counter.id}`, 1, period)
    const share = value / counter.most
    if (share > 1) return { share, expiresIn }
    if (share > most.share) most = { share, expiresIn }
  }
  return most
}

/** As `countShare`. Answers in how many milliseconds to come again, where it was too much. */
export const countArrival = async (...counted: Parameters<typeof countShare>): Promise<number | undefined> => {
  const { share, expiresIn } = await countShare(...counted)
  return share > 1 ? expiresIn : undefined
}
