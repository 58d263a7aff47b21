import type { Entry } from './store.ts'

/** What an engine found under the keys that it was asked for, in one snapshot. */
export interface Found {
  entry(key: string): Entry | undefined
  /** The engine's clock. */
  readonly now: number
}

/** Whoever asks for more than this asks alone. */
const MOST_KEYS = 256

/**
 * Sends what is asked for in one turn of the event loop as one reading: what costs is the question more than the keys in it. Each is answered
 * from the one snapshot, and if the reading fails, all fail.
 */
export function gathered(
  read: (keys: readonly string[]) => Promise<Found>,
): (keys: readonly string[]) => Promise<Found> {
  let open: { readonly keys: Set<string>; readonly found: Promise<Found> } | undefined

  function begin(): { readonly keys: Set<string>; readonly found: Promise<Found> } {
    const keys = new Set<string>()
    const found = new Promise<Found>((resolve) => {
      process.nextTick(() => {
        if (open?.keys === keys) open = undefined
        resolve(read([...keys]))
      })
    })
    return { keys, found }
  }

  return (keys) => {
    if (open === undefined || open.keys.size + keys.length > MOST_KEYS) open = begin()
    for (const key of keys) open.keys.add(key)
    return open.found
  }
}
