import { UpstreamTokenUnavailable } from '../identity/access-token.ts'
import type { Records } from '../records/records.ts'
import { type UpstreamSession, upstreamSessionRef } from '../records/upstream-session.ts'
import { StoreUnavailable } from '../store/store.ts'
import { type Ask, type AttemptContext, attempt, hintFor } from './attempt.ts'
import { UpstreamRefused } from './provider.ts'
import { lastHeard } from './revalidation.ts'

/**
 * What a provider says when it is asked whether a person may go on. `ended`: it said no, or nobody can ask it any more; the person must sign
 * in again. `down`: it can't be asked now.
 */
export type Checked = 'valid' | 'ended' | 'down'

export interface Renewer {
  /** Answers a token that is good now. @throws UpstreamTokenUnavailable */
  accessToken(sessionId: string): Promise<string>
  /** @param maxAge an answer of the provider that is younger counts, in milliseconds @throws StoreUnavailable */
  check(sessionId: string, maxAge: number): Promise<Checked>
}

// A token is renewed this long before its end, or in the last tenth of its life where that is shorter.
const longestMargin = 30_000
// After a failure that says nothing of the person, nobody asks again for this long.
const backOff = 5_000
// How long a caller waits for a renewal that another has begun.
const patience = 15_000
const longestPoll = 500
// How many sessions one node renews at a time: more would only queue at the provider, until they time out there.
const mostAtOnce = 48

/** What is to be done with a session now. */
type Decision<T> =
  | { readonly act: 'answer'; readonly answer: T }
  | { readonly act: 'refuse'; readonly reason: UpstreamTokenUnavailable['reason'] }
  | { readonly act: 'wait' }
  | { readonly act: 'ask'; readonly ask: Ask }

/** @param renewed the provider was asked while the caller waited */
type Decide<T> = (session: UpstreamSession, now: number, renewed: boolean) => Decision<T>

/**
 * Renews the tokens of sessions, and asks providers whether they still stand, one request at a time for each session in the cluster.
 *
 * Who asks writes its attempt into the session by compare-and-swap: that is its lease, longer than the request may take. The lease saves
 * requests and decides nothing: an answer is committed if the generation is still the one that was renewed, however late it comes. The losers
 * read the winner's result.
 */
export const createRenewal = (context: AttemptContext): Renewer => {
  const { records } = context
  const slots = limited(mostAtOnce)

  const drive = async <T>(sessionId: string, decide: Decide<T>): Promise<T> => {
    let waitingSince: number | undefined
    const hints = hintsOf(records, sessionId)
    let first: number | undefined
    const consider = async () => {
      const { values, now } = await records.get(upstreamSessionRef(sessionId))
      const [stored] = values
      if (!stored) throw new UpstreamTokenUnavailable('ended')
      first ??= answers(stored.value)
      return { decision: decide(stored.value, now, answers(stored.value) > first), stored, now }
    }
    try {
      for (let poll = 25; ; poll = Math.min(poll * 2, longestPoll)) {
        const { decision, stored, now } = await consider()
        if (decision.act === 'answer') return decision.answer
        if (decision.act === 'refuse') throw new UpstreamTokenUnavailable(decision.reason)
        if (decision.act === 'wait') {
          waitingSince ??= performance.now()
          if (performance.now() - waitingSince > patience) throw new UpstreamTokenUnavailable('down')
          await hints.next(poll)
        } else {
          const { ask } = decision
          // Many may be before it here; only from then on is it a wait for an attempt that somebody has begun.
          waitingSince = undefined
          await slots(async (waited) => {
            if (!waited) return attempt(context, stored, now, ask)
            // Others may have asked meanwhile.
            const again = await consider()
            if (again.decision.act === 'ask') await attempt(context, again.stored, again.now, again.decision.ask)
          })
        }
      }
    } finally {
      hints.close()
    }
  }

  const token = shared((sessionId) => drive(sessionId, decideToken(context)))
  const check = shared((sessionId, maxAge: number) => drive(sessionId, decideCheck(context, maxAge)))
  return {
    async accessToken(sessionId) {
      try {
        return await token(sessionId)
      } catch (error) {
        if (error instanceof StoreUnavailable) throw new UpstreamTokenUnavailable('down', { cause: error })
        throw error
      }
    },
    async check(sessionId, maxAge) {
      try {
        return await check(sessionId, maxAge)
      } catch (error) {
        if (!(error instanceof UpstreamTokenUnavailable)) throw error
        return error.reason === 'down' ? 'down' : 'ended'
      }
    },
  }
}

/** Raised with each answer of the provider. */
const answers = ({ generation, checks = 0 }: UpstreamSession): number => generation + checks

