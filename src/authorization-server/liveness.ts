import { revocationLifetime, revocationOverlap, revocations, revocationTime, revokedOf } from '../records/revocation.ts'
import type { ServerContext } from './context.ts'

/**
 * What this node knows of revocations. It hears of them by notification, which may miss; and it reads the log, which does not.
 * What is remembered of grants is good while the log was read within the bound.
 */
export interface Liveness {
  /** True while the log was read recently enough. May begin to read it again, without waiting. */
  isFresh(): boolean
  /** Reads the log if it must be read before anything is answered. @throws StoreUnavailable, or another error where the store does not answer in time */
  catchUp(): Promise<void>
  /**
   * The store's clock now, in milliseconds since the epoch, as the log's last reading told it; if anything, behind it by as long as the answer took:
   * never ahead, because others refuse what says that it was issued in the future. Undefined where the log was not read within the bound. May begin to
   * read it again, without waiting.
   */
  storeTime(): number | undefined
  /** True for what was revoked of late: a grant, or a token that has none. */
  isRevoked(id: string): boolean
  close(): void
}

/** A node that has not read the log for so long must not answer from memory. In milliseconds, as all times here. */
const bound = 5_000
/** From this age on the log is read again beside the requests, so that those seldom wait for it. */
const refreshAfter = 1_000
/** How long a reading may take. Counted into the bound by its start. */
const patience = 3_000
const pageSize = 1_000

/** @param forget is called once for each revocation that is learned, with what was revoked */
export const createLiveness = (
  { records, clock }: Pick<ServerContext, 'records' | 'clock'>,
  forget: (revoked: string) => void,
): Liveness => {
  /** What was revoked, and when that was last heard of by this node's clock. */
  const recent = new Map<string, number>()
  /** When the last reading that succeeded began, by this node's clock. */
  let readAt = Number.NEGATIVE_INFINITY
  /** How far it read, by the store's clock. */
  let readUpTo: number | undefined
  /** How far the store's clock is ahead of this node's. */
  let ahead = 0
  let reading: Promise<void> | undefined

  const learn = (revoked: string, at: number): void => {
    if (!recent.has(revoked)) forget(revoked)
    recent.set(revoked, at)
  }
  const forgetOld = (before: number): void => {
    for (const [revoked, at] of recent) if (at < before) recent.delete(revoked)
  }

  const read = async (): Promise<void> => {
    const startedAt = clock.now()
    let after = readUpTo === undefined ? undefined : revocationTime(readUpTo - revocationOverlap)
    for (;;) {
      const { values, now } = await records.list(revocations, '', {
        limit: pageSize,
        ...(after === undefined ? {} : { after }),
      })
      for (const { value } of values) learn(value.revoked, startedAt)
      if (values.length < pageSize) {
        readUpTo = now
        ahead = now - clock.now()
        break
      }
      after = values.at(-1)?.ref.key.slice(revocations.name.length + 1)
    }
    // Not the later of the two: this node's clock may have been set back.
    readAt = startedAt
    forgetOld(startedAt - revocationLifetime)
  }
  const begin = (): Promise<void> => {
    if (reading) return reading
    const started: Promise<void> = within(patience, read()).finally(() => {
      reading = undefined
    })
    reading = started
    return started
  }
  /** Nobody waits for it, so nobody needs to hear that it failed: whoever must know how far the log was read is told by `age`. */
  const beginBeside = (): void => {
    if (!reading) begin().catch(() => {})
  }
  const age = (): number => {
    const elapsed = clock.now() - readAt
    // A clock that was set back says nothing.
    return elapsed < 0 ? Number.POSITIVE_INFINITY : elapsed
  }

  const unwatch = records.store.watch((message) => {
    const revoked = revokedOf(message)
    if (revoked !== undefined) learn(revoked, clock.now())
  })

  const isFresh = (): boolean => {
    const now = age()
    if (now >= bound) return false
    if (now >= refreshAfter) beginBeside()
    return true
  }

  return {
    isFresh,
    async catchUp() {
      if (age() >= bound) await begin()
    },
    storeTime() {
      if (isFresh()) return clock.now() + ahead
      // The next who asks is told.
      beginBeside()
      return undefined
    },
    isRevoked: (id) => recent.has(id),
    close: unwatch,
  }
}

const within = async (milliseconds: number, promise: Promise<void>): Promise<void> => {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error('the revocation log could not be read in time')), milliseconds)
  })
  try {
    await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
