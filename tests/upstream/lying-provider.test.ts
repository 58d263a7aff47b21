import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { mergedClaims } from '../../src/upstream/claims.ts'
import { type OpenidOptions, openid } from '../../src/upstream/openid.ts'
import { ProviderUnavailable, SignInRefused } from '../../src/upstream/provider.ts'
import { plainRequest, redirecting, redirectUri, rejection, testContext } from './context.ts'
import { type Lie, startLyingProvider } from './lying-provider.ts'

const clientSecret = 'the client secret of these tests, long enough'
const now = () => Math.floor(Date.now() / 1000)

let provider: Awaited<ReturnType<typeof startLyingProvider>>
beforeAll(async () => {
  provider = await startLyingProvider()
})
afterAll(() => provider.stop())
beforeEach(() => provider.tell({}))

const open = async (more: Pick<OpenidOptions, 'reauthenticates'> = {}) =>
  redirecting(openid({ issuer: provider.issuer, clientId: 'me', clientSecret, ...more }).open(await testContext()))

const signIn = async (lie: Lie, request: object = {}, more: Pick<OpenidOptions, 'reauthenticates'> = {}) => {
  provider.tell(lie)
  const at = await open(more)
  const { url, pending } = await at.begin({ ...plainRequest, ...request })
  const response = await fetch(url, { redirect: 'manual' })
  return at.complete(new URL(response.headers.get('location') ?? ''), pending, redirectUri)
}

test('the truth is believed, or the lies below would show nothing', async () => {
  expect(await signIn({})).toMatchObject({
    issuer: provider.issuer,
    subject: 'sub-1',
    tokens: { accessToken: 'access-1' },
  })
  expect(await signIn({ claims: { aud: ['me', 'other'], azp: 'me', exp: now() - 10 } })).toBeTruthy()
})

describe('fault 14: an id_token that is not for us, not from it, or not of now, is refused', () => {
  const lies: Record<string, Lie> = {
    'another issuer': { claims: { iss: 'https://evil.example.com' } },
    'another audience': { claims: { aud: 'other' } },
    'a second audience without azp': { claims: { aud: ['me', 'other'] } },
    'another azp': { claims: { aud: ['me', 'other'], azp: 'other' } },
    'another nonce': { claims: { nonce: 'of an earlier request' } },
    'no nonce': { claims: { nonce: undefined } },
    'no sub': { claims: { sub: undefined } },
    'no exp': { claims: { exp: undefined } },
    'no iat': { claims: { iat: undefined } },
    expired: { claims: { exp: now() - 120 } },
    'not yet valid': { claims: { nbf: now() + 600 } },
    unsigned: { signature: 'none' },
    'signed with the client’s secret': { signature: 'HS256' },
    'signed with a foreign key': { signature: 'foreign' },
    'signed with a key that is not published': { signature: 'unknown key' },
    'userinfo of another person': { userinfo: { sub: 'sub-2' } },
    'no id_token': { tokenAnswer: { body: '{"access_token":"a","token_type":"bearer"}' } },
  }
  for (const [what, lie] of Object.entries(lies)) {
    test(what, async () => {
      const refused = await rejection(signIn(lie))
      expect(refused).toBeInstanceOf(SignInRefused)
      expect(refused).toMatchObject({ reason: 'untrusted', message: 'sign-in refused: untrusted' })
    })
  }

  test('userinfo that is signed counts by the provider’s own key alone', async () => {
    const admin = { userinfo: { groups: ['admins'] } }
    expect((await signIn({ ...admin, signedUserinfo: 'true' })).said).toContainEqual(
      expect.objectContaining({ source: 'userinfo', claims: expect.objectContaining({ groups: ['admins'] }) }),
    )
    for (const signedUserinfo of ['foreign', 'none'] as const) {
      const refused = await rejection(signIn({ ...admin, signedUserinfo }))
      expect(refused, signedUserinfo).toMatchObject({ reason: 'untrusted' })
    }
  })

  test('max_age without auth_time, or with an old one', async () => {
    expect(await rejection(signIn({}, { maxAge: 60 }))).toMatchObject({ reason: 'untrusted' })
    const old = { claims: { auth_time: now() - 600 } }
    expect(await rejection(signIn(old, { maxAge: 60 }))).toMatchObject({ reason: 'untrusted' })
    expect(await rejection(signIn(old, { reauthenticate: true }))).toMatchObject({ reason: 'untrusted' })
    expect(await signIn(old)).toMatchObject({ authTime: old.claims.auth_time })
    expect(await signIn(old)).not.toHaveProperty('authTimeAssumed')
    expect(await signIn({}, { reauthenticate: true })).toMatchObject({ authTimeAssumed: true })
    expect(await signIn({})).toMatchObject({ authTimeAssumed: true })
    expect(await signIn({ claims: { auth_time: now() } }, { maxAge: 60, reauthenticate: true })).toBeTruthy()
  })

  test('attack: an auth_time of the future is none: nobody stays freshly signed in by it', async () => {
    // As a provider says it whose unit is milliseconds, or whose clock is wrong.
    for (const auth_time of [Date.now(), now() + 3_600]) {
      const future = { claims: { auth_time } }
      const said = await signIn(future)
      expect(said.authTimeAssumed).toBe(true)
      expect(said.authTime).toBeLessThanOrEqual(now())
      expect(await signIn(future, { reauthenticate: true })).toMatchObject({ authTimeAssumed: true })
      expect(await rejection(signIn(future, { maxAge: 60 }))).toMatchObject({ reason: 'untrusted' })
    }
    // What clocks differ by.
    const ahead = { claims: { auth_time: now() + 30 } }
    expect(await signIn(ahead)).toMatchObject({ authTime: ahead.claims.auth_time })
    expect(await signIn(ahead)).not.toHaveProperty('authTimeAssumed')
  })
})

