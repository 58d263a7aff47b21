import { base64url } from '../crypto/bytes.ts'
import {
  type Account,
  accountRef,
  deletedAccount,
  type Identity,
  identityAnswerRef,
  identityRef,
  type SubjectMode,
  subjectModeRef,
} from '../records/account.ts'
import { put, type Stored } from '../records/records.ts'
import { checkedClaims } from './claims.ts'
import type { UpstreamContext } from './context.ts'
import { type EmailLink, forgetEmail, linkedAccount, rememberEmail } from './email-link.ts'
import { type NamedProvider, type SignIn, SignInRefused, type Voucher } from './provider.ts'
import { answerToKeep, keepAnswer, withEarlierAnswer } from './said-once.ts'

/** Accounts, found by who a person is at a provider: (issuer, subject). Never merged; nothing is linked by e-mail, unless the operator says so. */
export interface Accounts {
  /** A sign-in with what its provider said of this person before, and says once only. What is made of a sign-in is made of this. */
  recall(signIn: SignIn): Promise<SignIn>
  /**
   * The account of who signed in, made at the first time. Of concurrent first sign-ins of one person, one makes it.
   * @param link where who comes for the first time may be somebody who is known by an e-mail address
   * @throws SignInRefused with reason `claims` where the provider's schema is not satisfied: then there is no account either
   */
  resolve(
    providerId: string,
    signIn: SignIn,
    link?: EmailLink,
  ): Promise<{ readonly account: Account; readonly created: boolean }>
  get(id: string): Promise<Account | undefined>
  /** The account that this person of a provider has, where there is one. */
  byIdentity(issuer: string, subject: string): Promise<Account | undefined>
  /** Whether accounts may have more than one identity: not where the subject is the provider's, of which there is one. */
  readonly linkable: boolean
  /**
   * Adds to an account the identity of who signed in. `of_another`: that has an account already; two are never merged, since subjects would
   * change. `full`: it has more than anyone needs.
   * @throws SignInRefused as `resolve`
   */
  link(
    account: string,
    providerId: string,
    signIn: SignIn,
  ): Promise<'added' | 'already_yours' | 'of_another' | 'full' | 'gone'>
  /** The account that has this `sub` in our tokens. */
  bySubject(subject: string): Promise<Account | undefined>
  /**
   * Called at start: are the subjects that this store was begun with those that are configured?
   * @throws SubjectModeRefused
   */
  checkSubjectMode(): Promise<void>
  /** Takes an identity away from an account, which keeps at least one. Who signs in as it afterwards is somebody new. */
  unlink(account: string, identity: Pick<Identity, 'issuer' | 'subject'>): Promise<boolean>
}

export interface AccountsOptions {
  /** `random`: a random id of our own. `upstream`: the provider's subject; only with a single provider, that is not our own local accounts. */
  readonly subject: 'random' | 'upstream'
  readonly providers: readonly NamedProvider[]
  /** Others whose word is taken for who a person is. */
  readonly vouchers?: readonly Voucher[]
  /** The ids of providers whose people may be found by a verified e-mail address. */
  readonly knownByEmail?: ReadonlySet<string>
}

/** The configured subjects don't fit the store or the providers; the message says what to do. */
export class SubjectModeRefused extends Error {
  override readonly name = 'SubjectModeRefused'
}

