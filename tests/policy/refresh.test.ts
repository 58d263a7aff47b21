import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  decideRefresh,
  initialRefreshState,
  type RefreshDecision,
  type RefreshFacts,
  type RefreshState,
  rotated,
} from '../../src/policy/refresh.ts'

const graceMs = 300_000
const t0 = 1_800_000_000_000

const decide = (
  state: RefreshState,
  presented: number,
  now: number,
  more: Partial<RefreshFacts> = {},
): RefreshDecision => decideRefresh({ ...state, presented, now, graceMs, ...more })

/** Rotates once at each of these times after t0. */
const afterRotations = (...times: number[]): RefreshState =>
  times.reduce((state, time) => rotated(state, t0 + time, graceMs), initialRefreshState)

test('design 3, refreshing: the current generation rotates', () => {
  expect(decide(initialRefreshState, 1, t0)).toEqual({ kind: 'rotate', next: { generation: 2, superseded: [[1, t0]] } })
  expect(decide(afterRotations(0, 10), 3, t0 + 20)).toMatchObject({ kind: 'rotate', next: { generation: 4 } })
})

test('design 3, refreshing: one superseded within the grace window gets the current token again', () => {
  const state = afterRotations(0, 1_000)
  expect(decide(state, 1, t0 + graceMs).kind).toBe('repeat')
  expect(decide(state, 2, t0 + 1_000 + graceMs).kind).toBe('repeat')
})

test('design 3, refreshing: each generation is remembered with its own time; an older one revokes the grant', () => {
  const state = afterRotations(0, 1_000)
  expect(decide(state, 1, t0 + graceMs + 1).kind).toBe('replay')
  expect(decide(state, 2, t0 + graceMs + 1).kind).toBe('repeat')
  expect(decide(state, 2, t0 + 1_000 + graceMs + 1).kind).toBe('replay')
})

test('design 3, refreshing: at most two ahead means that the store lost writes: honoured and caught up', () => {
  const state = afterRotations(0)
  for (const presented of [3, 4]) {
    const decision = decide(state, presented, t0 + 5_000)
    expect(decision).toMatchObject({ kind: 'catchUp', next: { generation: presented + 1 } })
    if (decision.kind !== 'catchUp') continue
    // Whoever still holds one of the lost generations has the whole window from now.
    for (let held = 2; held <= presented; held++) {
      expect(decide(decision.next, held, t0 + 5_000 + graceMs).kind).toBe('repeat')
      expect(decide(decision.next, held, t0 + 5_001 + graceMs).kind).toBe('replay')
    }
    expect(decide(decision.next, 1, t0 + graceMs).kind).toBe('repeat')
    expect(decide(decision.next, 1, t0 + graceMs + 1).kind).toBe('replay')
  }
})

test('design 3, refreshing: further ahead is refused and changes nothing', () => {
  expect(decide(afterRotations(0), 5, t0 + 10)).toEqual({ kind: 'ahead' })
})

test('design 3, refreshing: an operator who restored a backup can open a wider window, for a time', () => {
  const state = afterRotations(0)
  const restore = { ahead: 500, until: t0 + 60_000 }
  expect(decide(state, 502, t0 + 59_999, { restore })).toMatchObject({ kind: 'catchUp', next: { generation: 503 } })
  expect(decide(state, 503, t0 + 59_999, { restore }).kind).toBe('ahead')
  expect(decide(state, 502, t0 + 60_000, { restore }).kind).toBe('ahead')
  expect(decide(state, 4, t0 + 60_000, { restore }).kind).toBe('catchUp')
  expect(decide(state, 4, t0, { restore: { ahead: 0, until: t0 + 60_000 } }).kind).toBe('catchUp')

  const decision = decide(state, 502, t0 + 1_000, { restore })
  if (decision.kind !== 'catchUp') throw new Error(decision.kind)
  expect(decision.next.superseded.length).toBeLessThan(5)
  expect(decide(decision.next, 300, t0 + 1_000 + graceMs).kind).toBe('repeat')
  expect(decide(decision.next, 300, t0 + 1_001 + graceMs).kind).toBe('replay')
})

test('the record stays small: what is over is forgotten, and still replay', () => {
  let state = initialRefreshState
  for (let round = 0; round < 1_000; round++) state = rotated(state, t0 + round * 60_000, graceMs)
  expect(state.superseded.length).toBeLessThanOrEqual(8)
  const now = t0 + 999 * 60_000
  for (const old of [1, 2, 500, 994]) expect(decide(state, old, now).kind).toBe('replay')
  for (const held of [995, 996, 1_000]) expect(decide(state, held, now).kind).toBe('repeat')
})

