import { type CryptoKey, decodeJwt, exportJWK, generateKeyPair, SignJWT } from 'jose'
import { describe, expect, test } from 'vitest'
import type { ClientOptions } from '../../src/authorization-server/client-options.ts'
import { createClient, deleteClient } from '../../src/authorization-server/clients.ts'
import { metadataEndpoint } from '../../src/authorization-server/metadata.ts'
import { createOwnVerifier } from '../../src/authorization-server/own-verifier.ts'
import { principal } from '../../src/identity/principal.ts'
import { memory } from '../../src/store/memory.ts'
import { stopped } from '../store/movable-clock.ts'
import {
  answered,
  approved,
  basic,
  callback,
  eventTypes,
  issuer,
  mcp,
  otherMcp,
  postToken,
  redeem,
  refresh,
  registered,
  revoke,
  signedIn,
  type TestServer,
  testServer,
} from '../support/authorization-server.ts'
import { unreliable } from '../support/unreliable-store.ts'

const secret = 'a client secret of more than 32 characters'
const nightly: ClientOptions = { id: 'nightly', secret, scopes: { '/mcp': ['notes:read', 'notes:write'] } }
const proof = { client_id: 'nightly', client_secret: secret }

const ask = (to: TestServer, more: Record<string, string | readonly string[]> = {}, headers = {}) =>
  postToken(to, { grant_type: 'client_credentials', ...('Authorization' in headers ? {} : proof), ...more }, headers)

describe('a client’s own token', () => {
  test.each([
    ['in the body', {}],
    ['in the header', basic('nightly', secret)],
  ])('origin 9: the subject is the client itself, and a handler can tell (secret %s)', async (_name, headers) => {
    const to = await testServer({ clients: [nightly] })
    const { status, body, headers: answer } = await ask(to, { resource: mcp, scope: 'notes:read' }, headers)
    expect([status, answer.get('cache-control')]).toEqual([200, 'no-store'])
    expect(body).toEqual({
      access_token: expect.any(String),
      token_type: 'Bearer',
      expires_in: 600,
      scope: 'notes:read',
    })
    const payload = decodeJwt(body.access_token)
    expect(payload).toMatchObject({ iss: issuer, sub: 'nightly', client_id: 'nightly', aud: mcp, scope: 'notes:read' })
    expect(payload).not.toHaveProperty('grant_id')
    const token = await createOwnVerifier(to.server).verify(body.access_token, mcp)
    expect(token).toMatchObject({ kind: 'client', issuer, subject: 'nightly', clientId: 'nightly', resource: mcp })
    expect(token).not.toHaveProperty('upstream')
    expect(principal(token).kind).toBe('client')
    expect(eventTypes(to)).toEqual(['client.token_issued'])
  })

  test('left out, resource and scope are all that the client has', async () => {
    const to = await testServer({ clients: [nightly] })
    const { body } = await ask(to)
    expect([decodeJwt(body.access_token).aud, body.scope]).toEqual([mcp, 'notes:read notes:write'])
  })

  test('the metadata says so', async () => {
    const { server } = await testServer()
    const { body } = await answered(await metadataEndpoint(server, new Request(issuer)))
    expect(body).toMatchObject({
      grant_types_supported: expect.arrayContaining(['client_credentials']),
      token_endpoint_auth_methods_supported: expect.arrayContaining(['client_secret_basic']),
    })
  })
})

