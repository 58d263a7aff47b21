import { CompactSign, SignJWT } from 'jose'
import { expect, test } from 'vitest'
import { readSignedAccessToken } from '../../src/authorization-server/signed-access-token.ts'
import { signJwt } from '../../src/crypto/jws.ts'
import type { JsonObject } from '../../src/identity/json.ts'
import { registered, signedIn, testServer } from '../support/authorization-server.ts'

/** What was verified once is not verified again; that changes nothing of what is refused. */
const remembered = async () => {
  const to = await testServer()
  const { access_token: token } = await signedIn(to, await registered(to))
  const read = (text = token, server = to.server) => readSignedAccessToken(server, text)
  const first = await read()
  expect(await read()).toBe(first)
  return { to, token, read, first }
}

test('a remembered token expires', async () => {
  const { to, token, read } = await remembered()
  await to.pass(600_000)
  await expect(read()).rejects.toMatchObject({ reason: 'expired' })
  expect(await readSignedAccessToken(to.server, token, { expired: true })).toMatchObject({
    resource: expect.any(String),
  })
})

test('what expired is forgotten as others come', async () => {
  const { to, token, first } = await remembered()
  const again = () => readSignedAccessToken(to.server, token, { expired: true })
  await to.pass(600_000)
  expect(await again()).toBe(first)
  const { access_token: other } = await signedIn(to, await registered(to))
  await readSignedAccessToken(to.server, other)
  expect(await again()).toStrictEqual(first)
  expect(await again()).not.toBe(first)
})

test('what still lives is not', async () => {
  const { to, read, first } = await remembered()
  const { access_token: other } = await signedIn(to, await registered(to))
  await readSignedAccessToken(to.server, other)
  expect(await read()).toBe(first)
})

test('one that differs in any character is another', async () => {
  const { token, read } = await remembered()
  for (const at of [token.indexOf('.') + 5, token.lastIndexOf('.') + 1, token.lastIndexOf('.') + 40]) {
    const changed = token.slice(0, at) + (token[at] === 'A' ? 'B' : 'A') + token.slice(at + 1)
    await expect(read(changed)).rejects.toMatchObject({ name: 'TokenInvalid' })
  }
  await expect(read(`${token.slice(0, token.lastIndexOf('.'))}.`)).rejects.toMatchObject({ reason: 'malformed' })
  expect(await read()).toMatchObject({ claims: expect.anything() })
})

test('it goes with its key: neither without it nor with another of that id', async () => {
  const { to, token, read } = await remembered()
  const without = { ...to.server, keys: { ...to.server.keys, verificationKey: async () => undefined } }
  await expect(read(token, without)).rejects.toMatchObject({ reason: 'unknown_key' })
  const stranger = await testServer()
  const foreign = stranger.server.keys.signingKey().id
  const other = {
    ...to.server,
    keys: { ...to.server.keys, verificationKey: () => stranger.server.keys.verificationKey(foreign) },
  }
  await expect(read(token, other)).rejects.toMatchObject({ reason: 'signature' })
})

test.each([
  'a.b.c',
  'e30.e30.e30',
  `${Buffer.from('{"kid":1}').toString('base64url')}.e30.AA`,
  `${Buffer.from('[]').toString('base64url')}.e30.AA`,
])('what has no key of ours is refused: %s', async (text) => {
  const { server } = await testServer()
  await expect(readSignedAccessToken(server, text)).rejects.toMatchObject({ name: 'TokenInvalid' })
})

/** Signed with our own key: only what it says is wrong. */
const signing = async () => {
  const { server } = await testServer()
  const now = Math.floor(server.clock.now() / 1000)
  const right: JsonObject = {
    ...{ iss: server.issuer, sub: 'acc_1', client_id: 'client-1', aud: 'https://notes.example.com/mcp', grant_id: 'g' },
    ...{ scope: 'a b', iat: now, exp: now + 60, jti: 'id-1' },
  }
  const sign = (change: JsonObject = {}, type = 'at+jwt') =>
    signJwt(server.keys.signingKey(), type, { ...right, ...change })
  return { server, now, right, sign, read: async (text: string) => readSignedAccessToken(server, text) }
}

test('what a token says is read as it says it', async () => {
  const { server, right, sign, read, now } = await signing()
  const claims = { ...right, cnf: { jkt: 'thumb' } }
  expect(await read(await sign({ cnf: { jkt: 'thumb' } }))).toStrictEqual({
    ...{ issuer: server.issuer, subject: 'acc_1', clientId: 'client-1', resource: 'https://notes.example.com/mcp' },
    ...{ scopes: ['a', 'b'], expiresAt: now + 60, id: 'id-1', grant: 'g', jkt: 'thumb', claims },
  })
  const own = await read(await sign({ sub: 'client-1', grant_id: undefined, scope: undefined }))
  expect(own).toMatchObject({ subject: 'client-1', clientId: 'client-1', scopes: [] })
  expect(Object.keys(own)).not.toContain('grant')
  expect(Object.keys(own)).not.toContain('jkt')
})

