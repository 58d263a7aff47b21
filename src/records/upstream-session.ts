import type { JsonObject } from '../identity/json.ts'
import { recordType, refTo } from './records.ts'

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
  /** What the provider said, each source as it was; a later entry overrides an earlier one, claim by claim. */
  readonly said: readonly Statement[]
  readonly tokens?: UpstreamTokens
  /** When these tokens were obtained, milliseconds since the epoch. */
  readonly tokensAt?: number
  /** Raised at each renewal of the tokens. */
  readonly generation: number
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
  /** No grant stands on it any more. */
  | 'released'

export interface Statement {
  readonly source: 'access_token' | 'id_token' | 'userinfo' | 'account' | 'host' | 'assertion'
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

const upstreamSessions = recordType<UpstreamSession>({ name: 'upstream-session', schema: 1, sealed: true })

export const upstreamSessionRef = (id: string) => refTo(upstreamSessions, id)
