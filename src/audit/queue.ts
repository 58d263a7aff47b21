import type { AuditEvent } from '../events/audit.ts'

export interface QueueOptions {
  /** Writes them all or none. */
  readonly write: (events: readonly AuditEvent[]) => Promise<void>
  readonly warn: (message: string, details: object) => void
  /** How many events wait at most; further ones are dropped, counted, and that is written. */
  readonly capacity: number
}

/** Events on their way to where they are kept: nobody waits for them, and trouble there is nobody's trouble here. */
export interface Queue {
  push(event: AuditEvent): void
  flush(): Promise<void>
  close(): Promise<void>
}

/** All in milliseconds. */
const gatherFor = 200
const firstRetry = 250
const longestRetry = 10_000
export const closingTime = 5_000
const batchSize = 500

export const createQueue = ({ write, warn, capacity }: QueueOptions): Queue => {
  let waiting: AuditEvent[] = []
  let dropped = 0
  let droppedAt = 0
  let retry = firstRetry
  let timer: ReturnType<typeof setTimeout> | undefined
  let draining: Promise<boolean> | undefined
  let closed = false

  const wait = (milliseconds: number): void => {
    timer ??= setTimeout(() => {
      timer = undefined
      void drain()
    }, milliseconds)
  }

  const writeNext = async (): Promise<void> => {
    const batch = waiting.slice(0, batchSize)
    const lost = dropped
    const note: AuditEvent[] = lost > 0 ? [{ type: 'audit.dropped', count: lost, at: droppedAt }] : []
    await write([...batch, ...note])
    waiting = waiting.slice(batch.length)
    dropped -= lost
  }

  /** Answers whether all is written. */
  const drain = (): Promise<boolean> => {
    draining ??= (async () => {
      try {
        while (waiting.length > 0 || dropped > 0) await writeNext()
        retry = firstRetry
        return true
      } catch (error) {
        // Once for each outage: what follows would be the same.
        if (retry === firstRetry) warn('audit events can’t be written; they wait', { error, waiting: waiting.length })
        if (!closed) {
          wait(retry)
          // A process that has nothing else to do need not wait for it.
          timer?.unref()
        }
        retry = Math.min(retry * 2, longestRetry)
        return false
      } finally {
        draining = undefined
      }
    })()
    return draining
  }

  return {
    push(event) {
      if (closed || waiting.length >= capacity) {
        dropped++
        droppedAt = event.at
        if (closed) warn('an audit event came after its log was closed', { type: event.type })
        return
      }
      waiting.push(event)
      wait(waiting.length >= batchSize ? 0 : gatherFor)
    },

    async flush() {
      // What is being written now may have begun before the last event came.
      await draining
      await drain()
    },

    async close() {
      if (closed) return
      closed = true
      clearTimeout(timer)
      const until = Date.now() + closingTime
      const written = async () => {
        // What is being written now may have begun before the last event came.
        await draining
        return drain()
      }
      // A database may take a request and never answer.
      while (!(await within(written(), until - Date.now()))) {
        if (Date.now() >= until) return warn('audit events were lost', { events: waiting.length + dropped })
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
    },
  }
}

/** Undefined where it takes longer, in milliseconds. */
export const within = async <T>(promise: Promise<T>, milliseconds: number): Promise<T | undefined> => {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), Math.max(0, milliseconds))
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
