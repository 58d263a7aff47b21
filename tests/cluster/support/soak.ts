import { readdirSync } from 'node:fs'
import { postgres } from '../../../src/store/postgres.ts'
import { redis } from '../../../src/store/redis.ts'
import type { Clients, Session } from './clients.ts'
import type { Cluster, Node } from './cluster.ts'
import { type History, quantile } from './history.ts'

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

interface Sample {
  /** Bytes, without compiled code. */
  readonly heap: number
  readonly compiled: number
  readonly files: number
  readonly timers: number
}

async function sample(node: Node): Promise<Sample> {
  const { heap, compiled, resources } = await node.ask<Omit<Sample, 'files' | 'timers'> & { resources: string[] }>(
    'memory',
  )
  const files = readdirSync(`/proc/${node.pid}/fd`).length
  return { heap, compiled, files, timers: resources.filter((each) => each === 'Timeout').length }
}

/** By how much a straight line through all of the values rises from the first to the last. */
export function growth(values: readonly number[]): number {
  const middle = (values.length - 1) / 2
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  const rise = values.reduce((sum, value, index) => sum + (value - mean) * (index - middle), 0)
  const width = values.reduce((sum, _, index) => sum + (index - middle) ** 2, 0)
  return width === 0 ? 0 : (rise / width) * (values.length - 1)
}

/** After so long a process is warm. A soak whose first third is shorter finds only what grows fast. Seconds. */
const WARM = 1_200

/** On a slow machine a third of the time may be little: before so many calls nothing is judged. */
const WARM_CALLS = 400

/** Of what there was before the first request, so much more may be open when all is idle again: the pools of connections to the store and the provider. */
const POOLED = 24

/** So many timers may be running in a process that is idle: it looks into its store now and then. */
const IDLE_TIMERS = 4

/**
 * Whether memory grows: by more than a MiB, and by more than a twentieth. A full collection comes before each sample: there is little noise.
 *
 * @param least MiB
 */
export const grows = (heaps: readonly number[], least = 1): boolean =>
  growth(heaps) > Math.max(least, quantile(heaps.slice(0, Math.ceil(heaps.length / 4)), 0.5) / 20)

/** Between one's calls, on average: a soak is long, not fast. Milliseconds. */
const PAUSE = 250

/** Mixed traffic on all nodes: memory stays flat, nothing is leaked, and the store holds what lives. */
export async function soak(cluster: Cluster, clients: Clients, history: History, seconds: number): Promise<void> {
  const { nodes } = cluster
  const store =
    cluster.engine === 'redis'
      ? redis(cluster.storeUrl, { prefix: cluster.space, logger: console })
      : postgres(cluster.storeUrl, { schema: cluster.space, logger: { ...console, warn() {} } })
  /** Of the grants, and of the entries by which they are found. */
  const counted = async (kind: string): Promise<number> => {
    let found = 0
    let after: string | undefined
    for (;;) {
      const { entries } = await store.list(`${kind}/`, { limit: 1000, ...(after !== undefined && { after }) })
      found += entries.length
      after = entries.at(-1)?.key
      if (entries.length < 1000) return found
    }
  }
  /** Grants whose tokens nobody was told, because the answer was lost or 503: they may be there until their code expires, or longer. */
  const untold = () =>
    ['sign-ins begun again', 'redemptions answered with 503', 'redemptions without an answer'].reduce(
      (sum, what) => sum + (history.counts.get(what) ?? 0),
      0,
    )
  const followsGrants = async (living: number): Promise<number> => {
    const [grants = 0, ...indexes] = await Promise.all(
      ['grant', 'account-grant', 'session-grant', 'client-grant'].map(counted),
    )
    for (const present of [grants, ...indexes]) {
      if (present < living || present > living + untold()) {
        history.violation('grants in the store', { grants, indexes, living, untold: untold() })
        break
      }
    }
    return grants
  }
  const revoke = async ({ tokens }: Session): Promise<void> => {
    const answer = await clients.patiently(() => clients.revoke(tokens.refresh))
    if (answer?.status !== 200) history.violation('a revocation was refused', { ...answer })
  }

  const before = await Promise.all(nodes.map(sample))
  let over = false
  const living = new Set<Session>()
  const live = async (worker: number): Promise<void> => {
    const person = `soak-${worker}`
    const browser = clients.browserOf(person)
    while (!over) {
      const session = await clients.connect(person, browser)
      living.add(session)
      for (let turn = 0; turn < 6; turn++) {
        await clients.whoami(session, nodes[turn % nodes.length])
        await clients.renew(session)
        await sleep(Math.random() * 2 * PAUSE)
      }
      // Half of them go on living.
      if (Math.random() < 0.5 || over) continue
      await revoke(session)
      living.delete(session)
    }
  }
  const workers = Promise.all(Array.from({ length: 6 }, (_, worker) => live(worker)))
  // Whoever can't go on is heard of at the end.
  workers.catch(() => {
    over = true
  })
  const samples: Sample[][] = nodes.map(() => [])
  const every = Math.max(500, (seconds * 1000) / 120)
  const startedAt = performance.now()
  const elapsed = () => (performance.now() - startedAt) / 1000
  let warmAt: { readonly seconds: number; readonly samples: number } | undefined
  while (!over && (warmAt === undefined || elapsed() - warmAt.seconds < (seconds * 2) / 3)) {
    await sleep(every)
    for (const [index, node] of nodes.entries()) samples[index]?.push(await sample(node))
    if (warmAt === undefined && elapsed() >= seconds / 3 && (history.counts.get('calls') ?? 0) >= WARM_CALLS) {
      warmAt = { seconds: elapsed(), samples: samples[0]?.length ?? 0 }
    }
  }
  over = true
  await workers

  for (const all of samples) {
    const settled = all.slice(warmAt?.samples).map(({ heap }) => heap / 2 ** 20)
    const early = quantile(settled.slice(0, Math.ceil(settled.length / 4)), 0.5)
    const more = growth(settled)
    history.measure('heap after warm-up, MiB', early)
    history.measure('heap at the end, MiB', quantile(settled.slice(-Math.ceil(settled.length / 4)), 0.5))
    history.measure('growth from one to the other, on a straight line through all samples, MiB', more)
    history.measure('compiled code at the end, MiB', (all.at(-1)?.compiled ?? 0) / 2 ** 20)
    history.measure('open files at most', Math.max(...all.map(({ files }) => files)))
    if (grows(settled, seconds / 3 >= WARM ? 1 : 4)) history.violation('memory that grows', { early, more })
  }
  // Keep-alive connections of the clients end by themselves, and so does what runs at this very moment: what is left after long is leaked.
  for (const [index, node] of nodes.entries()) {
    const most = (before[index]?.files ?? 0) + POOLED
    let left = await sample(node)
    for (const since = elapsed(); elapsed() - since < 60 && isLeft(left, most); left = await sample(node)) {
      await sleep(500)
    }
    history.measure('open files when idle', left.files)
    if (isLeft(left, most)) history.violation('files, connections or timers that are left', { ...left, most })
  }

  history.measure('grants in the store, all of them live', await followsGrants(living.size))
  for (const session of living) await revoke(session)
  history.measure('grants in the store when all are revoked', await followsGrants(0))
  await store.close()
}

const isLeft = ({ files, timers }: Sample, most: number): boolean => files > most || timers > IDLE_TIMERS
