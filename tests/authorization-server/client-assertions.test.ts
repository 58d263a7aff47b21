import { exportJWK, generateKeyPair, type JWTPayload, SignJWT } from 'jose'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { metadataEndpoint } from '../../src/authorization-server/metadata.ts'
import { registerEndpoint } from '../../src/authorization-server/register.ts'
import { tokenEndpoint } from '../../src/authorization-server/token.ts'
import { hashStrings } from '../../src/crypto/hash.ts'
import { clientAssertionType } from '../../src/oauth/client-assertion.ts'
import { clientRef } from '../../src/records/client.ts'
import { memory } from '../../src/store/memory.ts'
import { movable } from '../store/movable-clock.ts'
import {
  answered,
  approved,
  basic,
  callback,
  formPost,
  issuer,
  jsonPost,
  postToken,
  redeem,
  refresh,
  registered,
  revoke,
  type TestClient,
  type TestServer,
  type TestServerOptions,
  testServer,
} from '../support/authorization-server.ts'
import { type DocumentServer, documentServer } from '../support/document-server.ts'

const minute = 60_000

/** A client with a key of its own, as hosted clients publish it. */
async function keyOf(alg = 'RS256', kid = 'one') {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
  return { privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' }, alg, kid }
}
type Key = Awaited<ReturnType<typeof keyOf>>

let web: DocumentServer
let key: Key
let clientId: string
let published: object[]
beforeEach(async () => {
  web = await documentServer()
  key = await keyOf()
  clientId = `${web.origin}/client.json`
  published = [key.jwk]
  web.metadata = { token_endpoint_auth_method: 'private_key_jwt', jwks_uri: `${web.origin}/jwks.json` }
  const { answer } = web
  web.answer = (request, response) => {
    if (request.url !== '/jwks.json') return answer(request, response)
    response.setHeader('Content-Type', 'application/json').end(JSON.stringify({ keys: published }))
  }
})
afterEach(() => web.stop())

const serverFor = async (options: TestServerOptions = {}) => {
  const to = await testServer({ documents: { loopback: true }, ...options })
  await look(to)
  return to
}

const look = async ({ server }: TestServer) => {
  const { values, now } = await server.records.get(clientRef(clientId))
  return server.clientMetadataDocuments?.resolve(clientId, values[0], now)
}

let serial = 0
interface Asserted {
  readonly claims?: JWTPayload
  readonly header?: Record<string, unknown>
  readonly by?: Key
}

/** What the client sends: an assertion that is made for this one request. */
async function asserting(to: TestServer, { claims = {}, header = {}, by = key }: Asserted = {}) {
  const now = Math.floor(to.clock.now() / 1000)
  const payload = {
    ...{ iss: clientId, sub: clientId, aud: `${issuer}/token`, jti: `jti-${serial++}`, iat: now, exp: now + 300 },
    ...claims,
  }
  const assertion = await new SignJWT(payload)
    .setProtectedHeader({ alg: by.alg, kid: by.kid, ...header })
    .sign(by.privateKey, { crit: { x: true } })
  return { client_assertion_type: clientAssertionType, client_assertion: assertion }
}

const client = () => ({ client_id: clientId })
const redeemed = async (to: TestServer, more: Record<string, string>) =>
  redeem(to, client(), await approved(to, client()), more)

const outcome = ({ status, body }: { status: number; body: { error?: string } }) => [status, body.error]

test('redeems, refreshes and revokes with its key', async () => {
  const to = await serverFor()
  const { status, body } = await redeemed(to, await asserting(to))
  expect([status, typeof body.refresh_token]).toEqual([200, 'string'])
  const next = await refresh(to, client(), body.refresh_token, await asserting(to))
  expect(next.status).toBe(200)
  expect((await revoke(to, client(), next.body.refresh_token, await asserting(to))).status).toBe(200)
  const dead = await refresh(to, client(), next.body.refresh_token, await asserting(to))
  expect(outcome(dead)).toEqual([400, 'invalid_grant'])
  expect(web.requests.filter(({ path }) => path === '/jwks.json')).toHaveLength(1)
})

test('fault 10: RS256, ES256, EdDSA; issuer or token endpoint as audience, or both; no client_id needed', async () => {
  const to = await serverFor()
  for (const alg of ['RS256', 'ES256', 'EdDSA']) {
    const by = await keyOf(alg, alg)
    published.push(by.jwk)
    await to.pass(minute)
    for (const aud of [issuer, `${issuer}/token`, [issuer], [issuer, `${issuer}/token`, `${issuer}/par`]]) {
      const code = await approved(to, client())
      const assertion = await asserting(to, { by, claims: { aud } })
      const { status } = await postToken(to, {
        ...{ grant_type: 'authorization_code', code: code.code, code_verifier: code.verifier, ...assertion },
        redirect_uri: 'http://127.0.0.1:41234/callback',
      })
      expect([alg, aud, status]).toEqual([alg, aud, 200])
    }
  }
})

test('keys in the document itself, and several without ids', async () => {
  const other = await keyOf()
  const { kid: _one, ...first } = other.jwk
  const { kid: _two, ...second } = key.jwk
  web.metadata = { token_endpoint_auth_method: 'private_key_jwt', jwks: { keys: [first, second] } }
  const to = await serverFor()
  const { kid: _, ...unnamed } = { ...key, kid: undefined }
  expect((await redeemed(to, await asserting(to, { by: unnamed as unknown as Key }))).status).toBe(200)
})

describe('what is no proof', () => {
  test.each<[string, Asserted]>([
    ['another key', { by: undefined as never }],
    ['another audience', { claims: { aud: 'https://other.example/token' } }],
    ['no audience', { claims: { aud: undefined as never } }],
    [
      'another audience beside ours: who gets it there could use it here',
      { claims: { aud: [issuer, 'https://other.example'] } },
    ],
    ['audiences that are none', { claims: { aud: [] } }],
    ['another issuer', { claims: { iss: 'https://other.example/client.json' } }],
    ['no issuer', { claims: { iss: undefined as never } }],
    ['no end', { claims: { exp: undefined as never } }],
    ['an end that is over', { claims: { exp: 1_000_000_000 } }],
    ['an end that is far', { claims: { exp: Math.floor(Date.now() / 1000) + 90_000 } }],
    ['a beginning that is far', { claims: { nbf: Math.floor(Date.now() / 1000) + 3_000 } }],
    ['a key that nobody knows', { header: { kid: 'other' } }],
    ['another type of JWT', { header: { typ: 'at+jwt' } }],
    ['a critical extension', { header: { crit: ['x'], x: 1 } }],
  ])('%s', async (name, asserted) => {
    const to = await serverFor()
    const by = name === 'another key' ? await keyOf() : key
    const code = await approved(to, client())
    const refused = await redeem(to, client(), code, await asserting(to, { ...asserted, by }))
    expect(outcome(refused)).toEqual([401, 'invalid_client'])
    // It changed nothing.
    expect((await redeem(to, client(), code, await asserting(to))).status).toBe(200)
  })

  test('an unsigned one, and one that is signed with the public key as a secret', async () => {
    const to = await serverFor()
    const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const now = Math.floor(to.clock.now() / 1000)
    const payload = { iss: clientId, sub: clientId, aud: issuer, exp: now + 60, jti: 'x' }
    const unsigned = `${encode({ alg: 'none' })}.${encode(payload)}.`
    const secret = new TextEncoder().encode(JSON.stringify(key.jwk))
    const hs256 = await new SignJWT(payload).setProtectedHeader({ alg: 'HS256', kid: 'one' }).sign(secret)
    for (const client_assertion of [unsigned, hs256, `${unsigned}AAAA`]) {
      const more = { client_assertion_type: clientAssertionType, client_assertion }
      expect(outcome(await redeemed(to, more))).toEqual([401, 'invalid_client'])
    }
  })

  test('without any: a client that publishes only a key must use it', async () => {
    const to = await serverFor()
    expect(outcome(await redeemed(to, {}))).toEqual([401, 'invalid_client'])
    expect(outcome(await redeemed(to, { client_secret: 'anything' }))).toEqual([401, 'invalid_client'])
  })

  test('two ways at once, another client’s assertion, what is no JWT', async () => {
    const to = await serverFor()
    const more = await asserting(to)
    expect(outcome(await redeemed(to, { ...more, client_secret: 'x' }))).toEqual([400, 'invalid_request'])
    const form = { grant_type: 'refresh_token', refresh_token: 'x', ...more }
    expect(outcome(await postToken(to, form, basic(clientId, 'x')))).toEqual([400, 'invalid_request'])
    const foreign = await asserting(to, { claims: { sub: 'https://other.example/client.json' } })
    expect(outcome(await redeemed(to, foreign))).toEqual([401, 'invalid_client'])
    for (const [type, assertion] of [
      [clientAssertionType, 'nonsense'],
      [clientAssertionType, 'a.b.c'],
      [clientAssertionType, `a.${'e30'}.c`],
      ['urn:ietf:params:oauth:client-assertion-type:saml2-bearer', more.client_assertion],
      ['', more.client_assertion],
    ] as const) {
      const answer = await redeemed(to, { client_assertion_type: type, client_assertion: assertion })
      expect(outcome(answer), assertion.slice(0, 20)).toEqual([400, 'invalid_request'])
    }
  })

  test('a registered client has no key here', async () => {
    const to = await serverFor()
    const { client_id } = await registered(to)
    const more = await asserting(to, { claims: { iss: client_id, sub: client_id } })
    const answer = await redeem(to, { client_id }, await approved(to, { client_id }), more)
    expect(outcome(answer)).toEqual([401, 'invalid_client'])
  })
})

test('faults 10, 24: an assertion is good once, on all nodes, with or without a jti', async () => {
  const clock = movable()
  const store = memory({ clock })
  const [one, two] = [await serverFor({ clock, store }), await serverFor({ clock, store })]
  for (const claims of [{}, { jti: undefined as never }]) {
    const more = await asserting(one, { claims })
    expect((await redeemed(one, more)).status).toBe(200)
    for (const to of [one, two]) expect(outcome(await redeemed(to, more))).toEqual([401, 'invalid_client'])
  }
  const shared = await asserting(one)
  const codes = await Promise.all([1, 2, 3, 4].map(() => approved(one, client())))
  const answers = await Promise.all(codes.map((code, index) => redeem(index % 2 ? one : two, client(), code, shared)))
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
})

test('a client that lists none as well may use its key, and who began with it goes on with it', async () => {
  web.metadata = { ...web.metadata, token_endpoint_auth_methods_supported: ['none', 'private_key_jwt'] }
  const to = await serverFor()
  const open = await redeemed(to, {})
  expect(open.status).toBe(200)
  const second = await refresh(to, client(), open.body.refresh_token, await asserting(to))
  expect(second.status).toBe(200)
  const proven = await redeemed(to, await asserting(to))
  expect(proven.status).toBe(200)
  const weaker = await refresh(to, client(), proven.body.refresh_token)
  expect(outcome(weaker)).toEqual([400, 'invalid_grant'])
  expect((await refresh(to, client(), proven.body.refresh_token, await asserting(to))).status).toBe(200)
  const wrong = await refresh(to, client(), second.body.refresh_token, await asserting(to, { by: await keyOf() }))
  expect(outcome(wrong)).toEqual([401, 'invalid_client'])
})

describe('the client’s keys', () => {
  const asked = () => web.requests.filter(({ path }) => path === '/jwks.json').length

  test('a new one is found after a cool-down; unknown ids don’t make us ask for each', async () => {
    const to = await serverFor()
    expect((await redeemed(to, await asserting(to))).status).toBe(200)
    const next = await keyOf('ES256', 'two')
    for (let turn = 0; turn < 20; turn++) {
      expect(outcome(await redeemed(to, await asserting(to, { by: next })))).toEqual([401, 'invalid_client'])
    }
    expect(asked()).toBe(1)
    published.push(next.jwk)
    await to.pass(minute)
    expect((await redeemed(to, await asserting(to, { by: next }))).status).toBe(200)
    expect(asked()).toBe(2)
  })

  test('who has them asked for too often is told to wait; others are not, nor who needs no fetch', async () => {
    const to = await serverFor()
    const from = async (address: string, by: Key) => {
      const form = { grant_type: 'refresh_token', refresh_token: 'x', ...(await asserting(to, { by })) }
      return answered(await tokenEndpoint(to.server, formPost('/token', form), { address }))
    }
    const unknown = await keyOf('ES256', 'two')
    expect(outcome(await from('192.0.2.1', key))).toEqual([400, 'invalid_grant'])
    expect(asked()).toBe(1)
    await to.store.increment(`limit/client-document/${hashStrings('192.0.2.1')}`, 119, 600_000)
    await to.pass(minute)
    const limited = await from('192.0.2.1', unknown)
    expect([...outcome(limited), Number(limited.headers.get('retry-after')) > 0]).toEqual([
      ...[429, 'temporarily_unavailable', true],
    ])
    expect(asked()).toBe(1)
    expect(outcome(await from('192.0.2.1', key))).toEqual([400, 'invalid_grant'])
    expect(outcome(await from('192.0.2.2', unknown))).toEqual([401, 'invalid_client'])
    expect(asked()).toBe(2)
  })

  test('attack: who uses up what an address may make us ask locks nobody out whose keys are known', async () => {
    const to = await serverFor()
    const address = '192.0.2.1'
    const from = async (by: Key) => {
      const form = { grant_type: 'refresh_token', refresh_token: 'x', ...(await asserting(to, { by })) }
      return outcome(await answered(await tokenEndpoint(to.server, formPost('/token', form), { address })))
    }
    expect(await from(key)).toEqual([400, 'invalid_grant'])
    await to.pass(6 * minute)
    await to.store.increment(`limit/client-document/${hashStrings(address)}`, 120, 600_000)
    expect(await from(key)).toEqual([400, 'invalid_grant'])
    expect(await from(await keyOf('ES256', 'two'))).toEqual([429, 'temporarily_unavailable'])
    expect(asked()).toBe(1)
    await to.pass(24 * 60 * minute)
    await to.store.increment(`limit/client-document/${hashStrings(address)}`, 120, 600_000)
    expect(await from(key)).toEqual([429, 'temporarily_unavailable'])
  })

  test('attack: who has us remember assertions for nothing is told to wait; who has a grant is not, whatever the address', async () => {
    const to = await serverFor()
    const address = '192.0.2.1'
    const from = async (form: Record<string, string>, more: { address?: string } = { address }) =>
      answered(
        await tokenEndpoint(to.server, formPost('/token', { ...form, ...(await asserting(to, { by: key })) }), more),
      )
    const { body } = await redeemed(to, await asserting(to))
    const counter = `limit/client-assertion/${hashStrings(address)}`
    await to.store.increment(counter, 2_998, 600_000)
    const junk = { grant_type: 'refresh_token', refresh_token: 'x' }
    const own = { grant_type: 'client_credentials' }
    expect(outcome(await from(junk))).toEqual([400, 'invalid_grant'])
    expect(outcome(await from(own))).toEqual([400, 'unauthorized_client'])
    const limited = await from(junk)
    expect([...outcome(limited), Number(limited.headers.get('retry-after')) > 0]).toEqual([
      ...[429, 'temporarily_unavailable', true],
    ])
    expect(outcome(await from(own))).toEqual([429, 'temporarily_unavailable'])
    expect(outcome(await from(junk, { address: '192.0.2.2' }))).toEqual([400, 'invalid_grant'])
    const refreshed = await from({ grant_type: 'refresh_token', refresh_token: body.refresh_token })
    expect(refreshed.status).toBe(200)
    expect((await to.store.increment(counter, 0, 600_000)).value).toBe(3_002)
    await to.store.increment('limit/client-assertion/unknown', 29_999, 600_000)
    expect(outcome(await from(junk, {}))).toEqual([400, 'invalid_grant'])
    expect(outcome(await from(junk, {}))).toEqual([429, 'temporarily_unavailable'])
    await to.pass(11 * minute)
    expect(outcome(await from(junk))).toEqual([400, 'invalid_grant'])
  })

  test('20 cold requests fetch them once', async () => {
    const to = await serverFor()
    const answers = await Promise.all(Array.from({ length: 20 }, async () => redeemed(to, await asserting(to))))
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
    expect(asked()).toBe(1)
  })

  test('out of reach is our trouble, not the client’s; for a while those that were had are good', async () => {
    const to = await serverFor()
    const code = await approved(to, client())
    web.setDown(true)
    const cold = await redeem(to, client(), code, await asserting(to))
    expect([...outcome(cold), cold.headers.get('retry-after')]).toEqual([503, 'temporarily_unavailable', '5'])
    web.setDown(false)
    await to.pass(31_000)
    const second = await redeemed(to, await asserting(to))
    expect(second.status).toBe(200)
    web.setDown(true)
    await to.pass(20 * 60 * minute)
    expect((await refresh(to, client(), second.body.refresh_token, await asserting(to))).status).toBe(200)
  })

  test('what is no key set is none', async () => {
    for (const keys of [[{ kty: 'oct', k: 'AAAA' }], [null, 5], [{ kty: 'RSA', n: 'x' }]]) {
      const to = await serverFor()
      published = keys as object[]
      expect(outcome(await redeemed(to, await asserting(to))), JSON.stringify(keys)).toEqual([401, 'invalid_client'])
      await to.pass(2 * 60 * minute)
    }
  })
})

test('it is advertised with its algorithms', async () => {
  const metadata = async ({ server }: TestServer) =>
    (await answered(await metadataEndpoint(server, new Request(issuer)))).body as unknown as Record<string, unknown>
  expect(await metadata(await serverFor())).toMatchObject({
    token_endpoint_auth_methods_supported: ['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'],
    token_endpoint_auth_signing_alg_values_supported: ['RS256', 'ES256', 'EdDSA'],
    revocation_endpoint_auth_methods_supported: [
      'none',
      'client_secret_basic',
      'client_secret_post',
      'private_key_jwt',
    ],
  })
  expect(await metadata(await testServer())).toMatchObject({
    introspection_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post', 'private_key_jwt'],
    introspection_endpoint_auth_signing_alg_values_supported: ['RS256', 'ES256', 'EdDSA'],
  })
})

describe('a client that registered itself with its key', () => {
  const registering = { token_endpoint_auth_method: 'private_key_jwt' }
  const signingAs = (to: TestServer, client: TestClient, more: Asserted = {}) =>
    asserting(to, { ...more, claims: { iss: client.client_id, sub: client.client_id, ...more.claims } })

  test.each(['jwks', 'jwks_uri'])('by %s: redeems and refreshes with it, and with nothing less', async (by) => {
    const to = await testServer(by === 'jwks' ? {} : { documents: { loopback: true } })
    const keys = by === 'jwks' ? { jwks: { keys: [key.jwk] } } : { jwks_uri: `${web.origin}/jwks.json` }
    const client = await registered(to, { ...registering, ...keys })
    expect(client).not.toHaveProperty('client_secret')
    const { status, body } = await redeem(to, client, await approved(to, client), await signingAs(to, client))
    expect(status).toBe(200)
    const bare = await refresh(to, client, body.refresh_token)
    expect(outcome(bare)).toEqual([401, 'invalid_client'])
    const proof = await signingAs(to, client)
    expect((await refresh(to, client, body.refresh_token, proof)).status).toBe(200)
    expect(outcome(await refresh(to, client, body.refresh_token, proof))).toEqual([401, 'invalid_client'])
    const foreign = await signingAs(to, client, { by: await keyOf() })
    expect(outcome(await refresh(to, client, body.refresh_token, foreign))).toEqual([401, 'invalid_client'])
    // Another registration with the same key is another client.
    const twin = await registered(to, { ...registering, ...keys })
    const posing = { ...twin, ...(await signingAs(to, client)) }
    expect(outcome(await refresh(to, client, body.refresh_token, posing))).toEqual([401, 'invalid_client'])
  })

  test('the answer says what was registered', async () => {
    const to = await testServer()
    const jwks = { keys: [key.jwk] }
    const request = jsonPost('/register', { redirect_uris: [callback], ...registering, jwks })
    const { status, body } = await answered(await registerEndpoint(to.server, request))
    expect(status).toBe(201)
    expect(body).toMatchObject({ ...registering, jwks })
    expect(body).not.toHaveProperty('client_secret')
  })

  test('nobody makes us fetch keys from where the operator lets no documents be read', async () => {
    const asking = (documents: TestServerOptions['documents'], jwks_uri: string) =>
      testServer(documents ? { documents } : {}).then(({ server }) =>
        registerEndpoint(server, jsonPost('/register', { redirect_uris: [callback], ...registering, jwks_uri })),
      )
    const status = async (...args: Parameters<typeof asking>) => (await asking(...args)).status
    expect(await status(undefined, 'https://app.example.net/jwks')).toBe(400)
    expect(await status({}, 'https://app.example.net/jwks')).toBe(201)
    expect(await status({}, 'http://app.example.net/jwks')).toBe(400)
    expect(await status({}, `${web.origin}/jwks.json`)).toBe(400)
    expect(await status({ allow: ['example.org'] }, 'https://app.example.net/jwks')).toBe(400)
    expect(await status({ deny: ['*.example.net'] }, 'https://app.example.net/jwks')).toBe(400)
    expect(web.requests).toEqual([])
  })
})

test('an assertion is in no audit event and no message', async () => {
  const to = await serverFor()
  const more = await asserting(to)
  await redeemed(to, more)
  await redeemed(to, more)
  const said = JSON.stringify(to.events) + to.trouble.join()
  expect(said).not.toContain(more.client_assertion.split('.')[2])
  expect(said).toContain('assertion_replayed')
})
