import { UnsecuredJWT } from 'jose'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { z } from 'zod'
import { TokenInvalid, type TokenInvalidReason, VerifierUnavailable } from '../../src/identity/verifier.ts'
import { type JwksOptions, jwks } from '../../src/resource-server/jwks-verifier.ts'
import { type JwksIssuer, type SignOptions, startJwksIssuer } from '../support/jwks-issuer.ts'

const resource = 'https://notes.example.com/mcp'
const seconds = () => Math.floor(Date.now() / 1000)

let issuer: JwksIssuer
beforeEach(async () => {
  issuer = await startJwksIssuer(resource)
})
afterEach(() => issuer.close())

/** A verifier whose clock the test moves. */
const verifier = <T = object>(options: JwksOptions<T> = {}) => {
  const clock = { ahead: 0, now: () => Date.now() + clock.ahead }
  return { ...jwks<T>(issuer.issuer, { clock, ...options }), clock }
}

const reasonOf = async (promise: Promise<unknown>): Promise<TokenInvalidReason | string> => {
  const error: unknown = await promise.then(
    () => expect.fail('the token was taken'),
    (reason: unknown) => reason,
  )
  return error instanceof TokenInvalid
    ? error.reason
    : error instanceof VerifierUnavailable
      ? 'unavailable'
      : String(error)
}

describe('what a handler gets', () => {
  test('fault 15, fault 16, origin 1, what was signed at issue is on the token that handlers get: client, scopes, upstream claims', async () => {
    const upstream_claims = {
      iss: 'https://accounts.example',
      sub: '42',
      email: 'alice@example.com',
      groups: ['staff'],
    }
    const token = await issuer.sign({ upstream_claims, tenant: 'acme', scope: 'notes:read notes:write' })
    const verified = await verifier().verify(token, resource)
    expect(verified).toMatchObject({
      kind: 'user',
      issuer: issuer.issuer,
      subject: 'alice',
      clientId: 'client-1',
      scopes: ['notes:read', 'notes:write'],
      resource,
      claims: { tenant: 'acme', upstream_claims },
      upstream: {
        issuer: 'https://accounts.example',
        subject: '42',
        claims: { email: 'alice@example.com', groups: ['staff'] },
      },
    })
    expect(verified.token).toBe(token)
    expect(verified.expiresAt).toBeGreaterThan(seconds())
  })

  test('origin 2, the same claims can be read from outside by any JWT library', async () => {
    const token = await issuer.sign({
      upstream_claims: { iss: 'https://accounts.example', sub: '42', email: 'a@example.com' },
    })
    const payload = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as object
    const verified = await verifier().verify(token, resource)
    expect(verified.claims).toEqual(payload)
  })

  test('origin 3, claims are typed and held against a schema by one option', async () => {
    const claims = z.object({ email: z.email().transform((email) => email.toLowerCase()) })
    const { verify } = verifier({ claims })
    const upstream = { iss: 'https://accounts.example', sub: '42', extra: 'kept' }
    const good = await verify(
      await issuer.sign({ upstream_claims: { ...upstream, email: 'Alice@Example.com' } }),
      resource,
    )
    const email: string | undefined = good.kind === 'user' ? good.upstream?.claims.email : undefined
    expect(email).toBe('alice@example.com')
    expect(good).toMatchObject({ upstream: { claims: { extra: 'kept' } } })
    expect(await reasonOf(verify(await issuer.sign({ upstream_claims: upstream }), resource))).toBe('schema')
    expect(await reasonOf(verify(await issuer.sign(), resource))).toBe('schema')
  })

  test('origin 6, all claims of the verified payload are there, `act` as the chain of actors too', async () => {
    const act = { sub: 'agent-2', act: { sub: 'agent-1', iss: 'https://agents.example' } }
    const verified = await verifier().verify(await issuer.sign({ act, custom: { deep: [1] } }), resource)
    expect(verified.claims).toMatchObject({ act, custom: { deep: [1] } })
    expect(verified.actor).toEqual({
      issuer: issuer.issuer,
      subject: 'agent-2',
      actor: { issuer: 'https://agents.example', subject: 'agent-1' },
    })
  })

  test('origin 10, the client is what the token says of it, never the subject and never a guess', async () => {
    expect(await reasonOf(verifier().verify(await issuer.sign({ client_id: undefined, azp: 'x' }), resource))).toBe(
      'claims',
    )
    const named = verifier({ clientIdClaim: 'azp' })
    const verified = await named.verify(await issuer.sign({ client_id: undefined, azp: 'client-2' }), resource)
    expect(verified).toMatchObject({ clientId: 'client-2', subject: 'alice' })
    expect(() => jwks(issuer.issuer, { clientIdClaim: 'sub' })).toThrow(/subject/)
  })

  test('a token whose subject is its client is the client’s own, whatever its platform said of it', async () => {
    const verified = await verifier().verify(await issuer.sign({ sub: 'client-1' }), resource)
    expect(verified.kind).toBe('client')
    expect(verified).not.toHaveProperty('upstream')
    const workload = { sub: 'client-1', upstream_claims: { iss: 'https://a.example', sub: '1' } }
    expect(await verifier().verify(await issuer.sign(workload), resource)).toMatchObject({
      kind: 'client',
      subject: 'client-1',
      upstream: { issuer: 'https://a.example', subject: '1' },
    })
  })

  test.each([
    null,
    'x',
    ['x'],
    {},
    { iss: 'https://a.example' },
    { sub: '1' },
    { iss: '', sub: '1' },
    { iss: 'a', sub: 7 },
  ])('upstream claims that name nobody are nobody’s: %j', async (upstream_claims) => {
    const verified = await verifier().verify(await issuer.sign({ upstream_claims }), resource)
    expect(verified).not.toHaveProperty('upstream')
    expect(verified.claims).toHaveProperty('upstream_claims')
  })

  test('the provider has the name that the issuer gives it, or its own', async () => {
    const upstream_claims = { iss: 'https://a.example', sub: '1' }
    const named = await verifier().verify(await issuer.sign({ upstream_claims, upstream_provider: 'a' }), resource)
    expect(named).toMatchObject({ upstream: { provider: 'a' } })
    const unnamed = await verifier().verify(await issuer.sign({ upstream_claims, upstream_provider: '' }), resource)
    expect(unnamed).toMatchObject({ upstream: { provider: 'https://a.example' } })
  })

  test.each([
    [{ scope: undefined }, []],
    [{ scope: '' }, []],
    [{ scope: 'a  b a' }, ['a', 'b']],
    [{ scope: undefined, scp: ['a', 'b'] }, ['a', 'b']],
  ])('scopes of %o are %o', async (claims, scopes) => {
    expect((await verifier().verify(await issuer.sign(claims), resource)).scopes).toEqual(scopes)
  })

  test('one audience of several is enough, and one trailing slash is no difference', async () => {
    const several = await issuer.sign({ aud: ['https://other.example', `${resource}/`] })
    expect((await verifier().verify(several, resource)).resource).toBe(resource)
  })

  test('an audience that is no URL counts where it is configured', async () => {
    const token = await issuer.sign({ aud: 'api://notes' })
    expect(await reasonOf(verifier().verify(token, resource))).toBe('audience')
    const configured = verifier({ audiences: ['api://notes'] })
    expect((await configured.verify(token, resource)).resource).toBe(resource)
  })
})

