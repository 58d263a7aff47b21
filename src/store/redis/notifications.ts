import type { Redis } from 'ioredis'
import { listeners } from '../listeners.ts'

/**
 * A subscription on a connection of its own, as long as somebody watches; when it is lost, another is made. A node tells its own
 * listeners itself, and passes over what comes back to it. What is sent meanwhile is missed, as the contract allows.
 */
export interface Notifications {
  readonly channel: string
  /** What is sent: the message, with this node's name before it. */
  wrap(message: string): string
  tell(messages: readonly string[]): void
  watch(listener: (message: string) => void): () => void
  close(): void
}

const FIRST_RETRY = 100
const LONGEST_RETRY = 2_000
/** A connection that died silently is found out within this time and the time that an answer may take. */
const CHECK_EVERY = 5_000

export function notifications(
  channel: string,
  sender: string,
  subscribe: (channel: string) => Promise<Redis>,
): Notifications {
  const watchers = listeners()
  /** Goes up with every beginning and end: what an older one started is not wanted any more. */
  let epoch = 0
  let watching = false
  let connection: Redis | undefined
  let retry = FIRST_RETRY
  let retryTimer: NodeJS.Timeout | undefined
  let checkTimer: NodeJS.Timeout | undefined

  async function connect(mine: number): Promise<void> {
    let made: Redis
    try {
      made = await subscribe(channel)
    } catch {
      return again(mine)
    }
    if (mine !== epoch) return made.disconnect()
    if (made.status !== 'ready') return again(mine)
    connection = made
    retry = FIRST_RETRY
    made.on('smessage', (_: string, payload: string) => {
      const space = payload.indexOf(' ')
      if (payload.slice(0, space) !== sender) watchers.tell([payload.slice(space + 1)])
    })
    made.once('end', () => {
      if (mine !== epoch) return
      clearInterval(checkTimer)
      connection = undefined
      again(mine)
    })
    checkTimer = setInterval(() => made.ping().catch(() => made.disconnect()), CHECK_EVERY)
    checkTimer.unref()
  }

  function again(mine: number): void {
    if (mine !== epoch) return
    retryTimer = setTimeout(connect, retry * (0.5 + Math.random() / 2), mine)
    retryTimer.unref()
    retry = Math.min(retry * 2, LONGEST_RETRY)
  }

  function stop(): void {
    epoch++
    watching = false
    clearTimeout(retryTimer)
    clearInterval(checkTimer)
    connection?.disconnect()
    connection = undefined
  }

  return {
    channel,
    wrap: (message) => `${sender} ${message}`,
    tell: (messages) => watchers.tell(messages),
    watch(listener) {
      const end = watchers.add(listener)
      if (!watching) {
        watching = true
        void connect(++epoch)
      }
      return () => {
        end()
        if (watchers.size === 0 && watching) stop()
      }
    },
    close() {
      watchers.clear()
      stop()
    },
  }
}
