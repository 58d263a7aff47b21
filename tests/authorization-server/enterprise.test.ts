import { decodeJwt, exportJWK, generateKeyPair, SignJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { AssertionIssuerOptions } from '../../src/authorization-server/assertion-options.ts'
import { deleteClient } from '../../src/authorization-server/clients.ts'
import { revokeGrantById } from '../../src/authorization-server/grants.ts'
import { metadataEndpoint } from '../../src/authorization-server/metadata.ts'
import { createOwnVerifier } from '../../src/authorization-server/own-verifier.ts'
import { hashStrings } from '../../src/crypto/hash.ts'
import { idJagType, jwtBearerGrantType } from '../../src/oauth/assertion.ts'
import { clientAssertionType } from '../../src/oauth/client-assertion.ts'
import { put, recordType, refTo } from '../../src/records/records.ts'
import { memory } from '../../src/store/memory.ts'
import { rememberEmail } from '../../src/upstream/email-link.ts'
import { movable } from '../store/movable-clock.ts'
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
  registered,
  type TestServer,
  type TestServerOptions,
  testServer,
} from '../support/authorization-server.ts'
import { documentServer } from '../support/document-server.ts'
import { type DpopKey, dpopKey } from '../support/dpop-key.ts'
import { type JwksIssuer, type SignOptions, startJwksIssuer } from '../support/jwks-issuer.ts'

const secret = 'a secret of a client, long enough to be one'
const agent = { id: 'agent', name: 'Agent', secret, redirectUris: [callback] }
const proof = { client_id: 'agent', client_secret: secret }

let idp: JwksIssuer
beforeAll(async () => {
  idp = await startJwksIssuer(mcp)
})
afterAll(() => idp.close())

const acme = (more: Partial<Extract<AssertionIssuerOptions, { kind: 'enterprise' }>> = {}): AssertionIssuerOptions => ({
  kind: 'enterprise',
  issuer: idp.issuer,
  provider: 'acme',
  ...more,
})

const serverFor = (options: TestServerOptions = {}) =>
  testServer({ assertions: [acme()], clients: [agent], ...options })

/** What an enterprise's provider gives a client for one of its people. */
const idJag = (to: TestServer, claims: Record<string, unknown> = {}, header: SignOptions = {}) => {
  const now = Math.floor(to.clock.now() / 1000)
  return idp.sign(
    {
      ...{ sub: 'U1', aud: issuer, client_id: 'agent', resource: mcp, scope: 'notes:read' },
      ...{ iat: now, exp: now + 300, email: 'alice@acme.example', groups: ['staff'], ...claims },
    },
    { typ: idJagType, ...header },
  )
}

const present = (
  to: TestServer,
  assertion: string,
  more: Record<string, string | readonly string[] | undefined> = {},
) => postToken(to, { grant_type: jwtBearerGrantType, assertion, ...proof, ...more })

const outcome = ({ status, body }: { status: number; body: { error?: string } }) => [status, body.error]
const reasons = ({ events }: TestServer) => events.flatMap((event) => ('reason' in event ? [event.reason] : []))

test('origin 1: a handler gets the person: our issuer, the account’s subject, and all that the assertion said', async () => {
  const to = await serverFor({ tokenClaims: ['email'] })
  const { status, body } = await present(to, await idJag(to))
  expect(status).toBe(200)
  expect(body).toMatchObject({ token_type: 'Bearer', scope: 'notes:read', expires_in: 600, resource: mcp })
  expect(body).not.toHaveProperty('refresh_token')

  const token = await createOwnVerifier(to.server).verify(body.access_token, mcp)
  expect(token).toMatchObject({
    kind: 'user',
    issuer,
    clientId: 'agent',
    scopes: ['notes:read'],
    resource: mcp,
    upstream: {
      provider: 'acme',
      issuer: idp.issuer,
      subject: 'U1',
      claims: { iss: idp.issuer, sub: 'U1', email: 'alice@acme.example', groups: ['staff'] },
    },
  })
  expect(token.subject).not.toBe('U1')
  expect(decodeJwt(body.access_token)).toMatchObject({
    sub: token.subject,
    upstream_provider: 'acme',
    upstream_claims: { iss: idp.issuer, sub: 'U1', email: 'alice@acme.example' },
  })
  expect(decodeJwt(body.access_token).upstream_claims).not.toHaveProperty('groups')
  expect(to.events.find(({ type }) => type === 'assertion.accepted')).toMatchObject({
    ...{ provider: 'acme', issuer: idp.issuer, subject: 'U1', clientId: 'agent', account: token.subject },
    ...{ resource: mcp, scopes: ['notes:read'] },
  })
})

