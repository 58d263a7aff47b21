import { type AuthTimeAssumed, authTimeSkew } from '../policy/sign-in.ts'
import type { Account } from '../records/account.ts'
import type { NamedProvider } from '../upstream/provider.ts'
import type { ServerContext } from './context.ts'

// Long enough to read a page, short enough that it is still the same person.
const freshFor = 600

/**
 * What a provider's word is worth that a person has just proved who they are. 2: we see it, or it says when that was. 1: it asks them when it is told
 * to, and says nothing of it. 0: it can't be told to.
 */
const worthOf = ({ open }: NamedProvider): 0 | 1 | 2 => {
  if (open.kind === 'password') return 2
  if (open.kind === 'host' || open.reauthenticates === false) return 0
  return open.reauthenticates === 'unstated' ? 1 : 2
}

type Known = Pick<Account, 'identities'>

const ofAccount = ({ providers }: Pick<ServerContext, 'providers'>, { identities }: Known): readonly NamedProvider[] =>
  providers.filter(({ id }) => identities.some(({ provider }) => provider === id))

/** Where the person of an account can be made to prove again who they are: only where it is seen best. None: nobody can make them. */
export const provingProviders = (
  server: Pick<ServerContext, 'providers'>,
  account: Known,
): readonly NamedProvider[] => {
  const theirs = ofAccount(server, account)
  const best = Math.max(0, ...theirs.map(worthOf))
  return best === 0 ? [] : theirs.filter((each) => worthOf(each) === best)
}

/**
 * Whether a sign-in is recent enough to change how the account's person signs in. One of which nobody said when it was may be years old: a
 * provider answers for who sits at the browser. It counts only for who has no better way, since else they could change nothing at all; and where
 * there is one that asks when it is told to, only as the answer to that.
 */
export const isFreshSignIn = (
  server: Pick<ServerContext, 'clock' | 'providers'>,
  account: Known | undefined,
  { authTime, authTimeAssumed }: { readonly authTime: number; readonly authTimeAssumed?: AuthTimeAssumed | undefined },
): boolean => {
  const age = server.clock.now() / 1000 - authTime
  if (age > freshFor || age < -authTimeSkew) return false
  if (!authTimeAssumed || !account) return true
  const best = Math.max(0, ...ofAccount(server, account).map(worthOf))
  return best === 0 || (best === 1 && authTimeAssumed === 'asked')
}
