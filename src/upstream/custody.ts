import { base64url } from '../crypto/bytes.ts'
import type { UpstreamFacts } from '../identity/access-token.ts'
import type { Account } from '../records/account.ts'
import { type Put, put, type Stored } from '../records/records.ts'
import { type UpstreamSession, upstreamSessionRef } from '../records/upstream-session.ts'
import { checkedClaims } from './claims.ts'
import type { UpstreamContext } from './context.ts'
import { type NamedProvider, type SignIn, SignInRefused } from './provider.ts'
import { releaseSession, remaining } from './release.ts'
import { createRenewal } from './renewal.ts'

/** Keeps what providers said and gave, one upstream session for each sign-in: its tokens sealed, its statements as they were. */
export interface Custody {
  /** Writes the session of a sign-in; the account is that which `Accounts.resolve` answered for it. */
  begin(account: Account, providerId: string, signIn: SignIn): Promise<UpstreamSession>
  /**
   * Who the person is, for handlers: all that was said, and what the provider's schema makes of it now.
   * `gone`: the session is over, or its provider is no longer configured. `schema`: it does not satisfy the provider's schema (any more).
   * Both mean that the person must sign in again. A session that has `ended` still says who the person is, but a browser session that
   * stands on it (or on one that is gone) is no sign-in any more: the provider must be asked before a new grant is made of it.
   */
  identity(sessionId: string): Promise<Identified | 'gone' | 'schema'>
  /**
   * What a commit must hold that lets a new grant stand on a session: a release that is under way then decides again.
   * Undefined where the session is over.
   */
  hold(sessionId: string): Promise<Hold | undefined>
  /**
   * A provider's access token that is good now. Where it must be renewed, that is one request in the cluster, whoever asks.
   * @throws UpstreamTokenUnavailable
   */
  accessToken(sessionId: string): Promise<string>
  /**
   * Called after a grant has ended or a browser was signed out: when no live grant stands on the session any more, its tokens are revoked at
   * the provider (where that ends no other session of the person), and when no browser does either, it is deleted. Never throws because of
   * the provider.
   */
  release(sessionId: string): Promise<void>
}

export interface Identified {
  readonly facts: UpstreamFacts
  readonly session: UpstreamSession
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
  context: Pick<UpstreamContext, 'records' | 'random' | 'audit'>,
  providers: readonly NamedProvider[],
  { lifetime = defaultLifetime, lease = defaultLease }: CustodyOptions = {},
): Custody => {
  const { records, random } = context
  const byId = new Map(providers.map((provider) => [provider.id, provider]))
  const accessToken = createRenewal({ ...context, providers: byId, lifetime, lease })

  return {
    async begin(account, providerId, { issuer, subject, authTime, said, tokens }) {
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
        said,
        ...(tokens === undefined ? {} : { tokens, tokensAt: now }),
        generation: 0,
      }
      await records.commit({ puts: [put(ref, session, lifetime)] })
      return session
    },

    async identity(sessionId) {
      const session = (await records.get(upstreamSessionRef(sessionId))).values[0]?.value
      const provider = session && byId.get(session.provider)
      if (!session || !provider) return 'gone'
      try {
        const claims = await checkedClaims(provider, session)
        const facts: UpstreamFacts = {
          provider: session.provider,
          issuer: session.issuer,
          subject: session.subject,
          claims,
          ...(session.tokens === undefined && session.ended === undefined
            ? {}
            : { accessToken: () => accessToken(sessionId) }),
        }
        return { facts, session }
      } catch (error) {
        if (error instanceof SignInRefused) return 'schema'
        throw error
      }
    },

    async hold(sessionId) {
      const { values, now } = await records.get(upstreamSessionRef(sessionId))
      const [stored] = values
      if (!stored || stored.value.ended) return undefined
      return { unchanged: stored, put: put(stored.ref, stored.value, remaining({ lifetime }, stored.value, now)) }
    },

    accessToken,
    release: (sessionId) => releaseSession({ ...context, providers: byId, lifetime }, sessionId),
  }
}
