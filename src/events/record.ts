import type { Audit, AuditSink } from './audit.ts'
import type { Clock } from './clock.ts'

/** Gives every event its time, and keeps a sink that fails, at once or later, from failing anything else. */
export const recordIn =
  (sinks: readonly AuditSink[], clock: Clock, failed: (error: unknown) => void): Audit =>
  (facts) => {
    // Several times as fast as to spread them: each request has its event.
    const event = Object.assign({ at: clock.now() }, facts)
    for (const record of sinks) {
      try {
        const done = record(event)
        // Not every promise is an instance of the global one, which libraries replace.
        if (done !== undefined) Promise.resolve(done).catch(failed)
      } catch (error) {
        failed(error)
      }
    }
  }
