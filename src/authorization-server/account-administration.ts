import {
  type Account,
  accountRef,
  accounts,
  deletedAccount,
  type Identity,
  identityAnswerRef,
  identityRef,
} from '../records/account.ts'
import { hashedBrowserSessionRef, sessionBrowsers } from '../records/browser-session.ts'
import { consents } from '../records/consent.ts'
import { accountExchangeRef, accountExchanges, accountGrants, grantRef, sessionGrants } from '../records/grant.ts'
import { put, type Records, type RecordType, type Ref, type Stored } from '../records/records.ts'
import { accountSessions } from '../records/upstream-session.ts'
import { forgetEmail } from '../upstream/email-link.ts'
import { deleteLocalAccount } from '../upstream/local.ts'
import type { ServerContext } from './context.ts'
import { indexesOf, revokeGrant } from './grants.ts'

/** An account as an operator sees it. */
export interface AccountInformation {
  readonly id: string
  /** `sub` in tokens. */
  readonly subject: string
  /** Milliseconds since the epoch. */
  readonly createdAt: number
  /** Who the person is at providers. */
  readonly identities: Account['identities']
}

export interface AccountPage {
  readonly accounts: readonly AccountInformation[]
  /** Where the next page begins; absent at the end. */
  readonly cursor?: string
}

const informationOf = ({ id, subject, createdAt, identities }: Account): AccountInformation => ({
  id,
  subject,
  createdAt,
  identities,
})

const pageSize = 100

/** All accounts, in pages. */
export const listAccounts = async (
  { records }: Pick<ServerContext, 'records'>,
  cursor?: string,
): Promise<AccountPage> => {
  const after = cursor === undefined ? {} : { after: cursor }
  const { values } = await records.list(accounts, '', { limit: pageSize, ...after })
  const last = values.at(-1)
  return {
    accounts: values.map(({ value }) => informationOf(value)),
    ...(last && values.length === pageSize ? { cursor: last.value.id } : {}),
  }
}

const idForm = /^[\w-]{22}$/

export const getAccount = async (
  { records }: Pick<ServerContext, 'records'>,
  id: string,
): Promise<AccountInformation | undefined> => {
  if (!idForm.test(id)) return undefined
  const [stored] = (await records.get(accountRef(id))).values
  return stored && informationOf(stored.value)
}

/** The account of a person of a provider. */
export const findAccount = async (
  server: Pick<ServerContext, 'records'>,
  { issuer, subject }: { readonly issuer: string; readonly subject: string },
): Promise<AccountInformation | undefined> => {
  const [identity] = (await server.records.get(identityRef(issuer, subject))).values
  return identity && getAccount(server, identity.value.account)
}

/** What was deleted with an account. */
export interface DeletedAccount {
  readonly grants: number
  /** Sign-ins at providers. */
  readonly sessions: number
  /** How many of these had tokens that can't be revoked at the provider: it has no way to, or it would end other sessions of the person. */
  readonly upstreamFailed: number
  /** How many of these have tokens that are still to be revoked at the provider: a server that knows it does so as soon as it can, for a week. */
  readonly upstreamPending: number
}

/**
 * Deletes an account and all that is known of its person: identities, a local name and password, browser sessions, sign-ins at providers (whose
 * tokens are revoked there), consents and grants, with every token, on every node. Who signs in again afterwards is somebody new. Undefined where
 * there is no such account. The audit log keeps what happened, with the account's id.
 * @throws StoreUnavailable it may be half done: then the account is still there, nobody signs in to it, and deleting it again finishes it
 */
