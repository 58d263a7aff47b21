import { describe, expect, test } from 'vitest'
import { upstreamSessionRef } from '../../src/records/upstream-session.ts'
import { memory } from '../../src/store/memory.ts'
import type { Store } from '../../src/store/store.ts'
import { createCustody } from '../../src/upstream/custody.ts'
import { type NamedProvider, type RedirectProvider, UpstreamRefused } from '../../src/upstream/provider.ts'
import { stopped } from '../store/movable-clock.ts'
import { rejection, testContext } from './context.ts'
import { account, stored } from './custody-at.ts'

type Point = { readonly operation: number; readonly applied: boolean }

/** A process that is gone from a certain operation of the store on, which was applied before or was not: nothing of what it waits for ever comes. */
const mortal = (store: Store) => {
  let left: Point | undefined
  let done = 0
  const never = () => new Promise<never>(() => {})
  const step = async <T>(run: () => Promise<T>): Promise<T> => {
    done += 1
    if (!left || done < left.operation) return run()
    if (done === left.operation && left.applied) await run()
    return never()
  }
  const wrapped: Store = {
    location: store.location,
    get: (...all) => step(() => store.get(...all)),
    list: (...all) => step(() => store.list(...all)),
    commit: (...all) => step(() => store.commit(...all)),
    increment: (...all) => step(() => store.increment(...all)),
    watch: (listener) => store.watch(listener),
    close: () => store.close(),
  }
  const dieAt = (point: Point) => {
    left = point
    done = 0
  }
  return { store: wrapped, dieAt, isDead: () => left !== undefined && done >= left.operation }
}

/** How a provider takes a refresh token that was used before. */
const habits = {
  strict: 'it is refused, as used up',
  graceful: 'the one before counts still',
  lasting: 'it does not rotate',
} as const
type Habit = keyof typeof habits

const providerOf = (habit: Habit) => {
  const state = { requests: 0, serial: 0, refreshTokens: ['refresh-0'], accessToken: 'access-0' }
  const open: RedirectProvider = {
    kind: 'redirect',
    begin: () => Promise.reject(new Error('not here')),
    complete: () => Promise.reject(new Error('not here')),
    async refresh({ tokens: { refreshToken = '' } }) {
      state.requests += 1
      if (!state.refreshTokens.includes(refreshToken)) throw new UpstreamRefused('used up')
      state.serial += 1
      state.accessToken = `access-${state.serial}`
      const next = habit === 'lasting' ? refreshToken : `refresh-${state.serial}`
      state.refreshTokens = habit === 'graceful' ? [refreshToken, next] : [next]
      return { tokens: { accessToken: state.accessToken, refreshToken: next }, said: [] }
    },
  }
  const named: NamedProvider = { id: 'idp', name: 'idp', open }
  return { state, named }
}

const crash = async (habit: Habit, point: Point) => {
  const clock = stopped()
  const store = memory({ clock })
  const survivor = await testContext({ clock, store })
  await stored(survivor)
  const dying = mortal(store)
  const context = await testContext({ clock, store: dying.store })
  const { state, named } = providerOf(habit)
  const [first, second] = [createCustody(context, [named]), createCustody(survivor, [named])]
  const tokens = { accessToken: 'access-0', refreshToken: 'refresh-0', expiresAt: clock.now() - 1 }
  const signIn = { issuer: 'https://idp.example.com', subject: 'alice', authTime: 0, said: [], tokens }
  const { id } = await second.begin(account, 'idp', signIn)

  dying.dieAt(point)
  let answered = false
  void first.accessToken(id).then(() => {
    answered = true
  })
  await expect.poll(() => dying.isDead() || answered).toBe(true)
  // What it was about to do before it died it has done.
  await new Promise((resolve) => setImmediate(resolve))
  const asked = state.requests
  // Its lease is over.
  await clock.pass(45_001)
  const outcome = await second.accessToken(id).catch((error: { reason?: string }) => error.reason)
  const session = (await survivor.records.get(upstreamSessionRef(id))).values[0]?.value
  return { died: dying.isDead() && !answered, asked, outcome, session, state, second, id }
}

describe.each(Object.entries(habits))(
  'custody: a process dies at any point of a renewal; a refresh token that was used: %s, %s',
  (name) => {
    const habit = name as Habit

    test('fault 2, design 3, upstream: the session works on another node, or has ended with a reason that blames nobody, and nothing is asked twice over', async () => {
      const ends: (string | undefined)[] = []
      let points = 0
      for (let operation = 1; ; operation++) {
        const both = []
        for (const applied of [false, true]) both.push(await crash(habit, { operation, applied }))
        for (const { asked, outcome, session, state, second, id } of both) {
          ends.push(session?.ended?.reason)
          expect(asked).toBeLessThanOrEqual(1)
          expect(state.requests - asked).toBeLessThanOrEqual(1)
          const before = state.requests
          if (session?.ended) {
            expect(outcome).toBe('ended')
            expect(session.ended.reason).toBe('outcome_unknown')
            expect(await rejection(second.accessToken(id))).toMatchObject({ reason: 'ended' })
          } else {
            expect(outcome).toBe(state.accessToken)
            expect(await second.accessToken(id)).toBe(state.accessToken)
          }
          // No loop: what is known is not asked again.
          expect(state.requests).toBe(before)
        }
        if (both.every(({ died }) => !died)) break
        points += 1
      }
      // The reads, the lease, and the answer's commit at least, or nothing was shown.
      expect(points).toBeGreaterThanOrEqual(4)
      expect(ends.includes('outcome_unknown')).toBe(habit === 'strict')
    })
  },
)
