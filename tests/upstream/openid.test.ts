import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { mergedClaims, replaceStatements } from '../../src/upstream/claims.ts'
import { type OpenidOptions, openid } from '../../src/upstream/openid.ts'
import { ProviderUnavailable, type SignIn, SignInRefused, UpstreamRefused } from '../../src/upstream/provider.ts'
import { CookieJar, type OidcProvider, oidcSubject, signInAt, startOidcProvider } from '../support/oidc-provider.ts'
import { plainRequest, redirecting, redirectUri, rejection, testContext } from './context.ts'

const scopes = ['openid', 'profile', 'email', 'groups']

/** A provider as this server uses it, and a way to sign in there. */
const at = async (provider: OidcProvider, more: Partial<OpenidOptions> = {}) => {
  const context = await testContext()
  const { issuer, clientId, clientSecret } = provider
  const open = redirecting(openid({ issuer, clientId, clientSecret, scopes, ...more }).open(context))
  const signIn = async (login = 'alice', request: Partial<typeof plainRequest> & { maxAge?: number } = {}) => {
    const { url, pending } = await open.begin({ ...plainRequest, ...request })
    return open.complete(new URL(await signInAt(url, { login })), pending, redirectUri)
  }
  const refresh = async ({ issuer, subject, tokens }: SignIn) => {
    if (!tokens || !open.refresh) throw new Error('nothing to refresh')
    return open.refresh({ issuer, subject, tokens })
  }
  return { context, open, signIn, refresh }
}

const standardClaims = {
  name: 'Alice Example',
  preferred_username: 'alice',
  email: 'alice@example.com',
  email_verified: true,
  picture: 'https://pictures.example.com/alice.png',
  groups: ['people', 'team-alice'],
  roles: ['reader'],
}

