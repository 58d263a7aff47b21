import type { Account } from '../records/account.ts'
import type { NamedProvider } from '../upstream/provider.ts'
import type { ServerContext } from './context.ts'

// Long enough to read a page, short enough that it is still the same person.
const freshFor = 600

/** Where the person of an account can be made to prove again who they are, so that we see that they did. */
export const provingProviders = (
  { providers }: Pick<ServerContext, 'providers'>,
  { identities }: Pick<Account, 'identities'>,
): readonly NamedProvider[] =>
  providers.filter((each) => canProve(each) && identities.some((one) => one.provider === each.id))

const canProve = ({ open }: NamedProvider): boolean =>
  open.kind === 'password' || (open.kind === 'redirect' && open.reauthenticates !== false)

/**
 * Whether a sign-in is recent enough to change how the account's person signs in. One of which nobody said when it was may be years old: a
 * provider answers for who sits at the browser. It counts only for who has no better way, since else they could change nothing at all.
 */
export const isFreshSignIn = (
  server: Pick<ServerContext, 'clock' | 'providers'>,
  account: Pick<Account, 'identities'> | undefined,
  { authTime, authTimeAssumed }: { readonly authTime: number; readonly authTimeAssumed?: boolean | undefined },
): boolean => {
  if (server.clock.now() / 1000 - authTime > freshFor) return false
  return !authTimeAssumed || !account || provingProviders(server, account).length === 0
}
