import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, test } from 'vitest'
import { type Clients, createClients } from './support/clients.ts'
import type { Cluster } from './support/cluster.ts'
import { createHistory } from './support/history.ts'
import { keyRaces } from './support/key-races.ts'
import { races } from './support/races.ts'
import { grows, growth } from './support/soak.ts'

describe('the checker', () => {
  /** A cluster whose nodes know nothing of each other: every one believes what it is shown. */
  const credulous = (answer: (call: string) => { status: number; body: Record<string, unknown> } | undefined) => {
    const history = createHistory()
    const node = {
      ask: async (question: string) => {
        if (question === 'first-rings') return [{ sign: `${Math.random()}`, mac: 'x', seal: 'x' }]
        if (question === 'rotate-rings') return [{ next: `${Math.random()}`, all: ['x'], shown: [] }]
        return 'the same'
      },
    }
    const cluster = { nodes: [node, node] } as unknown as Cluster
    const session = { person: 'ada', tokens: { access: 'a', refresh: 'r' } }
    const clients = {
      anyNode: () => node,
      browserOf: () => ({}),
      connect: async () => ({ ...session }),
      whoami: async () => {},
      renew: async () => {},
      moment: async () => {},
      patiently: async <T>(send: () => Promise<T>) => send(),
      authorize: async () => ({ code: 'c', verifier: 'v' }),
      redeem: async () => answer('redeem'),
      refresh: async () => answer('refresh'),
      assertion: async () => 'x',
      askAsRobot: async () => answer('assertion'),
      tokensOf: () => ({ access: 'a', refresh: 'r' }),
    } as unknown as Clients
    return { history, cluster, clients }
  }
  const rounds = { codes: 1, refreshes: 1, interactions: 0, assertions: 1 }

  test('sees two winners, and sessions that are lost to a race', async () => {
    let count = 0
    const { history, cluster, clients } = credulous(() => ({ status: 200, body: { refresh_token: `r${++count}` } }))
    await races(cluster, clients, history, rounds)
    expect(history.violations.map((violation) => violation.split(':')[0])).toEqual([
      'redemptions of one code',
      'refreshes of one token',
      'uses of one assertion',
    ])
  })

  test('sees keys that are made twice', async () => {
    const { history, cluster, clients } = credulous(() => undefined)
    await keyRaces(cluster, clients, history, { rings: 1, servers: 0, processes: 0 })
    expect(history.violations.map((violation) => violation.split(':')[0])).toEqual([
      'first starts',
      'rotations at once',
      'keys after a rotation',
      'keys after a rotation',
    ])
  })

  test('sees that nobody wins, and answers that never come', async () => {
    for (const nothing of [{ status: 400, body: { error: 'invalid_grant' } }, undefined]) {
      const { history, cluster, clients } = credulous(() => nothing)
      await races(cluster, clients, history, rounds)
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

  test('sees memory that grows by a seventh in an hour, and takes noise for none', () => {
    // Of the hour the first third is left out; a sample each half a minute, each off by up to half a MiB.
    const noise = (index: number) => 0.5 * Math.sin(index * 12.9898)
    const hour = (perHour: number) =>
      Array.from({ length: 80 }, (_, index) => 30 + (perHour * (40 + index)) / 120 + noise(index))
    expect(growth([1, 2, 3])).toBe(2)
    expect(growth([5])).toBe(0)
    expect(growth(hour(4.3))).toBeCloseTo(4.3 * (79 / 120), 0)
    expect([4.3, 3].map((perHour) => grows(hour(perHour)))).toEqual([true, true])
    expect([0, 1, -4].map((perHour) => grows(hour(perHour)))).toEqual([false, false, false])
  })
})
