import { randomUUID } from 'node:crypto'
import { authorizer, redeem } from '../harness/countersign-sign-in.ts'
import { dataFolder } from '../harness/data-folder.ts'
import { type Engine, engine } from '../harness/engines.ts'
import type { LoadClient } from '../harness/load.ts'
import type { Report } from '../harness/report.ts'
import type { Figures, Started, Variant } from '../harness/rounds.ts'
import { type ServerProcess, startServer } from '../harness/server-process.ts'
import { ratio } from '../harness/statistics.ts'
import { connections, forms, isJwt } from './connections.ts'
import { clientCredentialsOf } from './machines.ts'
import { refreshing } from './refresh.ts'

/** What the runner lends to a case that judges itself. */
export interface Judge {
  readonly report: Report
  measure(
    variants: readonly Variant[],
    noisy: (figures: readonly Figures[]) => string | undefined,
  ): Promise<readonly Figures[]>
  print(figures: readonly Figures[], base: string): void
  /** How many requests `other` serves in the CPU time in which `base` serves one. */
  kept(figures: readonly Figures[], base: string, other: string): number
}

type StoreName = 'memory' | 'sqlite' | 'postgres' | 'redis'
const TITLES: Readonly<Record<StoreName, string>> = {
  memory: 'memory',
  sqlite: 'SQLite',
  postgres: 'PostgreSQL',
  redis: 'Redis',
}
const DEVICES = 128
/** As many as the raw server does for one request to `/batch`. */
const BATCH = 64

const engineOf = (store: StoreName): Promise<Engine | undefined> | undefined =>
  store === 'postgres' || store === 'redis' ? engine(store) : undefined

/** A place of its own for each server that is started, and what finds it. */
async function place(store: StoreName) {
  const of = await engineOf(store)
  const space = `bench_${randomUUID().slice(0, 8)}`
  const url = of === undefined ? {} : { BENCH_URL: of.url }
  const env = { BENCH_DATA: dataFolder(), BENCH_STORE: store, BENCH_SPACE: space, ...url }
  return { env, ...(of && { engine: () => of.cpu() }) }
}

async function nodes(store: StoreName, count: number): Promise<Started> {
  const { env, ...rest } = await place(store)
  const server = await startServer('countersign', env)
  const others: ServerProcess[] = []
  while (others.length < count - 1) {
    others.push(await startServer('countersign', { ...env, BENCH_ISSUER: String(server.ready.port) }))
  }
  const { clientId, redirectUri, next } = await authorizer(server)
  const tokens: string[] = []
  while (tokens.length < DEVICES) {
    tokens.push((await redeem(server.ready.port, clientId, redirectUri, await next())).refresh_token)
  }
  return { server, others, clients: spread(refreshing(clientId, tokens), [server, ...others]), ...rest }
}

/** Clients talk to the nodes in turn, each always to the same one. */
const spread = (clients: readonly LoadClient[], nodes: readonly ServerProcess[]): readonly LoadClient[] =>
  clients.map((client, index) => ({ ...client, port: nodes[index % nodes.length]?.ready.port ?? 0 }))

async function raw(store: StoreName, path: '/token' | '/batch', count = 1): Promise<Started> {
  const { env, ...rest } = await place(store)
  const server = await startServer('raw', env)
  const others: ServerProcess[] = []
  while (others.length < count - 1) {
    others.push(await startServer('raw', { ...env, BENCH_NODE: String(others.length + 1) }))
  }
  const form = { grant_type: 'refresh_token', refresh_token: 'x'.repeat(80), client_id: 'x'.repeat(36) }
  const fits = (answer: Readonly<Record<string, unknown>>) => isJwt(answer.access_token) || answer.done === BATCH
  // The batches are eight at a time by themselves.
  const clients = connections(() => forms(path, {}, () => form, fits)).slice(0, path === '/batch' ? 1 : undefined)
  return { server, others, clients: spread(clients, [server, ...others]), ...rest }
}

const ABOUT = 'A refresh reads once, signs an access token and writes once. '