test('the same person has the same account each time, and the one of a sign-in at the same provider', async () => {
  const to = await testServer({
    assertions: [acme({ provider: 'host', jwks: undefined, issuer: idp.issuer })],
    clients: [agent],
  })
  const subjectOf = async (assertion: string) => {
    const { body } = await present(to, assertion)
    return decodeJwt(body.access_token).sub
  }
  const first = await subjectOf(await idJag(to))
  expect(await subjectOf(await idJag(to))).toBe(first)
  expect(await subjectOf(await idJag(to, { sub: 'U2' }))).not.toBe(first)
  const signIn = { issuer: idp.issuer, subject: 'U1', authTime: 1, said: [] }
  expect((await to.server.accounts.resolve('host', signIn)).account.subject).toBe(first)
})

test('fault 16: the provider’s schema for claims holds for assertions too', async () => {
  const to = await testServer({
    assertions: [acme({ provider: 'host' })],
    clients: [agent],
    claims: z.looseObject({ email: z.email(), department: z.string() }),
  })
  expect(outcome(await present(to, await idJag(to)))).toEqual([400, 'invalid_grant'])
  expect(reasons(to)).toEqual(['assertion: claims department'])
  const { body } = await present(to, await idJag(to, { department: 'R&D' }))
  const token = await createOwnVerifier(to.server).verify(body.access_token, mcp)
  expect(token.upstream?.claims).toMatchObject({ department: 'R&D' })
})

test('the provider’s rule for people holds for assertions too: who gets in, and how far', async () => {
  const to = await testServer({
    assertions: [acme({ provider: 'host' })],
    clients: [agent],
    admit: ({ groups }) =>
      Array.isArray(groups) && groups.includes('staff') ? { scopes: ['notes:read'] } : { refuse: 'Staff only' },
  })
  expect(outcome(await present(to, await idJag(to, { groups: ['guests'] })))).toEqual([400, 'invalid_grant'])
  const { body } = await present(to, await idJag(to, { scope: 'notes:read notes:write' }))
  expect(body.scope).toBe('notes:read')
  expect((await createOwnVerifier(to.server).verify(body.access_token, mcp)).scopes).toEqual(['notes:read'])
  expect(to.events.find(({ type }) => type === 'assertion.accepted')).toMatchObject({ scopes: ['notes:read'] })
})

test('where its provider is asked again after a while, a token lives no longer than its word counts', async () => {
  const to = await testServer({
    assertions: [acme({ provider: 'host' })],
    clients: [agent],
    revalidation: { when: { every: 120 }, maximumStaleness: 3600 },
  })
  const { body } = await present(to, await idJag(to))
  expect(body.expires_in).toBe(120)
  const verifier = createOwnVerifier(to.server)
  await to.pass(100_000)
  expect((await verifier.verify(body.access_token, mcp)).kind).toBe('user')
  await to.pass(30_000)
  await expect(verifier.verify(body.access_token, mcp)).rejects.toMatchObject({ reason: 'expired' })
  // The client comes with a new one, as ever.
  expect((await present(to, await idJag(to))).status).toBe(200)
})

test('who acts for the person is on the token', async () => {
  const to = await serverFor()
  const act = { sub: 'assistant', iss: 'https://agents.example', act: { sub: 'planner' } }
  const { body } = await present(to, await idJag(to, { act }))
  const token = await createOwnVerifier(to.server).verify(body.access_token, mcp)
  expect(token.actor).toEqual({
    issuer: 'https://agents.example',
    subject: 'assistant',
    actor: { issuer: idp.issuer, subject: 'planner' },
  })
  expect(outcome(await present(to, await idJag(to, { act: { sub: '' } })))).toEqual([400, 'invalid_grant'])
})

