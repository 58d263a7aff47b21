import { base64url } from '../crypto/bytes.ts'
import { UpstreamTokenUnavailable } from '../identity/access-token.ts'
import { put, type Stored } from '../records/records.ts'
import { type UpstreamSession, upstreamSessionRef } from '../records/upstream-session.ts'
import { StoreUnavailable } from '../store/store.ts'
import { replaceStatements } from './claims.ts'
import type { UpstreamContext } from './context.ts'
import { type NamedProvider, ProviderUnavailable, type Renewal, UpstreamRefused } from './provider.ts'
import { remaining, revokeTokens } from './release.ts'

export interface RenewalContext extends Pick<UpstreamContext, 'records' | 'random' | 'audit'> {
  readonly providers: ReadonlyMap<string, NamedProvider>
  readonly lifetime: number
  readonly lease: number
}

/** Answers a token that is good now, or why there is none. */
export type GetAccessToken = (sessionId: string) => Promise<string>

// A token is renewed this long before its end, or in the last tenth of its life where that is shorter.
const longestMargin = 30_000
// After a failure that says nothing of the person, nobody asks again for this long.
const backOff = 5_000
// How long a caller waits for another's renewal.
const patience = 15_000
const longestPoll = 500

type Refresh = (session: UpstreamSession) => Promise<Renewal>

/** What is to be done with a session now. */
type Decision =
  | { readonly act: 'use'; readonly token: string }
  | { readonly act: 'refuse'; readonly reason: 'none' | 'ended' | 'down' }
  | { readonly act: 'wait' }
  | { readonly act: 'renew'; readonly refresh: Refresh }

/**
 * Renews the tokens of sessions, one request at a time for each in the cluster.
 *
 * Who renews writes its attempt into the session by compare-and-swap: that is its lease, longer than the request may take. The lease saves
 * requests and decides nothing: an answer is committed if the generation is still the one that was renewed, however late it comes. The losers
 * read the winner's result.
 */
export const createRenewal = (context: RenewalContext): GetAccessToken => {
  const { records } = context
  const underWay = new Map<string, Promise<string>>()

  const get = async (sessionId: string): Promise<string> => {
    const started = performance.now()
    const hints = hintsOf(context, sessionId)
    let first: number | undefined
    try {
      for (let poll = 25; ; poll = Math.min(poll * 2, longestPoll)) {
        const { values, now } = await records.get(upstreamSessionRef(sessionId))
        const [stored] = values
        if (!stored) throw new UpstreamTokenUnavailable('ended')
        first ??= stored.value.generation
        const decision = decide(context, stored.value, now, stored.value.generation > first)
        if (decision.act === 'use') return decision.token
        if (decision.act === 'refuse') throw new UpstreamTokenUnavailable(decision.reason)
        if (decision.act === 'renew') await renew(context, stored, now, decision.refresh)
        else if (performance.now() - started > patience) throw new UpstreamTokenUnavailable('down')
        else await hints.next(poll)
      }
    } catch (error) {
      if (error instanceof StoreUnavailable) throw new UpstreamTokenUnavailable('down', { cause: error })
      throw error
    } finally {
      hints.close()
    }
  }

  return (sessionId) => {
    const existing = underWay.get(sessionId)
    if (existing) return existing
    const result = get(sessionId).finally(() => underWay.delete(sessionId))
    underWay.set(sessionId, result)
    return result
  }
}

const decide = (
  { providers }: RenewalContext,
  session: UpstreamSession,
  now: number,
  /** Just now: then its tokens are taken as they are, however short they live. */
  renewed: boolean,
): Decision => {
  const { tokens, ended } = session
  if (ended) return { act: 'refuse', reason: 'ended' }
  if (!tokens) return { act: 'refuse', reason: 'none' }
  const left = tokens.expiresAt === undefined ? Number.POSITIVE_INFINITY : tokens.expiresAt - now
  const life = tokens.expiresAt === undefined ? 0 : tokens.expiresAt - (session.tokensAt ?? now)
  const use: Decision = { act: 'use', token: tokens.accessToken }
  if (renewed || left > Math.min(longestMargin, life / 10)) return use

  const provider = providers.get(session.provider)?.open
  const refresh = provider?.kind === 'redirect' && tokens.refreshToken !== undefined ? provider.refresh : undefined
  const failed = session.failedAt !== undefined && now - session.failedAt < backOff && now >= session.failedAt
  const renewing = session.renewal !== undefined && session.renewal.until > now
  // In its last seconds a token is still good: nobody waits for another's renewal, or for a provider that is down.
  if (left > 0 && (!refresh || failed || renewing)) return use
  if (!refresh) return { act: 'refuse', reason: 'ended' }
  if (failed) return { act: 'refuse', reason: 'down' }
  if (renewing) return { act: 'wait' }
  return { act: 'renew', refresh: ({ issuer, subject }) => refresh({ issuer, subject, tokens }) }
}

