/**
 * Sums what `tally-reporter.ts` wrote: `node scripts/tally.mjs figures.json …` names what failed or had to be tried twice, and prints `N passed, N failed, N skipped`. A run that left
 * no figures counts as one failed. Plain JavaScript without imports from npm: it must speak even when the installation failed.
 */
import { readFileSync } from 'node:fs'

const sum = { passed: 0, failed: 0, skipped: 0 }
for (const path of process.argv.slice(2)) {
  const tally = read(path)
  for (const key of Object.keys(sum)) sum[key] += tally[key]
  for (const unstable of tally.unstable) console.log(`UNSTABLE ${unstable}`)
  for (const failure of tally.failures) console.log(`FAILED ${failure}`)
}
console.log(`${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped`)
if (sum.failed > 0) process.exitCode = 1

function read(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    return { passed: 0, failed: 1, skipped: 0, unstable: [], failures: [`a test run left no figures: ${path}`] }
  }
}
