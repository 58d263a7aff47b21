import type { Clock } from '../../src/events/clock.ts'

/** Runs like the host's clock, and can be moved on. */
export function movable(): Clock & { pass(ms: number): Promise<void> } {
  let ahead = 0
  return {
    now: () => Date.now() + ahead,
    async pass(ms) {
      ahead += ms
    },
  }
}
