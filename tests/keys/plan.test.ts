import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  defaultRotation,
  pendingKey,
  planFor,
  type RotationPolicy,
  straggling,
  supersededSeals,
  type Wanted,
  withoutOlder,
  withSuccessor,
} from '../../src/keys/plan.ts'
import { currentKey, type KeyUse, keyUses, type Ring, type RingKey } from '../../src/keys/ring.ts'

const day = 86_400_000
const start = Date.UTC(2026, 0, 1)

const wanted = (policy: RotationPolicy = defaultRotation, more: Partial<Wanted> = {}): Wanted => ({
  policy,
  algorithm: undefined,
  external: [],
  ...more,
})

let made = 0
const key = (use: KeyUse, at: number, activeFrom: number, alg = 'ES256'): RingKey => ({
  id: `${use}-${++made}`,
  use,
  createdAt: at,
  activeFrom,
  material: use === 'sign' ? { kty: 'EC', alg } : 'material',
})
const firstRing = (): Ring => ({ keys: keyUses.map((use) => key(use, start, 0)) })

/** What a node does to the ring at some time. */
const followed = (ring: Ring, now: number, want: Wanted): Ring => {
  const plan = planFor(ring, now, want)
  return plan.missing.reduce(
    (next, { use, activeFrom }) => withSuccessor(next, key(use, now, activeFrom), want.policy),
    plan.ring,
  )
}

describe('the schedule', () => {
  test('a successor is made before the key is old, and is known to all for the whole lead before it is used', () => {
    const ring = firstRing()
    const early = followed(ring, start + 89 * day, wanted())
    expect(early.keys).toHaveLength(3)
    const due = start + 90 * day - defaultRotation.lead
    const next = followed(ring, due, wanted())
    const pending = pendingKey(next, 'sign', due)
    expect(pending?.activeFrom).toBe(start + 90 * day)
    expect(currentKey(next, 'sign', start + 90 * day - 1)?.id).toBe(ring.keys[0]?.id)
    expect(currentKey(next, 'sign', start + 90 * day)?.id).toBe(pending?.id)
  })

  test('design 3, secrets rotate: for any times of looking, no key goes while something may live that it made, and each is known before it is used', () => {
    const steps = fc.array(fc.integer({ min: 1, max: 200 * day }), { minLength: 1, maxLength: 40 })
    const policies = fc.record({
      sign: fc.integer({ min: day, max: 100 * day }),
      mac: fc.integer({ min: day, max: 100 * day }),
      lead: fc.integer({ min: 1, max: day }),
      life: fc.integer({ min: 1, max: 400 * day }),
    })
    fc.assert(
      fc.property(steps, policies, (pauses, { sign, mac, lead, life }) => {
        const policy = { every: { sign, seal: 30 * day, mac }, lead, life: { sign: life, mac: life } }
        let ring = firstRing()
        let now = start
        /** Until when something may live that a key made, by its id. */
        const works = new Map<string, number>()
        for (const pause of pauses) {
          now += pause
          // Somebody who has not looked for a while goes on with what he knows.
          for (const use of ['sign', 'mac'] as const) {
            for (const at of [now, now - pause + Math.min(pause, straggling)]) {
              const id = currentKey(ring, use, at)?.id ?? 'none'
              works.set(id, Math.max(works.get(id) ?? 0, at + life))
            }
          }
          const next = followed(ring, now, wanted(policy))
          for (const use of keyUses) expect(currentKey(next, use, now)).toBeDefined()
          for (const { id, activeFrom, createdAt } of next.keys) {
            if (!ring.keys.some((each) => each.id === id)) expect(activeFrom - createdAt).toBe(lead)
          }
          for (const { id, use } of ring.keys) {
            if (use !== 'seal' && !next.keys.some((each) => each.id === id)) {
              expect(works.get(id) ?? 0).toBeLessThanOrEqual(now)
            }
          }
          expect(planFor(next, now, wanted(policy)).missing).toEqual([])
          ring = next
        }
        expect(ring.keys.filter(({ use }) => use === 'seal').length).toBeGreaterThan(0)
      }),
      { numRuns: 300 },
    )
  })

  test('a lifetime that was made longer counts for the key in use, and one that was made shorter takes nothing away', () => {
    const long: RotationPolicy = { ...defaultRotation, life: { sign: 10 * day, mac: day } }
    const short: RotationPolicy = { ...defaultRotation, life: { sign: 60_000, mac: day } }
    const ring = planFor(firstRing(), start, wanted(long)).ring
    const later = planFor(ring, start + day, wanted(short)).ring
    const rotated = withSuccessor(later, key('sign', start + day, start + day), short)
    expect(rotated.keys[0]?.until).toBe(start + 11 * day + straggling)
  })

  test('another algorithm that is configured takes the same way, and is not asked for again while it is on it', () => {
    const ring = firstRing()
    const want = wanted(defaultRotation, { algorithm: 'EdDSA' })
    const plan = planFor(ring, start, want)
    expect(plan.missing).toEqual([{ use: 'sign', activeFrom: start + defaultRotation.lead }])
    const next = withSuccessor(plan.ring, key('sign', start, start + defaultRotation.lead, 'EdDSA'), defaultRotation)
    expect(planFor(next, start, want).missing).toEqual([])
  })

  test('never, where it is said so', () => {
    const every = { sign: undefined, seal: undefined, mac: undefined }
    expect(planFor(firstRing(), start + 10_000 * day, wanted({ ...defaultRotation, every })).missing).toEqual([])
  })
})

