import { type ArrivalLimit, countArrival } from './arrival-limit.ts'
import type { Arrival, ServerContext } from './context.ts'

// Everybody behind one address uses the same few documents and keys, which are kept.
const mostFetches: ArrivalLimit = { ofAddress: 120, ofUnknown: 1_200 }
// Of the 6,000 that each process may fetch again: whoever has many documents of their own leaves the most of it to other known ones.
const mostFetchesAgain: ArrivalLimit = { ofAddress: 300, ofUnknown: 6_000 }
const period = 600_000

/**
 * Counts what an address makes us ask of others, before it is done: who names ever new documents or keys would use up what all may ask together.
 * Answers in how many seconds to come again, where that was too often.
 */
export const countFetch = (server: Pick<ServerContext, 'records'>, arrival: Arrival): Promise<number | undefined> =>
  count(server, arrival, 'limit/client-document', mostFetches)

/**
 * The same for a document of which we have a copy that is too old: by itself, so that whoever names ever new ones is not in the way of neighbours who
 * name a known one.
 */
export const countFetchAgain = (
  server: Pick<ServerContext, 'records'>,
  arrival: Arrival,
): Promise<number | undefined> => count(server, arrival, 'limit/known-client-document', mostFetchesAgain)

const count = async (
  { records }: Pick<ServerContext, 'records'>,
  { address }: Arrival,
  key: string,
  most: ArrivalLimit,
): Promise<number | undefined> => {
  const expiresIn = await countArrival(records.store, key, address, most, period)
  return expiresIn === undefined ? undefined : Math.max(1, Math.ceil(expiresIn / 1000))
}
