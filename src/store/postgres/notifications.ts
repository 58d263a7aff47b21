import type { ClientConfig } from 'pg'
import { Client } from 'pg'
import { listeners } from '../listeners.ts'

/**
 * LISTEN on a connection of its own, as long as somebody watches; when it is lost, another is made. A node tells its own listeners
 * itself, and passes over what comes back to it.
 */
export interface Notifications {
  readonly channel: string
  /** What is sent: the message, with this node's name before it. */
  wrap(message: string): string
  tell(messages: readonly string[]): void
  watch(listener: (message: string) => void): () => void
  close(): Promise<void>
}

const FIRST_RETRY = 100
const LONGEST_RETRY = 5_000
/** A connection that died silently is found out within this time. */
const CHECK_EVERY = 10_000

/** @param config undefined: nothing is heard of other nodes */
export function notifications(config: ClientConfig | undefined, channel: string, sender: string): Notifications {
  const watchers = listeners()
  let wanted = false
  let client: Client | undefined
  let retry = FIRST_RETRY
  let retryTimer: NodeJS.Timeout | undefined
  let checkTimer: NodeJS.Timeout | undefined

  function lost(which: Client): void {
    if (client !== which) return
    client = undefined
    clearInterval(checkTimer)
    which.end().catch(() => {})
    if (!wanted) return
    retryTimer = setTimeout(connect, retry * (0.5 + Math.random() / 2))
    retryTimer.unref()
    retry = Math.min(retry * 2, LONGEST_RETRY)
  }

  function connect(): void {
    const mine = new Client(config)
    client = mine
    mine.on('error', () => lost(mine))
    mine.on('end', () => lost(mine))
    mine.on('notification', ({ payload = '' }) => {
      const space = payload.indexOf(' ')
      if (payload.slice(0, space) !== sender) watchers.tell([payload.slice(space + 1)])
    })
    const listen = async () => {
      await mine.connect()
      await mine.query(`LISTEN ${mine.escapeIdentifier(channel)}`)
      retry = FIRST_RETRY
      if (client !== mine) return
      checkTimer = setInterval(() => mine.query('SELECT').catch(() => lost(mine)), CHECK_EVERY)
      checkTimer.unref()
    }
    listen().catch(() => lost(mine))
  }

  async function disconnect(): Promise<void> {
    wanted = false
    clearTimeout(retryTimer)
    clearInterval(checkTimer)
    const last = client
    client = undefined
    await last?.end().catch(() => {})
  }

  return {
    channel,
    wrap: (message) => `${sender} ${message}`,
    tell: (messages) => watchers.tell(messages),
    watch(listener) {
      const end = watchers.add(listener)
      if (!wanted && config !== undefined) {
        wanted = true
        connect()
      }
      return () => {
        end()
        if (watchers.size === 0 && wanted) void disconnect()
      }
    },
    close() {
      watchers.clear()
      return disconnect()
    },
  }
}
