import fc from 'fast-check'
import {
  base64url,
  CompactSign,
  calculateJwkThumbprint,
  exportJWK,
  generateKeyPair,
  type JWK,
  type JWTHeaderParameters,
  SignJWT,
} from 'jose'
import { beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import {
  createDpopProofReader,
  type DpopProof,
  DpopProofInvalid,
  type DpopRequest,
  dpopAlgorithms,
  dpopWindow,
  isThumbprint,
} from '../../src/oauth/dpop-proof.ts'

const now = Date.UTC(2026, 10, 22)
const seconds = now / 1000
const request: DpopRequest = { method: 'POST', url: 'https://auth.example.com/token', now }
const claims = { jti: 'one', htm: 'POST', htu: request.url, iat: seconds }

interface Pair {
  readonly privateKey: CryptoKey
  readonly jwk: JWK
  readonly algorithm: string
}

const pairOf = async (algorithm: string): Promise<Pair> => {
  const { privateKey, publicKey } = await generateKeyPair(algorithm, { extractable: true })
  return { privateKey, jwk: await exportJWK(publicKey), algorithm }
}

let pair: Pair
beforeAll(async () => {
  pair = await pairOf('ES256')
})

/** A member that is undefined is left out. */
const proof = (changed: object = {}, header: object = {}, { privateKey, jwk, algorithm } = pair): Promise<string> =>
  new SignJWT({ ...claims, ...changed })
    .setProtectedHeader({ alg: algorithm, typ: 'dpop+jwt', jwk, ...header } as JWTHeaderParameters)
    .sign(privateKey)

const read = (text: string, changed: Partial<DpopRequest> = {}): Promise<DpopProof> =>
  createDpopProofReader()(text, { ...request, ...changed })

const refusal = async (text: string, changed: Partial<DpopRequest> = {}): Promise<string> => {
  const error = await read(text, changed).then(
    () => expect.fail('the proof was taken'),
    (reason: unknown) => reason,
  )
  if (!(error instanceof DpopProofInvalid)) throw error
  return error.reason
}

/** As signed, but another header or payload in its place. */
const forged = (text: string, part: 0 | 1, value: object): string => {
  const parts = text.split('.')
  parts[part] = base64url.encode(JSON.stringify(value))
  return parts.join('.')
}

describe('what a proof says', () => {
  test.each(dpopAlgorithms)('signed with %s, it names the key, and is told from others', async (algorithm) => {
    const signer = await pairOf(algorithm)
    const jkt = await calculateJwkThumbprint(signer.jwk)
    expect(await read(await proof({ nonce: 'n' }, {}, signer))).toEqual({
      jkt,
      jti: 'one',
      issuedAt: seconds,
      nonce: 'n',
    })
    expect(isThumbprint(jkt)).toBe(true)
  })

  test('the same from a reader that knows the key, and only for what that key signed', async () => {
    const reader = createDpopProofReader()
    const first = await reader(await proof(), request)
    expect(await reader(await proof({ jti: 'two' }), request)).toEqual({ ...first, jti: 'two' })
    const other = await pairOf('ES256')
    const [header] = (await proof()).split('.')
    const [, ...rest] = (await proof({}, {}, other)).split('.')
    await expect(reader([header, ...rest].join('.'), request)).rejects.toMatchObject({ reason: 'signature' })
    // Nor is what is known of one key taken for another's.
    const { jkt } = await reader(await proof({}, {}, other), request)
    expect(jkt).toBe(await calculateJwkThumbprint(other.jwk))
    expect(jkt).not.toBe(first.jkt)
  })

  test('members of the key that make no difference make none', async () => {
    const { jkt } = await read(await proof())
    const jwk = { ...pair.jwk, kid: 'a', use: 'sig', alg: 'ES256', key_ops: ['verify'] }
    expect((await read(await proof({}, { jwk, kid: 'another', x5u: 'https://evil.example' }))).jkt).toBe(jkt)
  })
})

describe('RFC 9449 §4.3: each of these is refused', () => {
  test('two proofs in one request', async () => {
    const text = await proof()
    expect(await refusal(`${text}, ${text}`)).toBe('several')
    expect(await refusal(`${text},${await proof({ jti: 'two' })}`)).toBe('several')
  })

  test.each(['', ' ', 'x', 'a.b', 'a.b.c', '...', 'a.b.c.d', 'é.é.é', `${'a'.repeat(9000)}.b.c`])(
    'what is no JWT: %j',
    async (text) => {
      expect(['malformed', 'key']).toContain(await refusal(text))
    },
  )

  test('no signature, or one that anybody could make (§11.6)', async () => {
    const text = await proof()
    const header = { typ: 'dpop+jwt', jwk: pair.jwk }
    expect(
      await refusal(
        `${forged(text, 0, { ...header, alg: 'none' })
          .split('.')
          .slice(0, 2)
          .join('.')}.`,
      ),
    ).toBe('malformed')
    expect(await refusal(forged(text, 0, { ...header, alg: 'none' }))).toBe('algorithm')
    expect(await refusal(forged(text, 0, header))).toBe('algorithm')
    // The public key as a secret that all know.
    const secret = new TextEncoder().encode(JSON.stringify(pair.jwk))
    const hmac = await new SignJWT(claims).setProtectedHeader({ ...header, alg: 'HS256' }).sign(secret)
    expect(await refusal(hmac)).toBe('algorithm')
    const oct = { kty: 'oct', k: base64url.encode(secret) }
    const own = await new SignJWT(claims).setProtectedHeader({ ...header, alg: 'HS256', jwk: oct as JWK }).sign(secret)
    expect(await refusal(own)).toBe('algorithm')
    expect(await refusal(forged(text, 0, { ...header, alg: 'ES256', jwk: oct }))).toBe('key')
  })

  test('another signature, header or payload', async () => {
    const text = await proof()
    const other = await pairOf('ES256')
    expect(await refusal(forged(text, 0, { alg: 'ES256', typ: 'dpop+jwt', jwk: other.jwk }))).toBe('signature')
    expect(await refusal(forged(text, 1, { ...claims, jti: 'two' }))).toBe('signature')
    const [header, payload, signature = ''] = text.split('.')
    const changed = `${signature[0] === 'A' ? 'B' : 'A'}${signature.slice(1)}`
    expect(await refusal(`${header}.${payload}.${changed}`)).toBe('signature')
    expect(await refusal(`${header}.${payload}.AAAA`)).toBe('signature')
  })

  test('another kind of JWT', async () => {
    for (const typ of [undefined, 'JWT', 'at+jwt', 'client-authentication+jwt']) {
      expect(await refusal(await proof({}, { typ }))).toBe('type')
    }
  })

  test('a private key, which the client gave away', async () => {
    expect(await refusal(await proof({}, { jwk: await exportJWK(pair.privateKey) }))).toBe('key')
    const rsa = await pairOf('RS256')
    const { p } = await exportJWK(rsa.privateKey)
    expect(await refusal(await proof({}, { jwk: { ...rsa.jwk, p } }, rsa))).toBe('key')
  })

  test('no key in it, wherever else one could be had', async () => {
    for (const jwk of [undefined, null, 'x', [], {}, { kty: 'EC' }, { kty: 'EC', crv: 'P-256', x: 1, y: 2 }]) {
      const named = { jwk, kid: 'one', jku: 'https://evil.example/jwks', x5u: 'https://evil.example/x5u' }
      expect(await refusal(await proof({}, named))).toBe('key')
    }
    // Its own header, with a name for the key that the prototype has.
    expect(await refusal(forged(await proof(), 0, { alg: 'ES256', typ: 'dpop+jwt', ['__proto__']: pair.jwk }))).toBe(
      'key',
    )
  })

  test('a key that is not of the algorithm', async () => {
    const rsa = await pairOf('RS256')
    expect(['key', 'signature']).toContain(await refusal(await proof({}, { jwk: rsa.jwk })))
    const p384 = await pairOf('ES384')
    expect(['key', 'signature']).toContain(await refusal(await proof({}, { jwk: p384.jwk })))
    expect(['key', 'signature']).toContain(await refusal(await proof({}, { jwk: { ...pair.jwk, crv: 'P-384' } })))
  })

  test('a point that is not on the curve', async () => {
    const { x = '', y = '' } = pair.jwk
    expect(await refusal(await proof({}, { jwk: { ...pair.jwk, x: y, y: x } }))).toBe('key')
  })

  test('an RSA key that is small, or so large that it costs us', async () => {
    const rsa = await pairOf('RS256')
    const [small] = [await crypto.subtle.generateKey(rsaOf(1024), true, ['sign', 'verify'])]
    const jwk = await exportJWK(small.publicKey)
    expect(['key', 'signature']).toContain(await refusal(forged(await proof({}, {}, rsa), 0, rsaHeader(jwk))))
    const { n = '' } = rsa.jwk
    expect(await refusal(forged(await proof({}, {}, rsa), 0, rsaHeader({ ...rsa.jwk, n: n.repeat(3) })))).toBe('key')
    expect(await refusal(forged(await proof({}, {}, rsa), 0, rsaHeader({ ...rsa.jwk, e: n })))).toBe('key')
  })

  test('a header member that must be understood', async () => {
    const text = await new CompactSign(new TextEncoder().encode(JSON.stringify(claims)))
      .setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk: pair.jwk, crit: ['b64'], b64: true })
      .sign(pair.privateKey)
    await read(text)
    expect(await refusal(forged(text, 0, { alg: 'ES256', typ: 'dpop+jwt', jwk: pair.jwk, crit: ['x'], x: 1 }))).toBe(
      'signature',
    )
  })

  test.each([
    ['jti', undefined],
    ['jti', ''],
    ['jti', 7],
    // Whoever keeps used ones in memory keeps many.
    ['jti', 'x'.repeat(257)],
    ['htm', undefined],
    ['htm', ['POST']],
    ['htu', undefined],
    ['htu', {}],
    ['iat', undefined],
    ['nonce', 7],
  ])('%s: %j', async (name, value) => {
    expect(await refusal(await proof({ [name]: value }))).toBe('claims')
  })

  test('made for another method, in whatever case', async () => {
    for (const htm of ['GET', 'post', 'Post', 'POST ']) expect(await refusal(await proof({ htm }))).toBe('method')
    expect(await refusal(await proof(), { method: 'GET' })).toBe('method')
  })

  test.each([
    'https://evil.example/token',
    'http://auth.example.com/token',
    'https://auth.example.com:8443/token',
    'https://auth.example.com/token2',
    'https://auth.example.com/Token',
    'https://auth.example.com/token//',
    'https://auth.example.com/x/token',
    'https://auth.example.com',
    'https://auth.example.com.evil.example/token',
    'https://auth.example.com@evil.example/token',
    'https://user@auth.example.com/token',
    '//auth.example.com/token',
    '/token',
    'token',
    '',
    'data:,https://auth.example.com/token',
  ])('made for another place: %s', async (htu) => {
    expect(await refusal(await proof({ htu }))).toBe('url')
  })

  test.each([
    'https://auth.example.com/token?a=b',
    'https://auth.example.com/token#c',
    'HTTPS://AUTH.example.COM:443/token',
    'https://auth.example.com/x/../token',
    'https://auth.example.com/token/',
  ])('but not what is the same place in other words: %s', async (htu) => {
    expect(await read(await proof({ htu }))).toMatchObject({ jti: 'one' })
  })

  test('too old, or from the future; not within five minutes', async () => {
    for (const away of [-dpopWindow - 1, dpopWindow + 1, -1e9, 1e300]) {
      expect(await refusal(await proof({ iat: seconds + away }))).toBe('time')
    }
    for (const away of [-dpopWindow, 0, 0.5, dpopWindow]) {
      expect(await read(await proof({ iat: seconds + away }))).toMatchObject({ issuedAt: seconds + away })
    }
    // What the client itself limits.
    expect(await refusal(await proof({ exp: seconds - dpopWindow - 1 }))).toBe('time')
    expect(await refusal(await proof({ nbf: seconds + dpopWindow + 1 }))).toBe('claims')
  })

  test('for another access token, or for none (§4.3, 11; §11.9)', async () => {
    const accessToken = 'Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU'
    // The RFC's own example.
    const ath = 'fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo'
    expect(await read(await proof({ ath }), { accessToken })).toMatchObject({ jti: 'one' })
    expect(await refusal(await proof({ ath }), { accessToken: `${accessToken}x` })).toBe('access_token')
    expect(await refusal(await proof(), { accessToken })).toBe('access_token')
    expect(await refusal(await proof({ ath: [ath] }), { accessToken })).toBe('access_token')
  })
})

