import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { openid } from '../../src/upstream/openid.ts'
import { type Connected, type Refreshed, upstreamWorld } from '../support/upstream-world.ts'
import { startLyingProvider } from '../upstream/lying-provider.ts'

vi.setConfig({ testTimeout: 1_200_000 })

let provider: Awaited<ReturnType<typeof startLyingProvider>>
beforeAll(async () => {
  provider = await startLyingProvider()
})
afterAll(() => provider.stop())

const people = 1_000
const minute = 60_000

test('design 3, upstream: the provider is out of reach for ten minutes, and of 1,000 signed-in people nobody is signed out, on either of two nodes', async () => {
  const network = { down: false, asked: 0 }
  const reach: typeof fetch = (input, init) => {
    network.asked++
    if (!network.down) return fetch(input, init)
    return Promise.reject(
      new TypeError('fetch failed', { cause: Object.assign(new Error('refused'), { code: 'ECONNREFUSED' }) }),
    )
  }
  // Its access tokens live a minute, so that all are over at once; and it is asked again at each refresh, and for calls.
  const preset = openid({ issuer: provider.issuer, clientId: 'me', clientSecret: 'a secret', revalidate: 60 })
  const first = upstreamWorld(preset, { fetch: reach })
  const nodes = [first, upstreamWorld(preset, { ...first, fetch: reach })] as const
  const nodeOf = (person: number) => nodes[person % 2 === 0 ? 0 : 1]

  const connected: Connected[] = []
  while (connected.length < people) {
    const sub = `person-${connected.length}`
    provider.tell({ claims: { sub }, userinfo: { sub } })
    const signIn = async (url: string) => (await fetch(url, { redirect: 'manual' })).headers.get('location') ?? ''
    connected.push(await first.connect(signIn))
  }

  const renewed = (from: Connected, { body }: Refreshed): Connected => ({
    ...from,
    accessToken: String(body.access_token),
    refreshToken: String(body.refresh_token),
  })
  const everybody = async (act: (person: number, from: Connected) => Promise<void>) => {
    const left = [...connected.entries()]
    const work = async () => {
      for (let next = left.shift(); next; next = left.shift()) await act(...next)
    }
    await Promise.all(Array.from({ length: 16 }, work))
  }
  const goesOn = (step: number) => async (person: number, from: Connected) => {
    const node = nodeOf(person + step)
    const answer = await node.refresh(from)
    expect([answer.status, answer.body.error]).toEqual([200, undefined])
    const after = renewed(from, answer)
    connected[person] = after
    expect(await node.whoami(after.accessToken)).toMatchObject({
      upstream: { issuer: provider.issuer, subject: `person-${person}`, claims: { email: 'one@example.com' } },
    })
  }

  network.down = true
  network.asked = 0
  for (let step = 0; step < 3; step++) {
    await first.clock.pass((10 / 3) * minute)
    await everybody(goesOn(step))
  }
  // It was asked, or this would show nothing.
  expect(network.asked).toBeGreaterThan(0)
  network.down = false
  await first.clock.pass(minute)
  // It says of one person at a time who it is.
  for (const [person, from] of [...connected.entries()].slice(-10)) {
    const sub = `person-${person}`
    provider.tell({ claims: { sub, nonce: undefined }, userinfo: { sub } })
    await goesOn(3)(person, from)
  }
  const all = () => nodes.flatMap((node) => node.types())
  await expect.poll(all, { timeout: 120_000 }).toContain('upstream.refreshed')
  const types = new Set(all())
  for (const type of ['upstream.ended', 'grant.revoked', 'refresh.refused', 'access.refused'] as const) {
    expect(types).not.toContain(type)
  }
})
