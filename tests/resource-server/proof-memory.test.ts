import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { dpopWindow } from '../../src/oauth/dpop-proof.ts'
import { createProofMemory } from '../../src/resource-server/proof-memory.ts'

const start = Date.UTC(2026, 10, 22)
const proof = (jkt: string, jti: string, now: number, away = 0) => ({ jkt, jti, issuedAt: now / 1000 + away })

describe('a proof is good once', () => {
  test('and its id once for each key', async () => {
    const memory = createProofMemory()
    expect(await memory.use(proof('a', '1', start), start)).toBe(true)
    expect(await memory.use(proof('a', '1', start), start)).toBe(false)
    expect(await memory.use(proof('a', '1', start, 60), start)).toBe(false)
    expect(await memory.use(proof('b', '1', start), start)).toBe(true)
    expect(await memory.use(proof('a', '2', start), start)).toBe(true)
  })

  test('for as long as its time does not refuse it', async () => {
    const memory = createProofMemory()
    const late = proof('a', '1', start, dpopWindow)
    await memory.use(late, start)
    const last = start + 2 * dpopWindow * 1000
    expect(await memory.use(late, last)).toBe(false)
    await memory.use(proof('b', '1', last + 120_000), last + 120_000)
    // Forgotten only now that nobody takes it.
    expect(memory.size).toBe(1)
  })
})

describe('what is over is forgotten', () => {
  const life = dpopWindow * 1000 + 60_000

  test('at its time exactly', async () => {
    const memory = createProofMemory()
    await memory.use(proof('a', '1', start), start)
    await memory.use(proof('b', '1', start + life - 30_000), start + life - 30_000)
    expect(memory.size).toBe(2)
    await memory.use(proof('b', '2', start + life), start + life)
    expect(memory.size).toBe(2)
  })

  test('also by a clock that was set back', async () => {
    const memory = createProofMemory()
    const hour = 3_600_000
    await memory.use(proof('a', '1', start + hour), start + hour)
    await memory.use(proof('b', '1', start), start)
    await memory.use(proof('c', '1', start + life), start + life)
    expect(memory.size).toBe(2)
  })
})

describe('bounded', () => {
  test('what had to be forgotten is not good again, and only for the key that used most', async () => {
    const memory = createProofMemory({ capacity: 64 })
    const victim = proof('victim', 'first', start)
    expect(await memory.use(victim, start)).toBe(true)
    const flood = Array.from({ length: 500 }, (_, index) => proof('flood', `${index}`, start + index * 400))
    for (const each of flood) {
      expect(await memory.use(each, each.issuedAt * 1000)).toBe(true)
      expect(memory.size).toBeLessThanOrEqual(64)
    }
    const now = start + 200_000
    expect(await memory.use(victim, now)).toBe(false)
    for (const each of flood) expect(await memory.use(each, now)).toBe(false)
    expect(await memory.use(proof('victim', 'second', now, -100), now)).toBe(true)
  })

  test('what was forgotten stays refused until its own time is over, whatever else its key used', async () => {
    // The newest that may be, and the oldest: the first is good for longer, and is forgotten first.
    const memory = createProofMemory({ capacity: 1 })
    const late = proof('a', 'late', start, dpopWindow)
    const early = proof('a', 'early', start, 1 - dpopWindow)
    expect(await memory.use(early, start)).toBe(true)
    expect(await memory.use(late, start)).toBe(true)
    // The first was forgotten, and with it all that is as old.
    expect(await memory.use(early, start)).toBe(false)
    const other = createProofMemory({ capacity: 1 })
    expect(await other.use(late, start)).toBe(true)
    expect(await other.use(proof('b', 'quiet', start), start)).toBe(true)
    expect(await other.use(late, start)).toBe(false)
    const until = start + 2 * dpopWindow * 1000 + 60_000
    // By then nothing of that key is known but its floor.
    for (const before of [60_000, 30_000, 1]) expect(await other.use(late, until - before)).toBe(false)
    // The time of the proof alone refuses it now: what is not needed is not kept.
    expect(await other.use(late, until)).toBe(true)
  })

  test('property: no proof is ever taken twice, whatever is used in whatever order', async () => {
    const step = fc.record({ jkt: fc.constantFrom('a', 'b', 'c'), jti: fc.nat(30), pass: fc.nat(120_000) })
    const away = fc.integer({ min: -300, max: 300 })
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 120 }),
        fc.array(away, { minLength: 31, maxLength: 31 }),
        fc.integer({ min: 1, max: 20 }),
        async (steps, aways, capacity) => {
          const memory = createProofMemory({ capacity })
          const made = new Map<string, ReturnType<typeof proof>>()
          const taken = new Set<string>()
          let now = start
          for (const { jkt, jti, pass } of steps) {
            now += pass
            const key = `${jkt} ${jti}`
            const each = made.get(key) ?? proof(jkt, `${jti}`, now, aways[jti])
            made.set(key, each)
            if (Math.abs(each.issuedAt - now / 1000) > dpopWindow) continue
            const used = await memory.use(each, now)
            if (used && taken.has(key)) throw new Error('taken twice')
            taken.add(key)
            expect(memory.size).toBeLessThanOrEqual(capacity)
          }
        },
      ),
    )
  })
})
