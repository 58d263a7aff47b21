import { type ArrivalLimit, countArrival } from './arrival-limit.ts'
import type { Arrival, ServerContext } from './context.ts'
import { PageProblem } from './pages.ts'
import { refused } from './refusal.ts'

// Generous: whole offices come from one address. It bounds what one address can make us store, or ask of others.
const most: ArrivalLimit = { ofAddress: 3_000, ofUnknown: 30_000 }
const period = 600_000

/** An authorization request makes us store something. @throws PageProblem */
export const limitRequests = (server: ServerContext, arrival: Arrival): Promise<void> =>
  count(server, arrival, 'interaction', 'authorization requests')

/** At its end a sign-in makes us ask the provider, whatever comes back: its own limits are for all our people together. @throws PageProblem */
export const limitSignIns = (server: ServerContext, arrival: Arrival): Promise<void> =>
  count(server, arrival, 'sign-in', 'sign-ins at providers')

const count = async (server: ServerContext, arrival: Arrival, of: string, what: string): Promise<void> => {
  const expiresIn = await countArrival(server.records.store, `limit/${of}`, arrival.address, most, period)
  if (expiresIn === undefined) return
  refused(server, `too many ${what} from one address`)
  throw new PageProblem('too_many_requests', 429, { retryAfter: Math.ceil(expiresIn / 1000) })
}
