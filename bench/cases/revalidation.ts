import { open } from 'node:fs/promises'
import { Agent } from 'node:http'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { createFormBrowser } from '../../tests/end-to-end/support/form-browser.ts'
import { authorize, REDIRECT_URI, redeem, register } from '../harness/countersign-sign-in.ts'
import { dataFolder } from '../harness/data-folder.ts'
import { send } from '../harness/load.ts'
import type { Report } from '../harness/report.ts'
import { type ServerProcess, startServer } from '../harness/server-process.ts'
import { quantile } from '../harness/statistics.ts'
import type { Check } from '../servers/slow-provider.ts'

/** Who calls all the time, on each server. */
const PEOPLE = 300
/** Who comes back after more than twice the time of the policy: of each, so many calls at once. */
const ABSENT = 60
const TOGETHER = 4
const EVERY = 60
const PROVIDER_TAKES = 600
/** Calls a second, on each server: each person makes one every six seconds. */
const RATE = 50
/** Seconds. */
const SIGN_IN_SPREAD = 60
const WARM_UP = 20
const MEASURED = 180

const SERVERS = [
  { name: 'never', revalidate: undefined },
  { name: 'never, again', revalidate: undefined },
  { name: `every ${EVERY} s`, revalidate: String(EVERY) },
] as const

interface Node {
  readonly name: string
  readonly server: ServerProcess
  readonly agent: Agent
  /** Access tokens, by person. */
  readonly tokens: string[]
  readonly calls: Call[]
}

/** Milliseconds since the epoch. */
interface Call {
  readonly person: number
  readonly at: number
  readonly took: number
  readonly absent: boolean
}

/** Calls of a tool while the provider is asked again about each person every minute, beside a server that never asks. */
export async function revalidation(report: Report): Promise<void> {
  report.section(
    'tools/call with re-validation, at a slow provider',
    `${PEOPLE} people, each with a sign-in of their own, call a tool every ${PEOPLE / RATE} s on each of three servers at the same time: ${RATE} calls a second each, sent
when they are due, whether or not those before were answered. One server asks the provider again about each person every ${EVERY} s, which takes it ${PROVIDER_TAKES} ms; two
never do, and how far these differ is the noise. ${ABSENT} more people sign in, too, and come back after more than twice that time, with ${TOGETHER} calls at once: they
are those who wait and share the check. SQLite; the provider is a stand-in in a process of its own. Latencies are the client’s, ${MEASURED} s long.`,
  )
  const provider = await startServer('slow-provider')
  const nodes: Node[] = []
  try {
    for (const [index, { name, revalidate }] of SERVERS.entries()) {
      const server = await startServer('revalidated', {
        BENCH_DATA: dataFolder(),
        BENCH_PROVIDER: `http://127.0.0.1:${provider.ready.port}`,
        BENCH_CLIENT: `server-${index}`,
        ...(revalidate === undefined ? {} : { BENCH_REVALIDATE: revalidate }),
      })
      nodes.push({ name, server, agent: new Agent({ keepAlive: true, maxSockets: 64 }), tokens: [], calls: [] })
    }
    await Promise.all(nodes.map(signEverybodyIn))
    await provider.ask({ delay: PROVIDER_TAKES })
    await constantly(nodes, WARM_UP)
    for (const { calls } of nodes) calls.length = 0
    const since = Date.now()
    const [syncs] = await Promise.all([diskSyncs(MEASURED), constantly(nodes, MEASURED), absentPeople(nodes)])
    const checks = (await provider.ask<readonly Check[]>('checks')).filter(({ from }) => from >= since)
    print(report, nodes, checks)
    report.note(
      `A check writes twice, and SQLite waits for the disk in the server’s one thread. A sync of a few kilobytes took that disk ${quantile(syncs, 0.5).toFixed(2)} ms
meanwhile (median), and more than ${quantile(syncs, 0.9).toFixed(2)} ms one time in ten: how busy others kept it.`,
    )
  } finally {
    for (const { agent } of nodes) agent.destroy()
    await Promise.all([provider, ...nodes.map(({ server }) => server)].map((each) => each.stop()))
  }
}