describe('a provider that signs people in again when it is asked to, and does not say that it did', () => {
  const unstated = { reauthenticates: 'unstated' } as const

  test('what it answers is told apart from who just came by; a client’s max_age means being asked again', async () => {
    expect(await signIn({}, {}, unstated)).toMatchObject({ authTimeAssumed: true })
    expect(await signIn({}, { reauthenticate: true }, unstated)).toMatchObject({ authTimeAssumed: 'asked' })
    const at = await open(unstated)
    for (const request of [{ reauthenticate: true }, { maxAge: 60 }, { maxAge: 60, reauthenticate: true }]) {
      const { searchParams } = new URL((await at.begin({ ...plainRequest, ...request })).url)
      expect([searchParams.get('prompt'), searchParams.get('max_age')]).toEqual(['login', '0'])
    }
    expect(await signIn({}, { maxAge: 60 }, unstated)).toMatchObject({ authTimeAssumed: 'asked' })
  })

  test('where it does say it, that counts, and one that is old is refused', async () => {
    const at = (auth_time: number) => signIn({ claims: { auth_time } }, { reauthenticate: true }, unstated)
    expect(await at(now())).not.toHaveProperty('authTimeAssumed')
    expect(await rejection(at(now() - 600))).toMatchObject({ reason: 'untrusted' })
  })

  test('attack: who sits at the browser can take nothing out of a request that was pushed, and so its answer is a proof', async () => {
    const before = provider.pushed.length
    provider.tell({ pushed: 'taken' })
    const at = await open(unstated)
    const { url, pending } = await at.begin({ ...plainRequest, reauthenticate: true })
    expect([...new URL(url).searchParams.keys()].toSorted()).toEqual(['client_id', 'request_uri'])
    expect(provider.pushed.slice(before).map((sent) => [sent.get('prompt'), sent.get('max_age')])).toEqual([
      ['login', '0'],
    ])
    const response = await fetch(url, { redirect: 'manual' })
    const said = await at.complete(new URL(response.headers.get('location') ?? ''), pending, redirectUri)
    expect(said).not.toHaveProperty('authTimeAssumed')
    // Another request in its place has another nonce.
    const again = await at.begin({ ...plainRequest, reauthenticate: true })
    const plain = await at.begin(plainRequest)
    const stripped = await fetch(plain.url, { redirect: 'manual' })
    const callback = new URL(stripped.headers.get('location') ?? '')
    expect(await rejection(at.complete(callback, again.pending, redirectUri))).toMatchObject({ reason: 'untrusted' })
    // Only what must not be changed is pushed.
    expect(provider.pushed).toHaveLength(before + 2)
    expect(await at.complete(callback, plain.pending, redirectUri)).toMatchObject({ authTimeAssumed: true })
  })

  test('a provider that refuses what is pushed is not asked by the browser in its place', async () => {
    provider.tell({ pushed: 'refused' })
    const at = await open(unstated)
    const failure = await rejection(at.begin({ ...plainRequest, reauthenticate: true }))
    expect(failure).toBeInstanceOf(ProviderUnavailable)
    expect((await at.begin(plainRequest)).url).toContain('/authorize?')
  })

  test('any other value is refused at start', () => {
    const options = { issuer: 'https://idp.example.com', clientId: 'me', reauthenticates: 'yes' as 'unstated' }
    expect(() => openid(options)).toThrow(/reauthenticates is/)
  })
})