describe('every rule of the extension', () => {
  const cases: readonly (readonly [string, Record<string, unknown>, SignOptions, string, string?])[] = [
    ['another type', {}, { typ: 'JWT' }, 'invalid_grant', 'type'],
    ['an id_token', { aud: 'agent' }, { typ: 'JWT' }, 'invalid_grant', 'type'],
    ['an access token', {}, { typ: 'at+jwt' }, 'invalid_grant', 'type'],
    ['another audience', { aud: 'https://other.example' }, {}, 'invalid_grant', 'audience'],
    ['the token endpoint as audience', { aud: `${issuer}/token` }, {}, 'invalid_grant', 'audience'],
    ['two audiences', { aud: [issuer, 'https://other.example'] }, {}, 'invalid_grant', 'audience'],
    ['no audience', { aud: undefined }, {}, 'invalid_grant'],
    ['another client', { client_id: 'other' }, {}, 'invalid_grant', 'other_client'],
    ['no client', { client_id: undefined }, {}, 'invalid_grant', 'no_client_id'],
    ['no subject', { sub: undefined }, {}, 'invalid_grant'],
    ['no id', { jti: undefined }, {}, 'invalid_grant'],
    ['no expiry', { exp: undefined }, {}, 'invalid_grant'],
    ['no time of issue', { iat: undefined }, {}, 'invalid_grant'],
    ['no resource', { resource: undefined }, {}, 'invalid_grant', 'no_resource'],
    ['a foreign resource', { resource: 'https://evil.example/mcp' }, {}, 'invalid_target'],
    ['no scope that we have', { scope: 'admin' }, {}, 'invalid_scope'],
    ['a scope that is none', { scope: ['notes:read'] }, {}, 'invalid_grant', 'scope'],
    ['a tenant where none is expected', { tenant: 't1' }, {}, 'invalid_grant', 'tenant'],
    ['detailed authorization', { authorization_details: [] }, {}, 'invalid_grant', 'authorization_details'],
    ['a key that is not shown', { cnf: { jkt: 'x' } }, {}, 'invalid_grant', 'proof_of_possession'],
    ['a binding of another kind', { cnf: { 'x5t#S256': 'x' } }, {}, 'invalid_grant', 'confirmation'],
    ['another issuer', { iss: 'https://other.example' }, {}, 'invalid_grant', 'untrusted_issuer'],
  ]
  for (const [name, claims, header, error, reason] of cases) {
    test(name, async () => {
      const to = await serverFor()
      const answer = await present(to, await idJag(to, claims, header))
      expect(outcome(answer)).toEqual([400, error])
      expect(answer.body).not.toHaveProperty('access_token')
      expect(eventTypes(to)).toEqual(['assertion.refused'])
      if (reason) expect(reasons(to)).toEqual([`assertion: ${reason}`])
    })
  }

  test('its times are bounded', async () => {
    const to = await serverFor()
    const now = Math.floor(to.clock.now() / 1000)
    for (const times of [
      { iat: now - 600, exp: now - 60 },
      { iat: now + 120, exp: now + 300 },
      { iat: now, exp: now + 86_400 },
      { nbf: now + 120 },
    ]) {
      expect(outcome(await present(to, await idJag(to, times))), JSON.stringify(times)).toEqual([400, 'invalid_grant'])
    }
    expect((await present(to, await idJag(to, { iat: now - 10, exp: now - 10 }))).status).toBe(200)
  })

  test('the audience may be a list of us alone', async () => {
    const to = await serverFor()
    expect((await present(to, await idJag(to, { aud: [issuer] }))).status).toBe(200)
  })
})

test('one that is bound to a key is good with its proof, and what comes of it is bound to it, too', async () => {
  const to = await serverFor()
  const [key, other] = [await dpopKey(() => to.clock.now()), await dpopKey(() => to.clock.now())]
  const send = async (by: DpopKey, assertion: string) =>
    postToken(
      to,
      { grant_type: jwtBearerGrantType, assertion, ...proof },
      { DPoP: await by.proof('POST', `${issuer}/token`) },
    )
  const bound = { cnf: { jkt: key.jkt } }
  expect(outcome(await send(other, await idJag(to, bound)))).toEqual([400, 'invalid_grant'])
  const { status, body } = await send(key, await idJag(to, bound))
  expect([status, body.token_type, decodeJwt(body.access_token).cnf]).toEqual([200, 'DPoP', { jkt: key.jkt }])
  // Nobody else's key where none is named: it binds what it is shown for.
  expect((await send(other, await idJag(to))).body.token_type).toBe('DPoP')
})

