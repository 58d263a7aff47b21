import { base64url } from '../crypto/bytes.ts'
import type { UpstreamAccessToken, UpstreamFacts } from '../identity/access-token.ts'
import type { JsonObject } from '../identity/json.ts'
import { type Account, accountRef } from '../records/account.ts'
import { pendingRevocations } from '../records/pending-revocation.ts'
import { type Put, put, type Records, type Stored } from '../records/records.ts'
import { sessionIndexes, type UpstreamSession, upstreamSessionRef } from '../records/upstream-session.ts'
import { checkedPerson, type Person, type Said } from './claims.ts'
import type { UpstreamContext } from './context.ts'
import { createExchanges } from './exchanges.ts'
import { logOut, notLoggedOut } from './logout.ts'
import { revokePending } from './pending-revocations.ts'
import { type LogoutToken, type SignIn, SignInRefused, type Voucher } from './provider.ts'
import { type Erased, eraseSession, releaseSession, remaining } from './release.ts'
import { type Checked, createRenewal } from './renewal.ts'

/** Keeps what providers said and gave, one upstream session for each sign-in: its tokens sealed, its statements as they were. */
export interface Custody {
  /**
   * Writes the session of a sign-in; the account is that which `Accounts.resolve` answered for it.
   * @param keptFor milliseconds, where less than a session's whole time is wanted
   * @throws SignInRefused where the person signed out at the provider meanwhile
   */
  begin(account: Account, providerId: string, signIn: SignIn, keptFor?: number): Promise<UpstreamSession>
  /**
   * Who the person is, for handlers: all that was said, and what the provider's schema makes of it now.
   * `gone`: the session is over, or its provider is no longer configured. `schema`: it does not satisfy the provider's schema (any more).
   * Both mean that the person must sign in again. A session that has `ended` still says who the person is, but a browser session that
   * stands on it (or on one that is gone) is no sign-in any more: the provider must be asked before a new grant is made of it.
   * @param read the session, where a snapshot that decides about more than it has it already
   */
  identity(sessionId: string, read?: Pick<Identified, 'session' | 'now'>): Promise<Identified | 'gone' | 'schema'>
  /**
   * What a commit must hold that lets a new grant stand on a session: a release that is under way then decides again.
   * Undefined where the session is over.
   */
  hold(sessionId: string): Promise<Hold | undefined>
  /** What the claims of a statement are for handlers. `gone` and `schema` as above. */
  claimsOf(providerId: string, said: Said): Promise<JsonObject | 'gone' | 'schema'>
  /**
   * A provider's access token that is good now. Where it must be renewed, that is one request in the cluster, whoever asks.
   * @throws UpstreamTokenUnavailable
   */
  accessToken(sessionId: string): Promise<string>
  /**
   * Whether the person may go on, as the provider says: that is one request in the cluster, whoever asks.
   * @param maxAge an answer of the provider's that is younger counts, in milliseconds
   * @throws StoreUnavailable
   */
  check(sessionId: string, maxAge: number): Promise<Checked>
  /**
   * Carries out a provider's logout. Answers how many sessions it named, and those that have ended with what stands on them: the caller ends
   * their grants. Doing it again changes nothing.
   * @throws StoreUnavailable
   */
  logOut(
    providerId: string,
    token: LogoutToken,
  ): Promise<{ readonly sessions: number; readonly ended: readonly string[] }>
  /**
   * Called after a grant has ended or a browser was signed out: when no live grant stands on the session any more, its tokens are revoked at
   * the provider (where that ends no other session of the person), and when no browser does either, it is deleted. A provider that is away
   * throws nothing: `revokePending` tries again.
   */
  release(sessionId: string): Promise<void>
  /**
   * Deletes a session, whatever stands on it, for good; its tokens are revoked at the provider, where that can be done. `failed`: it has some
   * that can't be.
   */
  erase(sessionId: string): Promise<Erased>
  /**
   * Revokes at providers what could not be when its session ended. Answers after how many milliseconds there is something to try again; undefined
   * where nothing is left. @throws StoreUnavailable
   */
  revokePending(): Promise<number | undefined>
  /** Whether there is any of that. @throws StoreUnavailable */
  hasPending(): Promise<boolean>
}

export interface Identified {
  readonly facts: UpstreamFacts
  readonly session: UpstreamSession
  /** The most that this person's clients may have, without what these imply. Absent: there is no such bound. */
  readonly scopes?: readonly string[]
  /** The store's clock when that was read, milliseconds since the epoch. */
  readonly now: number
}

export interface Hold {
  readonly unchanged: Stored<UpstreamSession>
  readonly put: Put
}

export interface CustodyOptions {
  /**
   * How long a session is kept at most, in milliseconds: longer than a browser session and then a grant may live together.
   * Default: 400 days.
   */
  readonly lifetime?: number
  /** How long a renewal may take before another may try, in milliseconds: longer than a provider's `refresh` may take. Default: 45,000. */
  readonly lease?: number
}

const defaultLifetime = 400 * 86_400_000
const defaultLease = 45_000