test('property: whatever is sent, it is refused as a proof, and nothing else happens', async () => {
  const reader = createDpopProofReader()
  const good = await proof()
  const part = fc.oneof(
    fc.base64String().map((text) => text.replace(/[+/=]/g, '-')),
    fc.jsonValue().map((value) => base64url.encode(JSON.stringify(value))),
    fc
      .record(
        { alg: fc.constantFrom(...dpopAlgorithms, 'none', 'HS256'), typ: fc.constant('dpop+jwt'), jwk: fc.jsonValue() },
        { requiredKeys: [] },
      )
      .map((value) => base64url.encode(JSON.stringify(value))),
    fc.constantFrom(...good.split('.')),
  )
  const text = fc.oneof(
    fc.string(),
    fc.tuple(part, part, part).map((parts) => parts.join('.')),
    // The good one with a character changed.
    fc
      .tuple(fc.nat(good.length - 1), fc.constantFrom('A', '_', '.', ' ', ',', 'é'))
      .map(([at, character]) => good.slice(0, at) + character + good.slice(at + 1)),
  )
  await fc.assert(
    fc.asyncProperty(text, async (sent) => {
      fc.pre(sent !== good)
      const outcome = await reader(sent, request).catch((error: unknown) => error)
      // The last character of a signature has bits that say nothing.
      if (outcome instanceof Error) expect(outcome).toBeInstanceOf(DpopProofInvalid)
      else expect(sent.slice(0, -1)).toBe(good.slice(0, -1))
    }),
    { numRuns: 600 },
  )
})

