import { type Put, put, type Ref, recordType, refTo } from './records.ts'
import type { UpstreamSession, UpstreamTokens } from './upstream-session.ts'

/**
 * Tokens of a sign-in that are over here and are to be ended at the provider. They are put aside in the commit that takes them away, so that whoever is
 * interrupted, or meets a provider that is away, leaves them to the next who looks. Says nothing of whose they were.
 */
export interface PendingRevocation {
  readonly session: string
  readonly provider: string
  readonly tokens: UpstreamTokens
  /** When nobody tries any more, milliseconds since the epoch. */
  readonly until: number
  /** So long nobody tries: somebody does just now, or the provider was away. Milliseconds since the epoch. */
  readonly busyUntil?: number
  /** How often it was tried in vain. */
  readonly tries?: number
}

export const pendingRevocations = recordType<PendingRevocation>({ name: 'pending-revocation', schema: 1, sealed: true })

const keptFor = 7 * 86_400_000
/** Longer than a provider may take. Milliseconds. */
export const revocationBusyFor = 60_000

/**
 * What is to be written where tokens are given up that are still good at the provider.
 * @param tried it is tried at once, so nobody else does meanwhile
 * @param part where tokens of one session are put aside more than once
 */
export const pendingRevocation = (
  { id, provider }: Pick<UpstreamSession, 'id' | 'provider'>,
  tokens: UpstreamTokens,
  now: number,
  { tried, part }: { readonly tried: boolean; readonly part?: string },
): { readonly ref: Ref<PendingRevocation>; readonly value: PendingRevocation; readonly put: Put } => {
  const until = { until: now + keptFor, ...(tried ? { busyUntil: now + revocationBusyFor } : {}) }
  const value: PendingRevocation = { session: id, provider, tokens, ...until }
  const ref = refTo(pendingRevocations, part === undefined ? id : `${id}.${part}`)
  return { ref, value, put: put(ref, value, keptFor) }
}

/** Asks the servers to look for them. */
export const revocationMessage = 'revoke-upstream'