export const createCustody = (
  context: Pick<UpstreamContext, 'records' | 'random' | 'audit' | 'logger'>,
  providers: readonly Voucher[],
  { lifetime = defaultLifetime, lease = defaultLease }: CustodyOptions = {},
): Custody => {
  const { records, random } = context
  const byId = new Map(providers.map((provider) => [provider.id, provider]))
  const attempts = { ...context, providers: byId, lifetime, lease }
  const { accessToken, check } = createRenewal(attempts)
  const exchanged = createExchanges(attempts, accessToken)

  const personOf = async (providerId: string, said: Said): Promise<Person | 'gone' | 'schema'> => {
    const provider = byId.get(providerId)
    if (!provider) return 'gone'
    try {
      return await checkedPerson(provider, said)
    } catch (error) {
      if (error instanceof SignInRefused) return 'schema'
      throw error
    }
  }

  const details = async (sessionId: string): Promise<UpstreamAccessToken> => {
    const token = await accessToken(sessionId)
    const { tokens } = (await records.get(upstreamSessionRef(sessionId))).values[0]?.value ?? {}
    // Another may have come meanwhile, and what is known is of that one.
    if (tokens?.accessToken !== token) return { token }
    const { scope, expiresAt } = tokens
    return {
      token,
      ...(scope === undefined ? {} : { scopes: scope.split(' ').filter(Boolean) }),
      ...(expiresAt === undefined ? {} : { expiresAt: Math.floor(expiresAt / 1000) }),
    }
  }

  return {
    async begin(account, providerId, signIn, keptFor = lifetime) {
      const { issuer, subject, authTime, said, tokens } = signIn
      const id = base64url(random.bytes(16))
      const ref = upstreamSessionRef(id)
      const { now } = await records.get(ref)
      const session: UpstreamSession = {
        id,
        account: account.id,
        provider: providerId,
        issuer,
        subject,
        createdAt: now,
        authTime,
        ...(signIn.authTimeAssumed ? { authTimeAssumed: signIn.authTimeAssumed } : {}),
        said,
        ...(tokens === undefined ? {} : { tokens, tokensAt: now }),
        generation: 0,
      }
      const ttl = Math.min(keptFor, lifetime)
      for (;;) {
        const unchanged = [await stillTheirs(records, account, session), ...(await notLoggedOut(records, session))]
        const puts = [put(ref, session, ttl), ...sessionIndexes(session).map((entry) => put(entry, {}, ttl))]
        if ((await records.commit({ unchanged, puts })).committed) return session
      }
    },

    async identity(sessionId, read) {
      const { session, now } = read?.session.id === sessionId ? read : await sessionOf(records, sessionId)
      if (!session) return 'gone'
      const person = await personOf(session.provider, session)
      if (typeof person === 'string') return person
      const { claims, scopes } = person
      const facts: UpstreamFacts = {
        provider: session.provider,
        issuer: session.issuer,
        subject: session.subject,
        claims,
        ...(session.tokens === undefined && session.ended === undefined
          ? {}
          : {
              accessToken: (target) => (target ? exchanged(sessionId, target) : accessToken(sessionId)),
              accessTokenDetails: async (target) =>
                target ? { token: await exchanged(sessionId, target) } : details(sessionId),
            }),
      }
      return { facts, session, now, ...(scopes === undefined ? {} : { scopes }) }
    },

    async claimsOf(providerId, said) {
      const person = await personOf(providerId, said)
      return typeof person === 'string' ? person : person.claims
    },

    async hold(sessionId) {
      const { values, now } = await records.get(upstreamSessionRef(sessionId))
      const [stored] = values
      if (!stored || stored.value.ended || stored.value.loggedOutAt !== undefined) return undefined
      return { unchanged: stored, put: put(stored.ref, stored.value, remaining({ lifetime }, stored.value, now)) }
    },

    accessToken,
    check,
    logOut: (providerId, token) => logOut(records, lifetime, byId.get(providerId) ?? { id: providerId }, token),
    release: (sessionId) => releaseSession({ ...context, providers: byId, lifetime }, sessionId),
    erase: (sessionId) => eraseSession({ ...context, providers: byId, lifetime }, sessionId),
    hasPending: async () => (await records.list(pendingRevocations, '', { limit: 1 })).values.length > 0,
    revokePending: () => revokePending({ ...context, providers: byId }),
  }
}

const sessionOf = async (
  records: Records,
  id: string,
): Promise<{ readonly session: UpstreamSession | undefined; readonly now: number }> => {
  const { values, now } = await records.get(upstreamSessionRef(id))
  return { session: values[0]?.value, now }
}

/** What must stay as it is while a session is written: else it would outlive its account, or this way to sign in. */
const stillTheirs = async (
  records: Records,
  { id, identities }: Account,
  { issuer, subject }: Pick<SignIn, 'issuer' | 'subject'>,
): Promise<Stored<Account>> => {
  const [stored] = (await records.get(accountRef(id))).values
  if (!stored || stored.value.deletedAt !== undefined) {
    throw new SignInRefused('interaction_required', { detail: 'the account was deleted meanwhile' })
  }
  const isIn = (all: Account['identities']) => all.some((each) => each.issuer === issuer && each.subject === subject)
  // Of who only shows that they are somebody, it never was one.
  if (isIn(identities) && !isIn(stored.value.identities)) {
    throw new SignInRefused('interaction_required', { detail: 'this way to sign in was taken away meanwhile' })
  }
  return stored
}