test('with a key in place of a secret: each assertion once, and no other proof', async () => {
  const { publicKey, privateKey } = await generateKeyPair('ES256')
  const { secret: _secret, ...rest } = nightly
  const to = await testServer({ clients: [{ ...rest, jwks: { keys: [await exportJWK(publicKey)] } }] })
  const metadata = await answered(await metadataEndpoint(to.server, new Request(issuer)))
  expect(metadata.body).toMatchObject({
    token_endpoint_auth_methods_supported: expect.arrayContaining(['private_key_jwt']),
    token_endpoint_auth_signing_alg_values_supported: expect.arrayContaining(['ES256']),
  })
  const now = Math.floor(to.clock.now() / 1000)
  const assertionBy = (key: CryptoKey) =>
    new SignJWT({ iss: 'nightly', sub: 'nightly', aud: issuer, jti: crypto.randomUUID(), iat: now, exp: now + 60 })
      .setProtectedHeader({ alg: 'ES256' })
      .sign(key)
  const type = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
  const send = (client_assertion: string) =>
    postToken(to, { grant_type: 'client_credentials', client_assertion_type: type, client_assertion })
  const assertion = await assertionBy(privateKey)
  const { body } = await send(assertion)
  expect((await createOwnVerifier(to.server).verify(body.access_token, mcp)).kind).toBe('client')
  expect((await send(assertion)).body.error).toBe('invalid_client')
  expect((await send(await assertionBy((await generateKeyPair('ES256')).privateKey))).body.error).toBe('invalid_client')
  for (const wrong of [proof, { client_id: 'nightly' }]) {
    const answer = await postToken(to, { grant_type: 'client_credentials', ...wrong })
    expect(answer.body.error).toBe('invalid_client')
  }
})

describe('what is refused', () => {
  const cases: readonly (readonly [string, Record<string, string | readonly string[]>, string])[] = [
    ['a scope that the client has not', { scope: 'notes:read admin' }, 'invalid_scope'],
    ['a malformed scope', { scope: 'notes"read' }, 'invalid_scope'],
    ['fault 7: a resource that the client has not', { resource: otherMcp }, 'invalid_target'],
    ['fault 7: a resource that nobody has', { resource: 'https://evil.example' }, 'invalid_target'],
    ['a good and a foreign resource', { resource: [mcp, otherMcp] }, 'invalid_target'],
    ['a wrong secret', { client_secret: `${secret}x` }, 'invalid_client'],
    ['no secret', { client_secret: '' }, 'invalid_client'],
    ['a client that is none', { client_id: 'daily' }, 'invalid_client'],
  ]
  test.each(cases)('%s', async (_name, more, error) => {
    const to = await testServer({ clients: [nightly] })
    const { body, status } = await ask(to, more)
    expect([status, body.error]).toEqual([error === 'invalid_client' ? 401 : 400, error])
    expect(body).not.toHaveProperty('access_token')
    expect(eventTypes(to)).toEqual(['token.refused'])
  })

  test('a client that registered itself, whatever it asked for; and one with codes alone', async () => {
    const to = await testServer({ clients: [{ id: 'app', secret, redirectUris: [callback] }] })
    const dynamic = await registered(to, {
      grant_types: ['authorization_code', 'client_credentials'],
      token_endpoint_auth_method: 'client_secret_post',
      scope: 'notes:read',
    })
    for (const client of [dynamic, await registered(to), { client_id: 'app', client_secret: secret }]) {
      const { status, body } = await postToken(to, { grant_type: 'client_credentials', ...client })
      expect([status, body.error]).toEqual([400, 'unauthorized_client'])
    }
  })

  test('fault 19: its token is no refresh token and no code, and a person’s grant is none of its own', async () => {
    const to = await testServer({ clients: [nightly] })
    const { body } = await ask(to)
    expect((await refresh(to, proof, body.access_token)).body.error).toBe('unauthorized_client')
    const verifier = createOwnVerifier(to.server)
    await expect(verifier.verify(body.access_token, otherMcp)).rejects.toMatchObject({ reason: 'audience' })
  })

  test('tokens of another make: without grant it must be the client itself, with one the grant’s', async () => {
    const to = await testServer({ clients: [nightly] })
    const client = await registered(to)
    const person = decodeJwt((await signedIn(to, client)).access_token)
    const own = decodeJwt((await ask(to)).body.access_token)
    const { id, key } = to.server.keys.signingKey()
    const sign = (claims: object) =>
      new SignJWT({ ...claims }).setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', kid: id }).sign(key)
    const { grant_id, ...grantless } = person
    const verifier = createOwnVerifier(to.server)
    for (const claims of [
      grantless,
      { ...own, sub: person.sub },
      { ...own, grant_id },
      { ...own, grant_id: 1 },
      { ...own, client_id: client.client_id },
    ]) {
      await expect(verifier.verify(await sign(claims), mcp)).rejects.toMatchObject({ reason: 'claims' })
    }
    // Signed by us and consistent, but the client has no such right.
    const posing = { ...own, sub: client.client_id, client_id: client.client_id }
    await expect(verifier.verify(await sign(posing), mcp)).rejects.toMatchObject({ reason: 'revoked' })
  })

  test('a person whose subject is a client’s id gets no token: it would look like the client’s own', async () => {
    const to = await testServer({ clients: [{ ...nightly, id: 'nightly' }] })
    const client = await registered(to)
    for (const subject of ['nightly', client.client_id, 'cs_cl_AAAAAAAAAAAAAAAAAAAAAA']) {
      const accounts = to.server.accounts
      const resolve: typeof accounts.resolve = async (...args) => {
        const resolved = await accounts.resolve(...args)
        return { ...resolved, account: { ...resolved.account, subject } }
      }
      const posing = { ...to, server: { ...to.server, accounts: { ...accounts, resolve } } }
      const { status, body } = await redeem(to, client, await approved(posing, client))
      expect([status, body.error]).toEqual([400, 'invalid_grant'])
    }
  })
})

