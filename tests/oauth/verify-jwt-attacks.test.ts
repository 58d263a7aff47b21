import {
  constants,
  createPrivateKey,
  createPublicKey,
  createSecretKey,
  generateKeyPairSync,
  KeyObject,
  type SignKeyObjectInput,
  sign,
} from 'node:crypto'
import fc from 'fast-check'
import { base64url, createLocalJWKSet, exportJWK, type JWK, jwtVerify, SignJWT } from 'jose'
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import type { PublicKey } from '../../src/oauth/native-signature.ts'
import { verifyJwt } from '../../src/oauth/verify-jwt.ts'
import { agreed, checks, claims, every, makePairs, pairOf, seconds, signed, token } from './jwt-kit.ts'

beforeAll(makePairs)
afterEach(() => {
  vi.restoreAllMocks()
})

const withSignature = (text: string, signature: Uint8Array): string =>
  `${text.slice(0, text.lastIndexOf('.'))}.${base64url.encode(signature)}`
const inputOf = (text: string): Buffer => Buffer.from(text.slice(0, text.lastIndexOf('.')))
const signatureOf = (text: string): Uint8Array => base64url.decode(text.slice(text.lastIndexOf('.') + 1))
const privateOf = (algorithm: string) => KeyObject.from(pairOf(algorithm).privateKey)

describe('a signature that is not what the algorithm asks for', () => {
  test('of a curve: in another encoding, of another length, or made of nothing', async () => {
    const text = await token('ES256')
    const { publicKey } = pairOf('ES256')
    const good = signatureOf(text)
    const [r, s] = [good.slice(0, 32), good.slice(32)]
    const zeros = new Uint8Array(32)
    const bad = [
      sign('sha256', inputOf(text), privateOf('ES256')),
      ...[[zeros, zeros], [r, zeros], [zeros, s], [s, r], [r], [r, s, zeros], [zeros, r, s], [r, s.slice(1)]].map(
        (parts) => Buffer.concat(parts),
      ),
      ...[new Uint8Array(64).fill(0xff), new Uint8Array(64).fill(1), Buffer.from('3006020101020101', 'hex')],
    ]
    for (const signature of bad) {
      expect(await agreed(withSignature(text, signature), publicKey)).toMatchObject({ taken: false })
    }
    expect(await agreed(text, publicKey)).toMatchObject({ taken: true })
  })

  test('of RSA: with another salt, another padding, another digest, or shortened', async () => {
    const text = await token('PS256')
    const { publicKey } = pairOf('PS256')
    const key = privateOf('PS256')
    const pss = (saltLength: number, digest = 'sha256') =>
      sign(digest, inputOf(text), { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength })
    const plain: SignKeyObjectInput = { key, padding: constants.RSA_PKCS1_PADDING }
    const bad = [pss(0), pss(20), pss(31), pss(33), pss(48), pss(64), pss(constants.RSA_PSS_SALTLEN_MAX_SIGN)]
    // Not at its start, where one in 200 has a zero, without which it is the same number.
    bad.push(pss(32, 'sha384'), sign('sha256', inputOf(text), plain), pss(32).subarray(0, -1), Buffer.alloc(256))
    for (const signature of bad) {
      expect(await agreed(withSignature(text, signature), publicKey)).toMatchObject({ taken: false })
    }
    expect(await agreed(withSignature(text, pss(32)), publicKey)).toMatchObject({ taken: true })
  })

  test('over a text that no bytes are written as', async () => {
    const encoded = [JSON.stringify({ alg: 'ES256', typ: 'at+jwt' }), JSON.stringify(claims)].map((text) =>
      // As many letters as leave no remainder: one more stands for less than a byte.
      base64url.encode(text.padEnd(Math.ceil(text.length / 3) * 3)),
    )
    for (const [header, payload] of [
      ['', 'A'],
      ['A', ''],
      ['', ''],
    ] as const) {
      const input = `${encoded[0]}${header}.${encoded[1]}${payload}`
      const signature = sign('sha256', Buffer.from(input), { key: privateOf('ES256'), dsaEncoding: 'ieee-p1363' })
      const text = `${input}.${base64url.encode(signature)}`
      expect(await agreed(text, pairOf('ES256').publicKey)).toMatchObject({ taken: header + payload === '' })
    }
  })

  test('with the public key as a shared secret', async () => {
    const secret = createPublicKey(privateOf('RS256')).export({ type: 'spki', format: 'pem' })
    const text = await new SignJWT(claims)
      .setProtectedHeader({ alg: 'HS256', typ: 'at+jwt' })
      .sign(new TextEncoder().encode(String(secret)))
    const { algorithms: _, ...all } = checks
    for (const asked of [checks, all, { ...checks, algorithms: [...every, 'HS256'] }]) {
      expect(await agreed(text, pairOf('RS256').publicKey, asked)).toMatchObject({ taken: false })
    }
  })

  test('by a key of which everything is its own signature', async () => {
    // The neutral element: with it, what anybody can write down "signs" everything.
    const jwk = { kty: 'OKP', crv: 'Ed25519', x: base64url.encode(Uint8Array.of(1, ...new Uint8Array(31))) }
    const key = (await crypto.subtle.importKey('jwk', jwk, { name: 'Ed25519' }, true, ['verify'])) as CryptoKey
    const text = withSignature(await token('EdDSA'), Uint8Array.of(1, ...new Uint8Array(63)))
    await agreed(text, key)
  })
})