describe('a provider that rotates', () => {
  let provider: OidcProvider
  beforeAll(async () => {
    provider = await startOidcProvider()
  })
  afterAll(() => provider.stop())

  test('fault 15: all that the provider says of a person is there, and who says it', async () => {
    const { signIn } = await at(provider)
    const before = Date.now()
    const alice = await signIn()
    expect(alice).toMatchObject({ issuer: provider.issuer, subject: oidcSubject('alice') })
    expect(alice.said.map(({ source }) => source)).toEqual(['id_token', 'userinfo'])
    for (const { claims } of alice.said) expect(claims).toMatchObject(standardClaims)
    expect(Math.abs(alice.authTime * 1000 - before)).toBeLessThan(60_000)
    expect(alice.tokens).toMatchObject({ scope: scopes.join(' ') })
    expect(alice.tokens?.expiresAt).toBeGreaterThan(before + 3_500_000)
    const claims = mergedClaims(alice)
    expect(JSON.stringify(claims)).not.toContain(alice.tokens?.accessToken)
    expect(claims).toMatchObject({ iss: provider.issuer, sub: oidcSubject('alice'), aud: 'countersign' })
  })

  test('nothing is asked of the provider before somebody signs in, and discovery is shared', async () => {
    const before = await provider.requests()
    const { open } = await at(provider)
    expect(await provider.requests()).toEqual(before)
    await Promise.all(Array.from({ length: 20 }, () => open.begin(plainRequest)))
    expect((await provider.requests()).discovery).toBe((before.discovery ?? 0) + 1)
  })

  test('the request has state, nonce and an S256 challenge, each new', async () => {
    const { open } = await at(provider, { authorizationParameters: { audience: 'api', prompt: 'consent' } })
    const request = { ...plainRequest, reauthenticate: true, selectAccount: true, maxAge: 60, loginHint: 'al' }
    const urls = await Promise.all([open.begin(request), open.begin(request)])
    const [first, second] = urls.map(({ url }) => Object.fromEntries(new URL(url).searchParams))
    expect(first).toMatchObject({
      client_id: 'countersign',
      response_type: 'code',
      redirect_uri: redirectUri,
      scope: scopes.join(' '),
      state: 'state-1',
      code_challenge_method: 'S256',
      audience: 'api',
      prompt: 'consent login select_account',
      max_age: '60',
      login_hint: 'al',
    })
    expect(first?.nonce).not.toBe(second?.nonce)
    expect(first?.code_challenge).not.toBe(second?.code_challenge)
    expect(JSON.stringify(first)).not.toContain(String(urls[0]?.pending.verifier))
  })

  test('max_age and reauthentication are answered by the provider', async () => {
    const { open, signIn } = await at(provider)
    expect(await signIn('alice', { maxAge: 60 })).toMatchObject({ subject: oidcSubject('alice') })
    const jar = new CookieJar()
    const first = await open.begin(plainRequest)
    await signInAt(first.url, { login: 'alice', jar })
    // The browser is signed in as alice there; asked again, somebody else can answer.
    const again = await open.begin({ ...plainRequest, reauthenticate: true })
    const callback = new URL(await signInAt(again.url, { login: 'bob', jar }))
    const said = await open.complete(callback, again.pending, redirectUri)
    expect(said).toMatchObject({ subject: oidcSubject('bob') })
    // Being asked with max_age, it says when: then nobody needs to believe that `prompt=login` reached it.
    expect(new URL(again.url).searchParams.get('max_age')).toBe('0')
    expect(said.authTimeAssumed).toBeUndefined()
  })

  test('attack: who takes `prompt=login` and `max_age` out of the URL is told apart from who signed in again', async () => {
    const { open } = await at(provider)
    const jar = new CookieJar()
    await signInAt((await open.begin(plainRequest)).url, { login: 'alice', jar })
    const again = await open.begin({ ...plainRequest, reauthenticate: true })
    const stripped = new URL(again.url)
    for (const name of ['prompt', 'max_age']) stripped.searchParams.delete(name)
    const callback = new URL(await signInAt(stripped.href, { login: 'alice', jar }))
    expect(await open.complete(callback, again.pending, redirectUri)).toMatchObject({ authTimeAssumed: true })
  })

  test('attack: nor can they where the request is pushed: the provider asks for the password, whatever the URL says', async () => {
    const { open } = await at(provider, { reauthenticates: 'unstated' })
    const jar = new CookieJar()
    await signInAt((await open.begin(plainRequest)).url, { login: 'alice', jar })
    const again = await open.begin({ ...plainRequest, reauthenticate: true })
    const changed = new URL(again.url)
    expect(changed.searchParams.get('request_uri')).toBeTruthy()
    for (const [name, value] of [
      ['prompt', 'consent'],
      ['max_age', '86400'],
    ] as const) {
      changed.searchParams.set(name, value)
    }
    const asked = await fetch(changed, { redirect: 'manual', headers: { cookie: jar.header } })
    jar.take(asked)
    const page = await fetch(new URL(asked.headers.get('location') ?? '', changed), { headers: { cookie: jar.header } })
    expect(await page.text()).toContain('name="password"')
    // The true one leads there as well, and on.
    const other = await open.begin({ ...plainRequest, reauthenticate: true })
    const callback = new URL(await signInAt(other.url, { login: 'alice', jar }))
    expect(await open.complete(callback, other.pending, redirectUri)).toMatchObject({ subject: oidcSubject('alice') })
  })

  test('a person who says no is "denied"; the provider’s words stay in the detail', async () => {
    const { open } = await at(provider)
    const { url, pending } = await open.begin(plainRequest)
    const callback = new URL(await signInAt(url, { deny: true }))
    const refused = await rejection(open.complete(callback, pending, redirectUri))
    expect(refused).toBeInstanceOf(SignInRefused)
    expect(refused).toMatchObject({ reason: 'denied', message: 'sign-in refused: denied' })
    expect((refused as SignInRefused).detail).toContain('access_denied')
  })

  test('fault 14: a foreign or missing iss, a wrong state, a code of another request: untrusted', async () => {
    const { open } = await at(provider)
    const answer = async () => {
      const { url, pending } = await open.begin(plainRequest)
      return { pending, callback: new URL(await signInAt(url)) }
    }
    const refuse = async (change: (callback: URL) => void) => {
      const { pending, callback } = await answer()
      change(callback)
      expect(await rejection(open.complete(callback, pending, redirectUri))).toMatchObject({ reason: 'untrusted' })
    }
    await refuse((callback) => callback.searchParams.set('iss', 'https://evil.example.com'))
    await refuse((callback) => callback.searchParams.delete('iss'))
    await refuse((callback) => callback.searchParams.append('iss', provider.issuer))
    await refuse((callback) => callback.searchParams.set('state', 'state-2'))
    const mine = await answer()
    const other = await answer()
    const mixed = open.complete(mine.callback, other.pending, redirectUri)
    expect(await rejection(mixed)).toMatchObject({ reason: 'untrusted' })
    // A code is used once.
    const used = await answer()
    await open.complete(used.callback, used.pending, redirectUri)
    expect(await rejection(open.complete(used.callback, used.pending, redirectUri))).toMatchObject({
      reason: 'untrusted',
    })
  })

  test('the redirect URI is ours byte for byte, whatever address the callback came to', async () => {
    const { open } = await at(provider)
    const { url, pending } = await open.begin(plainRequest)
    const callback = new URL(await signInAt(url))
    callback.hostname = 'behind-a-proxy.internal'
    callback.protocol = 'http:'
    expect(await open.complete(callback, pending, redirectUri)).toMatchObject({ subject: oidcSubject('alice') })
  })

  test('refresh: new tokens, the statements anew', async () => {
    const { signIn, refresh } = await at(provider)
    const alice = await signIn()
    await provider.control({ claims: { alice: { email: 'alice@new.example.com' } } })
    const renewed = await refresh(alice)
    await provider.control({ claims: {} })
    expect(renewed.tokens.accessToken).not.toBe(alice.tokens?.accessToken)
    expect(renewed.tokens.refreshToken).not.toBe(alice.tokens?.refreshToken)
    expect(renewed.said.map(({ source }) => source)).toEqual(['id_token', 'userinfo'])
    expect(renewed.said.map(({ claims }) => claims.email)).toEqual(['alice@new.example.com', 'alice@new.example.com'])
    const before = await rejection(refresh(alice))
    expect(before).toBeInstanceOf(UpstreamRefused)
  })

  test('a refresh that answers with another person is no answer', async () => {
    const { open, signIn } = await at(provider)
    const [alice, bob] = [await signIn('alice'), await signIn('bob')]
    if (!bob.tokens || !open.refresh) throw new Error('no tokens')
    const mixed = open.refresh({ issuer: alice.issuer, subject: alice.subject, tokens: bob.tokens })
    expect(await rejection(mixed)).toBeInstanceOf(ProviderUnavailable)
  })

  test('fault 6: what is revoked here is revoked there', async () => {
    const { open, signIn, refresh } = await at(provider)
    const alice = await signIn()
    if (!alice.tokens) throw new Error('no tokens')
    expect(await open.revoke?.(alice.tokens)).toBe('revoked')
    expect(await rejection(refresh(alice))).toBeInstanceOf(UpstreamRefused)
    const kept = redirecting((await at(provider, { revokeTokens: false })).open)
    expect(kept.revoke).toBeUndefined()
  })

  test('fault 4: down, wrongly configured, broken off: never a "no", and no foreign text in the message', async () => {
    const { context, signIn, refresh } = await at(provider)
    const alice = await signIn()
    const failures = []
    for (const mode of ['error', 'invalid_client'] as const) {
      await provider.control({ mode })
      failures.push([mode, await rejection(refresh(alice))] as const)
      failures.push([mode, await rejection(signIn())] as const)
    }
    await provider.control({ mode: 'normal', listen: false })
    failures.push(['refused', await rejection(refresh(alice))] as const)
    const fresh = await testContext()
    const { issuer, clientId, clientSecret } = provider
    const unreachable = redirecting(openid({ issuer, clientId, clientSecret }).open(fresh))
    failures.push(['refused', await rejection(unreachable.begin(plainRequest))] as const)
    await provider.control({ listen: true })
    for (const [mode, failure] of failures) {
      expect(failure, mode).toBeInstanceOf(ProviderUnavailable)
      const { message, nothingDone } = failure as ProviderUnavailable
      expect(message).not.toMatch(/10\.0\.0\.7|maintenance|unknown client|127\.0\.0\.1/)
      expect(nothingDone, mode).toBe(mode !== 'error')
    }
    const text = JSON.stringify([failures.map(([, failure]) => String((failure as Error).stack)), context.log])
    expect(text).not.toContain(clientSecret)
    expect(text).not.toContain(String(alice.tokens?.refreshToken))
    expect((await refresh(alice)).tokens.accessToken).toBeTruthy()

    const bob = await signIn('bob')
    await provider.control({ mode: 'lose' })
    const lost = await rejection(refresh(bob))
    await provider.control({ mode: 'normal' })
    expect(lost).toMatchObject({ name: 'ProviderUnavailable', nothingDone: false })
    // And it did use the token up.
    expect(await rejection(refresh(bob))).toBeInstanceOf(UpstreamRefused)
  })

  test('a provider that was down at the first request is asked again soon', async () => {
    await provider.control({ listen: false })
    const { context, open } = await at(provider)
    const first = await rejection(open.begin(plainRequest))
    await provider.control({ listen: true })
    expect(await rejection(open.begin(plainRequest)), 'a failure is remembered briefly').toBe(first)
    await context.clock.pass(5_000)
    expect((await open.begin(plainRequest)).url).toContain(provider.issuer)
  })

  test('a wrong client secret is our trouble, not the person’s', async () => {
    const { signIn } = await at(provider, { clientSecret: 'another' })
    const failure = await rejection(signIn())
    expect(failure).toMatchObject({ name: 'ProviderUnavailable', nothingDone: true })
    expect(String((failure as Error).stack)).not.toContain('another')
  })
})

