import { dataFolder } from '../harness/data-folder.ts'
import { ownTokens } from '../harness/own-tokens.ts'
import type { Report } from '../harness/report.ts'
import { type ServerProcess, startServer } from '../harness/server-process.ts'
import { median, quantile } from '../harness/statistics.ts'

/** How often a round verifies a token, and how many rounds there are. */
export interface PerCallPlan {
  readonly rounds: number
  readonly calls: number
}

/** Microseconds of CPU for one call, one figure a round. */
type Figures = Readonly<Record<string, readonly number[]>>

const YARDSTICK = 'one jose.jwtVerify'
/** So many tokens take turns, where they were seen before. */
const LIVE = 10_000

/** What a token costs at the gate, within a process: beside one verification by jose, and what others do. */
export async function perCall(report: Report, plan: PerCallPlan): Promise<void> {
  report.section(
    'a call, by what is known of its token',
    `Within a process, without HTTP: what a gate adds to a call, beside one verification of an ES256 signature by jose. Where tokens were seen,
${LIVE.toLocaleString('en')} take turns; others come once only. Each operation has a process of its own.`,
  )
  const peers = ['requireBearerAuth with jose', 'requireBearerAuth, cached introspection']
  const gates = ['gate, token seen', 'gate with introspection, token seen', 'gate, token never seen']
  const own = ['own tokens, seen', 'own tokens, never seen']
  const figures = await measure([YARDSTICK, 'no gate', ...gates, ...own, ...peers], plan)
  print(report, figures, () => 'no gate')
  const added = (name: string) => inYardsticks(figures, name, 'no gate')
  report.aim('a token that was seen adds at most 1/20', added('gate, token seen'), (each) => each <= 1 / 20)
  report.aim('one of our own adds at most 1/20', added('own tokens, seen'), (each) => each <= 1 / 20)
  report.aim('a token never seen adds at most 1.1', added('gate, token never seen'), (each) => each <= 1.1)
  report.aim('one of our own, with what the store says of its grant', added('own tokens, never seen'))
  for (const peer of peers) report.aim(`${peer}, for comparison`, added(peer))
}

/** What 500 rules add to a call, and to a list of 500 tools. */
export async function policy(report: Report, plan: PerCallPlan): Promise<void> {
  report.section(
    'a policy of 500 rules',
    `Within a process, without HTTP: calls with a token that was seen, by rules with scopes and a kind of caller. Beside one rule for all, and none:
with a policy the gate reads the body, which otherwise the handler does. The URIs are more than the gate remembers.`,
  )
  const tools = ['tools, no policy', 'tools, one rule', 'tools, 500 names', 'tools, 500 globs']
  const resources = ['resources, no policy', 'resources, one template', 'resources, 500 templates']
  const lists = ['list, no policy', 'list, one rule', 'list, 500 names']
  const figures = await measure([YARDSTICK, ...tools, ...resources, ...lists], plan)
  print(report, figures, (name) => `${name.split(',', 1)[0]}, no policy`)
  const fifty = (each: number) => each <= 1 / 50
  for (const [name, one] of [
    ['tools, 500 names', 'tools, one rule'],
    ['tools, 500 globs', 'tools, one rule'],
    ['resources, 500 templates', 'resources, one template'],
  ] as const) {
    const [what] = name.split(',', 1)
    report.aim(`${name}, add at most 1/50`, inYardsticks(figures, name, `${what}, no policy`), fifty)
    report.aim(`${name}, add to what one rule costs at most 1/50`, inYardsticks(figures, name, one), fifty)
  }
  report.aim('to a list of 500 tools they add', inYardsticks(figures, 'list, 500 names', 'list, one rule'))
}

/** What an operation costs beyond another, in verifications by jose: round by round, because the machine differs from one to the next. */
function inYardsticks(figures: Figures, name: string, base: string): number {
  const of = (which: string) => figures[which] ?? []
  return median(of(name).map((each, round) => (each - (of(base)[round] ?? 0)) / (of(YARDSTICK)[round] ?? 0)))
}

function print(report: Report, figures: Figures, baseOf: (name: string) => string): void {
  const rows = Object.entries(figures).map(([name, cpu]) => [
    name,
    ...[0.5, 0.25, 0.75].map((share) => quantile(cpu, share).toFixed(1)),
    name === YARDSTICK || name === baseOf(name) ? '' : inYardsticks(figures, name, baseOf(name)).toFixed(3),
  ])
  report.table(['', 'CPU µs/call', 'q1', 'q3', 'adds, in verifications'], rows)
}

interface Started {
  readonly server: ServerProcess
  readonly calls: number
  readonly prepare: (calls: number) => Promise<unknown>
}

async function start(operation: string, calls: number): Promise<Started> {
  const server = await startServer('per-call', { BENCH_OPERATION: operation, BENCH_DATA: dataFolder() })
  const turns = Math.ceil(calls * (timesAsOften.find(([name]) => operation.startsWith(name))?.[1] ?? 10))
  if (!operation.startsWith('own')) {
    return { server, calls: turns, prepare: (count) => server.ask({ prepare: count }) }
  }
  const make = await ownTokens(server)
  if (operation.endsWith('never seen')) {
    return { server, calls: turns, prepare: async (count) => server.ask({ tokens: await make(count) }) }
  }
  await server.ask({ tokens: await make(LIVE) })
  // What was looked up more than a minute ago is looked up again; who waits for the others' turns must not pay for that.
  return { server, calls: turns, prepare: () => server.ask({ call: LIVE }) }
}

/** What takes microseconds is carried out more often, or a round would measure how a processor gets warm. */
const timesAsOften: readonly (readonly [string, number])[] = [
  [YARDSTICK, 1],
  ['gate, token never seen', 1],
  ['own tokens, never seen', 1],
  ['requireBearerAuth with jose', 1],
  ['list', 1 / 20],
]

async function measure(operations: readonly string[], { rounds, calls }: PerCallPlan): Promise<Figures> {
  const figures: Record<string, number[]> = {}
  const started: (Started & { readonly into: number[] })[] = []
  try {
    for (const operation of operations) {
      const into: number[] = []
      figures[operation] = into
      started.push({ ...(await start(operation, calls)), into })
    }
    // The first rounds warm up.
    for (let round = -2; round < rounds; round++) {
      for (let turn = 0; turn < started.length; turn++) {
        const entry = started[(round + 2 + turn) % started.length]
        if (entry === undefined) continue
        await entry.prepare(entry.calls)
        const before = await entry.server.usage()
        await entry.server.ask({ call: entry.calls })
        const after = await entry.server.usage()
        if (round >= 0) entry.into.push((after.cpu - before.cpu) / entry.calls)
      }
    }
  } finally {
    await Promise.all(started.map(({ server }) => server.stop()))
  }
  return figures
}
