import { revocationMessage } from '../records/pending-revocation.ts'
import { releaseMessage } from '../records/upstream-session.ts'
import type { UpstreamContext } from './context.ts'
import type { Custody } from './custody.ts'

/** After the store was away. Milliseconds, as all times here. */
const revokeAgainAfter = 5 * 60_000
/** However little there was: a message may be lost. */
const lookAgainAfter = 60 * 60_000
/** Between two passes, at the least. */
const revokePause = 5_000

/**
 * What administrators who don't know the providers ended here, and what a provider that was away left over, is ended there by a running server: this
 * one, until what is answered is called.
 */
export const watchReleases = async ({
  records,
  custody,
  logger,
}: Pick<UpstreamContext, 'records' | 'logger'> & { readonly custody: Custody }): Promise<() => void> => {
  let timer: ReturnType<typeof setTimeout> | undefined
  let due = Number.POSITIVE_INFINITY
  let passedAt = Number.NEGATIVE_INFINITY
  let busy = false
  let stopped = false
  const revoke = async (): Promise<void> => {
    due = Number.POSITIVE_INFINITY
    busy = true
    const again = await custody.revokePending().catch((error: unknown) => {
      if (!stopped) logger.warn('tokens that are over could not be revoked at their provider', { error })
      return revokeAgainAfter
    })
    busy = false
    passedAt = performance.now()
    lookWithin(again ?? lookAgainAfter)
  }
  /** However often it is told, and one pass after the other: each reads all that is left over. */
  const lookWithin = (milliseconds: number): void => {
    const now = performance.now()
    due = Math.min(due, now + Math.min(milliseconds, lookAgainAfter))
    if (stopped || busy) return
    clearTimeout(timer)
    timer = setTimeout(revoke, Math.max(due, passedAt + revokePause) - now).unref()
  }
  const unwatch = records.store.watch((message) => {
    if (message === revocationMessage) lookWithin(0)
    if (!message.startsWith(releaseMessage)) return
    custody.release(message.slice(releaseMessage.length)).catch((error: unknown) => {
      logger.warn('an upstream session could not be released', { error })
    })
  })
  // While nobody ran, nobody heard it; and a message may be lost.
  lookWithin((await custody.hasPending().catch(() => true)) ? 0 : lookAgainAfter)
  return () => {
    stopped = true
    unwatch()
    clearTimeout(timer)
  }
}