describe('answers that are none are the provider’s trouble, and no secret of them is kept', () => {
  const secretBody = '{"access_token":"a-token-that-nobody-may-see", oops'
  const troubles: Record<string, Lie> = {
    'no JSON': { tokenAnswer: { body: secretBody } },
    'an HTML page': { tokenAnswer: { body: '<h1>Gateway</h1>', type: 'text/html', status: 502 } },
    'a huge answer': { tokenAnswer: { body: JSON.stringify({ access_token: 'x'.repeat(2_000_000) }) } },
    'keys out of reach': { keysStatus: 503 },
    'metadata of another issuer': { metadata: { issuer: 'https://evil.example.com' } },
    'metadata without keys': { metadata: { jwks_uri: undefined } },
  }
  for (const [what, lie] of Object.entries(troubles)) {
    test(what, async () => {
      const failure = await rejection(signIn(lie))
      expect(failure).toBeInstanceOf(ProviderUnavailable)
      const { message, detail, stack, cause } = failure as ProviderUnavailable
      expect([message, detail, stack, String((cause as Error | undefined)?.stack)].join()).not.toMatch(
        /nobody-may-see|Gateway/,
      )
      expect(detail?.length ?? 0).toBeLessThanOrEqual(320)
    })
  }
})

describe('at a refresh', () => {
  const refresh = async (lie: Lie) => {
    provider.tell(lie)
    const at = await open()
    if (!at.refresh) throw new Error('no refresh')
    const tokens = { accessToken: 'access-0', refreshToken: 'refresh-1' }
    return at.refresh({ issuer: provider.issuer, subject: 'sub-1', tokens })
  }

  test('an id_token of another person, of another issuer, for another client, or with a foreign signature: nothing is taken', async () => {
    for (const lie of [
      { claims: { sub: 'sub-2' } },
      { claims: { iss: 'https://evil.example.com' } },
      { claims: { aud: 'other' } },
      { signature: 'foreign' },
    ] as const) {
      expect(await rejection(refresh(lie)), JSON.stringify(lie)).toMatchObject({
        name: 'ProviderUnavailable',
        nothingDone: false,
      })
    }
  })

  test('trouble with the claims alone does not cost the new refresh token', async () => {
    for (const lie of [{ keysStatus: 503 }, { signature: 'unknown key' }, { userinfo: { sub: 'sub-2' } }] as const) {
      const renewal = await refresh(lie)
      expect(renewal.tokens).toMatchObject({ accessToken: 'access-1', refreshToken: 'refresh-2' })
      expect(renewal.said.map(({ source }) => source)).toEqual('userinfo' in lie ? ['id_token'] : ['userinfo'])
    }
  })
})

test('20 cold sign-ins fetch the keys once', async () => {
  const at = await open()
  const before = provider.keyRequests
  const { url, pending } = await at.begin(plainRequest)
  const callback = new URL((await fetch(url, { redirect: 'manual' })).headers.get('location') ?? '')
  await Promise.all(Array.from({ length: 20 }, () => at.complete(callback, pending, redirectUri)))
  expect(provider.keyRequests).toBe(before + 1)
})

test('fault 14: a provider that rotates its keys: sign-ins and refreshes go on, and the old key counts for nothing any more', async () => {
  const at = await open()
  const enter = async (lie: Lie = {}) => {
    provider.tell(lie)
    const { url, pending } = await at.begin(plainRequest)
    const response = await fetch(url, { redirect: 'manual' })
    return at.complete(new URL(response.headers.get('location') ?? ''), pending, redirectUri)
  }
  const { issuer, subject, tokens } = await enter()
  if (!tokens || !at.refresh) throw new Error('nothing to refresh')
  const signByOld = await provider.rotateKeys()
  // Of a key that is not known the provider is asked at once, but for the first seconds after it was asked last.
  await expect.poll(() => enter().then(mergedClaims, () => undefined)).toMatchObject({ email: 'one@example.com' })
  provider.tell({ claims: { nonce: undefined, email: 'new@example.com' } })
  const renewal = await at.refresh({ issuer, subject, tokens })
  expect(renewal.said.find(({ source }) => source === 'id_token')?.claims).toMatchObject({ email: 'new@example.com' })

  const { url, pending } = await at.begin(plainRequest)
  const callback = new URL((await fetch(url, { redirect: 'manual' })).headers.get('location') ?? '')
  const [iat, nonce] = [now(), new URL(url).searchParams.get('nonce')]
  const answered = (id_token: string) => {
    const body = { access_token: 'a', token_type: 'Bearer', expires_in: 60, id_token }
    provider.tell({ tokenAnswer: { body: JSON.stringify(body) } })
    return at.complete(callback, pending, redirectUri)
  }
  provider.tell({})
  expect(await answered(await provider.jwt({ nonce }))).toMatchObject({ subject: 'sub-1' })
  const forged = await signByOld({ iss: issuer, sub: 'sub-1', aud: 'me', iat, exp: iat + 60, nonce })
  expect(await rejection(answered(forged))).toMatchObject({ reason: 'untrusted' })
})