describe('it lives by its client', () => {
  test.each([true, false])('deleted: dead within the bound (notified: %s)', async (notifies) => {
    const clock = stopped()
    const store = unreliable(memory({ clock }))
    store.notifies = notifies
    const to = await testServer({ clock, store })
    const { id, secret: made = '' } = await createClient(to.server, { scopes: { '/mcp': ['notes:read'] } })
    const { body } = await postToken(to, { grant_type: 'client_credentials', client_id: id, client_secret: made })
    const verifier = createOwnVerifier(to.server)
    expect((await verifier.verify(body.access_token, mcp)).kind).toBe('client')
    await deleteClient(to.server, id)
    await to.pass(notifies ? 1_000 : 5_000)
    await expect(verifier.verify(body.access_token, mcp)).rejects.toMatchObject({ reason: 'revoked' })
    const again = await postToken(to, { grant_type: 'client_credentials', client_id: id, client_secret: made })
    expect(again.body.error).toBe('invalid_client')
  })

  test('scopes that were taken from it are gone from its tokens, too', async () => {
    const store = memory()
    const before = await testServer({ store, clients: [nightly] })
    const { body } = await ask(before)
    const narrower = await testServer({ store, clients: [{ ...nightly, scopes: { '/mcp': ['notes:read'] } }] })
    expect((await createOwnVerifier(narrower.server).verify(body.access_token, mcp)).scopes).toEqual(['notes:read'])
    const elsewhere = await testServer({ store, clients: [{ ...nightly, scopes: { [otherMcp]: ['other:read'] } }] })
    await expect(createOwnVerifier(elsewhere.server).verify(body.access_token, mcp)).rejects.toMatchObject({
      reason: 'revoked',
    })
  })

  test.each([true, false])('fault 6: revoking one ends that one, and no other (notified: %s)', async (notifies) => {
    const clock = stopped()
    const store = unreliable(memory({ clock }))
    store.notifies = notifies
    const to = await testServer({ clock, store, clients: [nightly] })
    const verifier = createOwnVerifier(to.server)
    const [first, second] = [(await ask(to)).body.access_token, (await ask(to)).body.access_token]
    for (const token of [first, second]) await verifier.verify(token, mcp)
    const stranger = await registered(to)
    expect((await revoke(to, stranger, first)).body.error).toBe('invalid_grant')
    expect((await revoke(to, proof, first)).status).toBe(200)
    await to.pass(notifies ? 1_000 : 5_000)
    await expect(verifier.verify(first, mcp)).rejects.toMatchObject({ reason: 'revoked' })
    await expect(createOwnVerifier(to.server).verify(first, mcp)).rejects.toMatchObject({ reason: 'revoked' })
    expect((await verifier.verify(second, mcp)).kind).toBe('client')
    await to.pass(660_000)
    expect((await revoke(to, proof, second)).status).toBe(200)
    expect(eventTypes(to).filter((type) => type === 'client.token_revoked')).toHaveLength(1)
  })
})