describe('what it is for', () => {
  test('one of several resources, as the request says; no scope named: the default set', async () => {
    const to = await serverFor()
    const both = { resource: [mcp, otherMcp], scope: undefined }
    expect(outcome(await present(to, await idJag(to, both)))).toEqual([400, 'invalid_target'])
    const one = await present(to, await idJag(to, both), { resource: otherMcp })
    expect([one.body.scope, decodeJwt(one.body.access_token).aud]).toEqual(['other:read', otherMcp])
    const foreign = await present(to, await idJag(to), { resource: otherMcp })
    expect(outcome(foreign)).toEqual([400, 'invalid_target'])
  })

  test('the request may ask for less, not for more; what we don’t have is left out', async () => {
    const to = await serverFor()
    const wide = { scope: 'notes:read notes:write calendar:read' }
    expect((await present(to, await idJag(to, wide))).body.scope).toBe('notes:read notes:write')
    expect((await present(to, await idJag(to, wide), { scope: 'notes:read' })).body.scope).toBe('notes:read')
    expect(outcome(await present(to, await idJag(to), { scope: 'notes:write' }))).toEqual([400, 'invalid_scope'])
  })

  test('the operator may let it give less than there is', async () => {
    const to = await serverFor({ assertions: [acme({ scopes: { '/mcp': ['notes:read'] } })] })
    const wide = { scope: 'notes:read notes:write' }
    expect((await present(to, await idJag(to, wide))).body.scope).toBe('notes:read')
    expect(outcome(await present(to, await idJag(to, { scope: 'notes:write' })))).toEqual([400, 'invalid_scope'])
    const other = { resource: otherMcp, scope: undefined }
    expect(outcome(await present(to, await idJag(to, other)))).toEqual([400, 'invalid_target'])
  })
})

describe('the client', () => {
  test('must prove who it is, by what it has: secret in body or header', async () => {
    const to = await serverFor()
    const assertion = await idJag(to)
    const send = (more: Record<string, string>, headers: Record<string, string> = {}) =>
      postToken(to, { grant_type: jwtBearerGrantType, assertion, ...more }, headers)
    expect(outcome(await send({}))).toEqual([400, 'invalid_request'])
    expect(outcome(await send({ client_id: 'agent' }))).toEqual([401, 'invalid_client'])
    expect(outcome(await send({ client_id: 'agent', client_secret: `${secret}x` }))).toEqual([401, 'invalid_client'])
    expect((await send({}, basic('agent', secret))).status).toBe(200)
  })

  test('a public one gets nothing, whatever the assertion says', async () => {
    const to = await serverFor({ clients: [{ id: 'open', redirectUris: [callback] }] })
    const open = await registered(to, { grant_types: ['authorization_code', jwtBearerGrantType] })
    for (const { client_id } of [{ client_id: 'open' }, open]) {
      const answer = await postToken(to, {
        grant_type: jwtBearerGrantType,
        assertion: await idJag(to, { client_id }),
        client_id,
      })
      expect(outcome(answer)).toEqual([400, 'unauthorized_client'])
    }
  })

  test('one that registers for it, without any redirect URI; it lives on while it is used', async () => {
    const to = await serverFor()
    const metadata = {
      redirect_uris: [],
      grant_types: [jwtBearerGrantType],
      token_endpoint_auth_method: 'client_secret_basic',
    }
    const client = await registered(to, metadata)
    const send = async () => present(to, await idJag(to, { client_id: client.client_id }), { ...client })
    for (let week = 0; week < 8; week++) {
      expect((await send()).status, String(week)).toBe(200)
      await to.pass(7 * 86_400_000)
    }
    await to.pass(35 * 86_400_000)
    expect(outcome(await send())).toEqual([401, 'invalid_client'])
  })

  test('can’t use for assertions a registration without them', async () => {
    const to = await serverFor()
    const client = await registered(to, { token_endpoint_auth_method: 'client_secret_basic' })
    const answer = await present(to, await idJag(to, { client_id: client.client_id }), { ...client })
    expect(outcome(answer)).toEqual([400, 'unauthorized_client'])
  })
})