test('property: a proof is good for its own request alone', async () => {
  const methods = fc.constantFrom('GET', 'POST', 'DELETE')
  const paths = fc.constantFrom('/token', '/mcp', '/mcp/a', '/')
  const one = fc.record({
    method: methods,
    path: paths,
    token: fc.constantFrom('t1', 't2', undefined),
    late: fc.integer({ min: -900, max: 900 }),
  })
  const url = (path: string) => `https://auth.example.com${path}`
  const athOf = async (token: string) =>
    base64url.encode(new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(token))))
  await fc.assert(
    fc.asyncProperty(one, one, async (made, sent) => {
      const text = await proof({
        htm: made.method,
        htu: url(made.path),
        iat: seconds + made.late,
        ...(made.token === undefined ? {} : { ath: await athOf(made.token) }),
      })
      const asked = {
        method: sent.method,
        url: url(sent.path),
        ...(sent.token === undefined ? {} : { accessToken: sent.token }),
      }
      const taken = await read(text, asked).then(
        () => true,
        () => false,
      )
      const fits = made.method === sent.method && made.path === sent.path && Math.abs(made.late) <= dpopWindow
      expect(taken).toBe(fits && (sent.token === undefined || sent.token === made.token))
    }),
    { numRuns: 300 },
  )
})