async function refreshesOn(
  store: Exclude<StoreName, 'memory'>,
  { report, measure, print, kept }: Judge,
): Promise<void> {
  const version = (await engineOf(store))?.version
  report.section(
    `refreshes on ${TITLES[store]}`,
    `${version === undefined ? '' : `${version}, which syncs to the disk before it answers. `}${ABOUT}“Raw” is the same statements by the engine’s own driver ` +
      'and one ES256 signature, with nothing checked or decided: behind the same HTTP, in one process and in two, and as a bare loop without any. All nodes, the engine and the clients ' +
      'share the machine’s cores: two processes of a kind are compared with two of the other.',
  )
  const variants: Variant[] = [
    { name: 'one node', start: () => nodes(store, 1) },
    { name: 'raw', start: () => raw(store, '/token') },
    { name: 'two nodes', start: () => nodes(store, 2) },
    { name: 'raw, two nodes', start: () => raw(store, '/token', 2) },
    { name: 'raw, no HTTP', operations: BATCH, start: () => raw(store, '/batch') },
  ]
  const figures = await measure(variants, () => undefined)
  print(figures, 'raw')
  const rates = (name: string) => figures.find((each) => each.name === name)?.rates ?? []
  for (const [ours, theirs] of [
    ['one node', 'raw'],
    ['two nodes', 'raw, two nodes'],
  ] as const) {
    report.aim(`${ours}: at least half of the raw refreshes a second`, ratio(rates(ours), rates(theirs)), half)
    report.aim(`${ours}: at least half of the raw refreshes in the same CPU time`, kept(figures, theirs, ours), half)
  }
  report.aim('one node: in the CPU time of the bare loop', kept(figures, 'raw, no HTTP', 'one node'))
}

const half = (each: number) => each >= 0.5

async function refreshesInMemory({ report, measure, print, kept }: Judge): Promise<void> {
  report.section(
    'refreshes on memory',
    `${ABOUT}In memory there is no engine: the row says what a refresh costs by itself, before any store. Beside it a map in the process and one ES256 signature, ` +
      'with nothing checked or decided, behind the same HTTP and as a bare loop: no peer to be judged by, as raw engines are, but the floor under both.',
  )
  const variants: Variant[] = [
    { name: 'one node', start: () => nodes('memory', 1) },
    { name: 'a map', start: () => raw('memory', '/token') },
    { name: 'a map, no HTTP', operations: BATCH, start: () => raw('memory', '/batch') },
  ]
  const figures = await measure(variants, () => undefined)
  print(figures, 'a map')
  report.aim('of what the map serves in the same CPU time', kept(figures, 'a map', 'one node'))
}

const mixed: readonly Variant[] = ['PostgreSQL', 'PostgreSQL, counters on Redis'].map((name, counters) => ({
  name,
  async start() {
    const { env, engine: postgres } = await place('postgres')
    const redis = await engine('redis')
    const more = counters === 1 ? { BENCH_COUNTERS: redis.url } : {}
    const server = await startServer('countersign', { ...env, ...more, BENCH_CLIENTS: '1' })
    const both = async () => ((await postgres?.()) ?? 0) + (await redis.cpu())
    return { server, clients: clientCredentialsOf(), engine: both }
  },
}))

async function countersElsewhere({ report, measure, print, kept }: Judge): Promise<void> {
  report.section(
    'counters on Redis, all else on PostgreSQL',
    'Limits count in the store. The request that counts most for what it costs besides is `client_credentials`: one read, one count. Here the counts ' +
      'go to a Redis beside PostgreSQL. Refreshes and calls count nothing.',
  )
  const figures = await measure(mixed, () => undefined)
  print(figures, 'PostgreSQL')
  report.aim(
    'with the counters on Redis a node serves in the same CPU time',
    kept(figures, 'PostgreSQL', 'PostgreSQL, counters on Redis'),
  )
}

/** By name, as the command line has them. */
export const storeCases: readonly (readonly [string, (judge: Judge) => Promise<void>])[] = [
  ['refresh-memory', refreshesInMemory],
  ...(['sqlite', 'postgres', 'redis'] as const).map(
    (store) => [`refresh-${store}`, (judge: Judge) => refreshesOn(store, judge)] as const,
  ),
  ['counters', countersElsewhere],
]