test('a client that publishes its metadata and its key, and has never been here: the assertion vouches for it', async () => {
  const web = await documentServer()
  try {
    const { privateKey, publicKey } = await generateKeyPair('ES256')
    web.metadata = {
      token_endpoint_auth_method: 'private_key_jwt',
      jwks: { keys: [{ ...(await exportJWK(publicKey)) } as Record<string, string>] },
      grant_types: ['authorization_code', jwtBearerGrantType],
    }
    const to = await serverFor({ documents: { loopback: true } })
    const client_id = `${web.origin}/client.json`
    const now = Math.floor(to.clock.now() / 1000)
    const key = () =>
      new SignJWT({ iss: client_id, sub: client_id, aud: issuer, jti: crypto.randomUUID(), exp: now + 60 })
        .setProtectedHeader({ alg: 'ES256' })
        .sign(privateKey)
    const send = async (assertion: string) =>
      postToken(to, {
        ...{ grant_type: jwtBearerGrantType, assertion, client_id },
        ...{ client_assertion_type: clientAssertionType, client_assertion: await key() },
      })
    // Nobody else makes us ask for a document.
    expect(outcome(await send(await idp.sign({}, { typ: 'JWT' })))).toEqual([400, 'invalid_grant'])
    expect(web.requests).toEqual([])
    const { status, body } = await send(await idJag(to, { client_id }))
    expect(status).toBe(200)
    expect((await createOwnVerifier(to.server).verify(body.access_token, mcp)).clientId).toBe(client_id)
  } finally {
    await web.stop()
  }
})

describe('each is good once', () => {
  test('fault 24: across nodes', async () => {
    const clock = movable()
    const store = memory({ clock })
    const nodes = [await serverFor({ clock, store }), await serverFor({ clock, store })]
    const [first, second] = nodes as [TestServer, TestServer]
    const assertion = await idJag(first)
    expect((await present(first, assertion)).status).toBe(200)
    expect(outcome(await present(second, assertion))).toEqual([400, 'invalid_grant'])
    expect(reasons(second)).toEqual(['assertion: replayed'])
    await clock.pass(320_000)
    expect(outcome(await present(first, assertion))).toEqual([400, 'invalid_grant'])
  })

  test('fault 1: of many at once, one wins', async () => {
    const to = await serverFor()
    const assertion = await idJag(to)
    const answers = await Promise.all(Array.from({ length: 8 }, () => present(to, assertion)))
    expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array(7).fill(400)])
  })

  test('one that is refused for another reason is not used up', async () => {
    const to = await serverFor()
    const assertion = await idJag(to)
    expect(outcome(await present(to, assertion, { scope: 'notes:write' }))).toEqual([400, 'invalid_scope'])
    expect((await present(to, assertion)).status).toBe(200)
  })

  test('the same id of two issuers is two', async () => {
    const other = await startJwksIssuer(mcp)
    try {
      const to = await testServer({
        assertions: [acme(), { kind: 'enterprise', issuer: other.issuer, provider: 'other' }],
        clients: [agent],
      })
      expect((await present(to, await idJag(to, { jti: 'one' }))).status).toBe(200)
      const now = Math.floor(to.clock.now() / 1000)
      const claims = { aud: issuer, client_id: 'agent', resource: mcp, iat: now, exp: now + 60, jti: 'one' }
      expect((await present(to, await other.sign(claims, { typ: idJagType }))).status).toBe(200)
    } finally {
      await other.close()
    }
  })
})

