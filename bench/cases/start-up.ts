import { dataFolder } from '../harness/data-folder.ts'
import { startServer } from '../harness/server-process.ts'

export interface StartUp {
  /** Milliseconds from the start of the process until the authorization server listens, one figure a round. */
  readonly listening: number[]
  /** The same until the packages that it stands on are imported. */
  readonly imports: number[]
  /** Microseconds of CPU, for both: steadier than the clock. */
  readonly listeningCpu: number[]
  readonly importsCpu: number[]
  /** Bytes resident when it listens. */
  readonly resident: number[]
}

/** Starts the authorization server alone and the bare imports in turns; the first start, which makes the keys, isn't counted. */
export async function startUp(rounds: number): Promise<StartUp> {
  const result: StartUp = { listening: [], imports: [], listeningCpu: [], importsCpu: [], resident: [] }
  const env = { BENCH_DATA: dataFolder() }
  for (let round = -1; round < rounds; round++) {
    const server = await startServer('countersign', env)
    await server.stop()
    const bare = await startServer('imports')
    await bare.stop()
    if (round < 0) continue
    result.listening.push(server.ready.elapsed)
    result.listeningCpu.push(server.ready.usage.cpu)
    result.resident.push(server.ready.usage.resident)
    result.imports.push(bare.ready.elapsed)
    result.importsCpu.push(bare.ready.usage.cpu)
  }
  return result
}
