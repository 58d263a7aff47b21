/** One thing that is measured within a process, without HTTP. */
export interface Operation {
  /** Makes what so many calls need, before they are measured. */
  readonly prepare?: (calls: number) => Promise<void>
  readonly call: () => Promise<unknown>
  /** Where its authorization server listens, if it has one. */
  readonly port?: number
  /** What the case has to say to it, for instance tokens. */
  readonly hear?: (said: unknown) => Promise<void>
}

/** Each of many in turn. */
export const inTurn = <T>(all: readonly T[]): (() => T) => {
  let index = 0
  return () => {
    const each = all[index++ % all.length]
    if (each === undefined) throw new Error('there is nothing to take in turn')
    return each
  }
}

/** Each only once: as many as will be needed are made before. */
export const onlyOnce = <T>(make: () => Promise<T>) => {
  let made: T[] = []
  return {
    async prepare(calls: number): Promise<void> {
      made = []
      while (made.length < calls) made.push(await make())
    },
    take(): T {
      const each = made.pop()
      if (each === undefined) throw new Error('all were taken already')
      return each
    },
  }
}
