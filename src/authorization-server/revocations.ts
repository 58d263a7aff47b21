import { put, type Unit } from '../records/records.ts'
import { revocationLifetime, revocationMessage, revocationOverlap, revocationRef } from '../records/revocation.ts'
import type { ServerContext } from './context.ts'

/**
 * Writes to the revocation log what has ended, in one commit with what ends it. Every node learns of it.
 * @param now the store's clock, milliseconds since the epoch
 * @param unit without checks where it must end whatever else is written
 * @returns false where a check failed: then nothing was written
 * @throws StoreUnavailable it may or may not have ended; asking again is safe
 */
export const commitRevocation = async (
  { records }: ServerContext,
  revoked: string,
  now: number,
  unit: Pick<Unit, 'unchanged' | 'puts' | 'deletes'>,
): Promise<boolean> => {
  const logAt = (at: number, { puts = [], ...rest }: typeof unit) =>
    records.commit({
      ...rest,
      puts: [put(revocationRef(at, revoked), { revoked }, revocationLifetime), ...puts],
      notify: [revocationMessage(revoked)],
    })
  let loggedAt = now
  let result = await logAt(now, unit)
  // A line that was written long after its time may lie behind what other nodes have read: they look back only so far.
  while (result.committed && result.now - loggedAt >= revocationOverlap / 2) {
    loggedAt = result.now
    result = await logAt(loggedAt, {})
  }
  return result.committed
}
