import { SignJWT } from 'jose'
import { describe, expect, test } from 'vitest'
import { findPresented, findRefreshToken, readToken } from '../../src/authorization-server/presented-token.ts'
import { deriveRefreshToken, parseRefreshToken } from '../../src/authorization-server/tokens.ts'
import { memory } from '../../src/store/memory.ts'
import { StoreUnavailable } from '../../src/store/store.ts'
import { stopped } from '../store/movable-clock.ts'
import {
  approved,
  postToken,
  redeem,
  refresh,
  registered,
  revoke,
  signedIn,
  type TestServer,
  testServer,
} from '../support/authorization-server.ts'
import { unreliable } from '../support/unreliable-store.ts'

const secret = 'a client secret of more than 32 characters'
const clients = [{ id: 'nightly', secret, scopes: { '/mcp': ['notes:read'] } }]

const setUp = async () => {
  const clock = stopped()
  const store = unreliable(memory({ clock }))
  const to = await testServer({ clients, clock, store })
  const client = await registered(to)
  const code = await approved(to, client)
  const { body: tokens } = await redeem(to, client, code)
  const find = (text: string) => findPresented(to.server, text)
  return { to, client, store, tokens, grant: code.grant, find }
}

describe('the token that a request is about', () => {
  const read = (form: string) => readToken(new URLSearchParams(form))

  test('is sent once; what is said of its kind, or besides, makes no difference', () => {
    expect(read('token=a')).toBe('a')
    expect(read('token=a&token_type_hint=refresh_token')).toBe('a')
    expect(read('token_type_hint=nonsense&token=a&other=1&other=2')).toBe('a')
    expect(read(`token=${'x'.repeat(20_000)}`)).toHaveLength(20_000)
  })

  test.each([
    ['', 'token is missing'],
    ['token=', 'token is missing'],
    ['token_type_hint=access_token', 'token is missing'],
    ['token=a&token=b', 'token was sent more than once'],
    ['token=a&token=a', 'token was sent more than once'],
    ['token=a&token=', 'token was sent more than once'],
    ['token=a&token_type_hint=x&token_type_hint=x', 'token_type_hint was sent more than once'],
  ])('%j is refused: %s', (form, description) => {
    expect(() => read(form)).toThrow(expect.objectContaining({ code: 'invalid_request', description }))
  })
})

describe('an access token', () => {
  test('is found with its grant, also when it has expired', async () => {
    const { to, tokens, grant, find } = await setUp()
    const found = { kind: 'access', signed: { grant }, grant: { value: { id: grant } } }
    expect(await find(tokens.access_token)).toMatchObject(found)
    await to.pass(601_000)
    expect(await find(tokens.access_token)).toMatchObject(found)
  })

  test('is found without its grant, where that has ended', async () => {
    const { to, client, tokens, grant, find } = await setUp()
    await revoke(to, client, tokens.refresh_token)
    expect(await find(tokens.access_token)).toMatchObject({ kind: 'access', signed: { grant }, grant: undefined })
  })

  test('of a client’s own has none, and none is looked for', async () => {
    const { to, store, find } = await setUp()
    const proof = { client_id: 'nightly', client_secret: secret }
    const { body } = await postToken(to, { grant_type: 'client_credentials', ...proof })
    const before = store.calls.get
    expect(await find(body.access_token)).toMatchObject({
      ...{ kind: 'access', signed: { clientId: 'nightly' }, grant: undefined },
    })
    expect(store.calls.get).toBe(before)
  })

  test('that somebody else made is none', async () => {
    const { to, tokens, find } = await setUp()
    const stranger = await setUp()
    const payload = JSON.parse(Buffer.from(tokens.access_token.split('.')[1] ?? '', 'base64url').toString())
    const forged = await new SignJWT(payload)
      .setProtectedHeader({ alg: 'HS256', typ: 'at+jwt', kid: to.server.keys.signingKey().id })
      .sign(new Uint8Array(32))
    for (const text of [stranger.tokens.access_token, forged, `${tokens.access_token}x`, 'ya29.a0Af', '']) {
      expect([text, await find(text)]).toEqual([text, undefined])
    }
  })

  test('that can’t be looked up is our own trouble, and is not called unknown', async () => {
    const { to, store, tokens, find } = await setUp()
    store.down = true
    await expect(find(tokens.access_token)).rejects.toThrow(StoreUnavailable)
    await expect(find(tokens.refresh_token)).rejects.toThrow(StoreUnavailable)
    store.down = false
    const keys = { ...to.server.keys, verificationKey: () => Promise.reject(new TypeError('a mistake of ours')) }
    await expect(findPresented({ ...to.server, keys }, tokens.access_token)).rejects.toThrow('a mistake of ours')
  })
})