test('a thumbprint has one spelling', () => {
  expect(isThumbprint('0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I')).toBe(true)
  for (const text of ['', '0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4J', '0ZcOCORZNYy', ` ${'A'.repeat(42)}`]) {
    expect(isThumbprint(text)).toBe(false)
  }
})

const rsaOf = (modulusLength: number) => ({
  name: 'RSASSA-PKCS1-v1_5',
  hash: 'SHA-256',
  modulusLength,
  publicExponent: new Uint8Array([1, 0, 1]),
})
const rsaHeader = (jwk: JWK) => ({ alg: 'RS256', typ: 'dpop+jwt', jwk })

test('a key is one of its kind by its own members, whatever else is in it', async () => {
  const rsa = await pairOf('RS256')
  const { x = '', y = '', crv = '' } = pair.jwk
  const { jkt } = await read(await proof({}, {}, rsa))
  for (const more of [{ y }, { x }, { crv }, { x, y }, { crv, x }, { crv, y }, { crv, x, y }]) {
    expect((await read(await proof({}, { jwk: { ...rsa.jwk, ...more } }, rsa))).jkt).toBe(jkt)
  }
})

test.each(['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k', 'priv'])(
  'a key with the private member %s is refused',
  async (name) => {
    expect(await refusal(await proof({}, { jwk: { ...pair.jwk, [name]: 'x' } }))).toBe('key')
  },
)

