import { type PendingRevocation, pendingRevocations } from '../records/pending-revocation.ts'
import { put, type Stored } from '../records/records.ts'
import { type ReleaseContext, revokeTokens } from './release.ts'

// Longer than a provider may take.
const busyFor = 60_000

const pageSize = 100

/**
 * Ends at providers what is left over, as far as this server knows them. Several nodes share the work: each is tried by one at a time. Answers how
 * many have to be tried again.
 * @throws StoreUnavailable
 */
export const revokePending = async (context: ReleaseContext): Promise<number> => {
  let left = 0
  for (let after: string | undefined; ; ) {
    const { values, now } = await context.records.list(pendingRevocations, '', {
      limit: pageSize,
      ...(after === undefined ? {} : { after }),
    })
    for (const stored of values) if (!(await revokeOne(context, stored, now))) left++
    const last = values.at(-1)
    if (!last || values.length < pageSize) return left
    after = last.value.session
  }
}

/** Whether nobody needs to come back for it. */
const revokeOne = async (
  context: ReleaseContext,
  { ref, value, version }: Stored<PendingRevocation>,
  now: number,
): Promise<boolean> => {
  const { records, providers } = context
  const provider = providers.get(value.provider)?.open
  // Another server may know it; else it expires.
  if (!provider) return true
  if ((value.busyUntil ?? 0) > now) return false
  const left = Math.max(1, value.until - now)
  const taken = await records.commit({
    unchanged: [{ ref, value, version }],
    puts: [put(ref, { ...value, busyUntil: now + busyFor }, left)],
  })
  if (!taken.committed) return true
  if (!(await revokeTokens(context, { id: value.session, provider: value.provider }, value.tokens))) {
    await records.commit({ puts: [put(ref, value, left)] })
    return false
  }
  await records.commit({ deletes: [ref] })
  return true
}
