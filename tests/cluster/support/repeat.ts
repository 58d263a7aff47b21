/** Runs `round` after `round`, so many times, or until `seconds` are over: the one that is under way then is finished. At least one is run. */
export async function repeat(times: number, seconds: number, run: (round: number) => Promise<void>): Promise<void> {
  const startedAt = performance.now()
  for (let round = 0; round < times && (round === 0 || performance.now() - startedAt < seconds * 1000); round++) {
    await run(round)
  }
}
