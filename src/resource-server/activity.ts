/** What is under way in this process, for one that is to stop. */
export interface Activity {
  /** True from `stop()` on: nothing new may begin. */
  readonly stopped: boolean
  readonly underWay: number
  /** @returns ends it; calling it again does nothing */
  begin(): () => void
  stop(): void
  /** Resolves to true once nothing is under way, to false when that takes longer than so many milliseconds. */
  settled(within: number): Promise<boolean>
}

export const createActivity = (): Activity => {
  let stopped = false
  let underWay = 0
  const waiting = new Set<() => void>()
  return {
    get stopped() {
      return stopped
    },
    get underWay() {
      return underWay
    },
    begin() {
      underWay += 1
      let ended = false
      return () => {
        if (ended) return
        ended = true
        underWay -= 1
        if (underWay === 0) for (const wake of [...waiting]) wake()
      }
    },
    stop() {
      stopped = true
    },
    async settled(within) {
      if (underWay === 0) return true
      let timer: ReturnType<typeof setTimeout> | undefined
      let wake = () => {}
      const idle = new Promise<boolean>((resolve) => {
        wake = () => resolve(true)
        waiting.add(wake)
        timer = setTimeout(() => resolve(false), within)
      })
      try {
        return await idle
      } finally {
        clearTimeout(timer)
        waiting.delete(wake)
      }
    },
  }
}