function print(report: Report, nodes: readonly Node[], checks: readonly Check[]): void {
  const [never, again, every] = nodes
  if (!never || !again || !every) throw new Error('a server is missing')
  const ofChecks = new Map<string, Check[]>()
  for (const check of checks) ofChecks.set(check.person, [...(ofChecks.get(check.person) ?? []), check])
  // From when the call came that began the check, which reaches the provider a little later.
  const isUnderWay = ({ person, at, took }: Call) =>
    (ofChecks.get(nameOf(person)) ?? []).some(({ from, until }) => at <= until && at + took >= from - 50)
  const constant = ({ calls }: Node) => calls.filter(({ absent }) => !absent)
  const absent = ({ calls }: Node) => calls.filter((call) => call.absent)
  const rows: readonly (readonly [string, readonly Call[]])[] = [
    ...nodes.map((node) => [node.name, constant(node)] as const),
    [`${every.name}: while one’s own check was under way`, constant(every).filter(isUnderWay)],
    ['never: who comes back', absent(never)],
    [`${every.name}: who comes back, and shares the check`, absent(every)],
  ]
  report.table(
    ['', 'calls', 'p50 ms', 'p95 ms', 'p99 ms', 'p99.9 ms', 'longest ms'],
    rows.map(([name, calls]) => [
      name,
      String(calls.length),
      ...[0.5, 0.95, 0.99, 0.999, 1].map((share) => at(calls, share).toFixed(2)),
    ]),
  )
  const asked = checks.filter(({ person }) => Number(person.slice(7)) < PEOPLE).length
  report.note(
    `${checks.length} checks were made meanwhile: ${asked} beside the calls of those who call all the time, ${(asked / PEOPLE / (MEASURED / EVERY)).toFixed(2)} a person and ${EVERY} s, and
${checks.length - asked} for the ${ABSENT * TOGETHER} calls of the ${ABSENT} who came back.`,
  )
  const p99 = (node: Node) => at(constant(node), 0.99)
  const base = (p99(never) + p99(again)) / 2
  report.aim('the control: between both that never ask, p99 differs by, in ms', Math.abs(p99(never) - p99(again)))
  report.aim('re-validation adds to the p99 of a call at most 2 ms', p99(every) - base, (each) => each <= 2)
  const underWay = at(constant(every).filter(isUnderWay), 0.99)
  report.aim('and for who calls while their own check is under way, in ms', underWay - base)
}

const at = (calls: readonly Call[], share: number): number =>
  quantile(
    calls.map(({ took }) => took),
    share,
  )

const nameOf = (person: number): string => `person-${person}`

/** Spread over a minute, so that the checks are, too. */
async function signEverybodyIn({ server, tokens }: Node): Promise<void> {
  const { port } = server.ready
  const origin = `http://localhost:${port}`
  const clientId = await register(`${origin}/register`)
  const all = PEOPLE + ABSENT
  const begun = performance.now()
  for (let person = 0; person < all; person++) {
    await wait(Math.max(0, begun + (person / all) * SIGN_IN_SPREAD * 1000 - performance.now()))
    const browser = createFormBrowser({
      away: (url) => url.href.startsWith(REDIRECT_URI),
      send(request) {
        request.headers.set('x-forwarded-for', `10.0.${person >> 8}.${person & 255}`)
        return fetch(request)
      },
    })
    const code = await authorize(browser, {
      ...{ origin, clientId, redirectUri: REDIRECT_URI, loginHint: nameOf(person) },
      person: { username: '', password: '' },
    })
    tokens.push((await redeem(port, clientId, REDIRECT_URI, code)).access_token)
  }
}

/** All servers get the same calls, one after the other, at the times at which they are due. */
async function constantly(nodes: readonly Node[], seconds: number): Promise<void> {
  const step = 1000 / (RATE * nodes.length)
  const underWay: Promise<void>[] = []
  const begun = performance.now()
  for (let index = 0; index * step < seconds * 1000; index++) {
    const early = begun + index * step - performance.now()
    if (early > 1) await wait(early)
    const node = nodes[index % nodes.length]
    if (node) underWay.push(call(node, Math.floor(index / nodes.length) % PEOPLE, false))
  }
  await Promise.all(underWay)
}

/** They come back one after the other, when their last check is more than twice as old as the policy says. */
async function absentPeople(nodes: readonly Node[]): Promise<void> {
  await wait(2 * EVERY * 1000 + 5_000 - WARM_UP * 1000)
  for (let person = PEOPLE; person < PEOPLE + ABSENT; person++) {
    for (const node of nodes) {
      await wait(200)
      await Promise.all(Array.from({ length: TOGETHER }, () => call(node, person, true)))
    }
  }
}

/** How long the disk took to sync, a sample a second, in milliseconds. */
async function diskSyncs(seconds: number): Promise<readonly number[]> {
  const file = await open(join(dataFolder(), 'sample'), 'w')
  const took: number[] = []
  while (took.length < seconds - 1) {
    await wait(1000)
    await file.write(Buffer.alloc(4096), 0, 4096, 0)
    const begun = performance.now()
    await file.datasync()
    took.push(performance.now() - begun)
  }
  await file.close()
  return took
}

let ids = 0

async function call({ server, agent, tokens, calls }: Node, person: number, absent: boolean): Promise<void> {
  ids += 1
  const headers = {
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
    'mcp-protocol-version': '2025-11-25',
    authorization: `Bearer ${tokens[person]}`,
  }
  const message = { jsonrpc: '2.0', id: ids, method: 'tools/call', params: { name: 'notes_list', arguments: {} } }
  const { port } = server.ready
  const at = Date.now()
  const begun = performance.now()
  const { status, body } = await send(agent, port, port, { path: '/mcp', headers, body: JSON.stringify(message) })
  calls.push({ person, at, took: performance.now() - begun, absent })
  if (status === 200 && body.includes('"structuredContent":{"notes":[]}')) return
  throw new Error(`tools/call answered ${status}: ${body.slice(0, 500)}`)
}