test('fault 12: without an id_token on refresh, and with one that lived a second, a session goes on and keeps its claims', async () => {
  const provider = await startOidcProvider({ idTokenOnRefresh: false, idTokenLifetime: 1, rotate: false })
  try {
    const { signIn, refresh } = await at(provider)
    const alice = await signIn()
    await new Promise((resolve) => setTimeout(resolve, 1_500))
    const renewed = await refresh(alice)
    expect(renewed.said.map(({ source }) => source)).toEqual(['userinfo'])
    expect(renewed.tokens.refreshToken).toBe(alice.tokens?.refreshToken)
    expect(renewed.tokens.idToken).toBe(alice.tokens?.idToken)
    const said = replaceStatements(alice.said, renewed.said)
    expect(said.map(({ source }) => source)).toEqual(['id_token', 'userinfo'])
    expect(mergedClaims({ ...alice, said })).toMatchObject(standardClaims)
    // Not rotating: the same token, again and again.
    expect((await refresh({ ...alice, tokens: renewed.tokens })).tokens.accessToken).toBeTruthy()
  } finally {
    await provider.stop()
  }
})

test('claims that are in userinfo only are there, unless it is left out; the secret may be posted', async () => {
  const provider = await startOidcProvider({ claimsIn: 'userinfo', clientAuthentication: 'client_secret_post' })
  try {
    const clientAuthentication = 'client_secret_post'
    const asked = await (await at(provider, { clientAuthentication })).signIn()
    expect(asked.said[0]?.claims.email).toBeUndefined()
    expect(mergedClaims(asked)).toMatchObject(standardClaims)
    const without = await (await at(provider, { clientAuthentication, userinfo: false })).signIn()
    expect(without.said.map(({ source }) => source)).toEqual(['id_token'])
  } finally {
    await provider.stop()
  }
})

test('a public client at the provider', async () => {
  const provider = await startOidcProvider({ clientAuthentication: 'none', clientSecret: '' })
  try {
    const { signIn, refresh } = await at(provider, { clientSecret: '', clientAuthentication: 'none' })
    expect((await refresh(await signIn())).tokens.accessToken).toBeTruthy()
  } finally {
    await provider.stop()
  }
})

test('options that can’t be right are refused at once', () => {
  const right = { issuer: 'https://id.example.com', clientId: 'me' }
  expect(() => openid(right)).not.toThrow()
  expect(() => openid({ ...right, issuer: 'http://localhost:9000' })).not.toThrow()
  expect(() => openid({ ...right, issuer: 'http://id.example.com' })).toThrow(/issuer must be an https URL/)
  expect(() => openid({ ...right, issuer: 'id.example.com' })).toThrow(/issuer/)
  expect(() => openid({ ...right, clientId: '' })).toThrow(/clientId/)
  expect(() => openid({ ...right, scopes: ['email'] })).toThrow(/openid/)
  expect(() => openid({ ...right, authorizationParameters: { nonce: 'x' } })).toThrow(/nonce/)
})
