import type { Clients, Session } from './clients.ts'
import type { Cluster } from './cluster.ts'
import type { History } from './history.ts'
import { repeat } from './repeat.ts'

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

export interface CrashOptions {
  readonly people: number
  /** How often each kind of fault happens. */
  readonly rounds: number
  /** That it may take at most. */
  readonly seconds?: number
}

/**
 * People at work while everything fails: who holds the last answer that they were given never has to sign in again, no answer is wrong,
 * and what can't be served is 503.
 */
export async function crashes(
  cluster: Cluster,
  clients: Clients,
  history: History,
  options: CrashOptions,
): Promise<void> {
  let over = false
  cluster.provider.lifetime = 2
  cluster.provider.slowness = 50
  const sessions: Session[] = await Promise.all(
    Array.from({ length: options.people }, (_, index) => clients.connect(`person-${index}`)),
  )

  const life = async (index: number): Promise<void> => {
    const person = `person-${index}`
    const browser = clients.browserOf(person)
    while (!over) {
      const session = sessions[index]
      if (!session) return
      const chance = Math.random()
      if (chance < 0.5) await clients.renew(session)
      else if (chance < 0.75) await clients.whoami(session)
      else if (chance < 0.9) await clients.whoami(session, undefined, '/mcp?upstream')
      else {
        const next = await clients.connect(person, browser)
        await clients.whoami(next)
        if (session.subject !== undefined && next.subject !== session.subject) {
          history.violation('one person, two subjects', { before: session.subject, after: next.subject })
        }
        sessions[index] = next
        history.count('sign-ins')
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
    const goal = progress() + 2 * options.people
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
  await repeat(options.rounds, options.seconds ?? Number.POSITIVE_INFINITY, async (round) => {
    for (const [name, fault] of faults) {
      await sleep(300 + Math.random() * 300)
      await recovered()
      await fault(round)
      history.count(name)
    }
  })
  await sleep(500)
  over = true
  await Promise.all(lives)
  history.count('refreshes at the provider', cluster.provider.renewals.done)
  for (const session of sessions) {
    await clients.renew(session)
    await clients.whoami(session, nodes[0])
  }
}
