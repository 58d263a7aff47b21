import { compactVerify, createLocalJWKSet, decodeJwt, exportJWK, generateKeyPair, type JWK } from 'jose'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { TokenInvalid } from '../../src/identity/verifier.ts'
import { createClientProof, type ResourceClient } from '../../src/resource-server/client-proof.ts'
import {
  checkSecureUrl,
  discover,
  discoverUrl,
  type Fetch,
  fetchJson,
  fetchText,
} from '../../src/resource-server/discovery.ts'
import { type IssuerVerifier, verifierOf } from '../../src/resource-server/issuer.ts'
import { applyUpstreamSchema, unsignedClaims } from '../../src/resource-server/upstream-schema.ts'
import { stopped } from '../store/movable-clock.ts'

const issuer = 'https://issuer.example.com/tenant'
const { signal } = new AbortController()
const configuration = (path: string) => expect.objectContaining({ name: 'ConfigurationError', path })

test.each<[string, string, string]>([
  ['ES256', 'EC', 'ES256'],
  ['Ed25519', 'OKP', 'EdDSA'],
  ['RS256', 'RSA', 'RS256'],
])('a resource server shows who it is by a key: %s', async (algorithm, kty, alg) => {
  const { privateKey, publicKey } = await generateKeyPair(algorithm, { extractable: true })
  const { alg: _alg, ...clientKey } = { ...(await exportJWK(privateKey)), kid: 'k1' } as JWK
  expect(clientKey.kty).toBe(kty)
  const clock = stopped()
  const now = Math.floor(clock.now() / 1000)
  const prove = createClientProof({ clientId: 'rs', clientKey }, issuer, clock)
  const { headers, parameters } = await prove()
  expect(headers).toEqual({})
  expect(parameters).toEqual({
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion: expect.any(String),
    client_id: 'rs',
  })
  const assertion = parameters.client_assertion ?? expect.fail('no assertion')
  const keys = createLocalJWKSet({ keys: [{ ...(await exportJWK(publicKey)), kid: 'k1' }] })
  expect((await compactVerify(assertion, keys)).protectedHeader).toEqual({ alg, kid: 'k1' })
  const claims = decodeJwt(assertion)
  expect(claims).toEqual({
    jti: expect.any(String),
    iat: now,
    exp: now + 60,
    iss: 'rs',
    sub: 'rs',
    aud: issuer,
  })
  // Each is used once.
  expect(decodeJwt((await prove()).parameters.client_assertion ?? '').jti).not.toBe(claims.jti)
})

test.each<[string, ResourceClient, string]>([
  ['nobody', { clientId: '', clientSecret: 's' }, 'clientSecret'],
  ['without secret and key', { clientId: 'a' }, 'clientSecret'],
  ['with both', { clientId: 'a', clientSecret: 's', clientKey: { kty: 'EC', d: 'x' } }, 'clientSecret'],
  ['with a public key', { clientId: 'a', clientKey: { kty: 'EC', crv: 'P-256', x: 'x', y: 'y' } }, 'clientKey'],
  ['with a shared key', { clientId: 'a', clientKey: { kty: 'oct', k: 'x', d: 'x' } }, 'clientKey'],
  ['by another algorithm', { clientId: 'a', clientKey: { kty: 'EC', d: 'x', alg: 'ES384' } }, 'clientKey'],
])('a resource server that can’t show who it is: %s', (_name, client, path) => {
  expect(() => createClientProof(client, issuer, stopped())).toThrow(configuration(path))
})

test('a secret goes into the header, form-encoded', async () => {
  const proof = await createClientProof({ clientId: 'a:b', clientSecret: 's t' }, issuer, stopped())()
  expect(proof).toEqual({ headers: { Authorization: `Basic ${btoa('a%3Ab:s%20t')}` }, parameters: {} })
})

test('keys and answers come over https, or from this computer', () => {
  for (const url of ['https://x.example/jwks', 'http://localhost:1/jwks', 'http://127.0.0.1', 'http://[::1]/']) {
    expect(checkSecureUrl(url, 'p').href).toBe(new URL(url).href)
  }
  for (const url of ['http://x.example', 'ftp://localhost', 'x', '', 'http://localhost.x.example']) {
    expect(() => checkSecureUrl(url, 'p')).toThrow(configuration('p'))
  }
})

/** An issuer's metadata by address; all other addresses are not there. */
const serving =
  (documents: Readonly<Record<string, unknown>>, asked: string[] = []): Fetch =>
  async (url) => {
    asked.push(url)
    return url in documents ? Response.json(documents[url]) : new Response('no', { status: 404 })
  }
const places = [
  'https://issuer.example.com/.well-known/oauth-authorization-server/tenant',
  'https://issuer.example.com/.well-known/openid-configuration/tenant',
  'https://issuer.example.com/tenant/.well-known/openid-configuration',
]

