import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest'
import { upstreamSessionRef } from '../../src/records/upstream-session.ts'
import { createCustody } from '../../src/upstream/custody.ts'
import type { NamedProvider, RedirectProvider, Renewal } from '../../src/upstream/provider.ts'
import { type OidcProvider, oidcSubject, startOidcProvider } from '../support/oidc-provider.ts'
import { testContext } from './context.ts'
import { account, custodyAt, hour, stored } from './custody-at.ts'

vi.setConfig({ testTimeout: 600_000 })

let provider: OidcProvider
beforeAll(async () => {
  provider = await startOidcProvider()
})
afterAll(() => provider.stop())
afterEach(() => void vi.restoreAllMocks())

const { node, signIn, refreshes } = custodyAt(() => provider)
const people = 1_000

test('fault 2: the tokens of 1,000 people expire in the same second: exactly 1,000 refreshes, and no call fails', async () => {
  const first = await node()
  const second = await node(first.context)
  const sessions: string[] = []
  while (sessions.length < people) {
    const said = await signIn(first, `person-${sessions.length}`)
    sessions.push((await first.custody.begin(account, 'openid', said)).id)
  }
  const before = await refreshes()
  await first.context.clock.pass(hour)
  const calls = sessions.flatMap((id) => [first, first, second, second].map(({ custody }) => custody.accessToken(id)))
  const tokens = await Promise.all(calls)
  expect(await refreshes()).toBe(before + people)
  expect(new Set(tokens).size).toBe(people)
  for (const [index, id] of sessions.entries()) {
    const identified = await second.custody.identity(id)
    expect(identified).toMatchObject({ facts: { subject: oidcSubject(`person-${index}`) }, session: { generation: 1 } })
  }
})

test('who had to queue for long on a node, and then finds that another has just begun, waits for that one', async () => {
  const context = await testContext()
  await stored(context)
  /** By node and person: who asks, and how it is answered. */
  const asked = new Map<string, () => void>()
  const nodeOf = (name: string) => {
    const open: RedirectProvider = {
      kind: 'redirect',
      begin: () => Promise.reject(new Error('not here')),
      complete: () => Promise.reject(new Error('not here')),
      refresh: ({ subject }) =>
        new Promise<Renewal>((resolve) => {
          const tokens = { accessToken: `new of ${subject}`, refreshToken: 'next' }
          asked.set(`${name} ${subject}`, () => resolve({ tokens, said: [] }))
        }),
    }
    const named: NamedProvider = { id: 'idp', name: 'idp', open }
    return createCustody(context, [named])
  }
  const [first, second] = [nodeOf('first'), nodeOf('second')]
  const begin = async (subject: string) => {
    const tokens = { accessToken: 'old', refreshToken: 'first', expiresAt: context.clock.now() - 1 }
    const signIn = { issuer: 'https://idp.example.com', subject, authTime: 0, said: [], tokens }
    return (await first.begin(account, 'idp', signIn)).id
  }
  const queued = await begin('queued')
  // As many as a node renews at a time.
  const before: Promise<string>[] = []
  for (let person = 0; person < 48; person++) before.push(second.accessToken(await begin(`person-${person}`)))
  await expect.poll(() => asked.size).toBe(48)
  const patient = second.accessToken(queued)
  // It has seen by then that nobody asks yet.
  for (let turn = 0; turn < 5; turn++) await context.records.get(upstreamSessionRef(queued))
  const other = first.accessToken(queued)
  await expect.poll(() => [...asked.keys()]).toContain('first queued')
  const now = performance.now.bind(performance)
  vi.spyOn(performance, 'now').mockImplementation(() => now() + 20_000)
  for (const [who, answer] of asked) if (who.startsWith('second')) answer()
  await Promise.all(before)
  asked.get('first queued')?.()
  expect(await Promise.all([patient, other])).toEqual(['new of queued', 'new of queued'])
  expect([...asked.keys()]).not.toContain('second queued')
})
