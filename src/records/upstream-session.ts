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
  /** Raised at each renewal of the tokens. */
  readonly generation: number
  /** A renewal that was begun; where it is still here after its lease, its end is unknown. */
  readonly renewal?: { readonly attempt: string; readonly at: number }
  /** The provider has ended this session: its tokens are of no use. */
  readonly ended?: { readonly at: number; readonly reason: string }
}

export interface Statement {
  readonly source: 'id_token' | 'userinfo' | 'account' | 'host'
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