export const createAccounts = (
  { records, random }: Pick<UpstreamContext, 'records' | 'random'>,
  { subject, providers, vouchers = [], knownByEmail = new Set() }: AccountsOptions,
): Accounts => {
  const configured = configuredMode(subject, providers)

  const resolve: Accounts['resolve'] = async (providerId, signIn, link) => {
    const resolved = await resolveOnce(providerId, signIn, link)
    if (knownByEmail.has(providerId)) await rememberEmail({ records, random }, providerId, resolved.account.id, signIn)
    return resolved
  }

  const resolveOnce: Accounts['resolve'] = async (providerId, signIn, link) => {
    const provider = [...providers, ...vouchers].find(({ id }) => id === providerId)
    if (!provider) throw new TypeError(`no provider ${providerId}`)
    await checkedClaims(provider, signIn)
    const identity = identityRef(signIn.issuer, signIn.subject)
    for (;;) {
      const { values, now } = await records.get(subjectModeRef, identity)
      const [mode, known] = values
      const wanted = checkedMode(mode, configured, signIn)
      if (known?.value.account === deletedAccount) {
        throw new SignInRefused('interaction_required', { detail: 'the account was deleted meanwhile' })
      }
      if (known) {
        const account = (await records.get(accountRef(known.value.account))).values[0]
        if (account && account.value.deletedAt === undefined) {
          await keepAnswer(records, account.value.id, signIn)
          return { account: account.value, created: false }
        }
      }
      const who = { provider: providerId, issuer: signIn.issuer, subject: signIn.subject }
      const linked = link && (await linkedAccount({ records, random }, link, signIn))
      if (linked) {
        const { stored, entries = [] } = linked
        // Whoever vouches for many people with one address must not fill an account, which its person could then not look through.
        if (stored.value.identities.length >= mostIdentities) {
          throw new SignInRefused('untrusted', { detail: 'the account of this e-mail address has too many identities' })
        }
        const account: Account = { ...stored.value, identities: [...stored.value.identities, who] }
        const result = await records.commit({
          unchanged: [...(mode ? [mode] : []), known ?? identity, stored, ...entries],
          puts: [put(identity, { account: account.id }), put(stored.ref, account), ...answerToKeep(signIn)],
        })
        if (result.committed) return { account, created: false }
        continue
      }
      const id = base64url(random.bytes(16))
      const account: Account = {
        id,
        subject: subject === 'random' ? id : signIn.subject,
        createdAt: now,
        identities: [who],
      }
      const result = await records.commit({
        // The mode is part of what is decided here: another node may be about to be started with another.
        unchanged: [mode ?? subjectModeRef, known ?? identity, accountRef(id)],
        puts: [
          put(identity, { account: id }),
          put(accountRef(id), account),
          ...answerToKeep(signIn),
          ...(mode?.value.used ? [] : [put(subjectModeRef, wanted)]),
        ],
      })
      if (result.committed) return { account, created: true }
    }
  }

  const checkSubjectMode = async (): Promise<void> => {
    for (;;) {
      const mode = (await records.get(subjectModeRef)).values[0]
      if (mode?.value.used) return checkUsed(mode.value, configured)
      if (mode && sameMode(mode.value, configured)) return
      // Until there is an account, nothing hangs on it.
      const result = await records.commit({
        unchanged: [mode ?? subjectModeRef],
        puts: [put(subjectModeRef, configured)],
      })
      if (result.committed) return
    }
  }

  const get: Accounts['get'] = async (id) => {
    const account = (await records.get(accountRef(id))).values[0]?.value
    return account?.deletedAt === undefined ? account : undefined
  }

  const bySubject: Accounts['bySubject'] = async (text) => {
    // A random subject is the account's id; it is foreign text here, and only an id becomes a part of a key.
    if (subject === 'random') return /^[\w-]{22}$/.test(text) ? get(text) : undefined
    const issuer = (await records.get(subjectModeRef)).values[0]?.value.issuer
    if (issuer === undefined) return undefined
    const identity = (await records.get(identityRef(issuer, text))).values[0]
    return identity && get(identity.value.account)
  }

  const byIdentity: Accounts['byIdentity'] = async (issuer, name) => {
    const identity = (await records.get(identityRef(issuer, name))).values[0]
    return identity && get(identity.value.account)
  }

  const linkable = subject === 'random'

  const link: Accounts['link'] = async (id, providerId, signIn) => {
    const provider = providers.find((each) => each.id === providerId)
    if (!provider || !linkable) throw new TypeError(`${providerId} can't be added to an account`)
    await checkedClaims(provider, signIn)
    const { issuer, subject: name } = signIn
    const ref = identityRef(issuer, name)
    for (;;) {
      const [account, known] = (await records.get(accountRef(id), ref)).values
      if (!account || account.value.deletedAt !== undefined) return 'gone'
      // One that is another account's stays so, and one of an account that is gone is its own again at its next sign-in.
      if (known) return known.value.account === id ? 'already_yours' : 'of_another'
      const { identities } = account.value
      if (identities.length >= mostIdentities) return 'full'
      const identity = { provider: providerId, issuer, subject: name }
      const result = await records.commit({
        unchanged: [account, ref],
        puts: [
          put(ref, { account: id }),
          put(account.ref, { ...account.value, identities: [...identities, identity] }),
          ...answerToKeep(signIn),
        ],
      })
      if (result.committed) return 'added'
    }
  }

  const unlink: Accounts['unlink'] = async (id, { issuer, subject: name }) => {
    const ref = identityRef(issuer, name)
    for (;;) {
      const [account, known] = (await records.get(accountRef(id), ref)).values
      const all = account?.value.identities ?? []
      const identities = all.filter((each) => each.issuer !== issuer || each.subject !== name)
      if (!account || identities.length === all.length || identities.length === 0) return false
      const ours = known?.value.account === id ? [known] : []
      const result = await records.commit({
        unchanged: [account, ...ours],
        puts: [put(account.ref, { ...account.value, identities })],
        deletes: ours.flatMap((each) => [each.ref, identityAnswerRef(issuer, name)]),
      })
      if (!result.committed) continue
      // Which identity it came with nobody wrote down: a sign-in by one that is left remembers it again.
      await forgetEmail(records, id)
      return true
    }
  }

  const recall: Accounts['recall'] = (signIn) => withEarlierAnswer(records, signIn)

  return { recall, unlink, resolve, checkSubjectMode, get, bySubject, byIdentity, linkable, link }
}