describe('it ends', () => {
  const signedIn = async (to: TestServer) => {
    const { body } = await present(to, await idJag(to))
    const verifier = createOwnVerifier(to.server)
    const { claims } = await verifier.verify(body.access_token, mcp)
    return { verifier, token: body.access_token, grant: String(claims.grant_id) }
  }

  test('fault 6: with its grant', async () => {
    const to = await serverFor()
    const { verifier, token, grant } = await signedIn(to)
    expect(await revokeGrantById(to.server, grant, 'operator')).toBe(true)
    await expect(verifier.verify(token, mcp)).rejects.toMatchObject({ reason: 'revoked' })
    expect((await to.store.list('upstream-session/')).entries).toEqual([])
  })

  test('with its client', async () => {
    const to = await serverFor()
    const client = await registered(to, {
      grant_types: ['authorization_code', jwtBearerGrantType],
      token_endpoint_auth_method: 'client_secret_basic',
    })
    const { body } = await present(to, await idJag(to, { client_id: client.client_id }), { ...client })
    const verifier = createOwnVerifier(to.server)
    await verifier.verify(body.access_token, mcp)
    await deleteClient(to.server, client.client_id)
    await expect(verifier.verify(body.access_token, mcp)).rejects.toMatchObject({ reason: 'revoked' })
  })

  test('by itself, and leaves nothing in the store but the account', async () => {
    const to = await serverFor()
    await signedIn(to)
    await to.pass(700_000)
    for (const prefix of ['grant/', 'account-grant/', 'session-grant/', 'upstream-session/', 'assertion/']) {
      expect((await to.store.list(prefix)).entries, prefix).toEqual([])
    }
    expect((await to.store.list('account/')).entries).toHaveLength(1)
  })
})

describe('the issuer', () => {
  test('fault 11: its keys are fetched once, and again for one that is unknown; down is 503, not the client’s fault', async () => {
    const to = await serverFor()
    const before = { ...idp.requests }
    const many = await Promise.all(Array.from({ length: 10 }, async () => present(to, await idJag(to))))
    expect(many.map(({ status }) => status)).toEqual(Array(10).fill(200))
    expect([idp.requests.metadata - before.metadata, idp.requests.keys - before.keys]).toEqual([1, 1])
    await to.pass(60_000)
    await idp.rotate()
    expect((await present(to, await idJag(to))).status).toBe(200)
    expect(idp.requests.keys - before.keys).toBe(2)
    expect(outcome(await present(to, await idJag(to, {}, { key: idp.foreignKey })))).toEqual([400, 'invalid_grant'])

    idp.mode = 'down'
    try {
      // What it had is good for a while.
      await to.pass(3_600_000)
      expect((await present(to, await idJag(to))).status).toBe(200)
      const fresh = await serverFor()
      const answer = await present(fresh, await idJag(fresh))
      expect(outcome(answer)).toEqual([503, 'temporarily_unavailable'])
      expect(answer.headers.get('retry-after')).toMatch(/^\d+$/)
      expect(JSON.stringify(answer.body)).not.toContain(idp.issuer)
    } finally {
      idp.mode = 'ok'
    }
  })

  test('metadata of another issuer are not believed', async () => {
    const to = await serverFor()
    idp.mode = 'foreign'
    try {
      expect(outcome(await present(to, await idJag(to)))).toEqual([503, 'temporarily_unavailable'])
    } finally {
      idp.mode = 'ok'
    }
  })

  test('with a tenant and a claim of its own for the person', async () => {
    const to = await serverFor({ assertions: [acme({ tenant: 't1', subjectClaim: 'oid' })] })
    const { body } = await present(to, await idJag(to, { tenant: 't1', oid: 'O1' }))
    const token = await createOwnVerifier(to.server).verify(body.access_token, mcp)
    expect(token.upstream?.subject).toBe('O1')
    for (const claims of [{ oid: 'O1' }, { tenant: 't2', oid: 'O1' }, { tenant: 't1' }, { tenant: 't1', oid: 7 }]) {
      expect(outcome(await present(to, await idJag(to, claims)))).toEqual([400, 'invalid_grant'])
    }
  })
})