describe('a key that is none of the algorithm', () => {
  test.each(every)('%s: every other key', async (algorithm) => {
    const text = await token(algorithm)
    for (const other of every) {
      for (const key of [pairOf(other).publicKey, KeyObject.from(pairOf(other).publicKey)]) {
        await agreed(text, key)
      }
      // Signed by that very key, as it can: only what the header says is wrong.
      await agreed(await token(algorithm, {}, {}, pairOf(other).privateKey), pairOf(other).publicKey)
    }
    expect(await agreed(text, pairOf(algorithm).publicKey)).toMatchObject({ taken: true })
  })

  test('one that may not verify, is private, secret, or too weak', async () => {
    const rsa = (modulusLength: number) => generateKeyPairSync('rsa', { modulusLength })
    const cases: [string, PublicKey, KeyObject][] = []
    const jwk = await exportJWK(pairOf('ES256').publicKey)
    const mute = await crypto.subtle.importKey('jwk', jwk, { name: 'ECDSA', namedCurve: 'P-256' }, true, [])
    cases.push(['ES256', mute, privateOf('ES256')])
    for (const algorithm of ['ES256', 'EdDSA', 'RS256']) {
      cases.push([algorithm, pairOf(algorithm).privateKey, privateOf(algorithm)])
      cases.push([algorithm, privateOf(algorithm), privateOf(algorithm)])
      cases.push([algorithm, createSecretKey(Buffer.alloc(32)), privateOf(algorithm)])
    }
    const weak = rsa(1024)
    const hash = 'SHA-256'
    const weakKey = await crypto.subtle.importKey(
      ...(['jwk', weak.publicKey.export({ format: 'jwk' }), { name: 'RSASSA-PKCS1-v1_5', hash }, true] as const),
      ['verify'],
    )
    cases.push(['RS256', weakKey, weak.privateKey], ['RS256', weak.publicKey, weak.privateKey])
    const k1 = generateKeyPairSync('ec', { namedCurve: 'secp256k1' })
    cases.push(['ES256', k1.publicKey, k1.privateKey])
    const ed448 = generateKeyPairSync('ed448')
    cases.push(['EdDSA', ed448.publicKey, ed448.privateKey])
    for (const [algorithm, key, signer] of cases) {
      const header = base64url.encode(JSON.stringify({ alg: algorithm, typ: 'at+jwt' }))
      const input = `${header}.${base64url.encode(JSON.stringify(claims))}`
      const digest = algorithm === 'EdDSA' ? null : 'sha256'
      const signature = sign(digest, Buffer.from(input), { key: signer, dsaEncoding: 'ieee-p1363' })
      expect(await agreed(`${input}.${base64url.encode(signature)}`, key)).toMatchObject({ taken: false })
    }
  })

  test('one of RSA that is longer than usual verifies as well, in another thread', async () => {
    const subtle = vi.spyOn(crypto.subtle, 'verify')
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 4104 })
    const text = await token('RS256')
    const key = createPrivateKey(privateKey.export({ type: 'pkcs8', format: 'pem' }))
    const long = withSignature(text, sign('sha256', inputOf(text), key))
    expect(await verifyJwt(long, publicKey, checks)).toMatchObject({ payload: claims })
    expect(subtle).toHaveBeenCalledOnce()
    expect(await agreed(long, publicKey)).toMatchObject({ taken: true })
    expect(await agreed(text, publicKey)).toMatchObject({ taken: false })
  })
})

const anyAlgorithm = fc.constantFrom(...every)
/** Mostly what is right, so that what is wrong is seldom wrong in two ways. */
const mostly = <T>(right: T, ...others: fc.Arbitrary<unknown>[]) =>
  fc.oneof({ weight: 6, arbitrary: fc.constant(right) }, ...others.map((arbitrary) => ({ weight: 1, arbitrary })))