test.each(places)('metadata are found at %s', async (place) => {
  const asked: string[] = []
  const document = { issuer, jwks_uri: 'https://keys.example/jwks', upstream_claims_supported: ['iss', 7, 'sub'] }
  expect(await discover(issuer, serving({ [place]: document }, asked), signal)).toEqual({
    jwksUri: 'https://keys.example/jwks',
    upstreamClaims: ['iss', 'sub'],
  })
  expect(asked).toEqual(places.slice(0, places.indexOf(place) + 1))
})

test('of an issuer without a path there are two places, and one that says nothing of claims promises none', async () => {
  const asked: string[] = []
  const root = 'https://issuer.example.com/'
  const [, place = ''] = [root, `${root}.well-known/openid-configuration`]
  const found = await discover(
    root,
    serving({ [place]: { issuer: root, jwks_uri: 'https://k.example' } }, asked),
    signal,
  )
  expect(found).toEqual({ jwksUri: 'https://k.example', upstreamClaims: undefined })
  expect(asked).toEqual([`${root}.well-known/oauth-authorization-server`, place])
})

test('another issuer’s metadata, and metadata without the member, are passed over', async () => {
  const [first = '', second = '', third = ''] = places
  const good = { issuer, introspection_endpoint: 'https://issuer.example.com/introspect' }
  const documents = { [first]: { ...good, issuer: 'https://evil.example' }, [second]: { issuer }, [third]: good }
  expect(await discoverUrl(issuer, 'introspection_endpoint', serving(documents), signal)).toEqual({
    url: good.introspection_endpoint,
    metadata: good,
  })
  await expect(discoverUrl(issuer, 'jwks_uri', serving(documents), signal)).rejects.toMatchObject({
    name: 'VerifierUnavailable',
    message: expect.stringMatching(/another issuer.*has no jwks_uri/),
  })
})

test('where no metadata can be read, an operator is told what each place said', async () => {
  const fetch: Fetch = async (url) => {
    if (url === places[0]) throw new Error('connection refused')
    // What hosts throw need not be an error.
    if (url === places[1]) throw 'out of order'
    return new Response('no', { status: 404 })
  }
  await expect(discoverUrl(issuer, 'jwks_uri', fetch, signal)).rejects.toMatchObject({
    name: 'VerifierUnavailable',
    message: `no metadata of ${issuer} could be read: connection refused; out of order; ${places[2]} answered 404`,
  })
})

test('an address that is not safe is not used, whatever stands elsewhere', async () => {
  const [first = '', second = ''] = places
  const documents = {
    [first]: { issuer, jwks_uri: 'http://keys.example/jwks' },
    [second]: { issuer, jwks_uri: 'https://keys.example/jwks' },
  }
  await expect(discover(issuer, serving(documents), signal)).rejects.toMatchObject({
    name: 'VerifierUnavailable',
    cause: configuration('jwks_uri'),
  })
})

const answering =
  (body: BodyInit | null, init?: ResponseInit): Fetch =>
  async () =>
    new Response(body, init)

test('what is fetched is 200, not redirected, bounded, and as it was sent', async () => {
  let sent: unknown
  const fetch: Fetch = async (_url, init) => {
    sent = init
    return new Response('\u00e4\u{1f511}', { headers: { 'Content-Type': 'Text/Plain ; charset=utf-8' } })
  }
  const request = { method: 'POST', body: 'x' } as const
  expect(await fetchText('https://x.example', fetch, signal, request)).toEqual({
    text: '\u00e4\u{1f511}',
    type: 'text/plain',
  })
  expect(sent).toEqual({ ...request, signal, redirect: 'manual' })
  const longest = 256 * 1024
  expect((await fetchText('https://x', answering('x'.repeat(longest)), signal)).text).toHaveLength(longest)
  await expect(fetchText('https://x', answering('x'.repeat(longest + 1)), signal)).rejects.toThrow('larger than')
  expect(await fetchText('https://x', answering(null), signal)).toEqual({ text: '', type: '' })
  for (const status of [201, 302, 404, 500]) {
    await expect(fetchText('https://x', answering('{}', { status }), signal)).rejects.toThrow(`answered ${status}`)
  }
  await expect(fetchText('https://x', answering(null, { status: 404 }), signal)).rejects.toThrow('answered 404')
})

test('a character that is split between two pieces is read whole', async () => {
  const bytes = new TextEncoder().encode('{"a":"\u{1f511}"}')
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const byte of bytes) controller.enqueue(Uint8Array.of(byte))
      controller.close()
    },
  })
  expect(await fetchJson('https://x', answering(body), signal)).toEqual({ a: '\u{1f511}' })
})

test.each(['[]', 'null', '"x"', '7', 'true', '', '{'])('%s is no JSON object', async (body) => {
  await expect(fetchJson('https://x', answering(body), signal)).rejects.toThrow()
})

