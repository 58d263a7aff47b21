import { createClients } from './clients.ts'
import { type Engine, startCluster } from './cluster.ts'
import { crashes } from './crashes.ts'
import { createHistory, type History } from './history.ts'
import { type RaceRounds, races } from './races.ts'
import { revocations, storeAway } from './revocations.ts'
import { soak } from './soak.ts'

export interface Sizes {
  readonly races: RaceRounds
  readonly revocations: number
  readonly deafRevocations: number
  readonly crashes: { readonly people: number; readonly rounds: number }
  /** Seconds; 0 for none. */
  readonly soak: number
}

/** At this size the proof takes hours. */
const fullSize: Sizes = {
  races: {
    codes: 10_000,
    refreshes: 10_000,
    interactions: 10_000,
    assertions: 10_000,
    firstStarts: 1_000,
    rotations: 20,
  },
  revocations: 10_000,
  deafRevocations: 1_000,
  crashes: { people: 32, rounds: 200 },
  soak: 3_600,
}

/** @param share of the full size, above 0 */
export function sized(share: number): Sizes {
  const part = (whole: number, least = 1) => Math.max(least, Math.ceil(whole * share))
  const { races, ...full } = fullSize
  return {
    races: {
      codes: part(races.codes),
      refreshes: part(races.refreshes),
      interactions: part(races.interactions),
      assertions: part(races.assertions),
      firstStarts: part(races.firstStarts),
      rotations: part(races.rotations),
    },
    revocations: part(full.revocations),
    deafRevocations: part(full.deafRevocations),
    crashes: { people: full.crashes.people, rounds: part(full.crashes.rounds) },
    soak: part(full.soak),
  }
}

export interface Phase {
  readonly name: 'races' | 'revocation' | 'store away' | 'soak' | 'crashes'
  readonly history: History
  readonly seconds: number
}

/** Clocks that are two minutes apart. */
const skewed = [0, 60_000, -60_000, 0]

/** All phases on one engine, or why there are none. */
export async function prove(
  engine: Engine,
  sizes: Sizes,
  tell: (phase: Phase) => void = () => {},
): Promise<readonly Phase[] | { readonly skip: string }> {
  const phases: Phase[] = []
  const run = async (name: Phase['name'], work: (history: History) => Promise<void>) => {
    const history = createHistory()
    const startedAt = performance.now()
    try {
      await work(history)
    } catch (error) {
      history.violation('the phase could not be finished', { error: String(error) })
    }
    const phase = { name, history, seconds: (performance.now() - startedAt) / 1000 }
    phases.push(phase)
    tell(phase)
  }

  const calm = await startCluster(engine)
  if ('skip' in calm) return calm
  try {
    await run('races', (history) => races(calm, createClients(calm, history), history, sizes.races))
    await run('revocation', async (history) => {
      const clients = createClients(calm, history)
      await revocations(calm, clients, history, { rounds: sizes.revocations, deaf: false })
      await revocations(calm, clients, history, { rounds: sizes.deafRevocations, deaf: true })
    })
    await run('store away', (history) => storeAway(calm, createClients(calm, history), history))
    if (sizes.soak > 0) {
      await run('soak', (history) => soak(calm, createClients(calm, history), history, sizes.soak))
    }
  } finally {
    await calm.stop()
  }

  const troubled = await startCluster(engine, skewed)
  if ('skip' in troubled) return troubled
  try {
    await run('crashes', (history) => crashes(troubled, createClients(troubled, history), history, sizes.crashes))
  } finally {
    await troubled.stop()
  }
  return phases
}
