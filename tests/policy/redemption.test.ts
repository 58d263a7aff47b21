import fc from 'fast-check'
import { expect, test } from 'vitest'
import { decideRedemption, duplicateWindow, type RedemptionFacts } from '../../src/policy/redemption.ts'

const now = 1_800_000_000_000
const facts: RedemptionFacts = { now, expiresAt: now + 60_000, attempt: 'mine' }

test('a fresh code is redeemed, until it expires', () => {
  expect(decideRedemption(facts)).toBe('redeem')
  expect(decideRedemption({ ...facts, expiresAt: now + 1 })).toBe('redeem')
  expect(decideRedemption({ ...facts, expiresAt: now })).toBe('expired')
  expect(decideRedemption({ ...facts, expiresAt: now - 1 })).toBe('expired')
})

test('design 3, redeeming: when the outcome of a commit is unknown, our own attempt is found by reading back', () => {
  expect(decideRedemption({ ...facts, redeemed: { attempt: 'mine', at: now - 500 } })).toBe('redeemed')
  expect(decideRedemption({ ...facts, redeemed: { attempt: 'mine', at: now - 3_600_000 } })).toBe('redeemed')
})

test('design 3, redeeming: a duplicate within 10 s revokes nothing, a later one revokes the grant', () => {
  const by = (age: number) => decideRedemption({ ...facts, redeemed: { attempt: 'other', at: now - age } })
  expect(duplicateWindow).toBe(10_000)
  expect(by(0)).toBe('duplicate')
  expect(by(10_000)).toBe('duplicate')
  expect(by(10_001)).toBe('replay')
  // The other node's clock may be ahead of ours.
  expect(by(-2_000)).toBe('duplicate')
})

test('a code that was redeemed is replayed also after its expiry', () => {
  expect(decideRedemption({ ...facts, now: now + 86_400_000, redeemed: { attempt: 'other', at: now } })).toBe('replay')
})

test('fault 1: of any attempts at one code, at any times and in any interleaving, exactly one redeems it', () => {
  interface Attempt {
    readonly read: number
    readonly write: number
  }
  const time = fc.integer({ min: 0, max: 30_000 })
  const attempts = fc.array(fc.tuple(time, fc.integer({ min: 0, max: 500 })), { minLength: 1, maxLength: 8 })
  fc.assert(
    fc.property(attempts, (list) => {
      // A compare-and-swap store: who writes against an older version loses, reads again and decides again.
      let redeemed: RedemptionFacts['redeemed']
      let version = 0
      const decide = (id: number, at: number) =>
        decideRedemption({ now: at, expiresAt: 20_000, attempt: `${id}`, redeemed })
      const won: number[] = []
      const steps = list.flatMap<{ at: number; run: () => void }>(([read, delay], id) => {
        const attempt: Attempt = { read, write: read + delay }
        let seen: { version: number; decision: string } | undefined
        return [
          { at: attempt.read, run: () => (seen = { version, decision: decide(id, attempt.read) }) },
          {
            at: attempt.write,
            run: () => {
              const decision = seen?.version === version ? seen.decision : decide(id, attempt.write)
              if (decision === 'redeem') {
                redeemed = { attempt: `${id}`, at: attempt.write }
                version += 1
                won.push(id)
              } else if (redeemed) {
                const age = attempt.write - redeemed.at
                if (seen?.version !== version) expect(decision).toBe(age <= 10_000 ? 'duplicate' : 'replay')
              } else {
                expect(decision).toBe('expired')
              }
            },
          },
        ]
      })
      for (const step of steps.toSorted((a, b) => a.at - b.at)) step.run()
      expect(won.length).toBeLessThanOrEqual(1)
      if (list.some(([read, delay]) => read + delay < 20_000)) expect(won.length).toBe(1)
    }),
  )
})
