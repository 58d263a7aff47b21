import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { type OidcProvider, oidcSubject, startOidcProvider } from '../support/oidc-provider.ts'
import { account, custodyAt, hour } from './custody-at.ts'

vi.setConfig({ testTimeout: 600_000 })

let provider: OidcProvider
beforeAll(async () => {
  provider = await startOidcProvider()
})
afterAll(() => provider.stop())

const { node, signIn, refreshes } = custodyAt(() => provider)
// The whole number where there is time for it.
const people = process.env.CI ? 150 : 1_000

test(`fault 2: the tokens of ${people} people expire in the same second: exactly as many refreshes, and no call fails`, async () => {
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
