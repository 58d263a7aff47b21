import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['tests/**/*.test.ts'],
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
