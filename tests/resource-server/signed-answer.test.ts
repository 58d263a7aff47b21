import { exportJWK, generateKeyPair, importJWK, type JWK, SignJWT } from 'jose'
import { beforeAll, describe, expect, test } from 'vitest'
import type { JsonObject } from '../../src/identity/json.ts'
import { introspection } from '../../src/resource-server/introspection-verifier.ts'
import { createSignedAnswers } from '../../src/resource-server/signed-answer.ts'
import { stopped } from '../store/movable-clock.ts'

const issuer = 'https://issuer.example.com'
const resource = 'https://notes.example.com/mcp'
const jwksUri = 'https://keys.example.com/jwks'
const type = 'token-introspection+jwt'

interface Key {
  readonly privateKey: CryptoKey
  readonly jwk: JWK
  readonly algorithm: string
}
const makeKey = async (algorithm: string, kid: string): Promise<Key> => {
  const { privateKey, publicKey } = await generateKeyPair(algorithm, { extractable: true })
  return { privateKey, algorithm, jwk: { ...(await exportJWK(publicKey)), kid, alg: algorithm } }
}

const rsaKey = async (algorithm: string, kid: string): Promise<Key> => {
  const { kty, n, e } = rsa
  const privateKey = (await importJWK(rsa, algorithm)) as CryptoKey
  return { privateKey, algorithm, jwk: { kty, n, e, kid, alg: algorithm } as JWK }
}

let key: Key
let other: Key
/** Made once: it takes its time. */
let rsa: JWK
beforeAll(async () => {
  rsa = await exportJWK((await generateKeyPair('RS256', { extractable: true })).privateKey)
  key = await makeKey('ES256', 'one')
  other = await makeKey('ES256', 'two')
})

const answer = { active: true, sub: 'alice' }

const setUp = (published: () => readonly Key[] = () => [key], clockSkew = 5) => {
  const clock = stopped()
  const now = Math.floor(clock.now() / 1000)
  const seen = { uris: 0, fetched: [] as string[], signals: [] as AbortSignal[], warnings: 0 }
  let away = false
  const nothing = () => {}
  const warn = () => {
    seen.warnings += 1
  }
  const read = createSignedAnswers({
    ...{ issuer, clientId: 'rs', clock, clockSkew },
    async jwksUri(signal) {
      seen.uris += 1
      seen.signals.push(signal)
      return jwksUri
    },
    async fetch(url, init) {
      seen.fetched.push(url)
      seen.signals.push(init.signal)
      if (away) throw new Error('the issuer is away')
      return Response.json({ keys: published().map(({ jwk }) => jwk) })
    },
    logger: { debug: nothing, info: nothing, warn, error: nothing },
  })
  return { read, clock, now, seen, setAway: (value: boolean) => (away = value) }
}

/** What an issuer signs, with changes; undefined takes away. */
const signed = (now: number, claims: object = {}, header: object = {}, by: Key = key): Promise<string> =>
  new SignJWT({ iss: issuer, aud: 'rs', iat: now, token_introspection: answer, ...claims })
    .setProtectedHeader({ alg: by.algorithm, typ: type, kid: by.jwk.kid as string, ...header })
    .sign(by.privateKey)

