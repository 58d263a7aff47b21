import type { JsonObject } from '../identity/json.ts'
import type { AuthTimeAssumed } from '../policy/sign-in.ts'
import type { Account } from '../records/account.ts'
import type { ServerContext } from './context.ts'
import type { ShownAccount } from './pages.ts'

/** A sign-in that a grant can stand on. */
export interface Somebody {
  readonly account: Account
  readonly upstreamSession: string
  /** Seconds since the epoch. */
  readonly authTime: number
  /** The provider did not say it. */
  readonly authTimeAssumed?: AuthTimeAssumed | undefined
  /** As whom the person signed in: one of the account's identities. */
  readonly identity: { readonly issuer: string; readonly subject: string }
  /** How the person recognises themselves. */
  readonly shown: ShownAccount
}

export interface SignInFacts {
  readonly account: string
  readonly upstreamSession: string
  readonly authTime: number
  /** When that was here, milliseconds since the epoch. */
  readonly createdAt?: number
}

/**
 * Undefined where the account, the upstream session or its provider is gone, the provider ended it, or the person signed out everywhere or took
 * this identity away: then it is no sign-in any more.
 */
export const identifyAccount = async (server: ServerContext, facts: SignInFacts): Promise<Somebody | undefined> => {
  const [account, identified] = await Promise.all([
    server.accounts.get(facts.account),
    server.custody.identity(facts.upstreamSession),
  ])
  if (account?.signedOutAt !== undefined && (facts.createdAt ?? 0) <= account.signedOutAt) return undefined
  if (!account || typeof identified === 'string') return undefined
  if (identified.session.ended || identified.session.loggedOutAt !== undefined) return undefined
  const provider = server.providers.find(({ id }) => id === identified.session.provider)
  if (!provider) return undefined
  const { issuer, subject } = identified.session
  if (!account.identities.some((each) => each.issuer === issuer && each.subject === subject)) return undefined
  return {
    account,
    identity: { issuer, subject },
    upstreamSession: facts.upstreamSession,
    authTime: facts.authTime,
    authTimeAssumed: identified.session.authTimeAssumed,
    shown: shownAccount(provider.name, identified.facts.claims),
  }
}

export const shownAccount = (provider: string, claims: JsonObject): ShownAccount => ({
  provider,
  ...text('name', claims.name),
  ...text('email', claims.email),
  ...text('username', claims.preferred_username),
})

const text = (name: 'name' | 'email' | 'username', value: unknown) =>
  typeof value === 'string' && value.trim() !== '' ? { [name]: value } : {}