const decideToken =
  (context: AttemptContext): Decide<string> =>
  (session, now, renewed) => {
    const { tokens, ended } = session
    if (ended) return { act: 'refuse', reason: 'ended' }
    if (!tokens) return { act: 'refuse', reason: 'none' }
    const left = timeLeft(session, now)
    const life = tokens.expiresAt === undefined ? 0 : tokens.expiresAt - (session.tokensAt ?? now)
    const use = { act: 'answer', answer: tokens.accessToken } as const
    // Renewed just now: then its tokens are taken as they are, however short they live.
    if (renewed || left > Math.min(longestMargin, life / 10)) return use
    const ask = refreshOf(context, session)
    // In its last seconds a token is still good: nobody waits for another's renewal, or for a provider that is down.
    if (left > 0 && (!ask || hasFailed(session, now) || isUnderWay(session, now))) return use
    if (!ask) return { act: 'refuse', reason: 'ended' }
    if (hasFailed(session, now)) return { act: 'refuse', reason: 'down' }
    return isUnderWay(session, now) ? { act: 'wait' } : { act: 'ask', ask }
  }

const decideCheck =
  (context: AttemptContext, maxAge: number): Decide<Checked> =>
  (session, now, renewed) => {
    if (session.ended) return { act: 'answer', answer: 'ended' }
    const age = now - lastHeard(session)
    if (renewed || (age >= 0 && age < maxAge)) return { act: 'answer', answer: 'valid' }
    if (isUnderWay(session, now)) return { act: 'wait' }
    if (hasFailed(session, now)) return { act: 'answer', answer: 'down' }
    const ask = refreshOf(context, session) ?? validateOf(context, session, now) ?? nobody
    return { act: 'ask', ask }
  }

const timeLeft = ({ tokens }: UpstreamSession, now: number): number =>
  tokens?.expiresAt === undefined ? Number.POSITIVE_INFINITY : tokens.expiresAt - now

const hasFailed = ({ failedAt }: UpstreamSession, now: number): boolean =>
  failedAt !== undefined && now - failedAt < backOff && now >= failedAt

const isUnderWay = ({ renewal }: UpstreamSession, now: number): boolean => renewal !== undefined && renewal.until > now

const refreshOf = ({ providers }: AttemptContext, { provider, tokens }: UpstreamSession): Ask | undefined => {
  const open = providers.get(provider)?.open
  const refresh = open?.kind === 'redirect' ? open.refresh : undefined
  if (!refresh || tokens?.refreshToken === undefined) return undefined
  return ({ issuer, subject }) => refresh({ issuer, subject, tokens })
}

/** Where there is no refresh token, a provider can be asked with an access token that is still good. */
const validateOf = ({ providers }: AttemptContext, session: UpstreamSession, now: number): Ask | undefined => {
  const { provider, tokens } = session
  const open = providers.get(provider)?.open
  const validate = open?.kind === 'redirect' ? open.validate : undefined
  if (!validate || !tokens || timeLeft(session, now) <= 0) return undefined
  return async ({ issuer, subject }) => ({ said: await validate({ issuer, subject, tokens }) })
}

/** The session can't be asked about any more: the person must sign in again. */
const nobody: Ask = () => Promise.reject(new UpstreamRefused('nobody can be asked about this session'))

/** One at a time for each session in this process; the others share its result. */
const shared = <Rest extends unknown[], T>(run: (sessionId: string, ...rest: Rest) => Promise<T>) => {
  const underWay = new Map<string, Promise<T>>()
  return (sessionId: string, ...rest: Rest): Promise<T> => {
    const existing = underWay.get(sessionId)
    if (existing) return existing
    const result = run(sessionId, ...rest).finally(() => underWay.delete(sessionId))
    underWay.set(sessionId, result)
    return result
  }
}

/** Runs so many at once, and the others in the order they came. */
const limited = (most: number) => {
  let running = 0
  const waiting: (() => void)[] = []
  return async <T>(run: (waited: boolean) => Promise<T>): Promise<T> => {
    const waits = running >= most
    if (waits) await new Promise<void>((resolve) => waiting.push(resolve))
    else running++
    try {
      return await run(waits)
    } finally {
      const next = waiting.shift()
      if (next) next()
      else running--
    }
  }
}

/** Waits for the notification that a session was renewed, or for `milliseconds`: notifications may be lost. */
const hintsOf = ({ store }: Records, sessionId: string) => {
  let wake: (() => void) | undefined
  let end: (() => void) | undefined
  return {
    next: (milliseconds: number) =>
      new Promise<void>((resolve) => {
        end ??= store.watch((message) => message === hintFor(sessionId) && wake?.())
        const timer = setTimeout(resolve, milliseconds)
        wake = () => {
          clearTimeout(timer)
          resolve()
        }
      }),
    close: () => end?.(),
  }
}
