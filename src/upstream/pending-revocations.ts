import {
  type PendingRevocation,
  pendingRevocation,
  pendingRevocations,
  revocationBusyFor,
  revocationMessage,
} from '../records/pending-revocation.ts'
import { put, type Stored } from '../records/records.ts'
import type { UpstreamSession, UpstreamTokens } from '../records/upstream-session.ts'
import { StoreUnavailable } from '../store/store.ts'
import type { UpstreamContext } from './context.ts'
import { ProviderUnavailable, type Voucher } from './provider.ts'

export interface RevocationContext extends Pick<UpstreamContext, 'records' | 'audit' | 'logger'> {
  readonly providers: ReadonlyMap<string, Voucher>
}

// A provider that is away is asked again ever more seldom, until the tokens are no longer kept.
const firstPause = 30_000
const longestPause = 6 * 3_600_000

const pageSize = 100

/**
 * Ends at providers what is left over, as far as this server knows them. Several nodes share the work: each is tried by one at a time. Answers after
 * how many milliseconds there is something to try again; undefined where nothing is left.
 * @throws StoreUnavailable
 */
export const revokePending = async (context: RevocationContext): Promise<number | undefined> => {
  let soonest: number | undefined
  // Who has just been away is not asked about each of them.
  const away = new Set<string>()
  for (let after: string | undefined; ; ) {
    const { keys, values, now } = await page(context, after)
    for (const stored of values) {
      const again = away.has(stored.value.provider) ? firstPause : await revokeDue(context, stored, now, away)
      if (again !== undefined) soonest = Math.min(soonest ?? again, again)
    }
    const last = keys.at(-1)
    if (last === undefined || keys.length < pageSize) return soonest
    after = last
  }
}

/** Each is read by itself: one that can't be read must not hold up the others. It expires. */
const page = async ({ records, logger }: RevocationContext, after: string | undefined) => {
  const { entries, now } = await records.store.list(`${pendingRevocations.name}/`, {
    limit: pageSize,
    ...(after === undefined ? {} : { after }),
  })
  const keys = entries.map(({ key }) => key)
  const read = async (key: string): Promise<Stored<PendingRevocation> | undefined> => {
    try {
      return (await records.get({ type: pendingRevocations, key })).values[0]
    } catch (error) {
      if (error instanceof StoreUnavailable) throw error
      logger.warn('tokens that are over can’t be read, and so not be revoked at their provider', { error })
      return undefined
    }
  }
  const values = (await Promise.all(keys.map(read))).filter((stored) => stored !== undefined)
  return { keys, values, now }
}

const revokeDue = async (
  context: RevocationContext,
  { ref, value, version }: Stored<PendingRevocation>,
  now: number,
  away: Set<string>,
): Promise<number | undefined> => {
  // Another server may know it; else it expires.
  if (!context.providers.get(value.provider)?.open) return undefined
  if ((value.busyUntil ?? 0) > now) return (value.busyUntil ?? 0) - now
  const busy = { ...value, busyUntil: now + revocationBusyFor }
  const taken = await context.records.commit({
    unchanged: [{ ref, value, version }],
    puts: [put(ref, busy, Math.max(1, value.until - now))],
  })
  // Who was faster tries it now.
  if (!taken.committed) return revocationBusyFor
  const { again } = await revokeTaken(context, { ref, value: busy, version: taken.version }, now)
  if (again !== undefined) away.add(value.provider)
  return again
}

/** Tries what nobody else does meanwhile. Answers after how many milliseconds it is to be tried again. */
const revokeTaken = async (
  context: RevocationContext,
  taken: Stored<PendingRevocation>,
  now: number,
  notify: readonly string[] = [],
): Promise<{ readonly again: number | undefined; readonly revoked: boolean }> => {
  const { ref, value } = taken
  if (await revokeAtProvider(context, value)) {
    // Where somebody has taken it meanwhile, because this took so long, it is theirs.
    await context.records.commit({ unchanged: [taken], deletes: [ref] })
    return { again: undefined, revoked: true }
  }
  const tries = (value.tries ?? 0) + 1
  const again = Math.min(firstPause * 2 ** (tries - 1), longestPause)
  const next = { ...value, tries, busyUntil: now + again }
  await context.records.commit({
    unchanged: [taken],
    puts: [put(ref, next, Math.max(1, value.until - now))],
    notify,
  })
  return { again, revoked: false }
}

/**
 * Tells the provider that these tokens are of no use any more, and answers whether it took it. What goes wrong is only audited: they are over here in
 * any case.
 */
const revokeAtProvider = async (
  { providers, audit }: Pick<RevocationContext, 'providers' | 'audit'>,
  { session, provider, tokens }: PendingRevocation,
): Promise<boolean> => {
  const open = providers.get(provider)?.open
  if (open?.kind !== 'redirect' || !open.revoke) return true
  const event = { provider, session }
  try {
    if ((await open.revoke(tokens)) === 'revoked') audit({ type: 'upstream.revoked', ...event })
    return true
  } catch (error) {
    const reason = error instanceof ProviderUnavailable ? (error.detail ?? error.message) : 'revocation failed'
    audit({ type: 'upstream.failed', ...event, reason })
    return false
  }
}

/** Whether the provider takes tokens back, as far as is known here. */
export const canRevoke = ({ providers }: Pick<RevocationContext, 'providers'>, provider: string): boolean => {
  const open = providers.get(provider)?.open
  return open?.kind === 'redirect' && open.revoke !== undefined
}

/**
 * Ends at the provider what a commit has just put aside. Answers whether it took it; where not, it is tried again later, by whichever server is
 * running.
 */
export const revokePutAside = async (
  context: RevocationContext,
  { ref, value }: Pick<ReturnType<typeof pendingRevocation>, 'ref' | 'value'>,
  version: Stored<unknown>['version'],
  now: number,
): Promise<boolean> => (await revokeTaken(context, { ref, value, version }, now, [revocationMessage])).revoked

/**
 * Ends tokens at the provider that nobody waits for any more.
 * @param part tells them from others of that session
 * @throws StoreUnavailable
 */
export const revokeUnwanted = async (
  context: RevocationContext,
  session: Pick<UpstreamSession, 'id' | 'provider'>,
  tokens: UpstreamTokens,
  part: string,
  now: number,
): Promise<void> => {
  if (!canRevoke(context, session.provider)) return
  const aside = pendingRevocation(session, tokens, now, { tried: true, part })
  const written = await context.records.commit({ unchanged: [aside.ref], puts: [aside.put] })
  if (written.committed) await revokePutAside(context, aside, written.version, now)
}
