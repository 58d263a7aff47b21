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

/** Stands still until it is moved on, however slow the machine is. */
export function stopped(): Clock & { pass(ms: number): Promise<void> } {
  let now = Date.now()
  return {
    now: () => now,
    async pass(ms) {
      now += ms
    },
  }
}
