import { expect, test } from 'vitest'
import { openid } from '../../src/upstream/openid.ts'
import { CookieJar, type OidcProviderOptions, signInAt, startOidcProvider } from '../support/oidc-provider.ts'
import { type Connected, upstreamWorld, type World } from '../support/upstream-world.ts'

// A real OpenID Provider, in each of the ways in which providers differ.
const characters: Record<string, OidcProviderOptions & { readonly subject?: string }> = {
  'that rotates refresh tokens': { rotate: true },
  'that does not rotate them': { rotate: false },
  'that gives no id_token on a refresh': { idTokenOnRefresh: false, rotate: true },
  'whose id_tokens are over at once': { idTokenLifetime: 1, idTokenOnRefresh: false },
  'that says who it is in userinfo only': { claimsIn: 'userinfo' },
  'whose userinfo is signed': { signedUserinfo: true, claimsIn: 'userinfo' },
  'that names people by another subject for each client': { pairwise: true, subject: 'pair-of-sub-alice' },
}

test.each(Object.entries(characters))(
  'origin 1 and 5, fault 12 and 15: a provider %s: what the handler sees is what it said, after exchange, refresh, upstream refresh, restart, and on a second node',
  async (_how, { subject = 'sub-alice', ...character }) => {
    const provider = await startOidcProvider(character)
    try {
      const { issuer, clientId, clientSecret } = provider
      const preset = openid({
        ...{ issuer, clientId, clientSecret, revalidate: 'on_refresh' },
        scopes: ['openid', 'profile', 'email', 'groups', 'offline_access'],
        authorizationParameters: { prompt: 'consent' },
      })
      const first = upstreamWorld(preset, { tokenClaims: ['email', 'groups'] })
      const jar = new CookieJar()
      const connected = await first.connect((url) => signInAt(url, { jar }))
      const seenBy = async (world: World, { accessToken }: Pick<Connected, 'accessToken'>) => {
        const { subject: own, clientId: client, scopes, upstream, claims } = await world.whoami(accessToken)
        const { claims: said, ...identity } = upstream as { claims: Record<string, unknown> }
        // New with each id_token.
        const { iat: _iat, exp: _exp, nonce: _nonce, at_hash: _hash, auth_time: _time, ...lasting } = said
        return { own, client, scopes, identity, lasting, signed: (claims as Record<string, unknown>).upstream_claims }
      }
      const seen = await seenBy(first, connected)
      const person = { email: 'alice@example.com', groups: ['people', 'team-alice'] }
      expect(seen.identity).toMatchObject({ issuer, subject })
      expect(seen.lasting).toMatchObject({
        ...{
          ...person,
          iss: issuer,
          sub: subject,
          name: 'Alice Example',
          preferred_username: 'alice',
          roles: ['reader'],
        },
        email_verified: true,
      })
      expect(seen.signed).toEqual({ ...person, iss: issuer, sub: subject })

      const refreshed = async (world: World, from: Connected): Promise<Connected> => {
        // Longer than an access token of ours, and all that the provider gave is over.
        await world.clock.pass(2 * 3_600_000)
        const { status, body } = await world.refresh(from)
        expect([status, body.error]).toEqual([200, undefined])
        return { ...from, accessToken: String(body.access_token), refreshToken: String(body.refresh_token) }
      }
      const before = (await provider.requests()).refresh_token ?? 0
      const once = await refreshed(first, connected)
      expect((await provider.requests()).refresh_token).toBe(before + 1)
      expect(await seenBy(first, once)).toEqual(seen)
      const second = upstreamWorld(preset, { ...first, tokenClaims: ['email', 'groups'] })
      expect(await seenBy(second, once)).toEqual(seen)
      const twice = await refreshed(second, once)
      expect(await seenBy(first, twice)).toEqual(seen)
      const restarted = upstreamWorld(preset, { ...first, tokenClaims: ['email', 'groups'] })
      expect(await seenBy(restarted, await refreshed(restarted, twice))).toEqual(seen)
      expect((await provider.requests()).refresh_token).toBe(before + 3)
      // Who comes again is the same person.
      const again = await restarted.connect((url) => signInAt(url, { jar: new CookieJar() }))
      expect((await seenBy(first, again)).own).toBe(seen.own)
    } finally {
      await provider.stop()
    }
  },
)
