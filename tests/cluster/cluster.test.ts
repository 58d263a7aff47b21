import { describe, expect, test } from 'vitest'
import { type Phase, prove, type Sizes } from './support/phases.ts'

/** A small part of what `npm run proof` does, whose report is docs/quality.md. */
const sizes: Sizes = {
  races: { codes: 100, refreshes: 100, interactions: 20, assertions: 100 },
  keys: { rings: 50, servers: 2, processes: 1 },
  revocations: 16,
  deafRevocations: 8,
  crashes: { people: 6, rounds: 1, signIns: 10, refreshes: 20, upstreamRefreshes: 5 },
  soak: 0,
}

describe.each(['postgres', 'redis'] as const)('four nodes on one %s, with real clients', (engine) => {
  test('races, revocations, faults: two winners, a lost session, a wrong identity or a live dead token is never seen', async ({
    skip,
  }) => {
    const tell = ({ name, seconds }: Phase) => console.log(`${engine}: ${name} ${seconds.toFixed(1)} s`)
    const phases = await prove(engine, sizes, { tell })
    if ('skip' in phases) return skip(phases.skip)
    expect(phases.map(({ name }) => name)).toEqual(['races', 'keys', 'revocation', 'store away', 'crashes'])
    for (const { name, history } of phases) expect([name, history.violations]).toEqual([name, []])

    // A proof that did nothing proves nothing.
    const [races, keys, revocation, , crashes] = phases as [Phase, Phase, Phase, Phase, Phase]
    expect(races.history.counts.get('rounds: redemptions of one code')).toBe(sizes.races.codes)
    expect(races.history.counts.get('rounds: refreshes of one token')).toBe(sizes.races.refreshes)
    expect(races.history.counts.get('rounds: approvals of one interaction')).toBe(sizes.races.interactions)
    expect(races.history.counts.get('rounds: uses of one assertion')).toBe(sizes.races.assertions)
    expect(keys.history.counts.get('rounds: first starts')).toBe(sizes.keys.rings)
    expect(keys.history.counts.get('rounds: key rotations')).toBe(sizes.keys.rings)
    expect(keys.history.counts.get('rounds: first starts of whole processes')).toBe(sizes.keys.processes)
    expect(revocation.history.times.get('revocation')).toHaveLength(sizes.revocations)
    expect(crashes.history.counts.get('stores killed')).toBe(1)
    expect(crashes.history.counts.get('refreshes')).toBeGreaterThan(sizes.crashes.refreshes)
    expect(crashes.history.counts.get('refreshes at the provider')).toBeGreaterThanOrEqual(5)
  }, 900_000)
})
