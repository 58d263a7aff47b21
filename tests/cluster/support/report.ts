import { cpus, loadavg, totalmem, type } from 'node:os'
import type { Engine } from './cluster.ts'
import { quantile } from './history.ts'
import { type Phase, phaseNames } from './phases.ts'

/** Of the proof's part of the document. */
export const heading = '# Proof under load'

const HEAD = `${heading}

Four nodes in processes of their own, on one PostgreSQL and on one Redis, under load from real HTTP clients; all of what these clients saw is
checked. Written by \`npm run proof\`; in CI the tests run a tenth of it. Times are milliseconds, where nothing else is said.

- **races**: 16 concurrent uses of one thing, at all nodes: exactly as many win as may, and what the winner got is good. A round in which somebody
  was answered with 503, because the machine was too busy, counts only when it was run again without.
- **keys**: 16 key rings that are opened at once where there is none yet, and then rotated at once; 16 whole servers on a store without tables; four
  new processes. All have the same keys.
- **revocation**: from the request to revoke until the last use at any node that was let in; then with notifications between nodes cut.
- **store away**: how long nodes answer from memory when the store is silent. Then it is 503, never 401.
- **soak**: mixed traffic on two nodes; memory (that grows by a twentieth after the first third of the time is a fault; without compiled code, of which the
  engine makes more for hours), open files, timers, and what is left in the store.
- **crashes**: nodes and the store are killed (SIGKILL), connections cut, stalled and half closed, answers lost, the clocks of nodes two minutes
  apart, while people sign in, refresh, and use tokens of their provider that last a second. Nobody who holds the last answer that they
  were given has to sign in again, no answer is wrong, and what can’t be served is 503 or a lost connection.

The full size is 10,000 rounds of each race, first starts and rotations of key rings among them; 500 first starts of servers and 25 of processes; 2,000
revocations and 500 with notifications cut; crashes until there were 10,000 sign-ins, 10,000 refreshes and 10,000 refreshes at the provider; and an
hour of soak. The tables say what was run, and how busy the machine was besides: the times depend on it.
`
const TITLES: Readonly<Record<Engine, string>> = { postgres: 'PostgreSQL', redis: 'Redis' }

const number = (value: number) => value.toLocaleString('en', { maximumFractionDigits: 1 })

/** What a phase of this run says. @param load of the machine, before it began */
export function section({ name, history, seconds }: Phase, load: number): string {
  const [processor] = cpus()
  const machine = `${cpus().length} × ${processor?.model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB, ${type()}`
  const times = [...history.times].map(([what, all]) => {
    if (all.length < 3) return `| ${what} | ${all.map(number).join(', ')} |`
    const at = (part: number) => number(quantile(all, part))
    return `| ${what} (${number(all.length)}) | median ${at(0.5)}, 99 % ${at(0.99)}, worst ${at(1)} |`
  })
  const lines = [
    `### ${name}`,
    '',
    `${new Date().toISOString().slice(0, 10)}, ${number(seconds / 60)} minutes, on ${machine}, Node ${process.versions.node}; load before: ${number(load)}.`,
    '',
    '| | |',
    '|---|---|',
    ...[...history.counts].map(([what, count]) => `| ${what} | ${number(count)} |`),
    ...times,
    `| **what must never be** | **${history.violations.length}** |`,
    '',
    ...history.violations.slice(0, 20).map((violation) => `- ${violation}`),
  ]
  return lines.join('\n').trimEnd()
}

/** The load of the machine in the last minute. */
export const currentLoad = (): number => loadavg()[0] ?? 0

/** A report with these sections, by engine and phase; of phases that are not among them it keeps what `before` says. */
export function report(sections: ReadonlyMap<string, string>, before: string): string {
  const parts = [HEAD]
  for (const [engine, title] of Object.entries(TITLES)) {
    const [, known = ''] = before.split(`\n## ${title}\n`)
    const [ours = ''] = known.split('\n## ')
    const kept = new Map(ours.split('\n### ').map((text) => [text.split(/[\n(]/)[0]?.trim(), `### ${text.trim()}`]))
    const all = phaseNames.flatMap((name) => sections.get(`${engine} ${name}`) ?? kept.get(name) ?? [])
    if (all.length > 0) parts.push(`## ${title}\n`, ...all.map((text) => `${text}\n`))
  }
  return parts.join('\n')
}