test.each<[string, (now: number) => JsonObject, string]>([
  ['names another issuer', () => ({ iss: 'https://evil.example' }), 'unknown_issuer'],
  ['names no issuer', () => ({ iss: undefined }), 'unknown_issuer'],
  ['is not valid yet', (now) => ({ nbf: now + 3600 }), 'not_yet_valid'],
  ['ended', (now) => ({ exp: now - 1 }), 'expired'],
  ['never ends', () => ({ exp: undefined }), 'claims'],
  ['was issued at no time', () => ({ iat: undefined }), 'claims'],
  ['has no subject', () => ({ sub: undefined }), 'claims'],
  ['has a subject that is no text', () => ({ sub: 7 }), 'claims'],
  ['is for nobody', () => ({ aud: undefined }), 'claims'],
  ['is for several', () => ({ aud: ['https://notes.example.com/mcp', 'https://other.example'] }), 'claims'],
  ['is of no client', () => ({ client_id: undefined }), 'claims'],
  ['is of a client that is no text', () => ({ client_id: ['client-1'] }), 'claims'],
  ['has no id', () => ({ jti: undefined }), 'claims'],
  ['has an id that is no text', () => ({ jti: 7 }), 'claims'],
  ['has a scope that is no text', () => ({ scope: ['a'] }), 'claims'],
  ['has a scope that is none', () => ({ scope: 'a"b' }), 'claims'],
  ['has a grant that is no text', () => ({ grant_id: 7 }), 'claims'],
  ['has no grant, of a client’s own with a grant that is none', () => ({ sub: 'client-1', grant_id: 7 }), 'claims'],
  ['is a person’s without a grant', () => ({ grant_id: undefined }), 'claims'],
  ['is bound in a way that nobody can check', () => ({ cnf: { 'x5t#S256': 'x' } }), 'binding'],
])('a token of our own key that %s is refused', async (_, change, reason) => {
  const { sign, read, now } = await signing()
  await expect(read(await sign(change(now)))).rejects.toMatchObject({ name: 'TokenInvalid', reason })
})

test.each(['JWT', 'logout+jwt', 'token-introspection+jwt', 'at+jws'])(
  'a JWT of our own that is of type %s is no access token',
  async (type) => {
    const { sign, read } = await signing()
    await expect(read(await sign({}, type))).rejects.toMatchObject({ reason: 'type' })
  },
)

test('a token is for its own algorithm', async () => {
  const { server, sign } = await signing()
  const verificationKey = async (id: string) => {
    const key = await server.keys.verificationKey(id)
    return key && { ...key, algorithm: 'EdDSA' as const }
  }
  const other = { ...server, keys: { ...server.keys, verificationKey } }
  await expect(readSignedAccessToken(other, await sign())).rejects.toMatchObject({ reason: 'signature' })
})

test('a token beyond any length, or with anything around it, is none', async () => {
  const { sign, read } = await signing()
  const good = await sign()
  for (const odd of [` ${good}`, `${good} `, `${good}=`, `x.${good}`, `${good}.x`, good.replace('.', '..')]) {
    await expect(read(odd)).rejects.toMatchObject({ reason: 'malformed' })
  }
  await expect(read(await sign({ long: 'x'.repeat(16_384) }))).rejects.toMatchObject({ reason: 'malformed' })
  expect(await read(await sign({ long: 'x'.repeat(8_192) }))).toMatchObject({ subject: 'acc_1' })
})

test('a remembered token expires to the millisecond', async () => {
  const to = await testServer()
  await to.pass(1_000 - (to.clock.now() % 1_000))
  const { access_token: token, expires_in: life } = await signedIn(to, await registered(to))
  const read = () => readSignedAccessToken(to.server, token)
  const first = await read()
  await to.pass(life * 1_000 - 1)
  expect(await read()).toBe(first)
  await to.pass(1)
  await expect(read()).rejects.toMatchObject({ reason: 'expired' })
})

test('a token has 16384 characters at most', async () => {
  const { server, right, read } = await signing()
  const { id: kid, key } = server.keys.signingKey()
  const sized = async (length: number): Promise<string> => {
    // Base64url has no texts of some lengths: then another header makes up for it.
    for (const cty of ['a', 'ab', 'abc']) {
      const sign = (pad: number) =>
        new SignJWT({ ...right, pad: 'x'.repeat(pad) })
          .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', kid, cty })
          .sign(key)
      const rest = ((length - (await sign(0)).length) * 3) / 4
      for (const pad of [Math.floor(rest) - 1, Math.floor(rest), Math.ceil(rest)]) {
        const text = await sign(pad)
        if (text.length === length) return text
      }
    }
    throw new Error('no token of this length')
  }
  expect(await read(await sized(16_384))).toMatchObject({ subject: 'acc_1' })
  await expect(read(await sized(16_385))).rejects.toMatchObject({ reason: 'malformed' })
})

test('what refuses a token says what was the cause', async () => {
  const { sign, read } = await signing()
  const good = await sign()
  const forged = `${good.slice(0, -4)}AAAA`
  await expect(read(forged)).rejects.toMatchObject({ reason: 'signature', cause: expect.any(Error) })
  await expect(read('a.b.c')).rejects.toMatchObject({ reason: 'malformed', cause: expect.any(Error) })
})

test('so many tokens of a key are remembered, and no more: what was first goes first', async () => {
  const { sign, read } = await signing()
  const token = await sign()
  const first = await read(token)
  for (let index = 1; index < 4_096; index++) await read(await sign({ jti: `${index}` }))
  expect(await read(token)).toBe(first)
  await read(await sign({ jti: 'one too many' }))
  const again = await read(token)
  expect(again).toStrictEqual(first)
  expect(again).not.toBe(first)
})

test('a signed text of our own that is no claims is malformed', async () => {
  const { server, read } = await signing()
  const { id: kid, key } = server.keys.signingKey()
  const text = await new CompactSign(new TextEncoder().encode('no claims'))
    .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', kid })
    .sign(key)
  await expect(read(text)).rejects.toMatchObject({ reason: 'malformed', cause: expect.any(Error) })
})
