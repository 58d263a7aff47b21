import type { Listeners } from '../listeners.ts'
import { listeners } from '../listeners.ts'
import type { Database, Statements } from './database.ts'

/**
 * Who commits tells its own listeners at once; other processes on the file find the message in a table. Looking costs a few
 * microseconds, because SQLite knows without reading whether another connection has written.
 */
export interface Notifications {
  /** Needs an open write transaction. */
  record(statements: Statements, messages: readonly string[], now: number): void
  /** After that transaction. */
  tell(messages: readonly string[]): void
  watch(listener: (message: string) => void): () => void
  close(): void
}

const LOOK_EVERY = 200
const KEPT_FOR = 60_000

export function notifications(database: Database, sender: string): Notifications {
  const watchers: Listeners = listeners()
  let timer: NodeJS.Timeout | undefined
  let seenVersion: unknown
  let seenId: number | undefined

  function look(): void {
    try {
      database.useNow((statements) => {
        const dataVersion = statements.dataVersion.get()?.data_version
        if (dataVersion === seenVersion) return
        if (seenId === undefined) {
          seenId = Number(statements.lastNotification.get()?.id)
        } else {
          for (const { id, sender: from, message } of statements.notifications.all(seenId)) {
            seenId = Number(id)
            if (from !== sender) watchers.tell([String(message)])
          }
        }
        seenVersion = dataVersion
      })
    } catch {
      // Out of reach: whoever reads or writes is told so. The next look goes on from the same place.
    }
  }

  function stop(): void {
    clearInterval(timer)
    timer = undefined
    seenId = undefined
    seenVersion = undefined
  }

  return {
    record(statements, messages, now) {
      for (const message of messages) statements.notify.run(now, sender, message)
      statements.forgetNotifications.run(now - KEPT_FOR)
    },
    tell: (messages) => watchers.tell(messages),
    watch(listener) {
      const end = watchers.add(listener)
      if (timer === undefined) {
        look()
        timer = setInterval(look, LOOK_EVERY)
        timer.unref()
      }
      return () => {
        end()
        if (watchers.size === 0) stop()
      }
    },
    close() {
      watchers.clear()
      stop()
    },
  }
}