test('a client in a loop can’t make the record grow or push others out of the window', () => {
  let state = initialRefreshState
  for (let round = 0; round < 1_000; round++) {
    const decision = decide(state, state.generation, t0 + round)
    if (decision.kind === 'rotate') state = decision.next
    else expect(decision.kind).toBe('repeat')
  }
  expect(state.superseded.length).toBe(256)
  for (let held = 1; held < state.generation; held++) expect(decide(state, held, t0 + 1_000).kind).toBe('repeat')
  expect(decide(state, state.generation, t0 + 1_000).kind).toBe('repeat')
  expect(decide(state, state.generation, t0 + 1_000 + graceMs).kind).toBe('rotate')
})

test('a clock that goes back on another node makes no replay', () => {
  const state = afterRotations(10_000, 4_000)
  expect(decide(state, 1, t0 + 3_000).kind).toBe('repeat')
  expect(decide(state, 2, t0 + 3_000).kind).toBe('repeat')
})

/**
 * A server with a compare-and-swap store, as the token endpoint uses the decision, and any number of clients with the tokens that they got.
 * Time passes between the steps; answers get lost; clients keep old tokens and present them whenever they like; the store loses writes.
 */
class World {
  readonly grace = 1_000
  now = t0
  state: RefreshState = initialRefreshState
  /** Every write, so that some can be lost. */
  written: RefreshState[] = [initialRefreshState]
  /** For each generation, when it last stopped being current. */
  supersededAt = new Map<number, number>()
  revoked = false
  /** Generations that somebody has, or had. */
  handedOut = new Set([1])
  lostSince = false

  decide(presented: number): RefreshDecision {
    return decideRefresh({ ...this.state, presented, now: this.now, graceMs: this.grace })
  }

  commit(next: RefreshState): void {
    for (let generation = this.state.generation; generation < next.generation; generation++)
      this.supersededAt.set(generation, this.now)
    this.state = next
    this.written.push(next)
  }

  /** One request, from decision to answer; the generation that the client gets. */
  present(presented: number): number | undefined {
    const decision = this.decide(presented)
    this.check(presented, decision)
    if (decision.kind === 'rotate' || decision.kind === 'catchUp') this.commit(decision.next)
    if (decision.kind === 'replay') this.revoked = true
    if (decision.kind === 'replay' || decision.kind === 'ahead') return undefined
    this.handedOut.add(this.state.generation)
    return this.state.generation
  }

  check(presented: number, decision: RefreshDecision): void {
    const at = this.supersededAt.get(presented)
    const within = at === undefined || this.now - at <= this.grace
    if (within) expect(decision.kind).not.toBe('replay')
    if (!this.lostSince) {
      if (!within) expect(decision.kind).toBe('replay')
      expect(['catchUp', 'ahead']).not.toContain(decision.kind)
    }
    if (decision.kind === 'rotate') {
      expect(presented).toBe(this.state.generation)
      expect(decision.next.generation).toBe(presented + 1)
    }
    if (decision.kind === 'catchUp') expect(decision.next.generation).toBe(presented + 1)
    if (decision.kind === 'ahead') expect(presented - this.state.generation).toBeGreaterThan(2)
  }

  loseWrites(count: number): void {
    const lost = Math.min(count, this.written.length - 1)
    if (lost === 0) return
    this.written = this.written.slice(0, -lost)
    this.state = this.written.at(-1) ?? initialRefreshState
    this.lostSince = true
  }
}

type Step =
  | { readonly kind: 'wait'; readonly ms: number }
  | { readonly kind: 'present'; readonly holder: number; readonly answerLost: boolean }
  | { readonly kind: 'presentOld'; readonly pick: number }
  | { readonly kind: 'race'; readonly holders: readonly number[] }
  | { readonly kind: 'lose'; readonly writes: number }

