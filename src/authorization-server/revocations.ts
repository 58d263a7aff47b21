import { put, type Unit } from '../records/records.ts'
import { revocationLifetime, revocationMessage, revocationOverlap, revocationRef } from '../records/revocation.ts'
import type { ServerContext } from './context.ts'

/**
 * Writes to the revocation log what has ended, in one commit with what ends it. Every node learns of it.
 * @param now the store's clock, milliseconds since the epoch
 * @param unit without checks: it must end whatever else is written
 * @throws StoreUnavailable it may or may not have ended; asking again is safe
 */
export const commitRevocation = async (
  { records }: ServerContext,
  revoked: string,
  now: number,
  { puts = [], deletes = [] }: Pick<Unit, 'puts' | 'deletes'>,
): Promise<void> => {
  let loggedAt = now
  for (;;) {
    const result = await records.commit({
      puts: [put(revocationRef(loggedAt, revoked), { revoked }, revocationLifetime), ...puts],
      deletes,
      notify: [revocationMessage(revoked)],
    })
    // A line that was written long after its time may lie behind what other nodes have read: they look back only so far.
    if (!result.committed || result.now - loggedAt < revocationOverlap / 2) return
    loggedAt = result.now
  }
}
