import { describe, expect, test } from 'vitest'
import { type Phase, prove, type Sizes } from './support/phases.ts'

/** A small part of what `npm run proof` does, whose report is docs/quality.md. */
const sizes: Sizes = {
  races: { codes: 6, refreshes: 6, interactions: 3, assertions: 4, firstStarts: 2, rotations: 1 },
  revocations: 8,
  deafRevocations: 4,
  crashes: { people: 6, rounds: 1 },
  soak: 0,
}

describe.each(['postgres', 'redis'] as const)('four nodes on one %s, with real clients', (engine) => {
  test('races, revocations, faults: two winners, a lost session, a wrong identity or a live dead token is never seen', async ({
    skip,
  }) => {
    const phases = await prove(engine, sizes, ({ name, seconds }) =>
      console.log(`${engine}: ${name} ${seconds.toFixed(1)} s`),
    )
    if ('skip' in phases) return skip(phases.skip)
    expect(phases.map(({ name }) => name)).toEqual(['races', 'revocation', 'store away', 'crashes'])
    for (const { name, history } of phases) expect([name, history.violations]).toEqual([name, []])

    // A proof that did nothing proves nothing.
    const [races, revocation, , crashes] = phases as [Phase, Phase, Phase, Phase]
    expect(races.history.counts.get('rounds: redemptions of one code')).toBe(sizes.races.codes)
    expect(races.history.counts.get('interactions that gave a code')).toBe(sizes.races.interactions)
    expect(revocation.history.times.get('revocation')).toHaveLength(sizes.revocations)
    expect(crashes.history.counts.get('stores killed')).toBe(1)
    expect(crashes.history.counts.get('refreshes')).toBeGreaterThan(20)
  }, 300_000)
})
