import { readdirSync } from 'node:fs'
import { postgres } from '../../../src/store/postgres.ts'
import { redis } from '../../../src/store/redis.ts'
import type { Clients, Session } from './clients.ts'
import type { Cluster, Node } from './cluster.ts'
import { type History, quantile } from './history.ts'

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

interface Sample {
  readonly heap: number
  readonly files: number
  readonly timers: number
}

async function sample(node: Node): Promise<Sample> {
  const { heap, resources } = await node.ask<{ heap: number; resources: string[] }>('memory')
  const files = readdirSync(`/proc/${node.pid}/fd`).length
  return { heap, files, timers: resources.filter((each) => each === 'Timeout').length }
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
  /** Of the people of this phase: others' grants may end meanwhile. */
  const subjects = new Set<string>()
  const grants = async (): Promise<number> => {
    let found = 0
    let after: string | undefined
    for (;;) {
      const { entries } = await store.list('grant/', { limit: 1000, ...(after !== undefined && { after }) })
      for (const { value } of entries) {
        const text = Buffer.from(value).toString('latin1')
        if ([...subjects].some((subject) => text.includes(subject))) found++
      }
      after = entries.at(-1)?.key
      if (entries.length < 1000) return found
    }
  }

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
      if (session.subject !== undefined) subjects.add(session.subject)
      // Half of them go on living.
      if (Math.random() < 0.5 || over) continue
      const answer = await clients.revoke(session.tokens.refresh)
      if (answer?.status !== 200) history.violation('a revocation was refused', { ...answer })
      living.delete(session)
    }
  }
  const workers = Array.from({ length: 6 }, (_, worker) => live(worker))
  const samples: Sample[][] = nodes.map(() => [])
  const every = Math.max(500, (seconds * 1000) / 120)
  for (const until = Date.now() + seconds * 1000; Date.now() < until; ) {
    await sleep(every)
    for (const [index, node] of nodes.entries()) samples[index]?.push(await sample(node))
  }
  over = true
  await Promise.all(workers)

  for (const all of samples) {
    const heaps = all.map(({ heap }) => heap / 2 ** 20)
    const settled = heaps.slice(Math.floor(heaps.length / 3))
    const early = quantile(settled.slice(0, Math.ceil(settled.length / 4)), 0.5)
    const more = growth(settled)
    history.measure('heap after warm-up, MiB', early)
    history.measure('heap at the end, MiB', quantile(settled.slice(-Math.ceil(settled.length / 4)), 0.5))
    history.measure('growth from one to the other, on a straight line through all samples, MiB', more)
    history.measure('open files at most', Math.max(...all.map(({ files }) => files)))
    if (grows(settled, seconds / 3 >= WARM ? 1 : 4)) history.violation('memory that grows', { early, more })
  }
  // Keep-alive connections of the clients end by themselves.
  await sleep(7_000)
  const idle = await Promise.all(nodes.map(sample))
  await sleep(1_500)
  const still = await Promise.all(nodes.map(sample))
  for (const [index, { files, timers }] of still.entries()) {
    history.measure('open files when idle', files)
    const first = idle[index]
    if (first && (files > first.files + 2 || timers > first.timers + 2)) {
      history.violation('files or timers that are left', { first, now: { files, timers } })
    }
    if (files > 64) history.violation('connections that are left', { files })
  }

  const present = await grants()
  if (present !== living.size) history.violation('grants in the store', { present, living: living.size })
  history.measure('grants in the store, all of them live', present)
  for (const session of living) {
    const answer = await clients.revoke(session.tokens.refresh)
    if (answer?.status !== 200) history.violation('a revocation was refused', { ...answer })
  }
  const after = await grants()
  if (after !== 0) history.violation('grants that were left', { after })
  history.measure('grants in the store when all are revoked', after)
  await store.close()
}
