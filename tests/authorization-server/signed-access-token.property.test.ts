import { type KeyObject, sign } from 'node:crypto'
import fc from 'fast-check'
import { base64url, decodeProtectedHeader, errors, jwtVerify } from 'jose'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { readSignedAccessToken } from '../../src/authorization-server/signed-access-token.ts'
import { signJwt } from '../../src/crypto/jws.ts'
import { type TestServer, testServer } from '../support/authorization-server.ts'

/** Whatever is done to a token: it is taken if and only if the library of the field takes it, and then it says the same. */

let to: TestServer
let publicKey: KeyObject
let right: Readonly<Record<string, unknown>>
let good: string
beforeAll(async () => {
  to = await testServer()
  const { id } = to.server.keys.signingKey()
  publicKey = (await to.server.keys.verificationKey(id))?.key as KeyObject
  const now = Math.floor(to.clock.now() / 1000)
  right = {
    ...{ iss: to.server.issuer, sub: 'acc_1', client_id: 'client-1', aud: 'https://notes.example.com/mcp' },
    ...{ grant_id: 'g', scope: 'a b', iat: now, exp: now + 60, jti: 'id-1' },
  }
  good = await signJwt(to.server.keys.signingKey(), 'at+jwt', right)
})
afterAll(() => to.server.verifier.close())

const required = ['sub', 'aud', 'client_id', 'exp', 'iat', 'jti']

/** Taken by jose with our key, for what is of its kind and in order for it. */
const byJose = async (text: string): Promise<unknown> => {
  try {
    const { kid } = decodeProtectedHeader(text)
    if (!/^[\w-]+\.[\w-]+\.[\w-]+$/.test(text)) return undefined
    if (kid !== to.server.keys.signingKey().id || text.length > 16_384) return undefined
    const { payload } = await jwtVerify(text, publicKey, {
      ...{ issuer: to.server.issuer, typ: 'at+jwt', algorithms: ['ES256'], requiredClaims: required },
      currentDate: new Date(to.clock.now()),
    })
    return payload
  } catch (error) {
    if (error instanceof errors.JOSEError || error instanceof TypeError) return undefined
    throw error
  }
}

/** Of the shape that access tokens have, whatever jose says. */
const isShaped = (payload: unknown): boolean => {
  const { sub, aud, client_id, jti, scope = '', grant_id, cnf } = payload as Record<string, unknown>
  if (![sub, aud, client_id, jti, scope].every((each) => typeof each === 'string')) return false
  if (!/^[\x21\x23-\x5b\x5d-\x7e ]*$/.test(String(scope)) || cnf !== undefined) return false
  return typeof grant_id === 'string' || (grant_id === undefined && sub === client_id)
}

const agree = async (text: string): Promise<boolean> => {
  const expected = await byJose(text)
  const taken = await readSignedAccessToken(to.server, text).then(
    ({ claims }) => claims,
    (error: Error) => {
      expect(error).toMatchObject({ name: 'TokenInvalid' })
      return undefined
    },
  )
  expect(taken).toEqual(expected !== undefined && isShaped(expected) ? expected : undefined)
  return taken !== undefined
}

const signAnew = (header: object, payload: object): string => {
  const key = { key: to.server.keys.signingKey().key as KeyObject, dsaEncoding: 'ieee-p1363' } as const
  const text = [header, payload].map((part) => base64url.encode(JSON.stringify(part))).join('.')
  return `${text}.${sign('sha256', Buffer.from(text), key).toString('base64url')}`
}

test('the token as it was made is taken', async () => {
  expect(await agree(good)).toBe(true)
  const header = { alg: 'ES256', kid: to.server.keys.signingKey().id, typ: 'at+jwt' }
  expect(await agree(signAnew(header, right))).toBe(true)
  expect(await agree(signAnew({ ...header, typ: 'JWT' }, right))).toBe(false)
})

test('any part of the text changed, cut or doubled', async () => {
  const character = fc.constantFrom(...'AZaz09-_=. +/\n')
  await fc.assert(
    fc.asyncProperty(
      fc.nat(good.length),
      fc.nat(3),
      fc.string({ unit: character, maxLength: 4 }),
      async (at, cut, put) => {
        const text = good.slice(0, at) + put + good.slice(at + cut)
        await agree(text)
      },
    ),
    { numRuns: 300 },
  )
})

test('any claims, signed with our own key', async () => {
  const { issuer, clock } = to.server
  const now = Math.floor(clock.now() / 1000)
  const times = fc.constantFrom<unknown>(now - 1, now, now + 1, now + 60, now + 0.5, String(now + 60), null, -1, 1e300)
  const texts = fc.constantFrom<unknown>(
    issuer,
    `${issuer}/`,
    'client-1',
    'acc_1',
    '',
    7,
    null,
    [],
    ['client-1'],
    {},
    true,
  )
  const scopes = fc.constantFrom<unknown>('a b', 'a  b', '', ' ', 'a"b', 'ä', 7, ['a'], null)
  const claims = fc.record(
    {
      ...{ iss: texts, sub: texts, aud: texts, client_id: texts, jti: texts, grant_id: texts },
      ...{ iat: times, exp: times, nbf: times, scope: scopes },
    },
    { requiredKeys: [] },
  )
  const gone = fc.subarray(['iss', 'sub', 'aud', 'client_id', 'jti', 'grant_id', 'iat', 'exp', 'scope'], {
    maxLength: 2,
  })
  await fc.assert(
    fc.asyncProperty(claims, gone, async (changed, without) => {
      const kept = Object.fromEntries(
        Object.entries({ ...right, ...changed }).filter(([name]) => !without.includes(name)),
      )
      await agree(await signJwt(to.server.keys.signingKey(), 'at+jwt', kept))
    }),
    { numRuns: 300 },
  )
})

test('any header, signed with our own key', async () => {
  const { id } = to.server.keys.signingKey()
  const header = fc.record({
    alg: fc.constantFrom<unknown>('ES256', 'es256', 'none', 'HS256', 'RS256', 'EdDSA', 'ES384', '', null, 7, ['ES256']),
    kid: fc.constantFrom<unknown>(id, `${id} `, '', null, [id], 'other'),
    typ: fc.constantFrom<unknown>('at+jwt', 'AT+JWT', 'application/at+jwt', 'JWT', null, ['at+jwt']),
    more: fc.constantFrom<object>({}, { crit: ['b64'], b64: true }, { crit: [] }, { b64: false }, { jwk: {} }),
  })
  await fc.assert(
    fc.asyncProperty(header, async ({ more, ...rest }) => {
      await agree(signAnew({ ...rest, ...more }, right))
    }),
    { numRuns: 300 },
  )
})
