/**
 * The proof under load: `npm run proof` for a hundredth of the full size, `npm run proof -- --share 1` for all of it. It writes docs/quality.md,
 * and fails if anything was seen that must not be.
 */
import { writeFileSync } from 'node:fs'
import { cpus, totalmem, type } from 'node:os'
import { parseArgs } from 'node:util'
import { quantile } from './support/history.ts'
import { type Phase, prove, sized } from './support/phases.ts'

const { values } = parseArgs({
  options: {
    share: { type: 'string', default: '0.01' },
    engine: { type: 'string', multiple: true, default: ['postgres', 'redis'] },
    report: { type: 'string', default: 'docs/quality.md' },
  },
})
const share = Number(values.share)
if (!(share > 0 && share <= 1)) throw new Error('--share: above 0, at most 1')
const sizes = sized(share)

const lines = ({ name, history, seconds }: Phase): string[] => [
  `### ${name} (${Math.round(seconds)} s)`,
  '',
  '| | |',
  '|---|---|',
  ...[...history.counts].map(([what, count]) => `| ${what} | ${count.toLocaleString('en')} |`),
  ...[...history.times].map(([what, times]) => {
    const at = (part: number) => quantile(times, part).toLocaleString('en', { maximumFractionDigits: 1 })
    if (times.length < 3) return `| ${what} | ${times.map((each) => each.toFixed(1)).join(', ')} |`
    return `| ${what} (${times.length}) | median ${at(0.5)}, 99 % ${at(0.99)}, worst ${at(1)} |`
  }),
  `| **what must never be** | **${history.violations.length}** |`,
  '',
  ...history.violations.slice(0, 20).map((violation) => `- ${violation}`),
  ...(history.violations.length > 0 ? [''] : []),
]

const report = [
  '# Proof under load',
  '',
  'Four nodes in processes of their own, on one PostgreSQL and on one Redis, under load from real HTTP clients; all of what these clients saw is',
  'checked. Written by `npm run proof`; a small part of it is in the tests. Times are milliseconds, where nothing else is said.',
  '',
  '- **races**: 16 concurrent uses of one thing, at all nodes: exactly as many win as may, and what the winner got is good.',
  '- **revocation**: from the request to revoke until the last use at any node that was let in; then with notifications between nodes cut.',
  '- **store away**: how long nodes answer from memory when the store is silent. Then it is 503, never 401.',
  '- **soak**: mixed traffic on two nodes; memory, open files, timers, and what is left in the store.',
  '- **crashes**: nodes and the store are killed (SIGKILL), connections cut, stalled and half closed, answers lost, the clocks of nodes two minutes',
  '  apart, while people sign in, refresh, and use tokens of their provider that last two seconds. Nobody who holds the last answer that they',
  '  were given has to sign in again, no answer is wrong, and what can’t be served is 503 or a lost connection.',
  '',
  `This run: ${(share * 100).toLocaleString('en')} % of the full size (10,000 rounds a race, an hour of soak), on ${cpus().length} × ${cpus()[0]?.model.trim()}, ` +
    `${Math.round(totalmem() / 2 ** 30)} GiB, ${type()}, Node ${process.versions.node}, ${new Date().toISOString().slice(0, 10)}.`,
  '',
]

let violations = 0
for (const engine of values.engine) {
  if (engine !== 'postgres' && engine !== 'redis') throw new Error('--engine: postgres or redis')
  report.push(`## ${engine === 'postgres' ? 'PostgreSQL' : 'Redis'}`, '')
  const phases = await prove(engine, sizes, ({ name, history, seconds }) => {
    console.log(`${engine}: ${name}, ${Math.round(seconds)} s, ${history.violations.length} violations`)
    for (const violation of history.violations.slice(0, 20)) console.log(`  ${violation}`)
  })
  if ('skip' in phases) {
    report.push(`Not run: ${phases.skip}.`, '')
    continue
  }
  for (const phase of phases) {
    report.push(...lines(phase))
    violations += phase.history.violations.length
  }
}
writeFileSync(values.report, `${report.join('\n').trimEnd()}\n`)
process.exit(violations > 0 ? 1 : 0)