describe('a refresh token', () => {
  const saltOf = async ({ server }: TestServer, text: string) =>
    (await findRefreshToken(server, text))?.grant.value.refresh?.salt ?? expect.fail('no grant')

  test('is found with its grant, of whatever generation', async () => {
    const { to, client, tokens, grant, find } = await setUp()
    const { body: second } = await refresh(to, client, tokens.refresh_token)
    for (const [text, generation] of [
      [tokens.refresh_token, 1],
      [second.refresh_token, 2],
    ] as const) {
      expect(await find(text)).toMatchObject({
        kind: 'refresh',
        token: { generation },
        grant: { value: { id: grant } },
      })
    }
  })

  test('is none without the right MAC: of another key, salt or grant', async () => {
    const { to, client, tokens, find } = await setUp()
    const token = parseRefreshToken(tokens.refresh_token) ?? expect.fail('no token')
    const salt = await saltOf(to, tokens.refresh_token)
    const key = to.server.keys.macKey()
    const again = deriveRefreshToken(token, 7, salt, key)
    expect(await find(again)).toMatchObject({ token: { generation: 7 } })
    const other = await signedIn(to, client)
    const otherToken = parseRefreshToken(other.refresh_token) ?? expect.fail('no token')
    const wrong = [
      deriveRefreshToken(token, 1, await saltOf(to, other.refresh_token), key),
      deriveRefreshToken(otherToken, 1, salt, key),
      deriveRefreshToken(token, 1, salt, { ...key, key: new Uint8Array(32) }),
      deriveRefreshToken(token, 1, salt, { ...key, id: 'unknown' }),
      deriveRefreshToken({ ...token, grant: 'A'.repeat(22) }, 1, salt, key),
      `${tokens.refresh_token.slice(0, -4)}AAAA`,
      `${tokens.refresh_token}A`,
      'cs_rt_nonsense',
      'cs_',
    ]
    for (const text of wrong) expect([text, await find(text)]).toEqual([text, undefined])
  })

  test('a grant whose code was not redeemed has none, and neither has one that comes of an exchange', async () => {
    const { to, client, tokens, find, store } = await setUp()
    const { grant } = await approved(to, client)
    const token = parseRefreshToken(tokens.refresh_token) ?? expect.fail('no token')
    const before = store.calls.get
    expect(await find(deriveRefreshToken({ ...token, grant }, 1, '', to.server.keys.macKey()))).toBeUndefined()
    expect(await find(deriveRefreshToken({ ...token, grant }, 1, 'undefined', to.server.keys.macKey()))).toBeUndefined()
    // No key is looked up for what has nothing to be checked with.
    const unknown = deriveRefreshToken({ ...token, grant }, 1, '', { ...to.server.keys.macKey(), id: 'unknown' })
    expect(await find(unknown)).toBeUndefined()
    expect(store.calls.get).toBe(before + 3)
  })

  test('a code is neither', async () => {
    const { to, client, find } = await setUp()
    expect(await find((await approved(to, client)).code)).toBeUndefined()
  })
})