const times = fc.integer({ min: seconds - 60, max: seconds + 60 })
const anyHeader = fc.record(
  {
    alg: mostly(undefined, anyAlgorithm, fc.constantFrom('none', 'HS256', 'es256', '', 'toString'), fc.jsonValue()),
    typ: mostly('at+jwt', fc.constantFrom('AT+JWT', 'application/at+jwt', 'jwt', ''), fc.jsonValue()),
    kid: fc.jsonValue(),
    crit: mostly(undefined, fc.constantFrom([], ['b64'], ['exp'], ['b64', 'b64'], null), fc.jsonValue()),
    b64: mostly(undefined, fc.boolean(), fc.jsonValue()),
  },
  { requiredKeys: ['alg', 'typ'] },
)
const anyClaims = fc.record(
  {
    iss: mostly(claims.iss, fc.jsonValue()),
    sub: mostly('alice', fc.jsonValue()),
    aud: mostly(claims.aud, fc.jsonValue()),
    exp: mostly(seconds + 60, times, fc.jsonValue()),
    nbf: mostly(undefined, times, fc.jsonValue()),
    iat: mostly(seconds, times, fc.jsonValue()),
    more: fc.jsonValue(),
  },
  { requiredKeys: ['iss', 'sub', 'aud', 'exp'] },
)

describe('property: nothing is decided in another way than the library does', () => {
  test('whatever a signed token says', async () => {
    const seen = { true: 0, false: 0 }
    await fc.assert(
      fc.asyncProperty(anyAlgorithm, anyAlgorithm, anyHeader, anyClaims, async (own, other, header, payload) => {
        const said = JSON.stringify({ ...header, ...(header.alg === undefined ? { alg: own } : {}) })
        const text = await signed(said, JSON.stringify(payload), pairOf(own).privateKey)
        const { taken } = await agreed(text, pairOf(own).publicKey)
        seen[`${taken === true}`] += 1
        await agreed(text, pairOf(other).publicKey)
        await agreed(text, KeyObject.from(pairOf(own).publicKey), { currentDate: checks.currentDate })
      }),
      { numRuns: 250 },
    )
    expect(Math.min(seen.true, seen.false)).toBeGreaterThan(0)
  })

  test('however a good token was changed on its way', async () => {
    const characters = fc.constantFrom(...'AZaz09-_', '.', '=', '+', '/', ' ', '\n', '\0', 'é', '\ud83e')
    const change = fc.tuple(fc.nat(), fc.constantFrom('put', 'replace', 'take', 'cut', 'twice'), characters)
    const changed = (text: string, [at, how, character]: readonly [number, string, string]): string => {
      const place = at % (text.length + 1)
      const [before, after] = [text.slice(0, place), text.slice(place)]
      if (how === 'put') return before + character + after
      if (how === 'replace') return before + character + after.slice(1)
      if (how === 'take') return before + after.slice(1)
      return how === 'cut' ? before : before + after + after
    }
    await fc.assert(
      fc.asyncProperty(anyAlgorithm, fc.array(change, { maxLength: 3 }), async (algorithm, changes) => {
        const text = changes.reduce(changed, await token(algorithm))
        await agreed(text, pairOf(algorithm).publicKey)
      }),
      { numRuns: 250 },
    )
  })

  test('whatever a set of keys says', async () => {
    const members = fc.record(
      {
        kid: mostly('one', fc.constantFrom('two', ''), fc.jsonValue()),
        use: mostly('sig', fc.constant('enc'), fc.jsonValue()),
        alg: mostly(undefined, anyAlgorithm, fc.jsonValue()),
        key_ops: mostly(undefined, fc.constantFrom(['verify'], ['sign'], [], ['verify', 'verify']), fc.jsonValue()),
        crv: mostly(undefined, fc.constantFrom('P-256', 'P-384', 'secp256k1', 'Ed448'), fc.jsonValue()),
        kty: mostly(undefined, fc.constantFrom('EC', 'RSA', 'OKP', 'oct'), fc.jsonValue()),
        x: mostly(undefined, fc.base64String()),
        n: mostly(undefined, fc.base64String()),
        d: mostly(undefined, fc.constant('AQAB')),
      },
      { requiredKeys: [] },
    )
    const seen = { true: 0, false: 0 }
    await fc.assert(
      fc.asyncProperty(anyAlgorithm, fc.array(members, { minLength: 1, maxLength: 2 }), async (algorithm, changes) => {
        const jwk = await exportJWK(pairOf(algorithm).publicKey)
        const keys = changes.map((change) => {
          const said = Object.entries(change).filter(([, value]) => value !== undefined)
          return { ...jwk, ...Object.fromEntries(said) } as JWK
        })
        const text = await token(algorithm)
        const [ours, theirs] = await Promise.all(
          [verifyJwt, jwtVerify].map(async (verify) =>
            verify(text, createLocalJWKSet({ keys }), checks).then(
              ({ payload }) => ({ payload }),
              (error: { code?: string; message: string }) => ({ code: error.code, message: error.message }),
            ),
          ),
        )
        expect(ours).toEqual(theirs)
        seen[`${ours !== undefined && 'payload' in ours}`] += 1
      }),
      { numRuns: 250 },
    )
    expect(Math.min(seen.true, seen.false)).toBeGreaterThan(0)
  })
})