/** Of one account. */
const mostIdentities = 20

/** The mode to remember when this sign-in's account is the first. */
const checkedMode = (stored: Stored<SubjectMode> | undefined, configured: SubjectMode, signIn: SignIn): SubjectMode => {
  if (stored?.value.used) checkUsed(stored.value, configured)
  else if (stored && !sameMode(stored.value, configured)) throw new SubjectModeRefused(otherMode)
  if (configured.mode === 'random') return { ...configured, used: true }
  const issuer = stored?.value.issuer
  if (issuer !== undefined && issuer !== signIn.issuer) {
    throw new SignInRefused('untrusted', {
      detail: `subjects are those of ${issuer}, and another issuer vouched for this one`,
    })
  }
  return { ...configured, issuer: signIn.issuer, used: true }
}

const configuredMode = (subject: 'random' | 'upstream', providers: readonly NamedProvider[]): SubjectMode => {
  if (subject === 'random') return { mode: 'random', used: false }
  const [only] = providers
  if (!only || providers.length !== 1) {
    throw new SubjectModeRefused(
      'subject: "upstream" needs exactly one provider: the subjects of two could be the same',
    )
  }
  if (only.open.kind === 'password') {
    throw new SubjectModeRefused(
      'subject: "upstream" is not for local accounts: their subjects are ours already, use "random"',
    )
  }
  return { mode: 'upstream', provider: only.id, used: false }
}

const sameMode = (a: SubjectMode, b: SubjectMode): boolean => a.mode === b.mode && a.provider === b.provider

const checkUsed = (stored: SubjectMode, configured: SubjectMode): void => {
  if (sameMode(stored, configured)) return
  if (stored.mode !== configured.mode) {
    throw new SubjectModeRefused(
      `the accounts in this store have ${stored.mode} subjects: subject: "${configured.mode}" would give everybody another identity`,
    )
  }
  throw new SubjectModeRefused(
    `the accounts in this store have the subjects of the provider "${stored.provider}": those of "${configured.provider}" could be the same`,
  )
}

const otherMode = 'another node of this server was started with another `subject`'