const holder = fc.nat({ max: 3 })
const calmSteps = [
  {
    arbitrary: fc.record({
      kind: fc.constant('wait' as const),
      ms: fc.oneof(fc.nat({ max: 50 }), fc.nat({ max: 1_500 })),
    }),
    weight: 3,
  },
  { arbitrary: fc.record({ kind: fc.constant('present' as const), holder, answerLost: fc.boolean() }), weight: 5 },
  {
    arbitrary: fc.record({
      kind: fc.constant('race' as const),
      holders: fc.array(holder, { minLength: 2, maxLength: 4 }),
    }),
    weight: 2,
  },
]
const oldTokens = {
  arbitrary: fc.record({ kind: fc.constant('presentOld' as const), pick: fc.nat({ max: 50 }) }),
  weight: 1,
}
const losses = {
  arbitrary: fc.record({ kind: fc.constant('lose' as const), writes: fc.integer({ min: 1, max: 2 }) }),
  weight: 1,
}

const run = (steps: readonly Step[]): World => {
  const world = new World()
  const held = [1, 1, 1, 1]
  const keep = (who: number, generation: number | undefined) => {
    if (generation !== undefined) held[who] = generation
  }
  for (const step of steps) {
    if (world.revoked) break
    if (step.kind === 'wait') world.now += step.ms
    if (step.kind === 'lose') world.loseWrites(step.writes)
    if (step.kind === 'present') {
      const got = world.present(held[step.holder] ?? 1)
      if (!step.answerLost) keep(step.holder, got)
    }
    if (step.kind === 'presentOld') {
      const all = [...world.handedOut]
      world.present(all[step.pick % all.length] ?? 1)
    }
    if (step.kind === 'race') {
      // All read the same state and decide; the first commits; the others lose the compare-and-swap, read again and decide again.
      const before = world.state
      const decisions = step.holders.map((who) => ({
        who,
        presented: held[who] ?? 1,
        first: world.decide(held[who] ?? 1),
      }))
      for (const { who, presented, first } of decisions) {
        if (world.revoked) break
        const stale = world.state !== before
        if (stale && (first.kind === 'rotate' || first.kind === 'catchUp')) {
          const again = world.decide(presented)
          expect(again.kind).not.toBe('replay')
        }
        keep(who, world.present(presented))
      }
    }
  }
  return world
}

const stepsOf = (...kinds: readonly { arbitrary: fc.Arbitrary<Step>; weight: number }[]) =>
  fc.array(fc.oneof(...kinds), { minLength: 1, maxLength: 60 })

test('fault 3, design 3, refreshing: a token within the window is never replay, one outside always is, whoever presents it and when', () => {
  fc.assert(
    fc.property(stepsOf(...calmSteps, oldTokens), (steps) => {
      run(steps)
    }),
    { numRuns: 2_000 },
  )
})

test('design 3, refreshing: nor is one within the window when the store loses its last writes, again and again', () => {
  fc.assert(
    fc.property(stepsOf(...calmSteps, oldTokens, losses), (steps) => {
      run(steps)
    }),
    { numRuns: 2_000 },
  )
})

test('fault 2: clients that refresh in parallel all end with one and the same current token', () => {
  fc.assert(
    fc.property(stepsOf(...calmSteps), fc.array(holder, { minLength: 2, maxLength: 8 }), (steps, racers) => {
      const world = run(steps)
      if (world.revoked) return
      const presented = world.state.generation
      const before = world.state
      const decisions = racers.map(() => world.decide(presented))
      const answers = decisions.map(() => world.present(presented))
      expect(new Set(answers)).toEqual(new Set([world.state.generation]))
      // At most one rotation, although each of them, alone, would have made one.
      expect(world.state.generation - before.generation).toBeLessThanOrEqual(1)
    }),
    { numRuns: 500 },
  )
})

test('the state stays in order and bounded, through any of it', () => {
  fc.assert(
    fc.property(stepsOf(...calmSteps, oldTokens, losses), (steps) => {
      const { state, now, grace } = run(steps)
      const generations = state.superseded.map(([generation]) => generation)
      expect(generations).toEqual([...new Set(generations)].toSorted((a, b) => a - b))
      for (const generation of generations) expect(generation).toBeLessThan(state.generation)
      // Whatever was lost, a window later every superseded token is replay.
      for (let old = 1; old < state.generation; old++) {
        expect(decideRefresh({ ...state, presented: old, now: now + grace + 1, graceMs: grace }).kind).toBe('replay')
      }
      // After a rotation now, at most one entry is older than the window.
      const next = rotated(state, now, grace)
      expect(next.superseded.filter(([, at]) => now - at > grace).length).toBeLessThanOrEqual(1)
    }),
    { numRuns: 500 },
  )
})
