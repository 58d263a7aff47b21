import { expect, test } from 'vitest'
import { readSignedAccessToken } from '../../src/authorization-server/signed-access-token.ts'
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