/** One attempt. Whatever comes of it is in the session afterwards; it throws only what the store throws, or what is a fault of ours. */
const renew = async (
  context: RenewalContext,
  stored: Stored<UpstreamSession>,
  now: number,
  refresh: Refresh,
): Promise<void> => {
  const { records, random, lease } = context
  const { generation, renewal: abandoned, uncertainSince } = stored.value
  const attempt = base64url(random.bytes(12))
  const begun: UpstreamSession = {
    ...stored.value,
    // An attempt that is still here after its lease never told us its end.
    ...(abandoned ? { uncertainSince: uncertainSince ?? now } : {}),
    renewal: { attempt, until: now + lease },
  }
  const taken = await records.commit({
    unchanged: [stored],
    puts: [put(stored.ref, begun, remaining(context, begun, now))],
  })
  if (!taken.committed) return
  const outcome = await outcomeOf(refresh, begun)
  // A rotated token exists only here until it is written: a store that is away for a moment must not cost the session.
  for (let pause = 100; ; pause *= 2) {
    try {
      return await record(context, begun, generation, attempt, outcome)
    } catch (error) {
      if (!(error instanceof StoreUnavailable) || pause > longestPause) throw error
      await new Promise((resolve) => setTimeout(resolve, pause))
    }
  }
}

const longestPause = 3_200

type Outcome =
  | { readonly kind: 'renewed'; readonly renewal: Renewal }
  | { readonly kind: 'refused' }
  | { readonly kind: 'down'; readonly error: ProviderUnavailable }

const outcomeOf = async (refresh: Refresh, session: UpstreamSession): Promise<Outcome> => {
  try {
    return { kind: 'renewed', renewal: await refresh(session) }
  } catch (error) {
    if (error instanceof UpstreamRefused) return { kind: 'refused' }
    if (error instanceof ProviderUnavailable) return { kind: 'down', error }
    // A fault in a provider's code says nothing of the person either.
    return { kind: 'down', error: new ProviderUnavailable('the provider’s code failed', { cause: error }) }
  }
}

/** Writes what came of an attempt, unless another has written a newer generation since. */
const record = async (
  context: RenewalContext,
  begun: UpstreamSession,
  generation: number,
  attempt: string,
  outcome: Outcome,
): Promise<void> => {
  const { records, audit } = context
  const ref = upstreamSessionRef(begun.id)
  const event = { provider: begun.provider, session: begun.id }
  for (;;) {
    const { values, now } = await records.get(ref)
    const [stored] = values
    const current = stored?.value
    if (!stored || !current || current.ended?.reason === 'released') {
      // Nobody waits for these tokens any more, so they must not stay good.
      if (outcome.kind === 'renewed') await revokeTokens(context, begun, outcome.renewal.tokens)
      return
    }
    // Another's tokens are there, or our own if this is the second try: revoking ours could end those too.
    if (current.generation !== generation) return
    const next = afterOutcome(current, attempt, outcome, now)
    if (!next) return
    const result = await records.commit({
      unchanged: [stored],
      puts: [put(ref, next, remaining(context, next, now))],
      notify: [hintFor(begun.id)],
    })
    if (!result.committed) continue
    if (outcome.kind === 'renewed') audit({ type: 'upstream.refreshed', ...event })
    else if (next.ended) audit({ type: 'upstream.ended', ...event, reason: next.ended.reason })
    else if (outcome.kind === 'down') {
      audit({ type: 'upstream.failed', ...event, reason: outcome.error.detail ?? outcome.error.message })
    }
    return
  }
}

/** The session after an attempt; undefined where it says nothing that is not known already. */
const afterOutcome = (
  current: UpstreamSession,
  attempt: string,
  outcome: Outcome,
  now: number,
): UpstreamSession | undefined => {
  const { renewal, uncertainSince, failedAt: _failed, ended, ...rest } = current
  const mine = renewal?.attempt === attempt
  if (outcome.kind === 'renewed') {
    // Also where another attempt was refused meanwhile: it was this one that had used up the refresh token.
    const { tokens, said } = outcome.renewal
    return {
      ...rest,
      tokens,
      tokensAt: now,
      said: replaceStatements(rest.said, said),
      generation: rest.generation + 1,
    }
  }
  if (ended) return undefined
  const uncertain = uncertainSince === undefined ? {} : { uncertainSince }
  if (outcome.kind === 'refused') {
    // While another attempt is under way, it may be that one which used up the refresh token.
    const reason = mine && uncertainSince === undefined ? 'refused' : 'outcome_unknown'
    return { ...rest, ...uncertain, ended: { at: now, reason } }
  }
  return {
    ...rest,
    ...uncertain,
    ...(outcome.error.nothingDone ? {} : { uncertainSince: uncertainSince ?? now }),
    ...(mine || renewal === undefined ? {} : { renewal }),
    failedAt: now,
  }
}

const hintFor = (sessionId: string): string => `upstream:${sessionId}`

/** Waits for the notification that a session was renewed, or for `milliseconds`: notifications may be lost. */
const hintsOf = ({ records }: RenewalContext, sessionId: string) => {
  let wake: (() => void) | undefined
  let end: (() => void) | undefined
  return {
    next: (milliseconds: number) =>
      new Promise<void>((resolve) => {
        end ??= records.store.watch((message) => message === hintFor(sessionId) && wake?.())
        const timer = setTimeout(resolve, milliseconds)
        wake = () => {
          clearTimeout(timer)
          resolve()
        }
      }),
    close: () => end?.(),
  }
}
