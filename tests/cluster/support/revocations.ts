import type { Clients } from './clients.ts'
import type { Cluster } from './cluster.ts'
import { type History, quantile } from './history.ts'
import { repeat } from './repeat.ts'

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

const TICK = 20
/** A machine whose timers are later than this is too busy to say how fast something is. Milliseconds. */
const CALM = 50

/**
 * How long a revoked token went on being good at any node, from the moment at which its revocation was asked for.
 *
 * @param options.seconds that it may take at most
 */
export async function revocations(
  cluster: Cluster,
  clients: Clients,
  history: History,
  {
    rounds,
    deaf,
    seconds = Number.POSITIVE_INFINITY,
  }: { readonly rounds: number; readonly deaf: boolean; readonly seconds?: number },
): Promise<void> {
  for (const node of cluster.nodes) await node.ask('deaf', String(deaf))
  const name = deaf ? 'revocation, notifications cut' : 'revocation'
  const bound = deaf ? 5_000 : 1_000
  // While notifications are cut most of the time is spent waiting.
  const lanes = deaf ? 16 : 4
  const pause = deaf ? 25 : 5
  const browsers = new Map<string, ReturnType<Clients['browserOf']>>()

  const one = async (round: number, lane: number): Promise<void> => {
    // Nobody asks thousands of times.
    const person = `cleo-${lane}-${Math.floor(round / 1_000)}`
    const browser = browsers.get(person) ?? clients.browserOf(person)
    browsers.set(person, browser)
    const session = await clients.connect(person, browser)
    for (const node of cluster.nodes) await clients.whoami(session, node)
    let over = false
    let lastGood = 0
    const watching = cluster.nodes.map(async (node) => {
      while (!over) {
        const at = performance.now()
        const answer = await clients.call(session.tokens.access, node)
        if (answer?.status === 200) lastGood = Math.max(lastGood, at)
        else if (answer?.status === 401) return true
        else history.count(`${name}: answers of another kind`)
        await sleep(pause)
      }
      return false
    })
    const asked = performance.now()
    const token = round % 2 === 0 ? session.tokens.access : session.tokens.refresh
    const answer = await clients.patiently(() => clients.revoke(token, cluster.nodes[round % cluster.nodes.length]))
    const answered = performance.now()
    if (answer?.status !== 200) history.violation('a revocation was refused', { ...answer })
    const late = setTimeout(() => {
      over = true
    }, 60_000)
    const refused = await Promise.all(watching)
    clearTimeout(late)
    if (refused.includes(false)) history.violation('a token alive after its revocation', { name })
    history.measure(name, Math.max(0, lastGood - asked))
    // From its commit, which is not later than its answer: a busy machine may take long to come to that, and is no node that has forgotten.
    const after = lastGood - answered
    if (after > 5_000) history.violation('a revocation beyond its bound', { name, after })
    const again = await clients.patiently(() => clients.refresh(session.tokens.refresh))
    if (again?.status !== 400) history.violation('a refresh after the revocation', { ...again })
  }
  // How late this process' own timers are says how much of the times is the machine's.
  const late: number[] = []
  let last = performance.now()
  const ticking = setInterval(() => {
    const now = performance.now()
    late.push(Math.max(0, now - last - TICK))
    last = now
  }, TICK)
  history.leftOut(await repeat(rounds, { seconds, lanes }, one))
  clearInterval(ticking)
  for (const node of cluster.nodes) await node.ask('deaf', 'false')
  const times = [...(history.times.get(name) ?? [])].sort((a, b) => a - b)
  const p99 = times[Math.floor(times.length * 0.99)] ?? 0
  const lateness = quantile(late, 0.99)
  history.measure(`${name}: how late timers were on that machine, 99 %`, lateness)
  if (!deaf && times.length >= 100 && p99 > bound && lateness < CALM)
    history.violation('the 99th percentile of revocation', { p99 })
}

/** With the store out of reach nodes answer from memory no longer than the bound, and then 503, never 401; then all is as before. */
export async function storeAway(cluster: Cluster, clients: Clients, history: History): Promise<void> {
  const session = await clients.connect('cleo')
  for (const node of cluster.nodes) await clients.whoami(session, node)
  const away = performance.now()
  cluster.network.requests = 'hold'
  cluster.network.answers = 'hold'
  const watching = cluster.nodes.map(async (node) => {
    let last = away
    let refused = 0
    // Beyond the bound, and until it has said that it can't.
    while (performance.now() - away < (refused > 0 ? 9_000 : 90_000)) {
      const at = performance.now()
      const answer = await clients.call(session.tokens.access, node)
      if (answer?.status === 200) last = at
      else if (answer?.status === 503) refused++
      else if (answer) history.violation('an answer that is neither good nor 503 without a store', answer)
      await sleep(50)
    }
    history.measure('store away: answers from memory', last - away)
    if (last - away > 5_000) history.violation('answers from memory beyond the bound', { after: last - away })
    if (refused === 0) history.violation('no 503 without a store', { node: node.port })
  })
  await Promise.all(watching)
  cluster.network.requests = 'pass'
  cluster.network.answers = 'pass'
  cluster.network.cut()
  for (const node of cluster.nodes) await clients.whoami(session, node)
  await clients.renew(session)
}
