import { exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose'
import { beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { type JwksOptions, jwks } from '../../src/resource-server/jwks-verifier.ts'
import { stopped } from '../store/movable-clock.ts'

const issuer = 'https://issuer.example.com'
const resource = 'https://notes.example.com/mcp'

interface Key {
  readonly privateKey: CryptoKey
  readonly jwk: JWK
}
let made: [Key, Key, Key]
beforeAll(async () => {
  const make = async (kid: string): Promise<Key> => {
    const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true })
    return { privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg: 'ES256' } }
  }
  made = await Promise.all([make('one'), make('two'), make('three')])
})

/** An issuer of tokens by a clock that stands still; what it publishes and signs with can be changed. */
const setUp = (options: JwksOptions<unknown> = {}, more: object = {}) => {
  const clock = stopped()
  const seconds = Math.floor(clock.now() / 1000)
  const self = { published: made.map(({ jwk }) => jwk) as object[], asked: [] as string[] }
  const logged: string[] = []
  const nothing = () => {}
  const verifier = jwks(issuer, {
    clock,
    fetch: async (url) => {
      self.asked.push(url)
      return Response.json(
        url.endsWith('/jwks') ? { keys: self.published } : { issuer, jwks_uri: `${issuer}/jwks`, ...more },
      )
    },
    logger: { debug: nothing, info: nothing, warn: nothing, error: (message) => void logged.push(message) },
    ...options,
  })
  /** Undefined takes away. */
  const sign = (claims: object = {}, header: object = {}, { privateKey, jwk } = made[0]): Promise<string> =>
    new SignJWT({ iss: issuer, sub: 'alice', aud: resource, client_id: 'app', exp: seconds + 60, ...claims })
      .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', kid: jwk.kid as string, ...header })
      .sign(privateKey, { crit: { exotic: true } })
  const outcome = (token: string): Promise<unknown> =>
    verifier.verify(token, resource).then(
      () => 'taken',
      ({ name, reason }: { name: string; reason?: string }) => reason ?? name,
    )
  return Object.assign(self, { verifier, clock, seconds, sign, outcome, logged })
}