describe('linking by e-mail', () => {
  const linking = () => acme({ linkByEmail: { provider: 'host', domains: ['acme.example'] } })
  const verified = { email: 'Alice@Acme.example', email_verified: true }

  const setting = async (said = verified as Record<string, string | boolean>, assertions = [linking()]) => {
    const to = await serverFor({ assertions })
    const { subject } = await approved(to, { client_id: 'agent' }, { person: 'alice', said })
    const subjectOf = async (claims: Record<string, unknown>) => {
      const { status, body } = await present(to, await idJag(to, claims))
      return status === 200 ? decodeJwt(body.access_token).sub : body.error
    }
    return { to, subject, subjectOf }
  }

  test('attack: who has the store alone can’t test whose address it is', async () => {
    const { to } = await setting()
    const { entries } = await to.store.list('')
    for (const guess of [
      ['host', 'alice@acme.example'],
      ['alice@acme.example'],
      ['email', 'host', 'alice@acme.example'],
    ]) {
      const hash = hashStrings(...guess)
      for (const { key, value } of entries) expect(`${key} ${Buffer.from(value).toString()}`).not.toContain(hash)
    }
  })

  test('design 5, rolling deploys: an address as the release before wrote it finds its account, until it is written anew', async () => {
    const { to, subject, subjectOf } = await setting()
    const unkeyed = hashStrings('host', 'alice@acme.example')
    const emails = async () => (await to.store.list('account-email/')).entries.map(({ key }) => key)
    const [keyed = ''] = await emails()
    const older = async (accounts: readonly string[]) => {
      const [owner = ''] = accounts
      const ofAccount = refTo(recordType({ name: 'email-of-account', schema: 1, sealed: false }), owner)
      const entry = refTo(recordType({ name: 'account-email', schema: 1, sealed: false }), unkeyed)
      await to.store.commit({ deletes: [keyed] })
      await to.server.records.commit({ puts: [put(entry, { accounts }), put(ofAccount, { email: unkeyed })] })
    }
    await older([subject])
    expect(await subjectOf({ sub: 'V4', ...verified })).toBe(subject)
    expect(await emails()).toEqual([`account-email/${unkeyed}`])
    await approved(to, { client_id: 'agent' }, { person: 'alice', said: verified })
    // Nothing is left of how it was.
    expect(await emails()).toEqual([keyed])
    expect(await subjectOf({ sub: 'V5', ...verified })).toBe(subject)
    // One account by either release is still two: then nobody can say which is meant.
    const other = await approved(to, { client_id: 'agent' }, { person: 'bob', said: { email: 'bob@acme.example' } })
    const entry = refTo(recordType({ name: 'account-email', schema: 1, sealed: false }), unkeyed)
    await to.server.records.commit({ puts: [put(entry, { accounts: [other.subject] })] })
    expect(await subjectOf({ sub: 'V6', ...verified })).toBe('invalid_grant')
    await to.server.records.commit({ puts: [put(entry, { accounts: [subject] })] })
    expect(await subjectOf({ sub: 'V6', ...verified })).toBe(subject)
  })

  test('only where it is configured, and only with a verified address of such a domain on both sides', async () => {
    const { subject, subjectOf } = await setting()
    expect(await subjectOf({ sub: 'V1', email: 'alice@acme.example', email_verified: false })).not.toBe(subject)
    expect(await subjectOf({ sub: 'V2', email: 'alice@acme.example' })).not.toBe(subject)
    expect(await subjectOf({ sub: 'V3', email: 'bob@acme.example', email_verified: true })).not.toBe(subject)
    expect(await subjectOf({ sub: 'V4', ...verified })).toBe(subject)
    // From then on by issuer and subject, whatever the address is.
    expect(await subjectOf({ sub: 'V4', email: 'alice@other.example' })).toBe(subject)

    const unverified = await setting({ email: 'alice@acme.example' })
    expect(await unverified.subjectOf(verified)).not.toBe(unverified.subject)
    const elsewhere = await setting({ email: 'alice@other.example', email_verified: true })
    expect(await elsewhere.subjectOf({ email: 'alice@other.example', email_verified: true })).not.toBe(
      elsewhere.subject,
    )
    const unconfigured = await setting(verified, [acme()])
    expect(await unconfigured.subjectOf(verified)).not.toBe(unconfigured.subject)
  })

  test('an address that two accounts have leads to neither', async () => {
    const { to, subjectOf } = await setting()
    await approved(to, { client_id: 'agent' }, { person: 'alice2', said: verified })
    expect(await subjectOf(verified)).toBe('invalid_grant')
    expect(reasons(to)).toEqual(['assertion: untrusted several accounts have this e-mail address'])
  })

  test('a way to sign in that was taken away does not come back by its address', async () => {
    for (const taken of ['acme', 'host']) {
      const { to, subject, subjectOf } = await setting()
      expect(await subjectOf({ sub: 'V4', ...verified })).toBe(subject)
      const account = await to.server.accounts.bySubject(String(subject))
      const identity = account?.identities.find(({ provider }) => provider === taken)
      if (!account || !identity) throw new Error('nothing to take away')
      expect(await to.server.accounts.unlink(account.id, identity)).toBe(true)
      expect(await subjectOf({ sub: taken === 'acme' ? 'V4' : 'V5', ...verified })).not.toBe(subject)
    }
  })

  test('a way to sign in that is taken away while somebody comes by it makes no session any more', async () => {
    const { to, subject, subjectOf } = await setting()
    expect(await subjectOf({ sub: 'V4', ...verified })).toBe(subject)
    const { accounts, custody } = to.server
    const resolved = await accounts.bySubject(String(subject))
    const identity = resolved?.identities.find(({ provider }) => provider === 'acme')
    if (!resolved || !identity) throw new Error('nothing to take away')
    const signIn = { issuer: identity.issuer, subject: identity.subject, authTime: 1, said: [] }
    await custody.begin(resolved, 'acme', signIn)
    await accounts.unlink(resolved.id, identity)
    await expect(custody.begin(resolved, 'acme', signIn)).rejects.toThrow('interaction_required')
  })

  test('attack: an issuer that says one address of ever new people can’t fill an account without end', async () => {
    const { to, subject, subjectOf } = await setting()
    const identities = async () => (await to.server.accounts.bySubject(String(subject)))?.identities.length
    for (let each = 1; each < 20; each++) expect(await subjectOf({ sub: `V${each}`, ...verified })).toBe(subject)
    expect(await identities()).toBe(20)
    expect(await subjectOf({ sub: 'one more', ...verified })).toBe('invalid_grant')
    expect(reasons(to)).toEqual(['assertion: untrusted the account of this e-mail address has too many identities'])
    expect(await identities()).toBe(20)
    // Who is known goes on.
    expect(await subjectOf({ sub: 'V7', ...verified })).toBe(subject)
  })

  test('an address is not remembered of who was deleted, or lost that way to sign in, while they signed in', async () => {
    const { to, subject, subjectOf } = await setting()
    const account = await to.server.accounts.bySubject(String(subject))
    if (!account) throw new Error('nobody')
    const at = to.clock.now()
    const signIn = {
      issuer: account.identities[0]?.issuer ?? '',
      subject: 'somebody else',
      authTime: Math.floor(at / 1000),
      said: [{ source: 'host' as const, at, claims: { email: 'bob@acme.example', email_verified: true } }],
    }
    await rememberEmail(to.server, 'host', account.id, signIn)
    await rememberEmail(to.server, 'host', 'nobodyhereanymore00000', signIn)
    const made = await subjectOf({ sub: 'V6', email: 'bob@acme.example', email_verified: true })
    expect(made).not.toBe('invalid_grant')
    expect(made).not.toBe(subject)
  })

  test('an address that its owner gave up leads to them no more', async () => {
    const { to, subject, subjectOf } = await setting()
    await approved(
      to,
      { client_id: 'agent' },
      { person: 'alice', said: { email: 'a.b@acme.example', email_verified: true } },
    )
    expect(await subjectOf({ sub: 'W1', ...verified })).not.toBe(subject)
    expect(await subjectOf({ sub: 'W2', email: 'a.b@acme.example', email_verified: true })).toBe(subject)
  })
})

test('without a trusted issuer there is no such grant; with one it is advertised', async () => {
  const metadata = async ({ server }: TestServer) =>
    (await answered(await metadataEndpoint(server, new Request(issuer)))).body as unknown as Record<string, unknown>
  const without = await testServer({ clients: [agent] })
  expect((await metadata(without)).grant_types_supported).not.toContain(jwtBearerGrantType)
  expect(await metadata(without)).not.toHaveProperty('authorization_grant_profiles_supported')
  expect(outcome(await present(without, await idJag(without)))).toEqual([400, 'unsupported_grant_type'])
  expect(await metadata(await serverFor())).toMatchObject({
    grant_types_supported: expect.arrayContaining([jwtBearerGrantType]),
    authorization_grant_profiles_supported: ['urn:ietf:params:oauth:grant-profile:id-jag'],
  })
})

test('a code of the same client is its own affair', async () => {
  const to = await serverFor()
  const code = await approved(to, { client_id: 'agent' })
  expect((await redeem(to, proof, code)).status).toBe(200)
})
