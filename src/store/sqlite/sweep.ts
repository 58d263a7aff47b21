import type { Statements } from './database.ts'

/**
 * Deletes what is expired. It walks round and round over the tables, four rows for each row written, so what is expired but still
 * there stays about a third of what is alive, and no write pays for an index on expiry.
 */
export interface Sweep {
  /** Call after each transaction, with the rows that it wrote; true when a step is due. */
  due(rowsWritten: number): boolean
  /** One bounded step; needs an open write transaction. */
  step(statements: Statements, now: number): void
}

const ROWS_BETWEEN_STEPS = 64
const ROWS_A_STEP = 4 * ROWS_BETWEEN_STEPS

export function sweep(): Sweep {
  let written = 0
  let entry = 0
  let counter = 0
  return {
    due(rowsWritten) {
      written += rowsWritten
      if (written < ROWS_BETWEEN_STEPS) return false
      written = 0
      return true
    },
    step(statements, now) {
      const lastEntry = Number(statements.entriesStep.get(entry, ROWS_A_STEP)?.last ?? 0)
      if (lastEntry > 0) statements.sweepEntries.run(entry, lastEntry, now)
      entry = lastEntry
      const lastCounter = Number(statements.countersStep.get(counter, ROWS_A_STEP)?.last ?? 0)
      if (lastCounter > 0) statements.sweepCounters.run(counter, lastCounter, now)
      counter = lastCounter
    },
  }
}
