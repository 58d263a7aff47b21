import { hashSecret } from '../crypto/hash.ts'
import { recordType, refTo } from './records.ts'

/** Who is signed in here, in one browser. Found by the hash of its cookie. */
export interface BrowserSession {
  readonly account: string
  readonly upstreamSession: string
  /** Seconds since the epoch. */
  readonly authTime: number
  /** Milliseconds since the epoch. */
  readonly createdAt: number
}

const browserSessions = recordType<BrowserSession>({ name: 'browser-session', schema: 1, sealed: false })

export const browserSessionRef = (cookie: string) => refTo(browserSessions, hashSecret(cookie))
