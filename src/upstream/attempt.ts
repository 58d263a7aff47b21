import { base64url } from '../crypto/bytes.ts'
import { put, type Stored } from '../records/records.ts'
import { type UpstreamSession, type UpstreamTokens, upstreamSessionRef } from '../records/upstream-session.ts'
import { StoreUnavailable } from '../store/store.ts'
import { replaceStatements } from './claims.ts'
import type { UpstreamContext } from './context.ts'
import { revokeUnwanted } from './pending-revocations.ts'
import { ProviderUnavailable, type Renewal, UpstreamRefused } from './provider.ts'
import { type ReleaseContext, remaining } from './release.ts'

export interface AttemptContext extends ReleaseContext, Pick<UpstreamContext, 'random'> {
  /** How long an attempt may take before another may try, in milliseconds. */
  readonly lease: number
}

/** What a provider answered: new tokens, or that the old ones are good. */
export type Answered = Pick<Renewal, 'said'> & { readonly tokens?: UpstreamTokens }

/** Asks the provider about a session. @throws UpstreamRefused, ProviderUnavailable */
export type Ask = (session: UpstreamSession) => Promise<Answered>

/** One attempt. Whatever comes of it is in the session afterwards; it throws only what the store throws, or what is a fault of ours. */
export const attempt = async (
  context: AttemptContext,
  stored: Stored<UpstreamSession>,
  now: number,
  ask: Ask,
): Promise<void> => {
  const { records, random, lease } = context
  const { generation, renewal: abandoned, uncertainSince, tokens } = stored.value
  const id = base64url(random.bytes(12))
  const begun: UpstreamSession = {
    ...stored.value,
    // An attempt that is still here after its lease never told us its end.
    ...(abandoned && tokens?.refreshToken !== undefined ? { uncertainSince: uncertainSince ?? now } : {}),
    renewal: { attempt: id, until: now + lease },
  }
  const taken = await records.commit({
    unchanged: [stored],
    puts: [put(stored.ref, begun, remaining(context, begun, now))],
  })
  if (!taken.committed) return
  const outcome = await outcomeOf(ask, begun)
  // A rotated token exists only here until it is written: a store that is away for a moment must not cost the session.
  for (let pause = 100; ; pause *= 2) {
    try {
      return await record(context, begun, generation, id, outcome)
    } catch (error) {
      if (!(error instanceof StoreUnavailable) || pause > longestPause) throw error
      await new Promise((resolve) => setTimeout(resolve, pause))
    }
  }
}

const longestPause = 3_200

type Outcome =
  | { readonly kind: 'answered'; readonly answer: Answered }
  | { readonly kind: 'refused' }
  | { readonly kind: 'down'; readonly error: ProviderUnavailable }

const outcomeOf = async (ask: Ask, session: UpstreamSession): Promise<Outcome> => {
  try {
    return { kind: 'answered', answer: await ask(session) }
  } catch (error) {
    if (error instanceof UpstreamRefused) return { kind: 'refused' }
    if (error instanceof ProviderUnavailable) return { kind: 'down', error }
    // A fault in a provider's code says nothing of the person either.
    return { kind: 'down', error: new ProviderUnavailable('the provider’s code failed', { cause: error }) }
  }
}

/** Writes what came of an attempt, unless another has written a newer generation since. */
const record = async (
  context: AttemptContext,
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
    if (!stored || !current || isOver(current)) {
      // Nobody waits for these tokens any more, so they must not stay good.
      if (outcome.kind === 'answered' && outcome.answer.tokens) {
        await revokeUnwanted(context, begun, outcome.answer.tokens, attempt, now)
      }
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
    if (outcome.kind === 'answered')
      audit({ type: outcome.answer.tokens ? 'upstream.refreshed' : 'upstream.checked', ...event })
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
  if (outcome.kind === 'answered') {
    const { tokens, said: anew } = outcome.answer
    const said = replaceStatements(rest.said, anew)
    // Also where another attempt was refused meanwhile: it was this one that had used up the refresh token.
    if (tokens) return { ...rest, tokens, tokensAt: now, said, generation: rest.generation + 1 }
    return { ...rest, said, checkedAt: now, checks: (rest.checks ?? 0) + 1 }
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

/** Whatever comes late does not bring it back. */
const isOver = ({ ended }: UpstreamSession): boolean => ended?.reason === 'released' || ended?.reason === 'logged_out'

/** What other nodes hear when a session was renewed. */
export const hintFor = (sessionId: string): string => `upstream:${sessionId}`
