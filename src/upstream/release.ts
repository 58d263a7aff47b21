import { sessionBrowsers } from '../records/browser-session.ts'
import { type Grant, grantRef, sessionGrants } from '../records/grant.ts'
import { pendingRevocation, revocationMessage } from '../records/pending-revocation.ts'
import { put, type Records, type RecordType, type Stored } from '../records/records.ts'
import { upstreamExchanges } from '../records/upstream-exchange.ts'
import {
  sessionIndexes,
  type UpstreamSession,
  type UpstreamTokens,
  upstreamSessionRef,
} from '../records/upstream-session.ts'
import type { UpstreamContext } from './context.ts'
import { ProviderUnavailable, type Voucher } from './provider.ts'

export interface ReleaseContext extends Pick<UpstreamContext, 'records' | 'audit'> {
  readonly providers: ReadonlyMap<string, Voucher>
  readonly lifetime: number
}

/**
 * Ends what a session has at the provider once no grant stands on it, and deletes it once no browser does.
 *
 * The session is first marked as released, then its tokens are revoked, then they are forgotten: whoever is interrupted leaves tokens that the
 * next release revokes, and nobody gets one of them in between.
 */
export const releaseSession = async (context: ReleaseContext, sessionId: string): Promise<void> => {
  const { records, providers } = context
  const ref = upstreamSessionRef(sessionId)
  for (;;) {
    const { values, now } = await records.get(ref)
    const [stored] = values
    if (!stored || (await hasLiveGrant(records, sessionId, now))) return
    const session = stored.value
    const revoke = providers.get(session.provider)?.open
    const revocable = session.tokens !== undefined && revoke?.kind === 'redirect' && revoke.revoke !== undefined
    const kept = (await records.list(sessionBrowsers, sessionId, { limit: 1 })).values.length > 0
    if (kept && !revocable) return
    if (!revocable) {
      const { committed } = await records.commit({ unchanged: [stored], deletes: [ref, ...sessionIndexes(session)] })
      if (committed) return forgetExchanges(records, sessionId)
      continue
    }
    const marked = await mark(context, stored, now)
    if (!marked) continue
    if (session.tokens !== undefined && !(await revokeTokens(context, session, session.tokens))) return
    const { tokens: _revoked, ...rest } = marked.value
    const { committed } = await records.commit(
      kept
        ? { unchanged: [marked], puts: [put(ref, rest, remaining(context, marked.value, now))] }
        : { unchanged: [marked], deletes: [ref, ...sessionIndexes(session)] },
    )
    if (committed) return forgetExchanges(records, sessionId)
  }
}

/** What was got in exchange for the session's tokens. Nobody gets it any more without the session. */
const forgetExchanges = async (records: Records, sessionId: string): Promise<void> => {
  for (;;) {
    const { values } = await records.list(upstreamExchanges, sessionId, { limit: pageSize })
    if (values.length === 0) return
    await records.commit({ deletes: values.map(({ ref }) => ref) })
  }
}

// How long tokens that could not be revoked are kept for another try.
const keptReleased = 7 * 86_400_000

const mark = async (context: ReleaseContext, stored: Stored<UpstreamSession>, now: number) => {
  if (stored.value.ended?.reason === 'released') return stored
  const value: UpstreamSession = { ...stored.value, ended: { at: now, reason: 'released' } }
  const result = await context.records.commit({
    unchanged: [stored],
    puts: [put(stored.ref, value, Math.min(keptReleased, remaining(context, value, now)))],
  })
  return result.committed ? { ref: stored.ref, value, version: result.version } : undefined
}

/**
 * Tells the provider that these tokens are of no use any more, and answers whether it took it. What goes wrong is only audited: the session
 * has ended here in any case.
 */
export const revokeTokens = async (
  { providers, audit }: Pick<ReleaseContext, 'providers' | 'audit'>,
  session: Pick<UpstreamSession, 'id' | 'provider'>,
  tokens: UpstreamTokens,
): Promise<boolean> => {
  const provider = providers.get(session.provider)?.open
  if (provider?.kind !== 'redirect' || !provider.revoke) return true
  const event = { provider: session.provider, session: session.id }
  try {
    if ((await provider.revoke(tokens)) === 'revoked') audit({ type: 'upstream.revoked', ...event })
    return true
  } catch (error) {
    const reason = error instanceof ProviderUnavailable ? (error.detail ?? error.message) : 'revocation failed'
    audit({ type: 'upstream.failed', ...event, reason })
    return false
  }
}

/** What is left of a session's time, in milliseconds; a write doesn't prolong it. */
export const remaining = (
  { lifetime }: Pick<ReleaseContext, 'lifetime'>,
  session: UpstreamSession,
  now: number,
): number => Math.max(1, session.createdAt + lifetime - now)

/** What became of a session's tokens at the provider. `pending`: a server that knows the provider ends them as soon as it can. */
export type Erased = 'revoked' | 'pending' | 'failed' | 'none'

/** Deletes a session, whatever stands on it; its tokens are revoked first, where that can be done. */
export const eraseSession = async (context: ReleaseContext, sessionId: string): Promise<Erased> => {
  const { records, providers } = context
  const ref = upstreamSessionRef(sessionId)
  for (;;) {
    const { values, now } = await records.get(ref)
    const [stored] = values
    if (!stored) return 'none'
    const marked = await mark(context, stored, now)
    if (!marked) continue
    const { tokens } = marked.value
    const provider = providers.get(marked.value.provider)
    const revocable = provider?.open?.kind === 'redirect' && provider.open.revoke !== undefined
    const revoked = tokens === undefined || (revocable && (await revokeTokens(context, marked.value, tokens)))
    // Who does not know the provider can't know whether it could be done.
    const pending =
      revoked || (provider && !revocable) ? [] : pendingRevocation(marked.value, now, provider !== undefined)
    const unit = {
      unchanged: [marked],
      puts: pending,
      deletes: [ref, ...sessionIndexes(marked.value)],
      notify: pending.length > 0 ? [revocationMessage] : [],
    }
    if (!(await records.commit(unit)).committed) continue
    await forgetExchanges(records, sessionId)
    if (tokens === undefined) return 'none'
    if (revoked) return 'revoked'
    return pending.length > 0 ? 'pending' : 'failed'
  }
}

const pageSize = 100

const hasLiveGrant = async (records: Records, sessionId: string, now: number): Promise<boolean> => {
  for await (const ids of idsWithin(records, sessionGrants, sessionId)) {
    const { values } = await records.get(...ids.map(grantRef))
    if (values.some((grant) => grant && isLive(grant.value, now))) return true
  }
  return false
}

const isLive = (grant: Grant, now: number): boolean =>
  grant.expiresAt > now &&
  (grant.kind !== 'authorization' || grant.code.redeemed !== undefined || grant.code.expiresAt > now)

async function* idsWithin(records: Records, type: RecordType<unknown>, within: string): AsyncGenerator<string[]> {
  const start = `${type.name}/${within}/`.length
  for (let after: string | undefined; ; ) {
    const { values } = await records.list(type, within, { limit: pageSize, ...(after === undefined ? {} : { after }) })
    const ids = values.map(({ ref }) => ref.key.slice(start))
    if (ids.length > 0) yield ids
    if (ids.length < pageSize) return
    after = ids.at(-1)
  }
}
