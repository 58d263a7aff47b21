import { hashStrings } from '../crypto/hash.ts'
import { addressBlock } from '../net/address-block.ts'
import type { Arrival, ServerContext } from './context.ts'
import { PageProblem } from './pages.ts'
import { refused } from './refusal.ts'

// Generous: whole offices come from one address. It bounds what one address can make us store.
const mostRequests = 3_000
const period = 600_000

/** Each makes us store something. @throws PageProblem */
export const limitRequests = async (server: ServerContext, { address }: Arrival): Promise<void> => {
  if (address === undefined) return
  const { value, expiresIn } = await server.records.store.increment(
    `limit/interaction/${hashStrings(addressBlock(address))}`,
    1,
    period,
  )
  if (value <= mostRequests) return
  refused(server, 'too many authorization requests from one address')
  throw new PageProblem('too_many_requests', 429, { retryAfter: Math.ceil(expiresIn / 1000) })
}