describe('what is refused, and why', () => {
  test.each<[string, object, object, string, string | undefined]>([
    ['has expired', { exp: 1 }, {}, 'expired', 'ERR_JWT_EXPIRED'],
    ['is not yet good', { nbf: 9_999_999_999 }, {}, 'not_yet_valid', 'ERR_JWT_CLAIM_VALIDATION_FAILED'],
    ['is of another issuer', { iss: 'https://evil.example' }, {}, 'unknown_issuer', 'ERR_JWT_CLAIM_VALIDATION_FAILED'],
    ['is of no issuer', { iss: undefined }, {}, 'unknown_issuer', 'ERR_JWT_CLAIM_VALIDATION_FAILED'],
    ['is for nobody', { aud: undefined }, {}, 'audience', 'ERR_JWT_CLAIM_VALIDATION_FAILED'],
    ['is for another', { aud: 'https://other.example' }, {}, 'audience', undefined],
    ['has no end', { exp: undefined }, {}, 'claims', 'ERR_JWT_CLAIM_VALIDATION_FAILED'],
    ['has an end that is no time', { exp: 'soon' }, {}, 'claims', 'ERR_JWT_CLAIM_VALIDATION_FAILED'],
    ['is of nobody', { sub: undefined }, {}, 'claims', 'ERR_JWT_CLAIM_VALIDATION_FAILED'],
    ['is of another kind', {}, { typ: 'jwt' }, 'type', undefined],
    ['is of no kind', {}, { typ: undefined }, 'type', undefined],
    ['is of a kind that only looks like it', {}, { typ: 'at+application/jwt' }, 'type', undefined],
    ['needs what nobody here knows', {}, { crit: ['exotic'], exotic: 1 }, 'malformed', 'ERR_JOSE_NOT_SUPPORTED'],
  ])('a token that %s', async (_name, claims, header, reason, cause) => {
    const { verifier, sign } = setUp()
    const token = await sign(claims, header)
    const error: unknown = await verifier.verify(token, resource).catch((problem: unknown) => problem)
    expect(error).toMatchObject({ name: 'TokenInvalid', reason })
    expect(((error as Error).cause as { code?: string } | undefined)?.code).toBe(cause)
  })

  test('types are compared as media types: in any case, with or without their first half', async () => {
    const { sign, outcome } = setUp()
    for (const typ of ['AT+JWT', 'application/at+jwt', 'Application/AT+jwt']) {
      expect(await outcome(await sign({}, { typ })), typ).toBe('taken')
    }
    const older = setUp({ types: ['at+jwt', 'application/JWT'] })
    expect(await older.outcome(await older.sign({}, { typ: 'jwt' }))).toBe('taken')
  })

  test('a signature that is another’s or none, and what is no token', async () => {
    const { sign, outcome, verifier } = setUp()
    const token = await sign()
    const [header, payload] = token.split('.')
    const foreign = await sign({}, { kid: 'two' })
    expect(await outcome(foreign)).toBe('signature')
    const error: unknown = await verifier.verify(foreign, resource).catch((problem: unknown) => problem)
    expect((error as Error).cause).toMatchObject({ code: 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED' })
    const unsigned = `${Buffer.from(JSON.stringify({ alg: 'none', typ: 'at+jwt' })).toString('base64url')}.${payload}.`
    expect(await outcome(unsigned)).toBe('signature')
    const shared = await new SignJWT({ iss: issuer, sub: 'alice', aud: resource, client_id: 'app', exp: 9_999_999_999 })
      .setProtectedHeader({ alg: 'HS256', typ: 'at+jwt', kid: 'one' })
      .sign(new TextEncoder().encode(JSON.stringify(made[0].jwk)))
    expect(await outcome(shared)).toBe('signature')
    for (const none of ['', 'x', 'a.b.c', `${header}.${payload}`, `${token}.x`, `${header}.e30=.x`]) {
      expect(await outcome(none), none).toBe('malformed')
    }
    expect(await outcome(token)).toBe('taken')
  })

  test('fault 5: a key that can’t be used is the issuer’s fault, and not the token’s', async () => {
    const self = setUp()
    self.published = [{ kty: 'EC', crv: 'P-256', x: 'AA', y: 'AA', kid: 'one', alg: 'ES256' }]
    const error: unknown = await self.verifier.verify(await self.sign(), resource).catch((problem: unknown) => problem)
    expect(error).toMatchObject({ name: 'VerifierUnavailable' })
    expect((error as Error).cause).toBeDefined()
  })
})

describe('a token that does not say which key signed it', () => {
  const without = { kid: undefined }

  test('is taken whichever did, of all that fit', async () => {
    const self = setUp()
    for (const key of made) expect(await self.outcome(await self.sign({}, without, key))).toBe('taken')
    self.published = self.published.slice(0, 2)
    await self.clock.pass(600_000)
    const exp = self.seconds + 3_600
    for (const [key, expected] of [
      [made[0], 'taken'],
      [made[1], 'taken'],
      [made[2], 'signature'],
    ] as const) {
      expect(await self.outcome(await self.sign({ exp }, without, key))).toBe(expected)
    }
  })

  test('is refused for what is wrong with it, whichever signed it', async () => {
    const { sign, outcome } = setUp()
    for (const key of made) {
      expect(await outcome(await sign({ exp: 1 }, without, key))).toBe('expired')
      expect(await outcome(await sign({ iss: 'https://evil.example' }, without, key))).toBe('unknown_issuer')
    }
  })
})

describe('what is remembered', () => {
  test('is recalled without waiting, for its resource and its time', async () => {
    const { verifier, sign, clock } = setUp({ clockSkew: 0 })
    const token = await sign()
    expect(verifier.recall?.(token, resource)).toBeUndefined()
    const verified = await verifier.verify(token, resource)
    expect(verifier.recall?.(token, resource)).toBe(verified)
    expect(verifier.recall?.(token, 'https://other.example/mcp')).toBeUndefined()
    await clock.pass(61_000)
    expect(verifier.recall?.(token, resource)).toBeUndefined()
  })

  test('with keys that may be out of date it counts no more than what is not', async () => {
    const { verifier, sign, clock, seconds } = setUp()
    const token = await sign({ exp: seconds + 3_600 })
    await verifier.verify(token, resource)
    await clock.pass(599_999)
    expect(verifier.recall?.(token, resource)).toBeDefined()
    await clock.pass(1)
    expect(verifier.recall?.(token, resource)).toBeUndefined()
    await verifier.verify(token, resource)
    expect(verifier.recall?.(token, resource)).toBeDefined()
  })

  test('is as much as was said', async () => {
    for (const [remembered, expected] of [
      [undefined, 2],
      [0, 0],
      [1, 1],
      [2, 2],
    ]) {
      const { verifier, sign } = setUp(remembered === undefined ? {} : { remembered })
      const tokens = [await sign(), await sign({ sub: 'bob' })]
      for (const token of tokens) await verifier.verify(token, resource)
      const known = tokens.filter((token) => verifier.recall?.(token, resource) !== undefined)
      expect([remembered, known.length]).toEqual([remembered, expected])
    }
  })

  test('that its key was fetched for this very token is no reason to forget it', async () => {
    const self = setUp()
    const { verifier, sign, clock } = self
    self.published = self.published.slice(0, 1)
    const [old, next] = [await sign(), await sign({}, {}, made[1])]
    await verifier.verify(old, resource)
    self.published = made.slice(0, 2).map(({ jwk }) => jwk)
    await clock.pass(10_000)
    await verifier.verify(next, resource)
    expect(verifier.recall?.(next, resource)).toBeDefined()
    // What was signed before is looked at again.
    expect(verifier.recall?.(old, resource)).toBeUndefined()
  })
})

describe('a schema for what the issuer signs', () => {
  const claims = z.object({ email: z.string(), name: z.string() })

  test('that no token of it can satisfy is told at start, by name, and in the log', async () => {
    const { verifier, logged } = setUp({ claims }, { upstream_claims_supported: ['iss', 'sub'] })
    await expect(verifier.ready?.()).rejects.toMatchObject({
      name: 'ConfigurationError',
      path: 'claims',
      message: expect.stringContaining(`what ${issuer} signs into its tokens, and not "email", "name"`),
    })
    expect(logged).toEqual([expect.stringContaining('"email", "name"')])
  })

  test('that can be satisfied, or of which the issuer says nothing, is no mistake', async () => {
    for (const [options, more] of [
      [{ claims }, { upstream_claims_supported: ['email', 'name'] }],
      [{ claims }, {}],
      [{}, { upstream_claims_supported: [] }],
    ] as const) {
      const { verifier, logged } = setUp(options, more)
      await verifier.ready?.()
      expect(logged).toEqual([])
    }
  })
})

test.each<[string, JwksOptions<unknown>, string]>([
  ['the subject as the client', { clientIdClaim: 'sub' }, 'clientIdClaim'],
  ['a shared secret', { algorithms: ['ES256', 'HS256'] }, 'algorithms'],
  ['no signature', { algorithms: ['none'] }, 'algorithms'],
  ['clocks that may differ by any time', { clockSkew: 301 }, 'clockSkew'],
  ['keys that come in clear', { jwksUri: 'http://issuer.example.com/jwks' }, 'jwksUri'],
])('options that can’t be right: %s', (_name, options, path) => {
  expect(() => jwks(issuer, options)).toThrow(expect.objectContaining({ name: 'ConfigurationError', path }))
})

test('every asymmetric algorithm may be asked for alone, and by default all of them are', async () => {
  const all = ['ES256', 'ES384', 'ES512', 'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'EdDSA', 'Ed25519']
  for (const algorithm of all) expect(() => jwks(issuer, { algorithms: [algorithm] })).not.toThrow()
  const only = setUp({ algorithms: all.filter((each) => each !== 'ES256') })
  expect(await only.outcome(await only.sign())).toBe('signature')
  const given = setUp({ algorithms: all })
  expect(await given.outcome(await given.sign())).toBe('taken')
})
