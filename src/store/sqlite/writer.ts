import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Database, Statements } from './database.ts'

/** One unit that is all or nothing: synchronous, told the time of its transaction. */
export type Work<T> = (statements: Statements, now: number) => T

export interface Writer {
  /** Resolves when it is on the disk. */
  write<T>(work: Work<T>): Promise<T>
  /** The same for what may be lost if the machine loses its power: nobody waits for the disk, unless others of that turn do. */
  writeSoon<T>(work: Work<T>): Promise<T>
  /** Resolves when all that was asked for is on the disk, or has failed. */
  idle(): Promise<void>
}

interface Job {
  readonly work: Work<unknown>
  readonly durable: boolean
  readonly resolve: (outcome: unknown) => void
  readonly reject: (error: unknown) => void
}

/** Bounds the time that one transaction keeps the event loop and the file. */
const MOST_JOBS = 64

/**
 * Writes what is asked for in one turn of the event loop in one transaction, because it is the transaction's sync to the disk that
 * costs. The works run one after the other and each sees what those before it wrote, as if each had its own transaction; nobody
 * hears an outcome before the transaction is on the disk, and if it fails they fail together.
 */
export function writer(database: Database, now: () => number): Writer {
  let queue: Job[] = []
  let draining: Promise<void> | undefined

  async function drain(): Promise<void> {
    await nextTurn()
    while (queue.length > 0) {
      const jobs = queue.slice(0, MOST_JOBS)
      queue = queue.slice(MOST_JOBS)
      try {
        const outcomes = await database.use((statements) => transaction(statements, jobs, now()))
        for (const [index, job] of jobs.entries()) job.resolve(outcomes[index])
      } catch (error) {
        for (const job of jobs) job.reject(error)
      }
    }
    draining = undefined
  }

  const enqueue = <T>(work: Work<T>, durable: boolean): Promise<T> =>
    new Promise<T>((resolve, reject) => {
      queue.push({ work, durable, resolve: resolve as (outcome: unknown) => void, reject })
      draining ??= drain()
    })

  return {
    write: (work) => enqueue(work, true),
    writeSoon: (work) => enqueue(work, false),
    async idle() {
      while (draining !== undefined) await draining
    },
  }
}

function transaction(statements: Statements, jobs: readonly Job[], now: number): unknown[] {
  statements.durable(jobs.some(({ durable }) => durable))
  statements.beginImmediate.run()
  try {
    const outcomes = jobs.map(({ work }) => work(statements, now))
    statements.commit.run()
    return outcomes
  } catch (error) {
    try {
      statements.rollback.run()
    } catch {
      // SQLite rolls back by itself after some errors; the first error is the one to tell.
    }
    throw error
  }
}
