import { base64url } from '../crypto/bytes.ts'
import { UpstreamTokenUnavailable } from '../identity/access-token.ts'
import type { UpstreamTarget } from '../identity/upstream-target.ts'
import { put } from '../records/records.ts'
import { type UpstreamExchange, upstreamExchangeRef } from '../records/upstream-exchange.ts'
import { upstreamSessionRef } from '../records/upstream-session.ts'
import { StoreUnavailable } from '../store/store.ts'
import type { AttemptContext } from './attempt.ts'
import { type ExchangedToken, UpstreamRefused } from './provider.ts'

type Outcome = Omit<UpstreamExchange, 'lease' | 'until'> & { readonly until: number }

/** Answers a token for this target that is good now. @throws UpstreamTokenUnavailable */
export type GetExchanged = (sessionId: string, target: UpstreamTarget) => Promise<string>

const margin = 30_000
// A token that doesn't say how long it lives, and an answer that there is none.
const brieflyGood = 60_000
const backOff = 5_000
const lease = 20_000
const patience = 15_000

/**
 * Tokens in exchange for a session's own, kept sealed until they end: for each session and target one request at a time in the cluster. Its
 * record is the lease too, by compare-and-swap; losers read what the winner got.
 */
export const createExchanges = (
  context: AttemptContext,
  accessToken: (id: string) => Promise<string>,
): GetExchanged => {
  const { records, random, providers } = context

  const request = async (sessionId: string, target: UpstreamTarget): Promise<ExchangedToken> => {
    // First of all the person's own token must be good.
    await accessToken(sessionId)
    const session = (await records.get(upstreamSessionRef(sessionId))).values[0]?.value
    if (!session?.tokens) throw new UpstreamTokenUnavailable('ended')
    const open = providers.get(session.provider)?.open
    if (open?.kind !== 'redirect' || !open.exchange) throw new UpstreamTokenUnavailable('none')
    const { issuer, subject, tokens } = session
    return open.exchange({ issuer, subject, tokens }, target)
  }

  const outcomeOf = async (sessionId: string, target: UpstreamTarget): Promise<Outcome> => {
    try {
      const { token, expiresIn } = await request(sessionId, target)
      const { now } = await records.get()
      return { token, until: now + (expiresIn === undefined ? brieflyGood : expiresIn * 1000) }
    } catch (error) {
      if (error instanceof StoreUnavailable) throw error
      const failed =
        error instanceof UpstreamTokenUnavailable ? error.reason : error instanceof UpstreamRefused ? 'refused' : 'down'
      const { now } = await records.get()
      return { failed, until: now + (failed === 'down' ? backOff : brieflyGood) }
    }
  }

  const get: GetExchanged = async (sessionId, target) => {
    const ref = upstreamExchangeRef(sessionId, target)
    const started = performance.now()
    for (let poll = 25; ; poll = Math.min(poll * 2, 500)) {
      const { values, now } = await records.get(upstreamSessionRef(sessionId), ref)
      const [session, known] = values
      if (!session || session.value.ended) throw new UpstreamTokenUnavailable('ended')
      const { token, failed, until = 0, lease: held } = known?.value ?? {}
      const asking = held !== undefined && held.until > now
      if (token !== undefined && until - now > (asking ? 0 : margin)) return token
      if (failed !== undefined && until > now) throw new UpstreamTokenUnavailable(failed)
      if (asking) {
        if (performance.now() - started > patience) throw new UpstreamTokenUnavailable('down')
        await new Promise((resolve) => setTimeout(resolve, poll))
        continue
      }
      const attempt = base64url(random.bytes(12))
      // In its last seconds the old one is still good for the others.
      const old = token !== undefined && until > now ? { token, until } : {}
      const begun = { ...old, lease: { attempt, until: now + lease } }
      const taken = await records.commit({
        unchanged: [known ?? ref],
        puts: [put(ref, begun, Math.max(lease, until - now))],
      })
      if (!taken.committed) continue
      const outcome = await outcomeOf(sessionId, target)
      await records.commit({ puts: [put(ref, outcome, Math.max(1, outcome.until - now))] })
      const [still] = (await records.get(upstreamSessionRef(sessionId))).values
      // Whoever ended the session has looked for what to forget already.
      if (!still || still.value.ended) {
        await records.commit({ deletes: [ref] })
        throw new UpstreamTokenUnavailable('ended')
      }
      if (outcome.token !== undefined) return outcome.token
    }
  }

  return async (sessionId, target) => {
    try {
      return await get(sessionId, target)
    } catch (error) {
      if (error instanceof StoreUnavailable) throw new UpstreamTokenUnavailable('down', { cause: error })
      throw error
    }
  }
}
