import type { Clock } from '../events/clock.ts'
import { GuardedFetchError } from './guarded-fetch-error.ts'

export interface Budgets {
  /** Requests at the same time, in all and at one origin. */
  readonly concurrency: number
  readonly concurrencyPerOrigin: number
  /** Requests begun in a minute, in all and at one origin. */
  readonly perMinute: number
  readonly perMinutePerOrigin: number
}

interface Spent {
  running: number
  begun: number
  since: number
}

const minute = 60_000

/**
 * Bounds what strangers can make this process ask of others.
 * @returns begins a request to an origin, and answers what ends it. @throws GuardedFetchError `unreachable` where a budget is spent
 */
export const createBudgets = (budgets: Budgets, clock: Clock): ((origin: string) => () => void) => {
  const all: Spent = { running: 0, begun: 0, since: 0 }
  const origins = new Map<string, Spent>()

  const spentAt = (origin: string, now: number): Spent => {
    // No more than the budget of all can have been added in a minute.
    if (origins.size > budgets.perMinute) {
      for (const [each, { running, since }] of origins) {
        if (running === 0 && now - since >= minute) origins.delete(each)
      }
    }
    const known = origins.get(origin) ?? { running: 0, begun: 0, since: now }
    origins.set(origin, known)
    return known
  }

  return (origin) => {
    const now = clock.now()
    renew(all, now)
    check(all, budgets.concurrency, budgets.perMinute, 'in all')
    const one = spentAt(origin, now)
    renew(one, now)
    check(one, budgets.concurrencyPerOrigin, budgets.perMinutePerOrigin, 'to this origin')
    for (const spent of [all, one]) {
      spent.running++
      spent.begun++
    }
    let ended = false
    return () => {
      if (ended) return
      ended = true
      all.running--
      one.running--
    }
  }
}

const renew = (spent: Spent, now: number): void => {
  if (now - spent.since < minute && now >= spent.since) return
  spent.begun = 0
  spent.since = now
}

const check = ({ running, begun }: Spent, concurrency: number, perMinute: number, where: string): void => {
  if (running >= concurrency) throw new GuardedFetchError('unreachable', `too many requests at once ${where}`)
  if (begun >= perMinute) throw new GuardedFetchError('unreachable', `too many requests in a minute ${where}`)
}