describe('fault 11, what is refused', () => {
  const past = () => seconds() - 3600
  test.each<[string, Record<string, unknown>, SignOptions, TokenInvalidReason]>([
    ['without exp', { exp: undefined }, {}, 'claims'],
    ['expired', { exp: past() }, {}, 'expired'],
    ['not yet valid', { nbf: seconds() + 3600 }, {}, 'not_yet_valid'],
    ['without audience', { aud: undefined }, {}, 'audience'],
    ['for another audience', { aud: 'https://other.example.com/mcp' }, {}, 'audience'],
    ['for a path below', { aud: `${resource}/below` }, {}, 'audience'],
    ['of another issuer', { iss: 'https://mallory.example' }, {}, 'unknown_issuer'],
    ['without issuer', { iss: undefined }, {}, 'unknown_issuer'],
    ['without subject', { sub: undefined }, {}, 'claims'],
    ['with an empty subject', { sub: '' }, {}, 'claims'],
    ['without client', { client_id: undefined }, {}, 'claims'],
    ['with a broken actor', { act: { iss: 'x' } }, {}, 'claims'],
    ['with a scope that is no text', { scope: 7 }, {}, 'claims'],
    ['with a list of scopes that are not all texts', { scope: undefined, scp: ['a', 7] }, {}, 'claims'],
    ['that is an id_token by its type', {}, { typ: 'JWT' }, 'type'],
    ['of a type of its own', {}, { typ: 'logout+jwt' }, 'type'],
    ['with a key that the issuer does not have', {}, { kid: 'nobody' }, 'unknown_key'],
  ])('a token %s', async (_, claims, header, reason) => {
    expect(await reasonOf(verifier().verify(await issuer.sign(claims, header), resource))).toBe(reason)
  })

  test('a token without required claims is refused for them and not as our trouble', async () => {
    const { verify } = verifier()
    for (const claims of [{ exp: 'soon' }, { nbf: 'x' }, { iat: 'x' }, { sub: 7 }, { client_id: ['a'] }]) {
      expect(await reasonOf(verify(await issuer.sign(claims), resource))).not.toBe('unavailable')
    }
  })

  test('a token without a type', async () => {
    const token = await issuer.sign({}, { typ: '' })
    expect(await reasonOf(verifier().verify(token, resource))).toBe('type')
  })

  test('a type is compared as the media type that it is', async () => {
    const token = await issuer.sign({}, { typ: 'application/AT+JWT' })
    expect((await verifier().verify(token, resource)).subject).toBe('alice')
  })

  test('plain JWTs are taken only where that was asked for', async () => {
    const token = await issuer.sign({}, { typ: 'JWT' })
    expect((await verifier({ types: ['at+jwt', 'JWT'] }).verify(token, resource)).subject).toBe('alice')
  })

  test('a token signed by a foreign key under a known key id', async () => {
    expect(await reasonOf(verifier().verify(await issuer.sign({}, { key: issuer.foreignKey }), resource))).toBe(
      'signature',
    )
  })

  test('a token that was changed after it was signed', async () => {
    const [header, , signature] = (await issuer.sign()).split('.')
    const [, payload] = (await issuer.sign({ sub: 'bob' })).split('.')
    expect(await reasonOf(verifier().verify(`${header}.${payload}.${signature}`, resource))).toBe('signature')
  })

  test('a token without signature, or with a symmetric one made of public data', async () => {
    const payload = { iss: issuer.issuer, sub: 'a', aud: resource, client_id: 'c', exp: seconds() + 60 }
    const none = new UnsecuredJWT(payload).encode()
    const symmetric = await issuer.sign({}, { alg: 'HS256', key: new TextEncoder().encode('x'.repeat(64)) })
    expect(['signature', 'malformed']).toContain(await reasonOf(verifier().verify(none, resource)))
    expect(['signature', 'malformed']).toContain(await reasonOf(verifier().verify(symmetric, resource)))
    expect(() => jwks(issuer.issuer, { algorithms: ['HS256'] })).toThrow(/algorithms/)
  })

  test.each(['', 'x', 'a.b.c', '....', 'cs_rt_1.2.3', 'eyJhbGciOiJFUzI1NiJ9.e30.AAAA'])(
    'garbage: %j',
    async (token) => {
      expect(await reasonOf(verifier().verify(token, resource))).toMatch(/malformed|unknown_key|signature|claims/)
    },
  )

  test('the skew between clocks is bounded', async () => {
    const { verify } = verifier()
    expect((await verify(await issuer.sign({ exp: seconds() - 20 }), resource)).subject).toBe('alice')
    expect(await reasonOf(verify(await issuer.sign({ exp: seconds() - 40 }), resource))).toBe('expired')
    for (const clockSkew of [3600, 301, -1, Number.NaN]) {
      expect(() => jwks(issuer.issuer, { clockSkew })).toThrow(/clockSkew/)
    }
    for (const clockSkew of [0, 300]) expect(() => jwks(issuer.issuer, { clockSkew })).not.toThrow()
  })
})

