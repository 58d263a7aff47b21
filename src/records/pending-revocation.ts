import { type Put, put, recordType, refTo } from './records.ts'
import type { UpstreamSession, UpstreamTokens } from './upstream-session.ts'

/**
 * Tokens of a session that was erased while nobody could end them at the provider: it was away, or who erased the session does not know it. Says
 * nothing of whose they were.
 */
export interface PendingRevocation {
  readonly session: string
  readonly provider: string
  readonly tokens: UpstreamTokens
  /** When nobody tries any more, milliseconds since the epoch. */
  readonly until: number
  /** Somebody tries, and so long nobody else does. Milliseconds since the epoch. */
  readonly busyUntil?: number
}

export const pendingRevocations = recordType<PendingRevocation>({ name: 'pending-revocation', schema: 1, sealed: true })

const keptFor = 7 * 86_400_000
const waiting = 60_000

/**
 * What is to be written where a session goes whose tokens were not ended at the provider.
 * @param tried it was tried just now, so nobody does it again at once
 */
export const pendingRevocation = (
  { id, provider, tokens }: UpstreamSession,
  now: number,
  tried: boolean,
): readonly Put[] => {
  if (!tokens) return []
  const until = { until: now + keptFor, ...(tried ? { busyUntil: now + waiting } : {}) }
  const value: PendingRevocation = { session: id, provider, tokens, ...until }
  return [put(refTo(pendingRevocations, id), value, keptFor)]
}

/** Asks the servers to look for them. */
export const revocationMessage = 'revoke-upstream'
