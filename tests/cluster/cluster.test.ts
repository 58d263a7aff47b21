import { describe, expect, test } from 'vitest'
import { type Phase, phaseNames, prove, sizesOfTests } from './support/phases.ts'

/** A part of what `npm run proof` does, whose report is docs/quality.md: in CI a tenth. */
const sizes = sizesOfTests()

/** Seconds. On a machine that is far slower than others races and crashes are fewer, and the history says by how many. */
const BOUND = 900

// What failed once has failed: there is no second try.
describe.each(['postgres', 'redis'] as const)('four nodes on one %s, with real clients', { retry: 0 }, (engine) => {
  test('races, revocations, faults: two winners, a lost session, a wrong identity or a live dead token is never seen', async ({
    skip,
  }) => {
    const tell = ({ name, seconds }: Phase) => console.log(`${engine}: ${name} ${seconds.toFixed(1)} s`)
    const phases = await prove(engine, sizes, { tell, seconds: BOUND })
    if ('skip' in phases) return skip(phases.skip)
    expect(phases.map(({ name }) => name)).toEqual(phaseNames)
    for (const { name, history } of phases) expect([name, history.violations]).toEqual([name, []])

    // A proof that did nothing proves nothing.
    const [races, keys, revocation, , soak, crashes] = phases as [Phase, Phase, Phase, Phase, Phase, Phase]
    const count = ({ history }: Phase, what: string) => history.counts.get(what) ?? 0
    const whole = (phase: Phase, rounds: Readonly<Record<string, number>>) => {
      for (const kind of Object.keys(rounds)) expect([kind, count(phase, kind)]).not.toEqual([kind, 0])
      const done = Object.keys(rounds).reduce((sum, kind) => sum + count(phase, kind), 0)
      const asked = Object.values(rounds).reduce((sum, each) => sum + each, 0)
      expect(done + count(phase, 'rounds for which there was no time')).toBe(asked)
    }
    whole(races, {
      'rounds: redemptions of one code': sizes.races.codes,
      'rounds: refreshes of one token': sizes.races.refreshes,
      'rounds: approvals of one interaction': sizes.races.interactions,
      'rounds: uses of one assertion': sizes.races.assertions,
    })
    whole(keys, {
      'rounds: first starts': sizes.keys.rings,
      'rounds: first starts of whole servers': sizes.keys.servers,
      'rounds: first starts of whole processes': sizes.keys.processes,
    })
    expect(count(keys, 'rounds: key rotations')).toBe(count(keys, 'rounds: first starts'))
    const revocations = [...revocation.history.times]
      .filter(([name]) => name === 'revocation' || name === 'revocation, notifications cut')
      .map(([, times]) => times.length)
    expect(revocations).toHaveLength(2)
    const left = count(revocation, 'rounds for which there was no time')
    expect(revocations.reduce((sum, each) => sum + each, left)).toBe(sizes.revocations + sizes.deafRevocations)
    expect(soak.history.times.get('grants in the store when all are revoked')).toHaveLength(1)
    expect(count(soak, 'refreshes')).toBeGreaterThan(300)
    expect(count(crashes, 'stores killed')).toBeGreaterThanOrEqual(1)
    for (const what of ['sign-ins', 'refreshes', 'refreshes at the provider']) {
      expect([what, count(crashes, what)]).not.toEqual([what, 0])
    }
    if (crashes.seconds < BOUND / 6) {
      expect(count(crashes, 'stores killed')).toBeGreaterThanOrEqual(sizes.crashes.rounds)
      expect(count(crashes, 'sign-ins')).toBeGreaterThanOrEqual(sizes.crashes.signIns)
      expect(count(crashes, 'refreshes')).toBeGreaterThanOrEqual(sizes.crashes.refreshes)
      expect(count(crashes, 'refreshes at the provider')).toBeGreaterThanOrEqual(sizes.crashes.upstreamRefreshes)
    }
  }, 7_200_000)
})