test('a proof without a nonce has none', async () => {
  expect(await read(await proof())).toStrictEqual({ jkt: expect.any(String), jti: 'one', issuedAt: seconds })
})

test('a signed text that is no claims is malformed', async () => {
  const text = await new CompactSign(new TextEncoder().encode('no claims'))
    .setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk: pair.jwk })
    .sign(pair.privateKey)
  expect(await refusal(text)).toBe('malformed')
})

test('what refuses a proof says why, and what was the cause', async () => {
  const error = await read(await proof({}, { typ: 'JWT' })).catch((reason: unknown) => reason)
  expect(error).toMatchObject({ name: 'DpopProofInvalid', reason: 'type', cause: expect.any(Error) })
  const [, ...rest] = (await proof()).split('.')
  const unreadable = await read(['e30x', ...rest].join('.')).catch((reason: unknown) => reason)
  expect(unreadable).toMatchObject({ reason: 'key', cause: expect.any(Error) })
})

test('places on this computer are places like others', async () => {
  const url = 'http://localhost:8787/mcp'
  expect(await read(await proof({ htu: `${url}/` }), { url })).toMatchObject({ jti: 'one' })
  expect(await refusal(await proof({ htu: 'http://localhost:8788/mcp' }), { url })).toBe('url')
  expect(await refusal(await proof({ htu: 'https://:secret@auth.example.com/token' }))).toBe('url')
})

test('a proof names its access token by the digest that RFC 9449 §4.1 says, whatever characters come of it', async () => {
  const digestOf = async (text: string) =>
    Buffer.from(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text))).toString('base64url')
  const digests: string[] = []
  for (let index = 0; index < 12; index += 1) {
    const accessToken = `token-${index}`
    const ath = await digestOf(accessToken)
    digests.push(ath)
    expect(await read(await proof({ ath }), { accessToken })).toMatchObject({ jti: 'one' })
  }
  expect(digests.join('')).toMatch(/-.*_|_.*-/)
})

test('a proof is a JWT from its first to its last character', async () => {
  const text = await proof()
  for (const odd of [`=${text}`, `${text}=`, ` ${text}`, `${text}.`]) expect(await refusal(odd)).toBe('malformed')
})

test('a thumbprint is one from its first to its last character', () => {
  const thumbprint = '0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I'
  for (const text of [` ${thumbprint}`, `x${thumbprint}`, `${thumbprint}x`, `${thumbprint} `]) {
    expect(isThumbprint(text)).toBe(false)
  }
})

test('a proof has 8192 characters at most', async () => {
  const sized = async (length: number): Promise<string> => {
    // Base64url has no texts of some lengths: then another header makes up for it.
    for (const kid of ['a', 'ab', 'abc']) {
      const rest = length - (await proof({ pad: '' }, { kid })).length
      for (const pad of [Math.floor((rest * 3) / 4) - 1, Math.floor((rest * 3) / 4), Math.ceil((rest * 3) / 4)]) {
        const text = await proof({ pad: 'x'.repeat(pad) }, { kid })
        if (text.length === length) return text
      }
    }
    throw new Error('no proof of this length')
  }
  expect(await read(await sized(8192))).toMatchObject({ jti: 'one' })
  expect(await refusal(await sized(8193))).toBe('malformed')
})

test('of those who sent proofs, so many keys are remembered, and no more: what was not new of late goes', async () => {
  const imported = vi.spyOn(crypto.subtle, 'importKey')
  onTestFinished(() => imported.mockRestore())
  const reader = createDpopProofReader()
  const send = async (kid: string): Promise<number> => {
    const before = imported.mock.calls.length
    await reader(await proof({}, { kid }), request)
    return imported.mock.calls.length - before
  }
  expect([await send('first'), await send('first')]).toEqual([1, 0])
  for (let index = 1; index < 1_024; index++) await send(`${index}`)
  expect(await send('first')).toBe(0)
  expect([await send('one too many'), await send('first')]).toEqual([1, 1])
  expect(await send('1023')).toBe(0)
})