test('an endless answer is left', async () => {
  let cancelled = false
  const endless = new ReadableStream<Uint8Array>({
    pull: (controller) => controller.enqueue(new Uint8Array(64 * 1024)),
    cancel: () => {
      cancelled = true
    },
  })
  await expect(fetchText('https://x', answering(endless), signal)).rejects.toThrow('larger than')
  expect(cancelled).toBe(true)
})

const jwt = (payload: unknown): string => `e30.${Buffer.from(JSON.stringify(payload)).toString('base64url')}.sig`
const named = (name: string, more: Partial<IssuerVerifier> = {}): IssuerVerifier => ({
  issuer: name,
  verify: async (token, resource, jkt) => {
    throw Object.assign(new Error(name), { asked: [token, resource, jkt] })
  },
  ...more,
})

test('each token goes to the verifier of its issuer, and to no other', async () => {
  const recognising = named('urn:keys', { recognises: (token) => token.startsWith('cs_key_') })
  const { verify } = verifierOf([named('https://a.example'), recognising, named('https://b.example/?\u00fe')])
  for (const name of ['https://a.example', 'https://b.example/?\u00fe']) {
    const token = jwt({ iss: name, pad: '???>>>' })
    // Read as bytes: only to choose, and then verified by whom it names.
    const expected = name.includes('\u00fe') ? { reason: 'unknown_issuer' } : { message: name }
    await expect(verify(token, 'r', 'key')).rejects.toMatchObject(expected)
  }
  const token = jwt({ iss: 'https://a.example' })
  await expect(verify(token, 'r', 'key')).rejects.toMatchObject({ asked: [token, 'r', 'key'] })
  await expect(verify('cs_key_1', 'r')).rejects.toMatchObject({ message: 'urn:keys' })
  await expect(verify(jwt({ iss: 'https://c.example' }), 'r')).rejects.toMatchObject({ reason: 'unknown_issuer' })
  for (const none of ['', 'x', 'a.b.c', jwt({}), jwt({ iss: 7 }), jwt(null), jwt('x')]) {
    await expect(verify(none, 'r')).rejects.toEqual(new TokenInvalid('malformed'))
  }
})

test('a single verifier sees all tokens, and two of one issuer are a mistake', () => {
  const only = named('https://a.example')
  expect(verifierOf([only])).toBe(only)
  expect(() => verifierOf([only, named('https://a.example')])).toThrow(configuration('issuers'))
  expect(() => verifierOf([only, named('https://b.example')])).not.toThrow()
})

const facts = {
  ...{ token: 't', kind: 'user' as const, issuer: 'i', subject: 's', clientId: 'c', scopes: [], resource: 'r' },
  ...{ expiresAt: 1, claims: {} },
}
const upstream = { provider: 'p', issuer: 'u', subject: '1', claims: { email: 'A@x.example', more: 1 } }
const schema = z.object({ email: z.email().transform((email) => email.toLowerCase()) })

test('a schema is laid over what was said, and drops nothing', async () => {
  expect((await applyUpstreamSchema({ ...facts, upstream }, schema)).upstream).toEqual({
    ...upstream,
    claims: { email: 'a@x.example', more: 1 },
  })
  const plain = { ...facts, upstream }
  expect(await applyUpstreamSchema(plain, undefined)).toBe(plain)
  // What a workload has is its platform's word.
  const own = { ...facts, kind: 'client' as const }
  expect(await applyUpstreamSchema(own, schema)).toBe(own)
  await expect(applyUpstreamSchema(facts, schema)).rejects.toMatchObject({ reason: 'schema' })
  const other = { ...facts, upstream: { ...upstream, claims: {} } }
  await expect(applyUpstreamSchema(other, schema)).rejects.toMatchObject({ reason: 'schema' })
})

test('claims that a schema asks for and nobody signs are named, each once', async () => {
  const asking = z.object({ email: z.email(), groups: z.array(z.string()), sub: z.string() })
  expect(await unsignedClaims(asking, ['iss', 'sub'])).toEqual(['email', 'groups'])
  expect(await unsignedClaims(z.object({}), [])).toEqual([])
  const standard = (path: readonly (PropertyKey | { readonly key: PropertyKey })[]) => ({
    '~standard': { version: 1 as const, vendor: 'x', validate: () => ({ issues: [{ message: 'no', path }] }) },
  })
  expect(await unsignedClaims(standard([{ key: 'email' }, 'x']), [])).toEqual(['email'])
  expect(await unsignedClaims(standard([0]), [])).toEqual([])
  const whole = { '~standard': { version: 1 as const, vendor: 'x', validate: () => ({ issues: [{ message: 'no' }] }) } }
  expect(await unsignedClaims(whole, [])).toEqual([])
})
