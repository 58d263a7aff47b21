import { randomUUID } from 'node:crypto'
import type { Clients, Session } from './clients.ts'
import type { Cluster } from './cluster.ts'
import type { History } from './history.ts'
import { repeat } from './repeat.ts'

/** How many take part in a race. */
const RIVALS = 16

export interface RaceRounds {
  readonly codes: number
  readonly refreshes: number
  readonly interactions: number
  readonly assertions: number
  readonly firstStarts: number
  readonly rotations: number
}

/**
 * Races at all nodes at once: of each round exactly as many win as may.
 *
 * @param seconds that each kind of race may take at most; what does not fit is left out
 */
export async function races(
  cluster: Cluster,
  clients: Clients,
  history: History,
  rounds: RaceRounds,
  seconds = Number.POSITIVE_INFINITY,
): Promise<void> {
  const rivals = <T>(run: (index: number) => Promise<T>) =>
    Promise.all(Array.from({ length: RIVALS }, (_, i) => run(i)))
  const nodeOf = (index: number) => cluster.nodes[index % cluster.nodes.length] ?? clients.anyNode()
  const browsers = await Promise.all(
    ['ada', 'ben'].map(async (person) => {
      const browser = clients.browserOf(person)
      const { subject } = await connected(person, browser)
      return { person, browser, subject }
    }),
  )
  const browserOf = (round: number) =>
    browsers[round % browsers.length] ?? { person: '', browser: clients.browserOf('') }

  async function connected(person: string, browser = clients.browserOf(person)) {
    const session = await clients.connect(person, browser)
    await clients.whoami(session)
    return session
  }

  await repeat(rounds.codes, seconds, async (round) => {
    const { person, browser } = browserOf(round)
    const code = await clients.authorize(browser)
    const answers = await rivals((index) => clients.redeem(code, nodeOf(index)))
    const won = answers.filter((answer) => answer?.status === 200)
    const refused = answers.filter((answer) => answer?.status === 400 && answer.body.error === 'invalid_grant')
    if (won.length !== 1 || refused.length !== RIVALS - 1) {
      history.violation('redemptions of one code', {
        won: won.length,
        statuses: answers.map((answer) => answer?.status),
      })
    }
    const [winner] = won
    if (winner) await clients.whoami({ person, tokens: clients.tokensOf(winner) }, nodeOf(round))
    history.count('rounds: redemptions of one code')
  })

  let racing: Session | undefined
  await repeat(rounds.refreshes, seconds, async (round) => {
    const { person, browser } = browserOf(round)
    const session = racing && round >= 4 && round % 25 !== 0 ? racing : await connected(person, browser)
    const answers = await rivals((index) => clients.refresh(session.tokens.refresh, nodeOf(index)))
    const good = answers.filter((answer) => answer?.status === 200)
    const successors = new Set(good.map((answer) => answer?.body.refresh_token))
    if (good.length !== RIVALS || successors.size !== 1) {
      history.violation('refreshes of one token', { good: good.length, successors: successors.size })
    }
    for (const [index, answer] of good.entries()) {
      if (answer && index % 5 === 0)
        await clients.whoami({ ...session, tokens: clients.tokensOf(answer) }, nodeOf(index + 1))
    }
    const [first] = good
    if (first) session.tokens = clients.tokensOf(first)
    racing = session
    history.count('rounds: refreshes of one token')
  })

  await repeat(rounds.interactions, seconds, async (round) => {
    const { page, browser } = await clients.consentPage(`new-${round}-${randomUUID()}`)
    const form = page.forms.find(({ fields }) => fields.some(({ value }) => value === 'approve'))
    if (!form) {
      return history.violation('no consent page', { text: page.text })
    }
    const ends = await rivals(() =>
      browser.submit(page, form, { button: ['decision', 'approve'] }).catch(() => undefined),
    )
    // Pages that it ended on have the provider's code in their address.
    const codes = new Set(ends.flatMap((end) => (end?.away ? [end.url.searchParams.get('code')] : [])))
    if (codes.size > 1) history.violation('codes of one interaction', { codes: codes.size })
    history.count('interactions that gave a code', codes.size)
    history.count('rounds: approvals of one interaction')
  })

  await repeat(rounds.assertions, seconds, async () => {
    const signed = await clients.assertion()
    const answers = await rivals((index) => clients.askAsRobot(signed, nodeOf(index)))
    const statuses = answers.map((answer) => answer?.status)
    if (
      statuses.filter((status) => status === 200).length !== 1 ||
      statuses.some((status) => status !== 200 && status !== 401 && status !== 400)
    ) {
      history.violation('uses of one assertion', { statuses, bodies: answers.map((answer) => answer?.body.error) })
    }
    history.count('rounds: uses of one assertion')
  })

  await repeat(rounds.firstStarts, seconds, async () => {
    const space = `first_${randomUUID().replaceAll('-', '')}`.slice(0, 40)
    const rings = await rivals((index) => nodeOf(index).ask('first-start', space))
    const different = new Set(rings.map((ring) => JSON.stringify(ring)))
    if (different.size !== 1) history.violation('first starts', { rings: [...different] })
    history.count('rounds: first starts')
  })

  await repeat(rounds.rotations, seconds, async () => {
    const session = await connected('ada', browserOf(0).browser)
    const keys = new Set(await rivals((index) => nodeOf(index).ask('rotate')))
    if (keys.size !== 1) history.violation('rotations at once', { keys: [...keys] })
    for (const node of cluster.nodes) await clients.whoami(session, node)
    await clients.renew(session)
    history.count('rounds: key rotations')
  })
}
