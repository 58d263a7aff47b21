import { randomUUID } from 'node:crypto'
import type { Answer, Clients, Origin, Session, Surroundings } from './clients.ts'
import type { History } from './history.ts'
import { repeat } from './repeat.ts'

/** How many take part in a race. */
const RIVALS = 16
/** So many rounds that have nothing to do with one another are under way at once. */
const LANES = 4
/** Of the pages of sign-in: most of their time is spent waiting for one another. */
const PAGE_LANES = 8
/** Of so many interactions one is somebody's who signs in at the provider in it. */
const SIGN_INS = 5
/** The last of them may come this long after the first, in milliseconds; a duplicate that comes later than 10 s is an attack. */
const TOGETHER = 8_000
/** A store that is too busy for so long is none. */
const MOST_TRIES = 200

export interface RaceRounds {
  readonly codes: number
  readonly refreshes: number
  readonly interactions: number
  readonly assertions: number
}

interface Race {
  readonly clients: Clients
  readonly history: History
  /** Runs a round until its answers are not those of a store that was too busy: they say nothing of who may win. */
  readonly decided: (round: () => Promise<'decided' | 'busy'>) => Promise<void>
  readonly rivals: <T>(run: (node: Origin, index: number) => Promise<T>) => Promise<T[]>
  readonly nodeOf: (index: number) => Origin
}

/** What 16 do at once, spread over all nodes. */
const racing = (cluster: Pick<Surroundings, 'nodes'>, clients: Clients, history: History): Race => {
  const nodeOf = (index: number) => cluster.nodes[index % cluster.nodes.length] ?? clients.anyNode()
  return {
    clients,
    history,
    nodeOf,
    async decided(round) {
      for (let tried = 0; tried < MOST_TRIES; tried++) {
        if ((await round()) === 'decided') return
        history.count('rounds begun again after answers of 503')
        await clients.moment()
      }
      history.violation('nothing but 503', { tried: MOST_TRIES })
    },
    rivals: (run) => Promise.all(Array.from({ length: RIVALS }, (_, index) => run(nodeOf(index), index))),
  }
}

/**
 * Races at all nodes at once: of each round exactly as many win as may.
 *
 * @param seconds that each kind of race may take at most; what does not fit is left out
 */
export async function races(
  cluster: Pick<Surroundings, 'nodes'>,
  clients: Clients,
  history: History,
  rounds: RaceRounds,
  seconds = Number.POSITIVE_INFINITY,
): Promise<void> {
  const race = racing(cluster, clients, history)
  const kinds = [
    [rounds.codes, LANES, codes(race)],
    [rounds.refreshes, LANES, refreshes(race)],
    [rounds.interactions, PAGE_LANES, interactions(race)],
    [rounds.assertions, LANES, assertions(race)],
  ] as const
  for (const [times, lanes, run] of kinds) history.leftOut(await repeat(times, { seconds, lanes }, run))
}

/**
 * In each lane somebody who is signed in and has allowed the application, so that `/authorize` gives a code at once. After some rounds it is
 * somebody else: nobody asks thousands of times.
 */
const people = ({ clients }: Race, most = 250) => {
  const byLane = new Map<number, { readonly session: Session; readonly browser: ReturnType<Clients['browserOf']> }>()
  const asked = new Map<number, number>()
  return async (lane: number) => {
    const times = asked.get(lane) ?? 0
    asked.set(lane, times + 1)
    const known = byLane.get(lane)
    if (known && times % most !== 0) return known
    const person = `racer-${randomUUID()}`
    const browser = clients.browserOf(person)
    const session = await clients.connect(person, browser)
    await clients.whoami(session)
    const somebody = { session, browser }
    byLane.set(lane, somebody)
    return somebody
  }
}

const isBusy = (answer: Answer): boolean => answer === undefined || answer.status === 503

const codes = (race: Race) => {
  const { clients, history, rivals, nodeOf, decided } = race
  const personOf = people(race)
  return (round: number, lane: number) =>
    decided(async () => {
      const { session, browser } = await personOf(lane)
      const code = await clients.authorize(browser)
      const startedAt = performance.now()
      const answers = await rivals((node) => clients.redeem(code, node))
      const together = performance.now() - startedAt < TOGETHER
      const won = answers.filter((answer) => answer?.status === 200)
      const refused = answers.filter((answer) => answer?.status === 400 && answer.body.error === 'invalid_grant')
      const busy = answers.filter(isBusy)
      if (won.length > 1 || won.length + refused.length + busy.length !== RIVALS || won.length + busy.length === 0) {
        const statuses = answers.map((answer) => answer?.status)
        history.violation('redemptions of one code', { won: won.length, statuses })
      }
      const [winner] = won
      if (winner && together) {
        // The losers' attempts have taken nothing from it.
        const winning: Session = { ...session, tokens: clients.tokensOf(winner) }
        await clients.whoami(winning, nodeOf(round))
        if (round % 5 === 0) await clients.renew(winning)
      }
      if (busy.length > 0 || !together) return 'busy'
      history.count('rounds: redemptions of one code')
      return 'decided'
    })
}

