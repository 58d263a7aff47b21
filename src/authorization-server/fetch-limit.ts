import { hashStrings } from '../crypto/hash.ts'
import { addressBlock } from '../net/address-block.ts'
import type { Arrival, ServerContext } from './context.ts'

// Everybody behind one address uses the same few documents and keys, which are kept.
const mostFetches = 120
const period = 600_000

/**
 * Counts what an address makes us ask of others, before it is done: who names ever new documents or keys would use up what all may ask together.
 * Answers in how many seconds to come again, where that was too often.
 */
export const countFetch = async (
  { records }: Pick<ServerContext, 'records'>,
  { address }: Arrival,
): Promise<number | undefined> => {
  if (address === undefined) return undefined
  const key = `limit/client-document/${hashStrings(addressBlock(address))}`
  const { value, expiresIn } = await records.store.increment(key, 1, period)
  return value <= mostFetches ? undefined : Math.max(1, Math.ceil(expiresIn / 1000))
}
