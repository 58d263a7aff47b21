import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { revocationMessage } from '../../src/records/pending-revocation.ts'
import { openid } from '../../src/upstream/openid.ts'
import { type OidcProvider, signInAt, startOidcProvider } from '../support/oidc-provider.ts'
import { upstreamWorld, type WorldOptions } from '../support/upstream-world.ts'

let provider: OidcProvider
beforeAll(async () => {
  provider = await startOidcProvider({ accessTokenLifetime: 7200 })
})
afterAll(() => provider.stop())
afterEach(() => provider.control({ listen: true }))

const server = (shared: WorldOptions = {}) => {
  const { issuer, clientId, clientSecret } = provider
  return upstreamWorld(openid({ issuer, clientId, clientSecret, userinfo: false }), shared)
}

const revocations = async () => (await provider.requests()).revocation ?? 0

/** Somebody who was signed in, and whose client gives its grant back while the provider is away. */
const endedWhileAway = async () => {
  const world = server()
  const { client, refreshToken } = await world.connect((url) => signInAt(url, { login: 'alice' }))
  const before = await revocations()
  await provider.control({ listen: false })
  const answer = await world.respond('/revoke', new URLSearchParams({ ...client, token: refreshToken }))
  expect(answer.status).toBe(200)
  await expect.poll(() => world.types()).toContain('upstream.failed')
  await provider.control({ listen: true })
  return { world, before }
}

test('fault 6, design 3, upstream: a grant ends while the provider is away: a running server ends its tokens there when it is back', async () => {
  const { world, before } = await endedWhileAway()
  expect(await revocations()).toBe(before)
  await world.clock.pass(30_000)
  // As when another node has something to end, or its own time has come.
  await world.store.commit({ notify: [revocationMessage] })
  await expect.poll(() => world.types()).toContain('upstream.revoked')
  expect(await revocations()).toBe(before + 1)
  await world.auth.close()
})

test('fault 6, design 3, upstream: and so does whoever of several servers looks first, also one that is started only then; once', async () => {
  const { world, before } = await endedWhileAway()
  await world.clock.pass(30_000)
  const other = server(world)
  await other.auth.ready()
  const types = () => [...world.types(), ...other.types()]
  await expect.poll(types).toContain('upstream.revoked')
  expect(types().filter((type) => type === 'upstream.revoked')).toHaveLength(1)
  expect(await revocations()).toBe(before + 1)
  await world.auth.close()
})
