/**
 * Runs one at a time; who asks while one runs gets the next, which all of them share. So whatever was there when somebody asked is found, and a
 * flood of unknown key ids costs no more than one read after another.
 */
export const coalesced = (run: () => Promise<void>): (() => Promise<void>) => {
  let running: Promise<void> | undefined
  let next: Promise<void> | undefined
  const start = (): Promise<void> => {
    const mine = run().finally(() => {
      if (running === mine) running = undefined
    })
    running = mine
    return mine
  }
  const startNext = (): Promise<void> => {
    next = undefined
    return start()
  }
  return () => {
    if (!running) return start()
    next ??= running.then(startNext, startNext)
    return next
  }
}
