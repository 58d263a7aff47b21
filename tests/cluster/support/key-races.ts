import { randomUUID } from 'node:crypto'
import { type Clients, createClients, type Surroundings } from './clients.ts'
import type { Cluster, Node } from './cluster.ts'
import type { KeysSeen, RotationSeen } from './fresh.ts'
import type { History } from './history.ts'
import { repeat } from './repeat.ts'

export interface KeyRaceRounds {
  /** Of 16 key rings that are opened at once where there are no keys, and then rotated at once: two races. */
  readonly rings: number
  /** Of 16 whole servers at once on an empty store, in processes that run already. */
  readonly servers: number
  /** Of as many processes at once as there are nodes, on an empty store. */
  readonly processes: number
}

/** Of a cluster, what these races use. */
export interface KeyRaceCluster extends Surroundings, Pick<Cluster, 'startNodes' | 'forget'> {
  readonly nodes: readonly Pick<Node, 'origin' | 'ask'>[]
}

/** At once in each of all processes, four of which make sixteen rivals. */
const LANES = 2

/**
 * First starts and rotations: whoever makes keys, all have the same.
 *
 * @param seconds that each kind of race may take at most; what does not fit is left out
 */
export async function keyRaces(
  cluster: KeyRaceCluster,
  clients: Clients,
  history: History,
  rounds: KeyRaceRounds,
  seconds = Number.POSITIVE_INFINITY,
): Promise<void> {
  const all = async <T>(question: string, argument: string): Promise<T[]> =>
    (await Promise.all(cluster.nodes.map((node) => node.ask<T[]>(question, argument)))).flat()
  const newSpace = () => `first_${randomUUID().replaceAll('-', '')}`
  const one = (what: string, seen: readonly unknown[]) => {
    const different = new Set(seen.map((each) => JSON.stringify(each)))
    if (different.size !== 1) history.violation(what, { different: [...different] })
  }

  const rings = await repeat(rounds.rings, { seconds, lanes: LANES }, async (round) => {
    const space = newSpace()
    const started = await all<KeysSeen>('first-rings', space)
    one('first starts', started)
    history.count('rounds: first starts')

    const use = (['sign', 'mac', 'seal'] as const)[round % 3] ?? 'sign'
    const rotations = await all<RotationSeen>('rotate-rings', `${space} ${use}`)
    one(
      'rotations at once',
      rotations.map(({ next }) => next),
    )
    const [first] = started
    const [rotation] = rotations
    const expected = [first?.[use], rotation?.next].sort()
    for (const seen of rotations) {
      const isShown = use !== 'sign' || seen.all.every((id) => seen.shown.includes(id))
      if (JSON.stringify(seen.all) !== JSON.stringify(expected) || !isShown) {
        history.violation('keys after a rotation', { expected, seen })
      }
    }
    await Promise.all(cluster.nodes.map((node) => node.ask('close-rings', space)))
    history.count('rounds: key rotations')
  })
  history.leftOut(rings)

  const servers = await repeat(rounds.servers, { seconds }, async () => {
    const space = newSpace()
    one('first starts of servers', await all('first-start', space))
    await cluster.forget(space)
    history.count('rounds: first starts of whole servers')
  })
  history.leftOut(servers)

  const processes = await repeat(rounds.processes, { seconds }, async (round) => {
    const space = newSpace()
    const nodes = await cluster.startNodes(space, cluster.nodes.length)
    // What one has made is good at all of them.
    const own = createClients({ ...cluster, nodes }, history)
    const session = await own.connect(`first-${round}`)
    for (const node of nodes) await own.whoami(session, node)
    await own.renew(session)
    await Promise.all(nodes.map((node) => node.kill()))
    await cluster.forget(space)
    history.count('rounds: first starts of whole processes')
  })
  history.leftOut(processes)

  // While people are signed in: nothing that was made before is lost.
  const person = 'rotated'
  const session = await clients.connect(person)
  for (const use of rounds.rings > 0 ? ['sign', 'mac', 'seal'] : []) {
    const keys = await Promise.all(
      Array.from({ length: 4 }, () => cluster.nodes.map((node) => node.ask<string>('rotate', use))).flat(),
    )
    one('rotations at once', keys)
    for (const node of cluster.nodes) await clients.whoami(session, node)
    await clients.renew(session)
    history.count('rounds: key rotations while people are signed in')
  }
}
