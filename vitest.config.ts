import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** What takes minutes begins first: in a fresh clone, which remembers no durations, small files come last, and all would wait for it. */
const LONGEST = /\/tests\/cluster\/cluster\.test\.ts$/

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files)
    const isLongest = ({ moduleId }: TestSpecification) => LONGEST.test(moduleId)
    return [...sorted.filter(isLongest), ...sorted.filter((file) => !isLongest(file))]
  }
}

export default defineConfig({
  test: {
    include: ['tests/**/*.test.ts'],
    sequence: { sequencer: LongestFirst },
    // Two at least: much of their time tests wait for programs, for timers and for one another's answers.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    // For a machine that has much else to do; a test that waits for what does not come ends sooner, by its polls.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    // A loaded machine may keep a browser or a database waiting. What passes only then is named by the tally, and an attack that succeeded once counts.
    retry: process.env.CI === 'true' ? 1 : 0,
    expect: { poll: { timeout: 60_000, interval: 50 } },
    // What a test that passed had logged is of no interest: servers log each event of thousands of requests.
    silent: 'passed-only',
    setupFiles: ['tests/support/connections.setup.ts'],
    globalSetup: ['tests/support/packages.setup.ts', 'tests/support/postgres.setup.ts'],
  },
})
