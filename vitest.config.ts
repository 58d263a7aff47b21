import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['tests/**/*.test.ts'],
    // For a machine that has much else to do; a test that waits for what does not come ends sooner, by its polls.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    expect: { poll: { timeout: 30_000, interval: 50 } },
    // What a test that passed had logged is of no interest: servers log each event of thousands of requests.
    silent: 'passed-only',
    globalSetup: ['tests/support/packages.setup.ts', 'tests/support/postgres.setup.ts'],
  },
})
