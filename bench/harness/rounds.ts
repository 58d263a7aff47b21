import { type LoadClient, load } from './load.ts'
import type { ServerProcess } from './server-process.ts'

/** One of the things that are compared: a server, and the clients that load it. */
export interface Variant {
  readonly name: string
  /** How many operations one request stands for; default 1. */
  readonly operations?: number
  /** Started anew for each block, because two runs of the same program differ (compilation, memory layout). */
  start(): Promise<Started>
}

export interface Started {
  readonly server: ServerProcess
  /** Further nodes; a client says by `port` that it talks to one of them. */
  readonly others?: readonly ServerProcess[]
  /** CPU that the store's engine has used so far, in microseconds, where it is a process of its own. */
  readonly engine?: () => Promise<number>
  readonly clients: readonly LoadClient[]
  /** Gets what so many requests need, before they are measured. */
  readonly prepare?: (requests: number) => Promise<void>
}

export interface Figures {
  readonly name: string
  /** CPU of all nodes in microseconds a request, one figure a round. */
  readonly cpu: number[]
  /** The same of the store's engine; empty where there is none. */
  readonly engine: number[]
  /** Requests a second, one figure a round. */
  readonly rates: number[]
  /** Milliseconds, of all requests. */
  readonly latencies: number[]
  /** Bytes at the end of each block. */
  readonly resident: number[]
}

export interface Plan {
  readonly rounds: number
  readonly requests: number
  readonly warmUp: number
}

/**
 * One block: all servers run at the same time, idle but for the one under load, and take turns (A B C, B C A, …), so that what else
 * happens on the machine falls on all alike.
 */
export async function block(variants: readonly Variant[], plan: Plan, into: readonly Figures[]): Promise<void> {
  const started: (Started & { readonly figures: Figures; readonly requests: number })[] = []
  try {
    for (const [index, variant] of variants.entries()) {
      const figures = into[index]
      if (figures === undefined) throw new Error(`no figures for ${variant.name}`)
      const requests = Math.ceil(plan.requests / (variant.operations ?? 1))
      started.push({ ...(await variant.start()), figures, requests })
    }
    for (const { server, clients, prepare, requests } of started) {
      const warmUp = Math.ceil((plan.warmUp * requests) / plan.requests)
      await prepare?.(warmUp)
      await load(server.ready.port, clients, warmUp)
    }
    for (let round = 0; round < plan.rounds; round++) {
      for (let turn = 0; turn < started.length; turn++) {
        const entry = started[(round + turn) % started.length]
        if (entry === undefined) continue
        const { server, others = [], engine, clients, prepare, figures, requests } = entry
        const used = async () => {
          const nodes = await Promise.all([server, ...others].map((node) => node.usage()))
          return { nodes: nodes.reduce((sum, { cpu }) => sum + cpu, 0), engine: await engine?.() }
        }
        await prepare?.(requests)
        const before = await used()
        const { seconds, latencies } = await load(server.ready.port, clients, requests)
        const after = await used()
        const operations = requests * (variants[started.indexOf(entry)]?.operations ?? 1)
        figures.cpu.push((after.nodes - before.nodes) / operations)
        if (before.engine !== undefined && after.engine !== undefined) {
          figures.engine.push((after.engine - before.engine) / operations)
        }
        figures.rates.push(operations / seconds)
        figures.latencies.push(...latencies)
      }
    }
    for (const { server, figures } of started) figures.resident.push((await server.usage()).resident)
  } finally {
    await Promise.all(started.flatMap(({ server, others = [] }) => [server, ...others].map((node) => node.stop())))
  }
}

export function noFigures(variants: readonly Variant[]): Figures[] {
  return variants.map(({ name }) => ({ name, cpu: [], engine: [], rates: [], latencies: [], resident: [] }))
}
