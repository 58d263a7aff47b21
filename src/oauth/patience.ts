/** Something that is waited for. */
export interface Waiting {
  /** Says that it is there, or that nobody waits any longer. @returns whether it was still waited for */
  leave(): boolean
}

/**
 * Waits for something at most so many seconds, and up to one more: then `giveUp` is called, once. One timer looks at all that is waited for, each
 * second. Most of it is there at once, and a timer for each would cost more than reading a small body.
 */
export const waitAtMost = (seconds: number, giveUp: () => void): Waiting => {
  if (timersEndWithRequest) return waitAlone(seconds, giveUp)
  const entry: Entry = { left: seconds, at: entries.length, giveUp }
  entries.push(entry)
  if (timer === undefined) {
    timer = setInterval(look, 1_000)
    // Whose connection is gone waits for nothing; hosts other than Node have numbers here.
    ;(timer as { unref?: () => void }).unref?.()
  }
  return { leave: () => leave(entry) }
}

/** Workers end a timer with the request that started it: it would look after no other. */
const timersEndWithRequest =
  (globalThis as { readonly navigator?: { readonly userAgent?: string } }).navigator?.userAgent === 'Cloudflare-Workers'

const waitAlone = (seconds: number, giveUp: () => void): Waiting => {
  let waiting = true
  const leave = (): boolean => {
    const left = waiting
    waiting = false
    clearTimeout(own)
    return left
  }
  const own = setTimeout(() => leave() && giveUp(), seconds * 1_000)
  return { leave }
}

interface Entry {
  /** Looks until it is given up. */
  left: number
  /** Where it is in the list; nowhere once it is no longer waited for. */
  at: number | undefined
  readonly giveUp: () => void
}

const entries: Entry[] = []
let timer: ReturnType<typeof setInterval> | undefined

/** Its place is taken by the last, so that nothing has to be looked for. */
const leave = (entry: Entry): boolean => {
  const { at } = entry
  if (at === undefined) return false
  const last = entries.pop()
  if (last && last !== entry) {
    entries[at] = last
    last.at = at
  }
  entry.at = undefined
  return true
}

const look = (): void => {
  for (const entry of [...entries]) {
    entry.left -= 1
    if (entry.left < 0 && leave(entry)) entry.giveUp()
  }
  if (entries.length > 0) return
  clearInterval(timer)
  timer = undefined
}
