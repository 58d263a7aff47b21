import type { Clients, Session } from './clients.ts'
import type { Cluster } from './cluster.ts'
import type { History } from './history.ts'

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

/** What goes on while faults happen: so much of each, at the least. */
export interface CrashSizes {
  readonly people: number
  /** How often each kind of fault happens, at the least. */
  readonly rounds: number
  /** At the provider, each in a browser of its own. */
  readonly signIns: number
  readonly refreshes: number
  readonly upstreamRefreshes: number
}

/**
 * People at work while everything fails: who holds the last answer that they were given never has to sign in again, no answer is wrong,
 * and what can't be served is 503.
 *
 * @param seconds that it may take at most
 */
export async function crashes(
  cluster: Cluster,
  clients: Clients,
  history: History,
  sizes: CrashSizes,
  seconds = Number.POSITIVE_INFINITY,
): Promise<void> {
  let over = false
  const { provider } = cluster
  provider.lifetime = 1
  provider.slowness = 50
  const sessions: Session[] = await Promise.all(
    Array.from({ length: sizes.people }, (_, index) => clients.connect(`person-${index}`)),
  )
  /** Devices that were put into a drawer: what they hold stays good. */
  const drawer: Session[] = []

  const life = async (index: number): Promise<void> => {
    const person = `person-${index}`
    const browser = clients.browserOf(person)
    while (!over) {
      const session = sessions[index]
      if (!session) return
      const chance = Math.random()
      if (chance < 0.3) await clients.renew(session)
      else if (chance < 0.45) await clients.whoami(session)
      else if (chance < 0.75) await clients.whoami(session, undefined, '/mcp?upstream')
      else {
        const remembered = chance > 0.95
        const next = await clients.connect(person, remembered ? browser : clients.browserOf(person))
        await clients.whoami(next)
        if (session.subject !== undefined && next.subject !== session.subject) {
          history.violation('one person, two subjects', { before: session.subject, after: next.subject })
        }
        sessions[index] = next
        drawer.push(session)
        history.count(remembered ? 'authorizations of who is signed in' : 'sign-ins')
      }
      await sleep(Math.random() * 40)
    }
  }
  const lives = sessions.map((_, index) =>
    life(index).catch((error: unknown) => history.violation('somebody could not go on', { error: String(error) })),
  )
  /** What went well so far. Between two faults something must: on a slow machine nobody could ever finish a sign-in otherwise. */
  const progress = () =>
    ['refreshes', 'calls', 'sign-ins'].reduce((sum, what) => sum + (history.counts.get(what) ?? 0), 0)
  const recovered = async () => {
    const goal = progress() + 2 * sizes.people
    for (let waited = 0; progress() < goal && waited < 60_000; waited += 50) await sleep(50)
  }

  const { network, nodes } = cluster
  const held = async (direction: 'requests' | 'answers') => {
    network[direction] = 'hold'
    await sleep(800)
    network[direction] = 'pass'
  }
  const faults: [string, (round: number) => Promise<unknown>][] = [
    [
      'nodes killed',
      async (round) => {
        const node = nodes[round % nodes.length]
        await node?.kill()
        await sleep(200)
        await node?.start()
      },
    ],
    ['connections cut', async () => network.cut()],
    ['requests stalled', () => held('requests')],
    ['answers stalled', () => held('answers')],
    [
      'answers lost',
      async () => {
        network.answers = 'drop'
        await sleep(300)
        network.answers = 'pass'
        network.cut()
      },
    ],
    ['connections half closed', async () => network.halfClose()],
    ['stores killed', () => cluster.restartEngine()],
  ]
  const enough = (rounds: number) =>
    rounds >= sizes.rounds &&
    (history.counts.get('sign-ins') ?? 0) >= sizes.signIns &&
    (history.counts.get('refreshes') ?? 0) >= sizes.refreshes &&
    provider.renewals.done >= sizes.upstreamRefreshes
  const startedAt = performance.now()
  for (let round = 0; round === 0 || (!enough(round) && performance.now() - startedAt < seconds * 1000); round++) {
    const before = progress()
    for (const [name, fault] of faults) {
      await sleep(300 + Math.random() * 300)
      await recovered()
      await fault(round)
      history.count(name)
    }
    if (progress() === before) {
      history.violation('nothing went on', { round })
      break
    }
  }
  await sleep(500)
  over = true
  await Promise.all(lives)
  history.count('refreshes at the provider', provider.renewals.done)
  for (const session of sessions) {
    await clients.renew(session)
    await clients.whoami(session, nodes[0])
  }
  const every = Math.max(1, Math.ceil(drawer.length / 500))
  for (const session of drawer.filter((_, index) => index % every === 0)) {
    await clients.renew(session)
    await clients.whoami(session)
    history.count('devices that were put away, and are still good')
  }
}
