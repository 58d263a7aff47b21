import { hashStrings } from '../crypto/hash.ts'
import type { JsonObject } from '../identity/json.ts'
import type { AuthTimeAssumed } from '../policy/sign-in.ts'
import { type Ref, recordType, refTo } from './records.ts'

/** A sign-in at a provider: home of the provider's tokens and of what it said. */
export interface UpstreamSession {
  readonly id: string
  readonly account: string
  readonly provider: string
  readonly issuer: string
  readonly subject: string
  /** Milliseconds since the epoch. */
  readonly createdAt: number
  /** When the person authenticated at the provider, seconds since the epoch. */
  readonly authTime: number
  /** Nobody said when: it is when the answer came. */
  readonly authTimeAssumed?: AuthTimeAssumed
  /** What the provider said, each source as it was; a later entry overrides an earlier one, claim by claim. */
  readonly said: readonly Statement[]
  readonly tokens?: UpstreamTokens
  /** When these tokens were obtained, milliseconds since the epoch. */
  readonly tokensAt?: number
  /** Raised at each renewal of the tokens. */
  readonly generation: number
  /** When the provider last said that this person may go on, without new tokens. Milliseconds since the epoch. */
  readonly checkedAt?: number
  /** Raised each time that it said so. */
  readonly checks?: number
  /** When the person signed out at the provider: nothing new is begun on it, whatever goes on. */
  readonly loggedOutAt?: number
  /** The renewal that is under way: a lease on this session. */
  readonly renewal?: { readonly attempt: string; readonly until: number }
  /** Some renewal's end is unknown since then: the provider may have taken our refresh token and its answer was lost. */
  readonly uncertainSince?: number
  /** When a renewal last failed for a reason that says nothing of the person: nobody asks again at once. */
  readonly failedAt?: number
  /** The tokens are of no use any more. */
  readonly ended?: { readonly at: number; readonly reason: UpstreamEnd }
}

export type UpstreamEnd =
  /** The provider said no. */
  | 'refused'
  /** It said no to a refresh token that an earlier request may have used up: the person must sign in there again, but was not refused. */
  | 'outcome_unknown'
  /** The person signed out there, and what stood on this session ended with it. */
  | 'logged_out'
  /** No grant stands on it any more. */
  | 'released'

export interface Statement {
  readonly source: 'answer' | 'directory' | 'access_token' | 'id_token' | 'userinfo' | 'account' | 'host' | 'assertion'
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly claims: JsonObject
}

export interface UpstreamTokens {
  readonly accessToken: string
  readonly refreshToken?: string
  readonly idToken?: string
  readonly scope?: string
  /** Milliseconds since the epoch. */
  readonly expiresAt?: number
}

/** Asks the servers to release a session: before its id. */
export const releaseMessage = 'release:'

const upstreamSessions = recordType<UpstreamSession>({ name: 'upstream-session', schema: 1, sealed: true })

export const upstreamSessionRef = (id: string) => refTo(upstreamSessions, id)

/** Index: the sessions of an account. Written and deleted with the session. */
export const accountSessions = recordType<Record<string, never>>({ name: 'account-session', schema: 1, sealed: false })

const accountSessionRef = (account: string, session: string) => refTo(accountSessions, account, session)

/** What a provider's logout names: one of its own sessions, or a person. */
export type LogoutSubject =
  | { readonly provider: string; readonly issuer: string; readonly sid: string }
  | { readonly provider: string; readonly issuer: string; readonly sub: string }

const keyOf = (subject: LogoutSubject): string =>
  'sid' in subject
    ? hashStrings(subject.provider, subject.issuer, 'sid', subject.sid)
    : hashStrings(subject.provider, subject.issuer, 'sub', subject.sub)

/** Index: the sessions that a logout ends. Written with the session, living as long as it. */
const loggedInSessions = recordType<Record<string, never>>({ name: 'logged-in-session', schema: 1, sealed: false })

const loggedInSessionRef = (subject: LogoutSubject, session: string) => refTo(loggedInSessions, keyOf(subject), session)

/** For a list of the sessions that a logout ends. */
export const loggedInSessionsOf = (subject: LogoutSubject) => ({ type: loggedInSessions, within: keyOf(subject) })

/** The last logout of somebody, kept for as long as a sign-in may be under way that was begun before it. `at` in seconds, by the provider's clock. */
const logouts = recordType<{ readonly at: number }>({ name: 'upstream-logout', schema: 1, sealed: false })

export const logoutRef = (subject: LogoutSubject) => refTo(logouts, keyOf(subject))

/** A logout token that was carried out: each counts once. */
const usedLogouts = recordType<Record<string, never>>({ name: 'used-logout', schema: 1, sealed: false })

export const usedLogoutRef = (provider: string, jti: string) => refTo(usedLogouts, hashStrings(provider, jti))

/** Whom a session's sign-in is to be found by when a logout comes: by what its id_token said, since that is what the logout says too. */
export const logoutSubjects = (session: Pick<UpstreamSession, 'provider' | 'issuer' | 'said'>): LogoutSubject[] => {
  const { provider, issuer, said } = session
  const { sub, sid } = said.find(({ source }) => source === 'id_token')?.claims ?? {}
  return [
    ...(typeof sub === 'string' ? [{ provider, issuer, sub }] : []),
    ...(typeof sid === 'string' ? [{ provider, issuer, sid }] : []),
  ]
}

/** The entries that make a session findable: written, and deleted, with it. */
export const sessionIndexes = (session: UpstreamSession): Ref<Record<string, never>>[] => [
  accountSessionRef(session.account, session.id),
  ...logoutSubjects(session).map((subject) => loggedInSessionRef(subject, session.id)),
]
