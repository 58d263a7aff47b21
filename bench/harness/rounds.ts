import { type LoadClient, load } from './load.ts'
import type { ServerProcess } from './server-process.ts'

/** One of the things that are compared: a server, and the clients that load it. */
export interface Variant {
  readonly name: string
  /** Started anew for each block, because two runs of the same program differ (compilation, memory layout). */
  start(): Promise<Started>
}

export interface Started {
  readonly server: ServerProcess
  readonly clients: readonly LoadClient[]
  /** Gets what so many requests need, before they are measured. */
  readonly prepare?: (requests: number) => Promise<void>
}

export interface Figures {
  readonly name: string
  /** Server CPU in microseconds a request, one figure a round. */
  readonly cpu: number[]
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
  const started: (Started & { readonly figures: Figures })[] = []
  try {
    for (const [index, variant] of variants.entries()) {
      const figures = into[index]
      if (figures === undefined) throw new Error(`no figures for ${variant.name}`)
      started.push({ ...(await variant.start()), figures })
    }
    for (const { server, clients, prepare } of started) {
      await prepare?.(plan.warmUp)
      await load(server.ready.port, clients, plan.warmUp)
    }
    for (let round = 0; round < plan.rounds; round++) {
      for (let turn = 0; turn < started.length; turn++) {
        const entry = started[(round + turn) % started.length]
        if (entry === undefined) continue
        const { server, clients, prepare, figures } = entry
        await prepare?.(plan.requests)
        const before = await server.usage()
        const { seconds, latencies } = await load(server.ready.port, clients, plan.requests)
        const after = await server.usage()
        figures.cpu.push((after.cpu - before.cpu) / plan.requests)
        figures.rates.push(plan.requests / seconds)
        figures.latencies.push(...latencies)
      }
    }
    for (const { server, figures } of started) figures.resident.push((await server.usage()).resident)
  } finally {
    await Promise.all(started.map(({ server }) => server.stop()))
  }
}

export function noFigures(variants: readonly Variant[]): Figures[] {
  return variants.map(({ name }) => ({ name, cpu: [], rates: [], latencies: [], resident: [] }))
}
