/**
 * The proof under load: `npm run proof` for a hundredth of the full size, `npm run proof -- --share 1` for all of it. `--minutes` bounds what
 * all but the soak takes on an engine, `--soak` says how many minutes the soak takes, `--phase` and `--engine` run a part. It
 * writes its part of docs/quality.md, and fails if anything was seen that must not be.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { partOf, withPart } from '../../scripts/quality.ts'
import { type Phase, phaseNames, prove, sized } from './support/phases.ts'
import { currentLoad, heading, report, section } from './support/report.ts'

const { values } = parseArgs({
  options: {
    share: { type: 'string', default: '0.01' },
    minutes: { type: 'string', default: 'Infinity' },
    soak: { type: 'string' },
    phase: { type: 'string', multiple: true, default: [...phaseNames] },
    engine: { type: 'string', multiple: true, default: ['postgres', 'redis'] },
    report: { type: 'string', default: 'docs/quality.md' },
  },
})
const positive = (option: string, text: string): number => {
  if (!(Number(text) > 0)) throw new Error(`--${option}: above 0`)
  return Number(text)
}
const share = positive('share', values.share)
if (share > 1) throw new Error('--share: at most 1')
const seconds = positive('minutes', values.minutes) * 60
const whole = sized(share)
const sizes = values.soak === undefined ? whole : { ...whole, soak: positive('soak', values.soak) * 60 }
const only = phaseNames.filter((name) => values.phase.includes(name))
if (only.length < values.phase.length) throw new Error(`--phase: one of ${phaseNames.join(', ')}`)

// What was started is stopped when this process ends.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))

const load = currentLoad()
let violations = 0
await Promise.all(
  values.engine.map(async (engine) => {
    if (engine !== 'postgres' && engine !== 'redis') throw new Error('--engine: postgres or redis')
    const tell = (phase: Phase) => {
      const { name, history } = phase
      violations += history.violations.length
      console.log(`${engine}: ${name}, ${Math.round(phase.seconds)} s, ${history.violations.length} violations`)
      for (const violation of history.violations.slice(0, 20)) console.log(`  ${violation}`)
      // Hours may be lost otherwise; and parts may run at once.
      const before = existsSync(values.report) ? readFileSync(values.report, 'utf8') : ''
      const ours = report(new Map([[`${engine} ${name}`, section(phase, load)]]), partOf(before, heading))
      writeFileSync(values.report, withPart(before, ours))
    }
    const phases = await prove(engine, sizes, { tell, seconds, only })
    if ('skip' in phases) {
      console.error(`${engine}: ${phases.skip}`)
      violations += 1
    }
  }),
)
process.exit(violations > 0 ? 1 : 0)
