import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { openid } from '../../src/upstream/openid.ts'
import { findDjangoProvider, startDjangoProvider } from '../support/django-provider.ts'
import { upstreamWorld, type WorldOptions, worldUrl } from '../support/upstream-world.ts'

vi.setConfig({ hookTimeout: 240_000 })

const found = await findDjangoProvider()

describe.skipIf('skip' in found)(
  'a provider that is not JavaScript: Python, its discovery, keys, tokens and pages',
  () => {
    const claims = {
      name: 'Alice Ω Example',
      email: 'alice@example.com',
      email_verified: true,
      groups: ['people', 'staff'],
    }
    let provider: Awaited<ReturnType<typeof startDjangoProvider>>
    beforeAll(async () => {
      provider = await startDjangoProvider({
        redirectUri: `${worldUrl}/authorize/callback/openid`,
        accessTokenLifetime: 300,
        people: { alice: { password: 'correct horse', claims }, bob: { password: 'battery staple', claims: {} } },
      })
    })
    afterAll(() => provider?.stop())

    const server = (shared: WorldOptions = {}) => {
      const { issuer, clientId, clientSecret } = provider
      return upstreamWorld(openid({ issuer, clientId, clientSecret, revalidate: 'on_refresh' }), {
        tokenClaims: ['email', 'groups'],
        ...shared,
      })
    }

    test('origin 1 and 5, fault 15: what the handler sees is what it said, after exchange, refresh, upstream refresh, restart, and on a second node', async () => {
      const first = server()
      const connected = await first.connect((url) => provider.signIn(url, 'alice'))
      const seen = await first.whoami(connected.accessToken)
      expect(seen).toMatchObject({
        kind: 'user',
        upstream: { issuer: provider.issuer, claims: { ...claims, iss: provider.issuer } },
        claims: { upstream_claims: { iss: provider.issuer, email: claims.email, groups: claims.groups } },
      })
      const same = (other: Record<string, unknown>) => {
        const { subject, clientId, scopes } = other
        const { issuer, subject: upstreamSubject, claims: said } = other.upstream as Record<string, unknown>
        // When the person signed in, and when the token was made, the provider says anew.
        const {
          iat: _1,
          exp: _2,
          at_hash: _3,
          jti: _4,
          nonce: _5,
          auth_time: _6,
          ...lasting
        } = said as Record<string, unknown>
        return { subject, clientId, scopes, issuer, upstreamSubject, lasting }
      }
      // Refreshing asks the provider, which rotates its refresh tokens.
      await first.clock.pass(120_000)
      const once = await first.refresh(connected)
      expect(once.status).toBe(200)
      expect(first.types()).toContain('upstream.refreshed')
      expect(same(await first.whoami(String(once.body.access_token)))).toEqual(same(seen))

      const second = server(first)
      expect(same(await second.whoami(String(once.body.access_token)))).toEqual(same(seen))
      await first.clock.pass(600_000)
      const twice = await second.refresh({ ...connected, refreshToken: String(once.body.refresh_token) })
      expect([twice.status, twice.body.error]).toEqual([200, undefined])
      expect(same(await second.whoami(String(twice.body.access_token)))).toEqual(same(seen))
      const restarted = server(first)
      expect(same(await restarted.whoami(String(twice.body.access_token)))).toEqual(same(seen))
    })

    test('two people are two people', async () => {
      const world = server()
      const [alice, bob] = [
        await world.whoami((await world.connect((url) => provider.signIn(url, 'alice'))).accessToken),
        await world.whoami((await world.connect((url) => provider.signIn(url, 'bob'))).accessToken),
      ]
      expect(alice.subject).not.toBe(bob.subject)
      expect((bob.upstream as { claims: object }).claims).not.toHaveProperty('email')
    })

    test('design 3, upstream: while it is gone nobody is signed out', async () => {
      const world = server()
      const connected = await world.connect((url) => provider.signIn(url, 'alice'))
      await provider.stop()
      await world.clock.pass(120_000)
      const answer = await world.refresh(connected)
      expect([answer.status, Number(answer.body.expires_in) <= 60]).toEqual([200, true])
      expect((await world.call(String(answer.body.access_token))).status).toBe(200)
    })
  },
)
