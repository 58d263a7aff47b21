import { randomBytes } from 'node:crypto'
import { createRemoteJWKSet, customFetch, decodeProtectedHeader, jwtVerify } from 'jose'
import { expect, test } from 'vitest'
import { jwks } from '../../src/resource-server/jwks-verifier.ts'
import { sqlite } from '../../src/store/sqlite.ts'
import { createTarget, type Target } from '../attacks/support/target.ts'
import { movable } from '../store/movable-clock.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const ISSUER = 'https://auth.example.com'
const RESOURCE = `${ISSUER}/mcp`
const minute = 60_000

test('design 3, secrets rotate: two nodes in use, all three kinds of keys rotating: no call fails, at no verifier', async () => {
  const { path, remove } = temporaryDirectory()
  const clock = movable()
  const secret = randomBytes(32).toString('base64')
  const node = (): Promise<Target> =>
    createTarget({
      ...{ clock, secret, store: sqlite(`${path}/db`, { clock }) },
      keyRotation: { sign: 3_600, seal: 7_200, mac: 7_200, publishedFor: 600 },
      lifetimes: { grant: 7_200_000 },
    })
  const nodes = [await node(), await node()] as const
  try {
    let turn = 0
    /** What an outsider asks goes to the nodes in turn. */
    const fetchAny = async (url: string | URL, init?: RequestInit) =>
      (nodes[turn++ % 2] ?? nodes[0]).send(new Request(url, init))
    const outsider = jwks(ISSUER, { fetch: fetchAny, clock, jwksUri: `${ISSUER}/jwks` })
    const joses = createRemoteJWKSet(new URL(`${ISSUER}/jwks`), {
      [customFetch]: (url: string, init: RequestInit) => fetchAny(url, init),
      // Its time is the real one, in which hours are seconds here.
      cooldownDuration: 0,
    })
    const clients = await Promise.all(
      nodes.map(async (target) => {
        const client = await target.register()
        return { client, tokens: await target.tokens(client) }
      }),
    )
    const kids = new Set<string>()
    const failed: string[] = []
    const use = async (token: string) => {
      kids.add(decodeProtectedHeader(token).kid ?? '')
      const checks: readonly [string, Promise<unknown>][] = [
        ...nodes.map((each, index): [string, Promise<unknown>] => [
          `node ${index}`,
          each.call(token).then(async (response) => {
            if (response.status !== 200) throw new Error(`${response.status} ${await response.text()}`)
            const { upstream } = (await response.json()) as { upstream?: { claims?: { sub?: string } } }
            if (!upstream?.claims) throw new Error('without the person')
          }),
        ]),
        ['our verifier elsewhere', outsider.verify(token, RESOURCE)],
        ['jose', jwtVerify(token, joses, { issuer: ISSUER, audience: RESOURCE, currentDate: new Date(clock.now()) })],
      ]
      for (const [name, check] of checks) await check.catch((error) => failed.push(`${name}: ${error}`))
    }
    for (let step = 0; step < 180; step++) {
      await clock.pass(2 * minute)
      for (const [index, each] of clients.entries()) {
        const before = each.tokens
        const target = nodes[(index + step) % 2] ?? nodes[0]
        // Two at once, as clients do; and the old access token is still used, in the middle of it all.
        const [answer, again] = await Promise.all([
          target.refresh(each.client, before.refresh_token),
          nodes[1].refresh(each.client, before.refresh_token),
          use(before.access_token),
        ])
        for (const { status, body } of [answer, again]) if (status !== 200) failed.push(JSON.stringify(body))
        if (answer.body.refresh_token !== again.body.refresh_token) failed.push('two successors')
        each.tokens = { access_token: '', refresh_token: '', ...answer.body }
        await use(each.tokens.access_token)
      }
    }
    expect(failed).toEqual([])
    expect(kids.size).toBeGreaterThanOrEqual(5)
    const rotated = nodes.flatMap(({ events }) => events).filter((event) => event.type === 'keys.rotated')
    const of = (use: string) => rotated.filter((event) => event.use === use).length
    expect(of('sign')).toBeGreaterThanOrEqual(5)
    expect(of('sign')).toBeLessThanOrEqual(7)
    for (const use of ['seal', 'mac']) expect([2, 3, 4]).toContain(of(use))
    expect(nodes.flatMap(({ log }) => log).filter((line) => line.includes('key'))).toEqual([])
    const states = (await nodes[0].auth.keys.list()).filter((key) => key.use === 'sign').map((key) => key.state)
    expect(states.filter((state) => state === 'active')).toHaveLength(1)
    expect(states.length).toBeLessThanOrEqual(3)
  } finally {
    await Promise.all(nodes.map(({ auth }) => auth.close()))
    remove()
  }
})

test('a key that was compromised: what it signed is refused at once, also where it was just seen', async () => {
  const target = await createTarget()
  const client = await target.register()
  const tokens = await target.tokens(client)
  expect((await target.call(tokens.access_token)).status).toBe(200)
  await target.auth.keys.rotate({ compromised: true })
  expect((await target.call(tokens.access_token)).status).toBe(401)
  const { body } = await target.refresh(client, tokens.refresh_token)
  expect((await target.call(body.access_token)).status).toBe(200)

  await target.auth.keys.rotate({ use: 'mac', compromised: true })
  expect((await target.refresh(client, body.refresh_token ?? '')).body.error).toBe('invalid_grant')
  expect((await target.tokens(client)).refresh_token).not.toBe('')
})

test('the key set may be kept for half of the time that a key is published before it signs', async () => {
  for (const [publishedFor, maxAge] of [
    [undefined, 300],
    [60, 30],
    [1, 1],
  ] as const) {
    const target = await createTarget({ keyRotation: { publishedFor } })
    const response = await target.send(new Request(`${ISSUER}/jwks`))
    expect(response.headers.get('cache-control')).toBe(`public, max-age=${maxAge}`)
  }
})
