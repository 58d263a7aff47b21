import { hashStrings } from '../crypto/hash.ts'
import { type ArrivalLimit, countArrival } from './arrival-limit.ts'
import type { Arrival, ServerContext } from './context.ts'
import { PageProblem } from './pages.ts'
import { refused } from './refusal.ts'

// Generous: whole offices come from one address. It bounds what one address can make us store, or ask of others.
const defaultPerAddress = 3_000
// A loop of a client that is granted again what it has is no harm done by others: an account has as much as an address.
const defaultPerAccount = 3_000
const period = 600_000

/** An authorization request makes us store something. @throws PageProblem */
export const limitRequests = (server: ServerContext, arrival: Arrival): Promise<void> =>
  count(server, arrival, 'interaction', 'authorization requests')

/** At its end a sign-in makes us ask the provider, whatever comes back: its own limits are for all our people together. @throws PageProblem */
export const limitSignIns = (server: ServerContext, arrival: Arrival): Promise<void> =>
  count(server, arrival, 'sign-in', 'sign-ins at providers')

/**
 * Each code is a grant that is kept, from however many addresses one account asks. Only who is signed in to it counts, so that nobody can use up what
 * another has.
 * @throws PageProblem
 */
export const limitCodes = async (server: ServerContext, account: string, clientId: string): Promise<void> => {
  const { records, limits: { codesPerAccount = defaultPerAccount } = {} } = server
  const { value, expiresIn } = await records.store.increment(`limit/codes/${hashStrings(account)}`, 1, period)
  if (value <= codesPerAccount) return
  refused(server, 'too many codes for one account', { clientId })
  throw tooMany(expiresIn)
}

const count = async (server: ServerContext, { address }: Arrival, of: string, what: string): Promise<void> => {
  const { records, limits: { requestsPerAddress: ofAddress = defaultPerAddress } = {} } = server
  const most: ArrivalLimit = { ofAddress, ofUnknown: 10 * ofAddress }
  const expiresIn = await countArrival(records.store, `limit/${of}`, address, most, period)
  if (expiresIn === undefined) return
  refused(server, `too many ${what} from one address`)
  throw tooMany(expiresIn)
}

const tooMany = (expiresIn: number): PageProblem =>
  new PageProblem('too_many_requests', 429, { retryAfter: Math.max(1, Math.ceil(expiresIn / 1000)) })