describe('an issuer’s keys', () => {
  test.each([
    ...['ES256', 'ES384', 'ES512', 'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
    ...['EdDSA', 'Ed25519'],
  ])('%s', async (algorithm) => {
    await issuer.rotate(algorithm)
    expect((await verifier().verify(await issuer.sign(), resource)).subject).toBe('alice')
  })

  test('fault 11, 20 cold calls at once fetch metadata and keys once', async () => {
    issuer.delay = 50
    const { verify } = verifier()
    const tokens = await Promise.all(Array.from({ length: 20 }, (_, index) => issuer.sign({ sub: `user-${index}` })))
    const verified = await Promise.all(tokens.map((token) => verify(token, resource)))
    expect(verified.map(({ subject }) => subject)).toEqual(tokens.map((_, index) => `user-${index}`))
    expect(issuer.requests).toEqual({ metadata: 1, keys: 1 })
  })

  test('fault 11, 50 unknown key ids fetch the keys at most once more', async () => {
    const { verify } = verifier()
    await verify(await issuer.sign(), resource)
    const tokens = await Promise.all(
      Array.from({ length: 50 }, (_, index) => issuer.sign({}, { kid: `unknown-${index}` })),
    )
    const reasons = await Promise.all(tokens.map((token) => reasonOf(verify(token, resource))))
    expect(new Set(reasons)).toEqual(new Set(['unknown_key']))
    expect(issuer.requests.keys).toBeLessThanOrEqual(2)
  })

  test('a new key is found once the cool-down is over, without waiting for the set to age', async () => {
    const { verify, clock } = verifier()
    await verify(await issuer.sign(), resource)
    await issuer.rotate()
    clock.ahead += 11_000
    expect((await verify(await issuer.sign(), resource)).subject).toBe('alice')
    expect(issuer.requests.keys).toBe(2)
  })

  test('tokens of a key that the issuer took back are refused, remembered or not', async () => {
    const { verify, clock } = verifier()
    const token = await issuer.sign({ exp: seconds() + 7200 })
    await verify(token, resource)
    await issuer.rotate()
    issuer.retire()
    clock.ahead += 11 * 60_000
    expect(await reasonOf(verify(token, resource))).toBe('unknown_key')
  })

  test('as soon as it is known that a key is gone, what it signed is remembered no more', async () => {
    const { verify, clock } = verifier()
    const token = await issuer.sign()
    await verify(token, resource)
    await issuer.rotate()
    issuer.retire()
    clock.ahead += 11_000
    await verify(await issuer.sign({ sub: 'bob' }), resource)
    expect(await reasonOf(verify(token, resource))).toBe('unknown_key')
  })

  describe('a token whose key was taken back while it was verified is not remembered', () => {
    /** Something that can be seen to have begun, and is held until it is let go. */
    const held = () => {
      let begin = () => {}
      let go = () => {}
      const begun = new Promise<void>((resolve) => {
        begin = resolve
      })
      const end = new Promise<void>((resolve) => {
        go = resolve
      })
      const hold = async () => {
        begin()
        await end
      }
      return { begun, go, hold }
    }

    const takeBackDuring = async (
      { verify, clock }: ReturnType<typeof verifier>,
      { begun, go }: ReturnType<typeof held>,
    ) => {
      const upstream_claims = { iss: 'https://id.example', sub: 'a person' }
      const token = await issuer.sign({ upstream_claims })
      const first = verify(token, resource)
      await begun
      await issuer.rotate()
      issuer.retire()
      clock.ahead += 11_000
      await verify(await issuer.sign({ sub: 'bob', upstream_claims }), resource)
      go()
      // Its key was good when it was looked up.
      await first
      expect(await reasonOf(verify(token, resource))).toBe('unknown_key')
    }

    test('while its signature was checked, in another thread', async () => {
      await issuer.rotate('ES384')
      const checking = held()
      const { subtle } = globalThis.crypto
      const check = subtle.verify.bind(subtle)
      const spy = vi.spyOn(subtle, 'verify').mockImplementationOnce(async (...given) => {
        await checking.hold()
        return check(...given)
      })
      try {
        await takeBackDuring(verifier(), checking)
      } finally {
        spy.mockRestore()
      }
    })

    test('while its claims were checked', async () => {
      const checking = held()
      let checked = 0
      const validate = async (value: unknown) => {
        if (checked++ === 0) await checking.hold()
        return { value: value as object }
      }
      const claims = { '~standard': { version: 1, vendor: 'test', validate } } as const
      await takeBackDuring(verifier({ claims }), checking)
    })
  })

  test('a token without key id is tried with every key that fits, and with no other', async () => {
    const first = await issuer.sign({}, { kid: null })
    await issuer.rotate('RS256')
    await issuer.rotate()
    const last = await issuer.sign({}, { kid: null })
    const { verify } = verifier()
    expect((await verify(first, resource)).subject).toBe('alice')
    expect((await verify(last, resource)).subject).toBe('alice')
    expect(await reasonOf(verify(await issuer.sign({}, { kid: null, key: issuer.foreignKey }), resource))).toBe(
      'signature',
    )
  })

  test.each([
    ['name one that it does not sign', ['iss', 'sub', 'name'], /"email"/],
    ['all are signed', ['iss', 'sub', 'email'], undefined],
    ['the issuer does not say', undefined, undefined],
  ])('design 2: a schema is held at start against the claims that are signed: %s', async (_, signed, message) => {
    issuer.upstreamClaims = signed
    const { ready } = verifier({ claims: z.object({ email: z.email(), name: z.string().optional() }) })
    if (message) await expect(ready?.()).rejects.toThrow(message)
    else await ready?.()
  })

  test('an issuer that never answers holds calls up for a bounded time', async () => {
    issuer.mode = 'hang'
    const { verify } = verifier()
    const begun = Date.now()
    expect(await reasonOf(verify(await issuer.sign(), resource))).toBe('unavailable')
    expect(Date.now() - begun).toBeLessThan(60_000)
    expect(await reasonOf(verify(await issuer.sign(), resource))).toBe('unavailable')
    expect(issuer.requests.metadata).toBe(1)
  })

  test.each(['down', 'foreign', 'garbage'] as const)(
    'fault 5, with an issuer that is %s a token is not called invalid',
    async (mode) => {
      issuer.mode = mode
      expect(await reasonOf(verifier().verify(await issuer.sign(), resource))).toBe('unavailable')
      await expect(verifier().ready?.()).rejects.toThrow(VerifierUnavailable)
    },
  )

  test('fault 5, an unknown key while the issuer is down is our trouble: the key may be new', async () => {
    const { verify, clock } = verifier()
    await verify(await issuer.sign(), resource)
    await issuer.rotate()
    issuer.mode = 'down'
    clock.ahead += 11_000
    expect(await reasonOf(verify(await issuer.sign(), resource))).toBe('unavailable')
  })

  test('the last good keys are kept while the issuer is down, and not for ever', async () => {
    const { verify, clock } = verifier()
    const token = await issuer.sign({ exp: seconds() + 7 * 86_400 })
    await verify(token, resource)
    issuer.mode = 'down'
    clock.ahead += 60 * 60_000
    expect((await verify(token, resource)).subject).toBe('alice')
    expect((await verify(await issuer.sign({ sub: 'bob', exp: seconds() + 86_400 }), resource)).subject).toBe('bob')
    clock.ahead += 25 * 60 * 60_000
    expect(await reasonOf(verify(token, resource))).toBe('unavailable')
    issuer.mode = 'ok'
    clock.ahead += 11_000
    expect((await verify(token, resource)).subject).toBe('alice')
  })

  test('keys that have moved are found where the metadata says by then; those of before count meanwhile', async () => {
    let place = '/jwks'
    const moved: JwksOptions<object>['fetch'] = async (url, init) => {
      const { pathname } = new URL(url)
      if (pathname === '/.well-known/oauth-authorization-server') {
        return Response.json({ issuer: issuer.issuer, jwks_uri: `${issuer.issuer}${place}` })
      }
      return pathname === place ? fetch(`${issuer.issuer}/jwks`, init) : new Response(null, { status: 404 })
    }
    const { verify, clock } = verifier({ fetch: moved })
    const later = { exp: seconds() + 7200 }
    await verify(await issuer.sign(later), resource)
    const known = await issuer.sign({ ...later, sub: 'bob' })
    place = '/keys'
    await issuer.rotate()
    clock.ahead += 11 * 60_000
    expect((await verify(known, resource)).subject).toBe('bob')
    clock.ahead += 11_000
    expect((await verify(await issuer.sign(later), resource)).subject).toBe('alice')
  })

  test('keys that are said to be elsewhere are looked for nowhere else', async () => {
    const asked: string[] = []
    const fetch: JwksOptions<object>['fetch'] = async (url) => {
      asked.push(url)
      return new Response(null, { status: 404 })
    }
    const jwksUri = `${issuer.issuer}/elsewhere`
    const { verify, clock } = verifier({ fetch, jwksUri })
    for (const _ of [1, 2]) {
      expect(await reasonOf(verify(await issuer.sign({ exp: seconds() + 7200 }), resource))).toBe('unavailable')
      clock.ahead += 11_000
    }
    expect(asked).toEqual([jwksUri, jwksUri])
  })

  test('a call that was seen before costs no fetch and is the same object', async () => {
    const { verify } = verifier()
    const token = await issuer.sign()
    expect(await verify(token, resource)).toBe(await verify(token, resource))
    expect(issuer.requests.keys).toBe(1)
  })

  test('a remembered token expires', async () => {
    const { verify, clock } = verifier({ clockSkew: 0 })
    const token = await issuer.sign({ exp: seconds() + 60 })
    await verify(token, resource)
    clock.ahead += 61_000
    expect(await reasonOf(verify(token, resource))).toBe('expired')
  })

  test('keys come only over https or from loopback', () => {
    expect(() => jwks('http://issuer.example.com')).toThrow(/https/)
    expect(() => jwks('https://issuer.example.com', { jwksUri: 'http://issuer.example.com/jwks' })).toThrow(/jwksUri/)
    expect(() => jwks('issuer')).toThrow(/issuer/)
  })
})
