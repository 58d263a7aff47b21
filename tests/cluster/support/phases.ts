import { type Clients, createClients } from './clients.ts'
import { type Cluster, type ClusterOptions, type Engine, startCluster } from './cluster.ts'
import { type CrashSizes, crashes } from './crashes.ts'
import { createHistory, type History } from './history.ts'
import { type KeyRaceRounds, keyRaces } from './key-races.ts'
import { type RaceRounds, races } from './races.ts'
import { revocations, storeAway } from './revocations.ts'
import { soak } from './soak.ts'

export interface Sizes {
  readonly races: RaceRounds
  readonly keys: KeyRaceRounds
  readonly revocations: number
  readonly deafRevocations: number
  readonly crashes: CrashSizes
  /** Seconds; 0 for none. */
  readonly soak: number
}

/** At this size the proof takes an hour on a machine of two cores that has nothing else to do, both engines together. */
const fullSize: Sizes = {
  races: { codes: 10_000, refreshes: 10_000, interactions: 10_000, assertions: 10_000 },
  keys: { rings: 10_000, servers: 500, processes: 25 },
  revocations: 2_000,
  deafRevocations: 500,
  crashes: { people: 48, rounds: 25, signIns: 10_000, refreshes: 10_000, upstreamRefreshes: 10_000 },
  soak: 3_600,
}

/** @param share of the full size, above 0 */
export function sized(share: number): Sizes {
  const part = (whole: number) => Math.max(1, Math.ceil(whole * share))
  const { races, keys, crashes, ...full } = fullSize
  return {
    races: {
      codes: part(races.codes),
      refreshes: part(races.refreshes),
      interactions: part(races.interactions),
      assertions: part(races.assertions),
    },
    keys: { rings: part(keys.rings), servers: part(keys.servers), processes: part(keys.processes) },
    revocations: part(full.revocations),
    deafRevocations: part(full.deafRevocations),
    crashes: {
      people: crashes.people,
      rounds: part(crashes.rounds),
      signIns: part(crashes.signIns),
      refreshes: part(crashes.refreshes),
      upstreamRefreshes: part(crashes.upstreamRefreshes),
    },
    soak: part(full.soak),
  }
}

/** What the tests run: in CI a tenth of the full size, elsewhere a hundredth, and a soak beside it that takes no longer. */
export function sizesOfTests(ci = process.env.CI === 'true'): Sizes {
  return { ...sized(ci ? 0.1 : 0.01), soak: ci ? 120 : 30 }
}

export const phaseNames = ['races', 'keys', 'revocation', 'store away', 'soak', 'crashes'] as const
export type PhaseName = (typeof phaseNames)[number]

export interface Phase {
  readonly name: PhaseName
  readonly history: History
  readonly seconds: number
}

/** Clocks that are two minutes apart. */
const skewed = [0, 60_000, -60_000, 0]

/** What part of the time each phase gets, where there is only so much of it; a race of each kind gets the same. */
const parts = { race: 0.11, keyRace: 0.06, revocation: 0.08, deafRevocation: 0.07, crashes: 0.2 }

export interface ProofOptions {
  readonly tell?: (phase: Phase) => void
  /** Seconds that races, revocations and crashes together may take, about: what does not fit is left out. */
  readonly seconds?: number
  /** Without it, all; a soak of no seconds is none. */
  readonly only?: readonly PhaseName[]
}

/** All phases on one engine, or why there are none. The soak has nodes of its own, and goes on beside the others. */
export async function prove(
  engine: Engine,
  sizes: Sizes,
  { tell = () => {}, seconds = Number.POSITIVE_INFINITY, only = phaseNames }: ProofOptions = {},
): Promise<readonly Phase[] | { readonly skip: string }> {
  const phases: Phase[] = []
  const run = async (name: PhaseName, work: (history: History) => Promise<void>) => {
    if (!only.includes(name)) return
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
  const on = async (options: ClusterOptions, work: (cluster: Cluster, clientsFor: ClientsFor) => Promise<void>) => {
    const cluster = await startCluster(engine, options)
    if ('skip' in cluster) return cluster
    try {
      await work(cluster, (history) => createClients(cluster, history))
    } finally {
      await cluster.stop()
    }
    return undefined
  }

  const calm = () =>
    on({ direct: true }, async (cluster, clientsFor) => {
      await run('races', (history) => races(cluster, clientsFor(history), history, sizes.races, seconds * parts.race))
      await run('keys', (history) =>
        keyRaces(cluster, clientsFor(history), history, sizes.keys, seconds * parts.keyRace),
      )
      await run('revocation', async (history) => {
        const clients = clientsFor(history)
        const deaf = { rounds: sizes.deafRevocations, deaf: true, seconds: seconds * parts.deafRevocation }
        const hearing = { rounds: sizes.revocations, deaf: false, seconds: seconds * parts.revocation }
        await revocations(cluster, clients, history, hearing)
        await revocations(cluster, clients, history, deaf)
      })
    })
  const troubled = () =>
    on({ skews: skewed }, async (cluster, clientsFor) => {
      await run('store away', (history) => storeAway(cluster, clientsFor(history), history))
      await run('crashes', (history) =>
        crashes(cluster, clientsFor(history), history, sizes.crashes, seconds * parts.crashes),
      )
    })
  const soaked = () =>
    // What is remembered of tokens until they expire depends on how many calls the machine allows of late: short lives keep that small.
    on({ skews: [0, 0], direct: true, tokenLifetime: 60 }, (cluster, clientsFor) =>
      run('soak', (history) => soak(cluster, clientsFor(history), history, sizes.soak)),
    )

  const soaks = only.includes('soak') && sizes.soak > 0
  const some = (...names: PhaseName[]) => names.some((name) => only.includes(name))
  const inTurn = async () => {
    const skipped = some('races', 'keys', 'revocation') ? await calm() : undefined
    return skipped ?? (some('store away', 'crashes') ? await troubled() : undefined)
  }
  const ends = await Promise.all([inTurn(), soaks ? soaked() : undefined])
  const order = (phase: Phase) => phaseNames.indexOf(phase.name)
  return ends.find((end) => end !== undefined) ?? phases.sort((a, b) => order(a) - order(b))
}

type ClientsFor = (history: History) => Clients
