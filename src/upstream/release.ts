import { sessionBrowsers } from '../records/browser-session.ts'
import { type Grant, grantRef, sessionGrants } from '../records/grant.ts'
import { pendingRevocation, revocationMessage } from '../records/pending-revocation.ts'
import { put, type Records, type RecordType } from '../records/records.ts'
import { upstreamExchanges } from '../records/upstream-exchange.ts'
import { sessionIndexes, type UpstreamSession, upstreamSessionRef } from '../records/upstream-session.ts'
import { canRevoke, type RevocationContext, revokePutAside } from './pending-revocations.ts'

export interface ReleaseContext extends RevocationContext {
  readonly lifetime: number
}

/**
 * Ends what a session has at the provider once no grant stands on it, and deletes it once no browser does.
 *
 * One commit takes the tokens away from it and puts them aside to be revoked. Nobody gets one of them from then on, and whoever is interrupted, or
 * finds the provider away, leaves them to a server that tries again.
 */
export const releaseSession = async (context: ReleaseContext, sessionId: string): Promise<void> => {
  const { records } = context
  const ref = upstreamSessionRef(sessionId)
  for (;;) {
    const { values, now } = await records.get(ref)
    const [stored] = values
    if (!stored || (await hasLiveGrant(records, sessionId, now))) return
    const session = stored.value
    const { tokens, ...rest } = session
    const aside =
      tokens !== undefined && canRevoke(context, session.provider)
        ? pendingRevocation(session, tokens, now, { tried: true })
        : undefined
    const kept = (await records.list(sessionBrowsers, sessionId, { limit: 1 })).values.length > 0
    if (kept && !aside) return
    const released: UpstreamSession = { ...rest, ended: { at: now, reason: 'released' } }
    const puts = aside ? [aside.put] : []
    const result = await records.commit(
      kept
        ? { unchanged: [stored], puts: [put(ref, released, remaining(context, session, now)), ...puts] }
        : { unchanged: [stored], puts, deletes: [ref, ...sessionIndexes(session)] },
    )
    if (!result.committed) continue
    await forgetExchanges(records, sessionId)
    if (aside) await revokePutAside(context, aside, result.version, now)
    return
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

/** What is left of a session's time, in milliseconds; a write doesn't prolong it. */
export const remaining = (
  { lifetime }: Pick<ReleaseContext, 'lifetime'>,
  session: UpstreamSession,
  now: number,
): number => Math.max(1, session.createdAt + lifetime - now)

/** What became of a session's tokens at the provider. `pending`: a server that knows the provider ends them as soon as it can. */
export type Erased = 'revoked' | 'pending' | 'failed' | 'none'

/** Deletes a session, whatever stands on it; its tokens are revoked, where that can be done. */
export const eraseSession = async (context: ReleaseContext, sessionId: string): Promise<Erased> => {
  const { records, providers } = context
  const ref = upstreamSessionRef(sessionId)
  for (;;) {
    const { values, now } = await records.get(ref)
    const [stored] = values
    if (!stored) return 'none'
    const { tokens, provider } = stored.value
    const tried = canRevoke(context, provider)
    // Who does not know the provider can't know whether it could be done.
    const possible = tried || !providers.has(provider)
    const aside = tokens !== undefined && possible ? pendingRevocation(stored.value, tokens, now, { tried }) : undefined
    const result = await records.commit({
      unchanged: [stored],
      puts: aside ? [aside.put] : [],
      deletes: [ref, ...sessionIndexes(stored.value)],
      notify: aside && !tried ? [revocationMessage] : [],
    })
    if (!result.committed) continue
    await forgetExchanges(records, sessionId)
    if (tokens === undefined) return 'none'
    if (!aside) return 'failed'
    return tried && (await revokePutAside(context, aside, result.version, now)) ? 'revoked' : 'pending'
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
