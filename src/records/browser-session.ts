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

/** The same, by the last part of an entry of the index below. */
export const hashedBrowserSessionRef = (hash: string) => refTo(browserSessions, hash)

/** Index: the browsers that stand on an upstream session. Written, prolonged and deleted with the browser session. */
export const sessionBrowsers = recordType<Record<string, never>>({ name: 'session-browser', schema: 1, sealed: false })

export const sessionBrowserRef = (upstreamSession: string, cookie: string) =>
  refTo(sessionBrowsers, upstreamSession, hashSecret(cookie))
