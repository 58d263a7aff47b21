import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, test } from 'vitest'
import { type Clients, createClients } from './support/clients.ts'
import type { Cluster } from './support/cluster.ts'
import { createHistory } from './support/history.ts'
import { type Phase, prove, type Sizes } from './support/phases.ts'
import { races } from './support/races.ts'

/** A small part of what `npm run proof` does, whose report is docs/quality.md. */
const sizes: Sizes = {
  races: { codes: 6, refreshes: 6, interactions: 3, assertions: 4, firstStarts: 2, rotations: 1 },
  revocations: 8,
  deafRevocations: 4,
  crashes: { people: 6, rounds: 1 },
  soak: 0,
}

describe.each(['postgres', 'redis'] as const)('four nodes on one %s, with real clients', (engine) => {
  test('races, revocations, faults: two winners, a lost session, a wrong identity or a live dead token is never seen', async ({
    skip,
  }) => {
    const tell = ({ name, seconds }: Phase) => console.log(`${engine}: ${name} ${seconds.toFixed(1)} s`)
    const phases = await prove(engine, sizes, { tell })
    if ('skip' in phases) return skip(phases.skip)
    expect(phases.map(({ name }) => name)).toEqual(['races', 'revocation', 'store away', 'crashes'])
    for (const { name, history } of phases) expect([name, history.violations]).toEqual([name, []])

    // A proof that did nothing proves nothing.
    const [races, revocation, , crashes] = phases as [Phase, Phase, Phase, Phase]
    expect(races.history.counts.get('rounds: redemptions of one code')).toBe(sizes.races.codes)
    expect(races.history.counts.get('interactions that gave a code')).toBe(sizes.races.interactions)
    expect(revocation.history.times.get('revocation')).toHaveLength(sizes.revocations)
    expect(crashes.history.counts.get('stores killed')).toBe(1)
    expect(crashes.history.counts.get('refreshes')).toBeGreaterThan(20)
  }, 900_000)
})

describe('the checker', () => {
  /** A cluster whose nodes know nothing of each other: every one believes what it is shown. */
  const credulous = (answer: (call: string) => { status: number; body: Record<string, unknown> } | undefined) => {
    const history = createHistory()
    const node = { ask: async () => ({ sign: Math.random(), mac: 'x' }) }
    const cluster = { nodes: [node, node] } as unknown as Cluster
    const session = { person: 'ada', tokens: { access: 'a', refresh: 'r' } }
    const clients = {
      anyNode: () => node,
      browserOf: () => ({}),
      connect: async () => ({ ...session }),
      whoami: async () => {},
      renew: async () => {},
      authorize: async () => ({ code: 'c', verifier: 'v' }),
      redeem: async () => answer('redeem'),
      refresh: async () => answer('refresh'),
      assertion: async () => 'x',
      askAsRobot: async () => answer('assertion'),
      tokensOf: () => ({ access: 'a', refresh: 'r' }),
    } as unknown as Clients
    return { history, cluster, clients }
  }
  const rounds = { codes: 1, refreshes: 1, interactions: 0, assertions: 1, firstStarts: 1, rotations: 0 }

  test('sees two winners, sessions that are lost to a race, and keys that are made twice', async () => {
    let count = 0
    const { history, cluster, clients } = credulous(() => ({ status: 200, body: { refresh_token: `r${++count}` } }))
    await races(cluster, clients, history, rounds)
    expect(history.violations.map((violation) => violation.split(':')[0])).toEqual([
      'redemptions of one code',
      'refreshes of one token',
      'uses of one assertion',
      'first starts',
    ])
  })

  test('sees that nobody wins, and answers that never come', async () => {
    for (const nothing of [{ status: 400, body: { error: 'invalid_grant' } }, undefined]) {
      const { history, cluster, clients } = credulous(() => nothing)
      await races(cluster, clients, history, { ...rounds, firstStarts: 0 })
      expect(history.violations).toHaveLength(3)
    }
  })

  test('sees a good token that is refused, another’s identity, and a session that is lost', async () => {
    const answers: { status: number; body: object }[] = []
    const server = createServer((_, response) => {
      const { status, body } = answers.shift() ?? { status: 500, body: {} }
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const history = createHistory()
    const cluster = { issuer: 'http://issuer', nodes: [{ origin }], provider: { issuer: '' } } as unknown as Cluster
    const clients = createClients(cluster, history)
    const session = { person: 'ada', tokens: { access: 'a', refresh: 'r' } }
    const ada = { kind: 'user', issuer: 'http://issuer', clientId: 'app', person: 'ada', email: 'ada@example.com' }
    answers.push({ status: 503, body: {} }, { status: 200, body: { ...ada, subject: 's' } })
    await clients.whoami(session)
    expect(history.violations).toEqual([])
    answers.push(
      { status: 401, body: {} },
      { status: 200, body: { ...ada, subject: 'another' } },
      { status: 400, body: { error: 'invalid_grant' } },
    )
    await clients.whoami(session)
    await clients.whoami(session)
    await clients.renew(session)
    expect(history.violations.map((violation) => violation.split(':')[0])).toEqual([
      'a good access token was refused',
      'an identity that is not the granted one',
      'a lost session',
    ])
    server.close()
    server.closeAllConnections()
  })
})
