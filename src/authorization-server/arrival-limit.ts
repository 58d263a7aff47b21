import { hashStrings } from '../crypto/hash.ts'
import { addressBlock } from '../net/address-block.ts'

/** How often in a period: an address, and all together where the host does not say where they come from. */
export interface ArrivalLimit {
  readonly ofAddress: number
  readonly ofUnknown: number
}

/** On which counter a request counts, and how much there may be on it. */
export const counterOf = (
  address: string | undefined,
  { ofAddress, ofUnknown }: ArrivalLimit,
): { readonly id: string; readonly most: number } =>
  address === undefined
    ? { id: 'unknown', most: ofUnknown }
    : { id: hashStrings(addressBlock(address)), most: ofAddress }
