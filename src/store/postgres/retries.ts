/** Which errors leave no doubt that nothing was done, or make a reading worth another try. */

/** Serialisation failure, deadlock: the server undid the whole transaction, and says "try again". */
const UNDONE = new Set(['40001', '40P01'])

/** Classes of errors in which the connection, or the server behind it, went away. @see https://www.postgresql.org/docs/current/errcodes-appendix.html */
const LOST = /^(08...|57P0[123])$/
const LOST_SOCKET = new Set(['ECONNRESET', 'EPIPE', 'ETIMEDOUT'])

const ATTEMPTS = 4
/** Milliseconds; doubled each time, and spread, so that those who met do not meet again. */
const FIRST_PAUSE = 10

/**
 * Tries again, a few times, what the server undid. A reading is also tried once more when its connection was lost, as all of a pool's are
 * when a server or a pooler starts again; a write is not: it may have been done.
 */
export async function withRetries<T>(attempt: () => Promise<T>, { reads }: { readonly reads: boolean }): Promise<T> {
  let lost = 0
  for (let tried = 1; ; tried++) {
    try {
      return await attempt()
    } catch (error) {
      const again = wasUndone(error) || (reads && wasLost(error) && lost++ === 0)
      if (!again || tried === ATTEMPTS) throw error
      const pause = FIRST_PAUSE * 2 ** (tried - 1)
      await new Promise((resolve) => setTimeout(resolve, pause * (0.5 + Math.random())))
    }
  }
}

function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | undefined)?.code
  return typeof code === 'string' ? code : ''
}

function wasUndone(error: unknown): boolean {
  return UNDONE.has(codeOf(error))
}

function wasLost(error: unknown): boolean {
  const code = codeOf(error)
  // The driver's own words, where the server said nothing: https://github.com/brianc/node-postgres/blob/master/packages/pg/lib/client.js
  return (
    LOST.test(code) || LOST_SOCKET.has(code) || (error instanceof Error && /^Connection terminated/.test(error.message))
  )
}
