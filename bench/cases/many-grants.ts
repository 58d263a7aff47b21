import { statSync } from 'node:fs'
import { join } from 'node:path'
import { authorizer, redeem } from '../harness/countersign-sign-in.ts'
import { dataFolder } from '../harness/data-folder.ts'
import type { Variant } from '../harness/rounds.ts'
import { type ServerProcess, startServer } from '../harness/server-process.ts'
import { median } from '../harness/statistics.ts'
import type { SweepFacts } from '../servers/sweep.ts'
import { refreshing } from './refresh.ts'

/** More than the pages that SQLite keeps in memory, where each is on a page of its own. */
const DEVICES = 1_000
/** How often what is not a refresh is done. */
const TIMES = 100

/** A store's file with its grants, and who may go on with it. */
interface Filled {
  readonly data: string
  readonly port: number
  signIn(): Promise<{ readonly access_token: string }>
}

/** The last of each size that was filled. */
const filled = new Map<number, Filled>()

/**
 * Rotating refresh of a thousand devices, alone in the store and among many other grants. Those are copies, under ids of their own, of what
 * the devices' grants wrote: the grants, their index entries, and the upstream sessions that they stand on.
 */
export const manyGrants = (many: number): readonly Variant[] =>
  [DEVICES, many].map((grants) => ({
    name: `${grants.toLocaleString('en')} grants`,
    async start() {
      const data = dataFolder()
      const first = await startServer('countersign', { BENCH_DATA: data })
      const { port } = first.ready
      const { clientId, next, redirectUri } = await authorizer(first)
      const signIn = async () => redeem(port, clientId, redirectUri, await next())
      const tokens: string[] = []
      while (tokens.length < DEVICES) tokens.push((await signIn()).refresh_token)
      await first.stop()
      const fill = await startServer('fill', { BENCH_FILE: fileIn(data), BENCH_GRANTS: String(grants) })
      await fill.stop()
      const there = (fill.ready.facts as { grants: number }).grants
      if (there < grants) throw new Error(`only ${there} grants are in the store, not ${grants}`)
      filled.set(grants, { data, port, signIn })
      return { server: await again(data, port), clients: refreshing(clientId, tokens) }
    },
  }))

const fileIn = (data: string) => join(data, 'countersign.db')

/** The port is a part of the issuer, which the grants name. */
const again = (data: string, port: number) => startServer('countersign', { BENCH_DATA: data, BENCH_PORT: String(port) })

/** What such a store costs besides, a column of texts; the heads are `storeFacts`. */
export async function aboutStore(grants: number): Promise<readonly string[]> {
  const { data, port, signIn } = filled.get(grants) ?? missing()
  const disk = statSync(fileIn(data)).size
  const server = await again(data, port)
  try {
    const started = server.ready
    const { sub } = payloadOf((await signIn()).access_token)
    const signIns = await timed(server, signIn)
    const listings = await timed(server, () => server.ask({ want: 'grants', subject: sub }))
    const { resident } = await server.usage()
    await server.stop()
    const sweeper = await startServer('sweep', { BENCH_FILE: fileIn(data) })
    await sweeper.stop()
    const { rows, step, nothing, tenth } = sweeper.ready.facts as SweepFacts
    return [
      rows.toLocaleString('en'),
      mebibytes(disk),
      started.elapsed.toFixed(0),
      mebibytes(started.usage.resident),
      mebibytes(resident),
      signIns.cpu.toFixed(0),
      signIns.time.toFixed(1),
      listings.cpu.toFixed(0),
      listings.time.toFixed(1),
      step.toFixed(2),
      nothing.toFixed(1),
      tenth.toFixed(1),
    ]
  } finally {
    await server.stop()
  }
}

export const storeFacts: readonly string[] = [
  'rows in the store',
  'on the disk, MiB',
  'from the start until it listens, ms',
  'in memory when it listens, MiB',
  'in memory after some hundred requests, MiB',
  'a sign-in with a remembered consent, from the request to tokens: CPU µs',
  'the same, ms',
  'one person’s grants, a page of 100: CPU µs',
  'the same, ms',
  'a step of the sweep (256 rows, once in 64 writes), ms',
  'the sweep once through all rows, in steps, s',
  'the same when a tenth has expired, s',
]

async function timed(server: ServerProcess, act: () => Promise<unknown>): Promise<{ cpu: number; time: number }> {
  for (let warmUp = 0; warmUp < TIMES / 2; warmUp++) await act()
  const before = await server.usage()
  const times: number[] = []
  for (let turn = 0; turn < TIMES; turn++) {
    const at = performance.now()
    await act()
    times.push(performance.now() - at)
  }
  const { cpu } = await server.usage()
  return { cpu: (cpu - before.cpu) / TIMES, time: median(times) }
}

const mebibytes = (bytes: number) => (bytes / 2 ** 20).toFixed(0)

const payloadOf = (token: string): { readonly sub?: unknown } =>
  JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString())

const missing = (): never => {
  throw new Error('no such store was filled')
}
