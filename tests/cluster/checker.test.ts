import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { generateKeyPair } from 'jose'
import { describe, expect, test } from 'vitest'
import type { Page } from '../end-to-end/support/form-browser.ts'
import { type Clients, createClients } from './support/clients.ts'
import { createHistory } from './support/history.ts'
import { type KeyRaceCluster, keyRaces } from './support/key-races.ts'
import { races } from './support/races.ts'
import { grows, growth } from './support/soak.ts'

const issuer = 'http://issuer'
/** Nobody answers there. */
const origin = 'http://127.0.0.1:9'
const provider = { issuer: 'http://provider' }
const { privateKey: robotKey } = await generateKeyPair('ES256')
const session = { person: 'ada', tokens: { access: 'a', refresh: 'r' } }

describe('the checker', () => {
  /** A cluster whose nodes know nothing of each other: every one believes what it is shown. */
  const credulous = (answer: () => { status: number; body: Record<string, unknown> } | undefined) => {
    const history = createHistory()
    const answerTo = (question: string): unknown => {
      if (question === 'first-rings') return [{ sign: `${Math.random()}`, mac: 'x', seal: 'x' }]
      if (question === 'rotate-rings') return [{ next: `${Math.random()}`, all: ['x'], shown: [] }]
      return 'the same'
    }
    const node = {
      origin,
      ask: async <T>(question: string): Promise<T> => JSON.parse(JSON.stringify(answerTo(question))),
    }
    const cluster: KeyRaceCluster = {
      ...{ issuer, robotKey, provider, nodes: [node, node] },
      startNodes: async () => [],
      forget: async () => {},
    }
    const clients: Clients = {
      ...createClients(cluster, history),
      connect: async () => ({ ...session }),
      whoami: async () => {},
      renew: async () => {},
      moment: async () => {},
      patiently: async (send) => send(),
      authorize: async () => ({ code: 'c', verifier: 'v' }),
      redeem: async () => answer(),
      refresh: async () => answer(),
      assertion: async () => 'x',
      askAsRobot: async () => answer(),
    }
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

  test('sees several codes of one interaction, pages of trouble, and that there is none', async () => {
    const url = new URL('http://issuer/authorize')
    const approve = { tag: 'button', type: 'submit', name: 'decision', value: 'approve', checked: false } as const
    const consent: Page = {
      ...{ url, status: 200, headers: new Headers(), html: '', text: '', away: false },
      forms: [{ action: '', method: 'post', fields: [{ ...approve, form: undefined }] }],
    }
    const back = (code: string): Page => ({
      ...consent,
      ...{ away: true, status: 302, url: new URL(`http://app/?code=${code}`), forms: [] },
    })
    const seen = async (end: (count: number) => Page) => {
      const { history, cluster, clients } = credulous(() => ({ status: 200, body: {} }))
      let count = 0
      const browser = { open: async () => consent, submit: async () => end(++count), cookies: () => [] }
      const racers = {
        ...clients,
        browserOf: () => browser,
        consentPage: async () => ({ page: consent, verifier: 'v' }),
      }
      await races(cluster, racers, history, { codes: 0, refreshes: 0, interactions: 1, assertions: 0 })
      return history.violations.map((violation) => violation.split(':')[0])
    }
    const silent = () => {
      throw new Error('no answer')
    }
    expect(await seen(() => back('c'))).toEqual([])
    expect(await seen((count) => (count % 2 === 0 ? silent() : back('c')))).toEqual([])
    expect(await seen((count) => back(`${count}`))).toEqual(['codes of one interaction'])
    expect(await seen((count) => (count === 3 ? { ...consent, status: 500 } : back('c')))).toEqual([
      'codes of one interaction',
    ])
    expect(await seen(silent)).toEqual(['codes of one interaction'])
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
    const node = { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
    const history = createHistory()
    const clients = createClients({ issuer, robotKey, provider, nodes: [node] }, history)
    const seen = { ...session }
    const ada = { kind: 'user', issuer, clientId: 'app', person: 'ada', email: 'ada@example.com' }
    answers.push({ status: 503, body: {} }, { status: 200, body: { ...ada, subject: 's' } })
    await clients.whoami(seen)
    expect(history.violations).toEqual([])
    answers.push(
      { status: 401, body: {} },
      { status: 200, body: { ...ada, subject: 'another' } },
      { status: 400, body: { error: 'invalid_grant' } },
    )
    await clients.whoami(seen)
    await clients.whoami(seen)
    await clients.renew(seen)
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