const refreshes = (race: Race) => {
  const { clients, history, rivals, nodeOf } = race
  const personOf = people(race, 10)
  const sessions = new Map<number, Session>()
  return async (round: number, lane: number) => {
    // A session takes part in some races after each other.
    const known = round % 25 === lane ? undefined : sessions.get(lane)
    const session = known ?? { ...(await personOf(lane)).session }
    if (!known) {
      const { browser } = await personOf(lane)
      Object.assign(session, { tokens: (await clients.connect(session.person, browser)).tokens })
      sessions.set(lane, session)
    }
    const answers = await rivals((node) => clients.patiently(() => clients.refresh(session.tokens.refresh, node)))
    const good = answers.filter((answer) => answer?.status === 200)
    const successors = new Set(good.map((answer) => answer?.body.refresh_token))
    if (good.length !== RIVALS || successors.size !== 1) {
      history.violation('refreshes of one token', {
        successors: successors.size,
        statuses: answers.map((answer) => answer?.status),
      })
    }
    for (const [index, answer] of good.entries()) {
      if (answer && index % 5 === 0)
        await clients.whoami({ ...session, tokens: clients.tokensOf(answer) }, nodeOf(index + 1))
    }
    const [first] = good
    if (first) session.tokens = clients.tokensOf(first)
    history.count('rounds: refreshes of one token')
  }
}

const interactions = (race: Race) => {
  const { clients, history, rivals, nodeOf } = race
  const personOf = people(race)
  return async (round: number, lane: number) => {
    const signsIn = round % SIGN_INS === 0
    const { session, browser } = signsIn ? stranger(clients) : await personOf(lane)
    const { page, verifier } = await clients.consentPage(browser)
    const form = page.forms.find(({ fields }) => fields.some(({ value }) => value === 'approve'))
    if (!form) return history.violation('no consent page', { text: page.text })
    // Who is told to load the page again in a moment does so.
    const approve = async () => {
      for (let tried = 0; tried < MOST_TRIES; tried++) {
        const end = await browser.submit(page, form, { button: ['decision', 'approve'] }).catch(() => undefined)
        if (end && end.status !== 503) return end
        history.count(end ? 'approvals answered with 503' : 'approvals without an answer')
        await clients.moment()
      }
      return undefined
    }
    const ends = await rivals(approve)
    const found = new Set(ends.flatMap((end) => (end?.away ? [end.url.searchParams.get('code') ?? ''] : [])))
    const [code] = found
    const broken = ends.some((end) => end && !end.away && end.status >= 500)
    if (found.size !== 1 || !code || broken) {
      history.violation('codes of one interaction', { codes: found.size, pages: ends.map((end) => end?.status) })
    } else {
      const answer = await clients.redeem({ code, verifier })
      if (answer?.status === 200) await clients.whoami({ ...session, tokens: clients.tokensOf(answer) }, nodeOf(round))
      else if (!isBusy(answer)) history.violation('the code of an interaction was refused', { ...answer })
    }
    history.count('rounds: approvals of one interaction')
    if (signsIn) history.count('of these, with a sign-in at the provider')
  }
}

/** Who has signed in nowhere yet. */
const stranger = (clients: Clients) => {
  const person = `new-${randomUUID()}`
  return { session: { person, tokens: { access: '', refresh: '' } }, browser: clients.browserOf(person) }
}

const assertions =
  ({ clients, history, rivals, decided }: Race) =>
  () =>
    decided(async () => {
      const signed = await clients.assertion()
      const answers = await rivals((node) => clients.askAsRobot(signed, node))
      const won = answers.filter((answer) => answer?.status === 200)
      const refused = answers.filter((answer) => answer?.status === 400 || answer?.status === 401)
      const busy = answers.filter(isBusy)
      if (won.length > 1 || won.length + refused.length + busy.length !== RIVALS || won.length + busy.length === 0) {
        history.violation('uses of one assertion', {
          statuses: answers.map((answer) => answer?.status),
          bodies: answers.map((answer) => answer?.body.error),
        })
      }
      if (busy.length > 0) return 'busy'
      history.count('rounds: uses of one assertion')
      return 'decided'
    })