describe('keys of the operator’s own', () => {
  const external = [{ ...key('sign', 0, 0), id: 'theirs', external: true }]

  test('are told to all while somebody has them, and for the life of what they made', () => {
    const want = wanted(defaultRotation, { external })
    let ring = followed(firstRing(), start, want)
    expect(ring.keys.map(({ id }) => id)).toContain('theirs')
    expect(planFor(ring, start + 1_000, want).ring).toBe(ring)
    ring = followed(ring, start + 3 * day, want)
    const end = start + 3 * day + 7 * day + defaultRotation.life.sign + straggling
    expect(ring.keys.find(({ id }) => id === 'theirs')?.until).toBe(end)
    expect(followed(ring, end - 1, wanted()).keys.some(({ id }) => id === 'theirs')).toBe(true)
    expect(followed(ring, end, wanted()).keys.some(({ id }) => id === 'theirs')).toBe(false)
  })

  test('take the place of the ring’s own, which go in their time and come back when they are needed', () => {
    const want = wanted(defaultRotation, { external })
    const own = firstRing()
    const ring = followed(own, start, want)
    const gone = start + defaultRotation.life.sign + straggling
    expect(ring.keys[0]?.until).toBe(gone)
    const after = followed(ring, gone, want)
    expect(currentKey(after, 'sign', gone)).toBeUndefined()
    expect(planFor(after, gone, wanted()).missing).toEqual([{ use: 'sign', activeFrom: gone }])
  })

  test('a node that has none goes on for a while with the key that was retired, and does not make one after the other', () => {
    const without = wanted()
    const own = firstRing()
    let ring = followed(own, start, wanted(defaultRotation, { external }))
    expect(planFor(ring, start + 1_000, without).missing).toEqual([])
    // Both sorts of nodes, minute by minute, in a deployment that takes hours.
    let made = 0
    for (let now = start; now < start + 6 * 3_600_000; now += 60_000) {
      made += planFor(ring, now, without).missing.length
      ring = followed(ring, now, without)
      const current = currentKey(ring, 'sign', now)
      expect(current?.until ?? Number.POSITIVE_INFINITY).toBeGreaterThan(now + defaultRotation.life.sign)
      ring = followed(ring, now, wanted(defaultRotation, { external }))
    }
    expect(made).toBeLessThan(30)
    expect(ring.keys.length).toBeLessThan(12)
  })

  test('another key of the same id replaces it', () => {
    const ring = followed(firstRing(), start, wanted(defaultRotation, { external }))
    const other = external.map((each) => ({ ...each, material: { kty: 'EC', alg: 'ES256', x: 'other' } }))
    const next = followed(ring, start, wanted(defaultRotation, { external: other }))
    expect(next.keys.filter(({ id }) => id === 'theirs').map(({ material }) => material)).toEqual([other[0]?.material])
  })
})

test('a compromised key takes the older ones of its use along, and no other; what was sealed must still be read', () => {
  const ring = firstRing()
  for (const use of keyUses) {
    const next = key(use, start, start)
    const left = withoutOlder(withSuccessor(ring, next, defaultRotation), next).keys
    expect(left.filter((each) => each.use === use).map(({ id }) => id)).toEqual(
      use === 'seal' ? [ring.keys[1]?.id, next.id] : [next.id],
    )
    expect(left.filter((each) => each.use !== use)).toHaveLength(2)
  }
})

test('a sealing key is superseded only once nobody can be sealing with it any more', () => {
  const ring = firstRing()
  const next = withSuccessor(ring, key('seal', start, start + 1_000), defaultRotation)
  expect(supersededSeals(next, start + 1_000)).toEqual([])
  expect(supersededSeals(next, start + 1_000 + straggling).map(({ id }) => id)).toEqual([ring.keys[1]?.id])
  expect(supersededSeals(ring, start + 10_000 * day)).toEqual([])
})