describe('what it costs', () => {
  const asked = async (client: ClientOptions, ahead = 0) => {
    const clock = stopped()
    const storeClock = { now: () => clock.now() + ahead }
    const store = unreliable(memory({ clock: storeClock }))
    const to = await testServer({ clock, store, clients: [client] })
    // Begins to read the log of revocations, which says the store's clock.
    expect((await ask(to)).status).toBe(200)
    await expect.poll(() => to.server.verifier.storeTime(), { timeout: 30_000 }).toBeDefined()
    return { to, store, storeClock }
  }

  test('one count and no read, for a client of the configuration', async () => {
    const { to, store } = await asked(nightly)
    const before = { ...store.calls }
    for (let turn = 0; turn < 5; turn++) expect((await ask(to)).status).toBe(200)
    expect(store.calls).toEqual({ ...before, increment: before.increment + 5 })
    to.server.verifier.close()
  })

  test.each([-120_000, 120_000])('its times are the store’s, where that is %i ms ahead', async (ahead) => {
    const { to, storeClock } = await asked(nightly, ahead)
    await to.pass(700)
    const { iat, exp = 0 } = decodeJwt((await ask(to)).body.access_token)
    expect([iat, exp - (iat ?? 0)]).toEqual([Math.floor(storeClock.now() / 1000), 600])
    to.server.verifier.close()
  })

  test('fault 5: where the store is away it is 503 all the same', async () => {
    const { to, store } = await asked(nightly)
    store.down = true
    expect(await ask(to)).toMatchObject({ status: 503, body: { error: 'temporarily_unavailable' } })
    to.server.verifier.close()
  })

  test('who is no client of the configuration is looked for, whatever was asked before', async () => {
    const { to, store } = await asked(nightly)
    for (const id of ['nightly ', 'Nightly', 'daily']) {
      const before = store.calls.get
      const { status, body } = await ask(to, { client_id: id })
      expect([status, body.error, store.calls.get - before]).toEqual([401, 'invalid_client', 1])
    }
    const { id, secret: made = '' } = await createClient(to.server, { scopes: { '/mcp': ['notes:read'] } })
    expect((await ask(to, { client_id: id, client_secret: made })).status).toBe(200)
    await deleteClient(to.server, id)
    expect((await ask(to, { client_id: id, client_secret: made })).body.error).toBe('invalid_client')
    to.server.verifier.close()
  })
})

describe('how often a client may ask', () => {
  const limited = async (clients: readonly ClientOptions[]) => {
    const to = await testServer({ clients })
    return { ...to, server: { ...to.server, limits: { tokensPerClient: 3 } } }
  }
  const other: ClientOptions = { id: 'other', secret: `${secret}, too`, scopes: { '/mcp': ['notes:read'] } }

  test('is counted for each by itself, says when to come again, and ends', async () => {
    const to = await limited([nightly, other])
    for (let i = 0; i < 3; i++) expect((await ask(to, { resource: mcp })).status).toBe(200)
    const refused = await ask(to, { resource: mcp })
    expect([refused.status, refused.body.error]).toEqual([429, 'temporarily_unavailable'])
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
    expect(to.events.at(-1)).toMatchObject({
      type: 'token.refused',
      reason: 'rate_limit_per_client',
      clientId: 'nightly',
    })
    const others = {
      client_id: 'other',
      client_secret: `${secret}, too`,
      grant_type: 'client_credentials',
      resource: mcp,
    }
    expect((await postToken(to, others)).status).toBe(200)
    await to.pass(600_001)
    expect((await ask(to, { resource: mcp })).status).toBe(200)
  })

  test('nobody else can use up: who does not know its secret is not counted', async () => {
    const to = await limited([nightly])
    for (let i = 0; i < 10; i++) {
      expect((await ask(to, { resource: mcp, client_secret: `a guess ${i} of more than 32 characters` })).status).toBe(
        401,
      )
    }
    expect((await ask(to, { resource: mcp })).status).toBe(200)
  })

  test('is no limit for people: codes and refreshes of a client are not counted', async () => {
    const to = await limited([nightly])
    const client = await registered(to)
    let { refresh_token: token = '' } = await signedIn(to, client)
    for (let i = 0; i < 6; i++) {
      const answer = await refresh(to, client, token)
      expect(answer.status).toBe(200)
      token = answer.body.refresh_token ?? ''
    }
  })
})
