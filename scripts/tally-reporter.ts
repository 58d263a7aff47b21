import { writeFileSync } from 'node:fs'
import type { Reporter, TestModule } from 'vitest/node'

/**
 * Writes the figures of a test run to the file that `TALLY` names, for `tally.mjs`. A file that can't be loaded and an error outside of
 * the tests count as failed tests: otherwise a run could fail with none.
 */
export default class TallyReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    const path = process.env.TALLY
    if (path === undefined) throw new Error('TALLY names no file for the figures of this run')
    const tally = { passed: 0, failed: unhandledErrors.length, skipped: 0 }
    for (const module of modules) {
      tally.failed += module.errors().length
      for (const suite of module.children.allSuites()) tally.failed += suite.errors().length
      for (const test of module.children.allTests()) {
        const { state } = test.result()
        tally[state === 'pending' ? 'failed' : state] += 1
      }
    }
    writeFileSync(path, JSON.stringify(tally))
  }
}