export const deleteAccount = async (server: ServerContext, id: string): Promise<DeletedAccount | undefined> => {
  const { records, custody } = server
  const account = idForm.test(id) ? await mark(records, id) : undefined
  if (!account) return undefined
  const local = account.value.identities.filter(isLocal)
  for (const { subject } of local) await deleteLocalAccount(server, subject)
  let [grants, sessions, upstreamFailed, upstreamPending] = [0, 0, 0, 0]
  // Sessions first: without one no grant is made any more.
  const sessionGrantIds = new Set<string>()
  for await (const session of idsWithin(records, accountSessions, id)) {
    for await (const grant of idsWithin(records, sessionGrants, session)) sessionGrantIds.add(grant)
    for await (const hash of idsWithin(records, sessionBrowsers, session)) {
      const index: Ref<unknown> = { type: sessionBrowsers, key: `${sessionBrowsers.name}/${session}/${hash}` }
      await records.commit({ deletes: [hashedBrowserSessionRef(hash), index] })
    }
    const erased = await custody.erase(session)
    if (erased === 'failed') upstreamFailed++
    if (erased === 'pending') upstreamPending++
    sessions++
    for await (const grant of idsWithin(records, sessionGrants, session)) sessionGrantIds.add(grant)
  }
  for await (const grant of idsWithin(records, accountGrants, id)) sessionGrantIds.add(grant)
  for (const grant of sessionGrantIds) {
    const [stored] = (await records.get(grantRef(grant))).values
    if (!stored || stored.value.account !== id) continue
    await revokeGrant(server, stored, 'operator')
    grants++
  }
  // They ended with what they came of: nobody needs to hear of them.
  for await (const grant of idsWithin(records, accountExchanges, id)) {
    const [stored] = (await records.get(grantRef(grant))).values
    await records.commit({
      deletes: stored ? [stored.ref, ...indexesOf(stored.value)] : [accountExchangeRef(id, grant)],
    })
  }
  for await (const consent of idsWithin(records, consents, id)) {
    await records.commit({ deletes: [{ type: consents, key: `${consents.name}/${id}/${consent}` }] })
  }
  await forgetEmail(records, id)
  await records.commit({ deletes: [account.ref] })
  const deleted = { grants, sessions, upstreamFailed, upstreamPending }
  server.audit({ type: 'account.deleted', account: id, ...deleted })
  return deleted
}

/** By its form alone, and not by its issuer: an administrator's process need not know the server's URL. */
const isLocal = ({ provider, subject }: Identity): boolean => provider === 'local' && idForm.test(subject)

/** How long a password may take from its check to a session, and longer. Milliseconds. */
const signInLife = 15 * 60_000

/** From now on nothing new hangs on the account, and who signs in is somebody else; by a password of ours, nobody. */
const mark = async (records: Records, id: string): Promise<Stored<Account> | undefined> => {
  for (;;) {
    const { values, now } = await records.get(accountRef(id))
    const [stored] = values
    if (!stored) return undefined
    const value: Account = { ...stored.value, deletedAt: stored.value.deletedAt ?? now }
    const { identities } = value
    const refs = identities.map(({ issuer, subject }) => identityRef(issuer, subject))
    const mine = refs.length === 0 ? [] : (await records.get(...refs)).values
    // An identity that has an account of its own since is not this one's any more.
    const checks = mine.flatMap((identity) => (identity?.value.account === id ? [identity] : []))
    const locals = new Set(identities.filter(isLocal).map(({ issuer, subject }) => identityRef(issuer, subject).key))
    const [kept, gone] = [
      checks.filter(({ ref }) => locals.has(ref.key)),
      checks.filter(({ ref }) => !locals.has(ref.key)),
    ]
    const result = await records.commit({
      unchanged: [stored, ...checks],
      // A password that was checked already makes no new account of the one that goes.
      puts: [put(stored.ref, value), ...kept.map(({ ref }) => put(ref, { account: deletedAccount }, signInLife))],
      deletes: [...gone.map(({ ref }) => ref), ...answersOf(identities, gone)],
    })
    if (result.committed) return { ref: stored.ref, value, version: result.version }
  }
}

/** What is kept with those of the identities that go. */
const answersOf = (identities: Account['identities'], gone: readonly Stored<unknown>[]) => {
  const keys = new Set(gone.map(({ ref }) => ref.key))
  return identities.flatMap(({ issuer, subject }) =>
    keys.has(identityRef(issuer, subject).key) ? [identityAnswerRef(issuer, subject)] : [],
  )
}

async function* idsWithin(records: Records, type: RecordType<unknown>, within: string): AsyncGenerator<string> {
  const start = `${type.name}/${within}/`.length
  for (let after: string | undefined; ; ) {
    const { values } = await records.list(type, within, { limit: pageSize, ...(after === undefined ? {} : { after }) })
    for (const { ref } of values) yield ref.key.slice(start)
    const last = values.at(-1)
    if (!last || values.length < pageSize) return
    after = last.ref.key.slice(start)
  }
}
