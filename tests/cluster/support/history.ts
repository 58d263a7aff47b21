/** What clients saw, and what of it must not be. */
export interface History {
  /** Counts something that went as it must. */
  count(what: string, by?: number): void
  /** Something that must never happen. */
  violation(what: string, details: object): void
  /** Counts rounds for which there was no time. */
  leftOut(rounds: number): void
  /** A time that was measured, in milliseconds. */
  measure(what: string, milliseconds: number): void
  readonly counts: ReadonlyMap<string, number>
  readonly violations: readonly string[]
  readonly times: ReadonlyMap<string, readonly number[]>
}

export function createHistory(): History {
  const counts = new Map<string, number>()
  const violations: string[] = []
  const times = new Map<string, number[]>()
  const count = (what: string, by = 1) => void counts.set(what, (counts.get(what) ?? 0) + by)
  return {
    counts,
    violations,
    times,
    count,
    leftOut: (rounds) => void (rounds > 0 && count('rounds for which there was no time', rounds)),
    violation: (what, details) => void violations.push(`${what}: ${JSON.stringify(details)}`),
    measure(what, milliseconds) {
      const list = times.get(what)
      if (list) list.push(milliseconds)
      else times.set(what, [milliseconds])
    },
  }
}

/** @param share 0 to 1 */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN
}
