export interface Repetition {
  /** After so many seconds no more are begun; those that are under way then are finished. */
  readonly seconds?: number
  /** How many are under way at once. */
  readonly lanes?: number
}

/**
 * Runs `round` after `round`, so many times; at least one is run, where any is asked for. The first failure ends it.
 *
 * @returns how many were not begun for want of time
 */
export async function repeat(
  times: number,
  { seconds = Number.POSITIVE_INFINITY, lanes = 1 }: Repetition,
  run: (round: number, lane: number) => Promise<void>,
): Promise<number> {
  const startedAt = performance.now()
  const failures: unknown[] = []
  let begun = 0
  const goesOn = () =>
    begun < times && failures.length === 0 && (begun === 0 || performance.now() - startedAt < seconds * 1000)
  const work = async (lane: number) => {
    while (goesOn()) await run(begun++, lane)
  }
  const all = Array.from({ length: Math.min(lanes, times) }, (_, lane) =>
    work(lane).catch((error: unknown) => void failures.push(error)),
  )
  await Promise.all(all)
  if (failures.length > 0) throw failures[0]
  return times - begun
}
