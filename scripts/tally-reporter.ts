import { writeFileSync } from 'node:fs'
import type { Reporter, TestModule } from 'vitest/node'

/**
 * Writes the figures of a test run to the file that `TALLY` names, and names what failed, for `tally.mjs`. A file that can't be loaded and an error outside of
 * the tests count as failed tests: otherwise a run could fail with none. A test that passed only at its second try is named, too; where it shows that an
 * attack or a race fails, one success of these is a failure.
 */
export default class TallyReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    const path = process.env.TALLY
    if (path === undefined) throw new Error('TALLY names no file for the figures of this run')
    const tally = { passed: 0, failed: 0, skipped: 0, failures: [] as string[], unstable: [] as string[] }
    const fail = (where: string, error: unknown) => {
      tally.failed += 1
      tally.failures.push(`${where}: ${messageOf(error)}`)
    }
    for (const error of unhandledErrors) fail('outside of the tests', error)
    for (const module of modules) {
      for (const error of module.errors()) fail(module.relativeModuleId, error)
      for (const suite of module.children.allSuites()) {
        for (const error of suite.errors()) fail(`${module.relativeModuleId} > ${suite.fullName}`, error)
      }
      for (const test of module.children.allTests()) {
        const { state, errors } = test.result()
        const name = `${module.relativeModuleId} > ${test.fullName}`
        const flaky = test.diagnostic()?.flaky === true
        if ((state !== 'passed' && state !== 'skipped') || (flaky && MUST_NEVER_FAIL.test(name))) {
          fail(name, errors?.[0])
        } else {
          tally[state] += 1
          if (flaky) tally.unstable.push(`${name}: ${messageOf(errors?.[0])}`)
        }
      }
    }
    writeFileSync(path, JSON.stringify(tally))
  }
}

/** Attacks, and the proof on several nodes. */
const MUST_NEVER_FAIL = /^tests\/(attacks|cluster)\//

/** The first lines of what went wrong: enough to tell which of several reasons it was. */
function messageOf(error: unknown): string {
  const message =
    typeof error === 'object' && error !== null && 'message' in error ? String(error.message) : 'it did not end'
  return message.split('\n').slice(0, 12).join('\n    ')
}
