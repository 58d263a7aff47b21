import type { Entry } from './store.ts'

/** What an engine found under the keys that it was asked for, in one snapshot. */
export interface Found {
  entry(key: string): Entry | undefined
  /** The engine's clock. */
  readonly now: number
}

/** Whoever asks for more than this asks alone. */
const MOST_KEYS = 256

export interface Gathered {
  (keys: readonly string[]): Promise<Found>
  /** Resolves when all that was asked for so far was sent. */
  sent(): Promise<void>
}

interface Reading {
  readonly keys: Set<string>
  readonly found: Promise<Found>
  readonly sent: Promise<void>
}

/**
 * Sends what is asked for in one turn of the event loop as one reading: what costs is the question more than the keys in it. Each is answered
 * from the one snapshot, and if the reading fails, all fail.
 */
export function gathered(read: (keys: readonly string[]) => Promise<Found>): Gathered {
  let open: Reading | undefined

  function begin(): Reading {
    const keys = new Set<string>()
    const sent = new Promise<void>((resolve) => {
      process.nextTick(() => {
        if (open?.keys === keys) open = undefined
        resolve()
      })
    })
    return { keys, sent, found: sent.then(() => read([...keys])) }
  }

  const get = (keys: readonly string[]): Promise<Found> => {
    if (open === undefined || open.keys.size + keys.length > MOST_KEYS) open = begin()
    for (const key of keys) open.keys.add(key)
    return open.found
  }
  return Object.assign(get, { sent: async () => open?.sent })
}