describe('an answer', () => {
  test('is read where the issuer signed it, for this server, now', async () => {
    const { read, now, seen } = setUp()
    expect(await read(await signed(now))).toEqual(answer)
    expect(await read(await signed(now, { aud: ['another', 'rs'] }))).toEqual(answer)
    expect(seen).toMatchObject({ uris: 1, fetched: [jwksUri], warnings: 0 })
    // One bound for both: where the keys are, and the keys.
    expect(seen.signals[0]).toBe(seen.signals[1])
  })

  test.each<[string, object, object]>([
    ['of another issuer', { iss: 'https://evil.example' }, {}],
    ['of nobody', { iss: undefined }, {}],
    ['for another server', { aud: 'another' }, {}],
    ['for nobody', { aud: undefined }, {}],
    ['of no time', { iat: undefined }, {}],
    ['of another kind', {}, { typ: 'at+jwt' }],
    ['of no kind', {}, { typ: undefined }],
    ['without content', { token_introspection: undefined }, {}],
    ['of nothing', { token_introspection: null }, {}],
    ['that is a list', { token_introspection: [answer] }, {}],
    ['that is a text', { token_introspection: 'active' }, {}],
    ['that is a number', { token_introspection: 1 }, {}],
    ['that has ended', { exp: 1 }, {}],
    ['signed with a key that nobody knows', {}, { kid: 'three' }],
  ])('%s is none', async (_name, claims, header) => {
    const { read, now } = setUp()
    await expect(read(await signed(now, claims, header))).rejects.toThrow()
    expect(await read(await signed(now))).toEqual(answer)
  })

  test('that another key signed, or nobody, is none', async () => {
    const { read, now } = setUp()
    await expect(read(await signed(now, {}, { kid: 'one' }, other))).rejects.toThrow()
    const [, payload = ''] = (await signed(now)).split('.')
    const head = (header: object) => Buffer.from(JSON.stringify({ typ: type, ...header })).toString('base64url')
    await expect(read(`${head({ alg: 'none' })}.${payload}.`)).rejects.toThrow()
    // With the public key in the place of a shared secret.
    const secret = new TextEncoder().encode(JSON.stringify(key.jwk).padEnd(64, 'x'))
    const shared = await new SignJWT({ iss: issuer, aud: 'rs', iat: now, token_introspection: answer })
      .setProtectedHeader({ alg: 'HS256', typ: type, kid: 'one' })
      .sign(secret)
    await expect(read(shared)).rejects.toThrow()
    for (const garbage of ['', 'x', 'a.b.c', JSON.stringify(answer)]) await expect(read(garbage)).rejects.toThrow()
  })

  test('says how it was then: one from before, or from the future, is none', async () => {
    const { read, now } = setUp()
    // Ten seconds on the way, and the clocks' difference; a fraction of this second has passed already.
    for (const age of [0, 9, 14, -4]) expect(await read(await signed(now - age))).toEqual(answer)
    for (const age of [16, 60, -6, -60]) await expect(read(await signed(now - age)), String(age)).rejects.toThrow()
  })

  test.each(['ES256', 'ES384', 'ES512', 'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'EdDSA', 'Ed25519'])(
    'may be signed with %s',
    async (algorithm) => {
      const own = /^[RP]S/.test(algorithm) ? await rsaKey(algorithm, 'own') : await makeKey(algorithm, 'own')
      const { read, now } = setUp(() => [own])
      expect(await read(await signed(now, {}, {}, own))).toEqual(answer)
    },
  )
})

describe('the keys of the issuer', () => {
  test('are fetched once in ten minutes, and then others count', async () => {
    let published = [key]
    const { read, clock, seen } = setUp(() => published)
    const at = async (by: Key) => read(await signed(Math.floor(clock.now() / 1000), {}, {}, by))
    await at(key)
    await clock.pass(10 * 60_000 - 1)
    await at(key)
    expect(seen.fetched).toHaveLength(1)
    published = [other]
    await clock.pass(1)
    await expect(at(key)).rejects.toThrow()
    expect(await at(other)).toEqual(answer)
    expect(seen.fetched).toHaveLength(2)
  })

  test('that are new are found after ten seconds', async () => {
    let published = [key]
    const { read, clock, seen } = setUp(() => published)
    const at = async (by: Key) => read(await signed(Math.floor(clock.now() / 1000), {}, {}, by))
    await at(key)
    published = [key, other]
    await clock.pass(9_999)
    await expect(at(other)).rejects.toThrow()
    expect(seen.fetched).toHaveLength(1)
    await clock.pass(1)
    expect(await at(other)).toEqual(answer)
    expect(seen.fetched).toHaveLength(2)
  })

  test('are used for a day while the issuer is away, and no longer', async () => {
    const { read, clock, seen, setAway } = setUp()
    const now = async () => read(await signed(Math.floor(clock.now() / 1000)))
    await now()
    setAway(true)
    await clock.pass(24 * 60 * 60_000)
    expect(await now()).toEqual(answer)
    expect(seen.warnings).toBe(1)
    await clock.pass(1)
    await expect(now()).rejects.toMatchObject({ name: 'VerifierUnavailable' })
    setAway(false)
    await clock.pass(10_000)
    expect(await now()).toEqual(answer)
  })
})

describe('a verifier that takes signed answers alone', () => {
  const verifying = (change: (jwt: string, plain: JsonObject) => Response) => {
    const clock = stopped()
    const now = Math.floor(clock.now() / 1000)
    const said = { ...answer, client_id: 'app', aud: resource, exp: now + 60 }
    const asked: string[] = []
    const verifier = introspection(issuer, {
      ...{ clientId: 'rs', clientSecret: 's', clock, signed: true },
      fetch: async (url, { headers }) => {
        asked.push(url)
        if (url === jwksUri) return Response.json({ keys: [key.jwk] })
        if (url !== `${issuer}/introspect`)
          return Response.json({ issuer, jwks_uri: jwksUri, introspection_endpoint: `${issuer}/introspect` })
        expect(headers).toMatchObject({ Accept: `application/${type}` })
        return change(await signed(now, { token_introspection: said }), said)
      },
    })
    return { asked, said, verified: () => verifier.verify('opaque', resource) }
  }
  const as = (contentType: string) => ({ headers: { 'Content-Type': contentType } })

  test('finds the keys in the issuer’s metadata, and gives what was signed', async () => {
    const { asked, said, verified } = verifying((jwt) => new Response(jwt, as(`application/${type}; charset=utf-8`)))
    expect(await verified()).toMatchObject({ subject: 'alice', issuer, claims: said })
    const metadata = `${issuer}/.well-known/oauth-authorization-server`
    expect(asked).toEqual([metadata, `${issuer}/introspect`, metadata, jwksUri])
  })

  test.each<[string, (jwt: string, plain: JsonObject) => Response]>([
    ['a plain one', (_jwt, plain) => Response.json(plain)],
    [
      'a plain one that says it is signed',
      (_jwt, plain) => new Response(JSON.stringify(plain), as(`application/${type}`)),
    ],
    ['a signed one that says it is plain', (jwt) => new Response(jwt, as('application/json'))],
    ['a signed one that does not say what it is', (jwt) => new Response(jwt, as(''))],
  ])('takes no other answer: %s', async (_name, change) => {
    await expect(verifying(change).verified()).rejects.toMatchObject({ name: 'VerifierUnavailable' })
  })
})
