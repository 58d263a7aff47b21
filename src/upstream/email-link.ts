import { type Account, accountEmailRef, accountRef, emailOfAccountRef } from '../records/account.ts'
import { readLookupHashes } from '../records/lookup-hash.ts'
import { put, type Records, type Stored, type Unit } from '../records/records.ts'
import { StoreUnavailable } from '../store/store.ts'
import { mergedClaims } from './claims.ts'
import type { UpstreamContext } from './context.ts'
import { type SignIn, SignInRefused } from './provider.ts'

/** Whose account somebody may take over who comes by another way with the same verified e-mail address. */
export interface EmailLink {
  /** The provider at which the account signed in with that address. */
  readonly provider: string
  /** Domains whose addresses count, in lower case: those that this provider gives out, and gives nobody a second time. */
  readonly domains: readonly string[]
}

/** The address that was verified by who says so, in the form that is compared. */
const verifiedEmail = (signIn: SignIn): string | undefined => {
  const { email, email_verified: verified } = mergedClaims(signIn)
  if (verified !== true || typeof email !== 'string' || email.length > 320) return undefined
  // Beyond ASCII, two letters can become one in lower case, and two people with them.
  return /^[!-?A-~]+@[!-?A-~]+$/.test(email) ? email.toLowerCase() : undefined
}

/**
 * Remembers by which address an account can be found; the one that it had before finds it no more. Nothing where the account is deleted, or who
 * signed in is not one of its identities any more.
 * @throws StoreUnavailable
 */
export const rememberEmail = async (
  { records, random }: Pick<UpstreamContext, 'records' | 'random'>,
  provider: string,
  account: string,
  signIn: SignIn,
): Promise<void> => {
  const email = verifiedEmail(signIn)
  const hashed =
    email === undefined ? undefined : (await readLookupHashes({ records, random }))('email', provider, email)[0]
  for (let attempt = 0; attempt < 10; attempt++) {
    const [own, stored] = (await records.get(emailOfAccountRef(account), accountRef(account))).values
    if (own?.value.email === hashed) return
    const { issuer, subject } = signIn
    const isTheirs = stored?.value.identities.some((each) => each.issuer === issuer && each.subject === subject)
    if (!stored || stored.value.deletedAt !== undefined || !isTheirs) return
    const [before, after] = (await records.get(accountEmailRef(own?.value.email ?? ''), accountEmailRef(hashed ?? '')))
      .values
    const ownRef = emailOfAccountRef(account)
    const others = before?.value.accounts.filter((id) => id !== account) ?? []
    const result = await records.commit({
      unchanged: [
        stored,
        own ?? ownRef,
        ...(before ? [before] : []),
        ...(hashed ? [after ?? accountEmailRef(hashed)] : []),
      ],
      puts: [
        ...(before && others.length > 0 ? [put(before.ref, { accounts: others })] : []),
        ...(hashed
          ? [
              put(accountEmailRef(hashed), {
                accounts: [...(after?.value.accounts ?? []), account].slice(-mostAccounts),
              }),
              put(ownRef, { email: hashed }),
            ]
          : []),
      ],
      deletes: [...(hashed ? [] : [ownRef]), ...(before && others.length === 0 ? [before.ref] : [])],
    })
    if (result.committed) return
  }
  throw new StoreUnavailable('an account changed again and again')
}

// With more than one nobody is found.
const mostAccounts = 16

/**
 * The account of who has the verified address that somebody comes with.
 * @throws SignInRefused where several accounts have it: which one is meant, nobody can say
 */
export const linkedAccount = async (
  { records, random }: Pick<UpstreamContext, 'records' | 'random'>,
  { provider, domains }: EmailLink,
  signIn: SignIn,
): Promise<{ readonly stored: Stored<Account>; readonly entries: Unit['unchanged'] } | undefined> => {
  const email = verifiedEmail(signIn)
  if (email === undefined || !domains.includes(email.slice(email.lastIndexOf('@') + 1))) return undefined
  const [written, other] = (await readLookupHashes({ records, random }))('email', provider, email)
  // Who has not come since may be where it was written before.
  const refs = [accountEmailRef(written), accountEmailRef(other)] as const
  const { values } = await records.get(...refs)
  const [account, ...others] = new Set(values.flatMap((entry) => entry?.value.accounts ?? []))
  if (account === undefined) return undefined
  if (others.length > 0) throw new SignInRefused('untrusted', { detail: 'several accounts have this e-mail address' })
  const [stored] = (await records.get(accountRef(account))).values
  return stored && stored.value.deletedAt === undefined
    ? { stored, entries: refs.map((ref, index) => values[index] ?? ref) }
    : undefined
}

/** Nobody finds this account by an address any more. @throws StoreUnavailable */
export const forgetEmail = async (records: Records, account: string): Promise<void> => {
  for (;;) {
    const [own] = (await records.get(emailOfAccountRef(account))).values
    if (!own) return
    const [entry] = (await records.get(accountEmailRef(own.value.email))).values
    const others = entry?.value.accounts.filter((id) => id !== account) ?? []
    const result = await records.commit({
      unchanged: [own, ...(entry ? [entry] : [])],
      puts: entry && others.length > 0 ? [put(entry.ref, { accounts: others })] : [],
      deletes: [own.ref, ...(entry && others.length === 0 ? [entry.ref] : [])],
    })
    if (result.committed) return
  }
}
