import { type ArrivalLimit, countArrival } from './arrival-limit.ts'
import type { Arrival, ServerContext } from './context.ts'

// Everybody behind one address uses the same few documents and keys, which are kept.
const mostFetches: ArrivalLimit = { ofAddress: 120, ofUnknown: 1_200 }
const period = 600_000

/**
 * Counts what an address makes us ask of others, before it is done: who names ever new documents or keys would use up what all may ask together.
 * Answers in how many seconds to come again, where that was too often.
 */
export const countFetch = async (
  { records }: Pick<ServerContext, 'records'>,
  arrival: Arrival,
): Promise<number | undefined> => {
  const expiresIn = await countArrival(records.store, 'limit/client-document', arrival.address, mostFetches, period)
  return expiresIn === undefined ? undefined : Math.max(1, Math.ceil(expiresIn / 1000))
}
