import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { AssertionIssuer } from '../../src/authorization-server/assertion-options.ts'
import type { ClientOptions } from '../../src/authorization-server/client-options.ts'
import { createClient, deleteClient } from '../../src/authorization-server/clients.ts'
import type { ServerContext } from '../../src/authorization-server/context.ts'
import { identify } from '../../src/authorization-server/identify.ts'
import { readSignedAccessToken, type SignedAccessToken } from '../../src/authorization-server/signed-access-token.ts'
import { jwtBearerGrantType } from '../../src/oauth/assertion.ts'
import { workloadRef } from '../../src/records/assertion.ts'
import { type Grant, grantRef } from '../../src/records/grant.ts'
import { put } from '../../src/records/records.ts'
import { upstreamSessionRef } from '../../src/records/upstream-session.ts'
import { createCustody } from '../../src/upstream/custody.ts'
import {
  callback,
  issuer,
  mcp,
  otherMcp,
  postToken,
  registered,
  signedIn,
  type TestServer,
  type TestServerOptions,
  testServer,
} from '../support/authorization-server.ts'
import { type JwksIssuer, startJwksIssuer } from '../support/jwks-issuer.ts'

/** What the store says of a token whose signature is good: whatever the token says besides, the store decides. */

const secret = 'a client secret of more than 32 characters'
const clients: readonly ClientOptions[] = [
  { id: 'app', secret, redirectUris: [callback] },
  { id: 'notes', secret, exchange: { serves: ['/mcp'], to: { [otherMcp]: ['other:read'] } } },
  { id: 'nightly', secret, scopes: { '/mcp': ['notes:read'] } },
]
const app = { client_id: 'app', client_secret: secret }
const exchangeType = 'urn:ietf:params:oauth:grant-type:token-exchange'
const accessTokenType = 'urn:ietf:params:oauth:token-type:access_token'

const setUp = async (options: TestServerOptions = {}) => {
  const to = await testServer({ clients, ...options })
  const read = (token: string) => readSignedAccessToken(to.server, token)
  return { to, read }
}

/** Why it is refused, or `taken`. */
const outcome = (server: ServerContext, signed: SignedAccessToken): Promise<string> =>
  identify(server, signed).then(
    () => 'taken',
    ({ name, reason }: { name: string; reason?: string }) => reason ?? name,
  )

const grantOf = async ({ server }: TestServer, { grant }: SignedAccessToken): Promise<Grant> => {
  const [stored] = (await server.records.get(grantRef(grant ?? ''))).values
  return stored?.value ?? expect.fail('no grant')
}

const change = async (to: TestServer, grant: Grant, changed: Partial<Grant>): Promise<void> => {
  await to.server.records.commit({ puts: [put(grantRef(grant.id), { ...grant, ...changed } as Grant)] })
}

describe('a person’s token', () => {
  const person = async (options: TestServerOptions = {}) => {
    const { to, read } = await setUp(options)
    const signed = await read((await signedIn(to, app)).access_token)
    expect(await outcome(to.server, signed)).toBe('taken')
    return { to, signed }
  }

  test('is of its grant’s issuer, subject, client and resource, and says nobody who does not act', async () => {
    const { to, signed } = await person()
    for (const changed of [
      // The server had another address when the person signed in.
      { issuer: 'https://former.example.com' },
      { subject: 'somebody else' },
      { clientId: 'nightly' },
      { resource: otherMcp },
    ]) {
      expect(await outcome(to.server, { ...signed, ...changed }), JSON.stringify(changed)).toBe('claims')
    }
    for (const act of ['agent', null, {}, { sub: '' }, { sub: 'agent' }, { sub: 'agent', act: 'other' }]) {
      const claims = { ...signed.claims, act }
      expect(await outcome(to.server, { ...signed, claims }), JSON.stringify(act)).toBe('claims')
    }
  })

  test('lives no longer than its grant, its client, and what the provider said', async () => {
    const { to, signed } = await person()
    const { [signed.clientId]: _, ...others } = Object.fromEntries(to.server.configuredClients)
    const without = { ...to.server, configuredClients: new Map(Object.entries(others)) }
    expect(await outcome(without, signed)).toBe('revoked')
    const grant = await grantOf(to, signed)
    await change(to, grant, { upstreamSession: 'none' })
    expect(await outcome(to.server, signed)).toBe('revoked')
    await change(to, grant, {})
    expect(await outcome(to.server, signed)).toBe('taken')
    await to.server.records.commit({ deletes: [upstreamSessionRef(grant.upstreamSession)] })
    expect(await outcome(to.server, signed)).toBe('revoked')
    await to.server.records.commit({ deletes: [grantRef(grant.id)] })
    expect(await outcome(to.server, signed)).toBe('revoked')
  })

  test('of a client that registered itself ends with the client', async () => {
    const { to, read } = await setUp()
    const client = await registered(to)
    const signed = await read((await signedIn(to, client)).access_token)
    expect(await outcome(to.server, signed)).toBe('taken')
    await deleteClient(to.server, client.client_id)
    expect(await outcome(to.server, signed)).toBe('revoked')
  })

  test('of a client that is known by the URL of its document does not need the copy of that document', async () => {
    const { to, signed } = await person()
    const clientId = 'https://app.example.com/client.json'
    await change(to, await grantOf(to, signed), { clientId })
    const identified = await identify(to.server, { ...signed, clientId })
    expect(identified.facts.clientId).toBe(clientId)
    expect(identified).not.toHaveProperty('mayAct')
  })

  test('may be remembered as long as the provider’s policy says, and tells who may act', async () => {
    const { to, signed } = await person()
    const identified = await identify(to.server, signed)
    expect(Object.keys(identified).sort()).toEqual(['facts', 'grant', 'standsOn'])
    const configuredClients = new Map(to.server.configuredClients)
    const client = configuredClients.get('app') ?? expect.fail('no client')
    configuredClients.set('app', { ...client, mayAct: 'notes' })
    expect(await identify({ ...to.server, configuredClients }, signed)).toMatchObject({ mayAct: 'notes' })

    const often = await person({ revalidation: { when: { every: 600 }, maximumStaleness: 3_600 } })
    const grant = await grantOf(often.to, often.signed)
    const ref = upstreamSessionRef(grant.upstreamSession)
    const [session] = (await often.to.server.records.get(ref)).values
    if (!session) throw new Error('no session')
    const tokens = { accessToken: 'upstream' }
    await often.to.server.records.commit({ puts: [put(ref, { ...session.value, tokens })] })
    await often.to.pass(1_000)
    expect(await identify(often.to.server, often.signed)).toMatchObject({ freshFor: 599_000 })
  })
})

describe('a token that was exchanged', () => {
  const exchanged = (to: TestServer, proof: Readonly<Record<string, string>>, token: string, resource: string) =>
    postToken(to, {
      ...{ grant_type: exchangeType, subject_token: token, subject_token_type: accessTokenType, resource },
      ...proof,
    })

  test('says who acts as its grant does, or is none', async () => {
    const { to, read } = await setUp()
    const { access_token: token } = await signedIn(to, app)
    const { body } = await exchanged(to, { client_id: 'notes', client_secret: secret }, token, otherMcp)
    const signed = await read(body.access_token)
    const { act, ...silent } = signed.claims
    expect(act).toEqual({ iss: issuer, sub: 'notes', client_id: 'notes' })
    expect(await outcome(to.server, signed)).toBe('taken')
    for (const claims of [silent, { ...silent, act: { sub: 'app' } }, { ...silent, act: 'notes' }]) {
      expect(await outcome(to.server, { ...signed, claims }), JSON.stringify(claims.act)).toBe('claims')
    }
  })

  test('and exchanged again by the same client, which the store alone knows, lives while that client may exchange', async () => {
    const { to, read } = await setUp()
    const { id, secret: made = '' } = await createClient(to.server, { exchange: { serves: ['/mcp'], from: ['*'] } })
    const proof = { client_id: id, client_secret: made }
    const { access_token: token } = await signedIn(to, app)
    const { body: first } = await exchanged(to, proof, token, mcp)
    const { body: second } = await exchanged(to, proof, first.access_token, mcp)
    const signed = await read(second.access_token)
    expect((await identify(to.server, signed)).standsOn).toHaveLength(3)
    await deleteClient(to.server, id)
    expect(await outcome(to.server, signed)).toBe('revoked')
  })
})

describe('a client’s own token', () => {
  test('says nobody who acts', async () => {
    const { to, read } = await setUp()
    const proof = { client_id: 'nightly', client_secret: secret }
    const { body } = await postToken(to, { grant_type: 'client_credentials', ...proof })
    const signed = await read(body.access_token)
    expect(await outcome(to.server, signed)).toBe('taken')
    const claims = { ...signed.claims, act: { sub: 'app' } }
    expect(await outcome(to.server, { ...signed, claims })).toBe('claims')
  })

  test('ends where the client has scopes for nothing any more', async () => {
    const { to, read } = await setUp()
    const proof = { client_id: 'nightly', client_secret: secret }
    const { body } = await postToken(to, { grant_type: 'client_credentials', ...proof })
    const signed = await read(body.access_token)
    const configuredClients = new Map(to.server.configuredClients)
    const { scopes: _, ...client } = configuredClients.get('nightly') ?? expect.fail('no client')
    configuredClients.set('nightly', client)
    expect(await outcome({ ...to.server, configuredClients }, signed)).toBe('revoked')
  })
})

describe('a workload’s own token', () => {
  let platform: JwksIssuer
  beforeAll(async () => {
    platform = await startJwksIssuer(mcp)
  })
  afterAll(() => platform.close())

  const workload = async () => {
    const audience = 'https://auth.example.com'
    const workloads = [{ client: 'deployer', subject: 'repo:acme/app' }]
    const { to, read } = await setUp({
      assertions: [{ kind: 'workload', issuer: platform.issuer, provider: 'forge', audience, workloads }],
      clients: [{ id: 'deployer', scopes: { '/mcp': ['notes:read'] } }],
    })
    const now = Math.floor(to.clock.now() / 1000)
    const assertion = await platform.sign(
      {
        ...{ sub: 'repo:acme/app', aud: audience, client_id: undefined, scope: undefined },
        ...{ iat: now, exp: now + 600, environment: 'prod' },
      },
      { typ: 'JWT' },
    )
    const { body } = await postToken(to, { grant_type: jwtBearerGrantType, assertion })
    const signed = await read(body.access_token)
    expect((await identify(to.server, signed)).facts).toMatchObject({
      ...{ kind: 'client', clientId: 'deployer', scopes: ['notes:read'] },
      upstream: { provider: 'forge', subject: 'repo:acme/app', claims: { environment: 'prod' } },
    })
    return { to, signed }
  }

  test('ends when the server trusts no platform any more, not this one, or not as one of workloads', async () => {
    const { to, signed } = await workload()
    const { assertions, ...without } = to.server
    expect(await outcome(without, signed)).toBe('revoked')
    const known = assertions?.issuers.get(platform.issuer)
    if (!assertions || known?.kind !== 'workload') throw new Error('no platform is trusted')
    const trusting = (...issuers: readonly AssertionIssuer[]): ServerContext => ({
      ...to.server,
      assertions: { ...assertions, issuers: new Map(issuers.map((each) => [each.issuer, each])) },
    })
    expect(await outcome(trusting(), signed)).toBe('revoked')
    const { issuer, provider } = known
    expect(await outcome(trusting({ kind: 'enterprise', issuer, provider }), signed)).toBe('revoked')
    expect(await outcome(trusting({ ...known, workloads: [] }), signed)).toBe('revoked')
    expect(await outcome(trusting(known), signed)).toBe('taken')
  })

  test('is as good as what the platform said: 401 where that is gone, is nobody’s, or is no longer enough', async () => {
    const { to, signed } = await workload()
    const vouchedBy = (...vouchers: Parameters<typeof createCustody>[1]) => ({
      ...to.server,
      custody: createCustody(to.server, vouchers),
    })
    expect(await outcome(vouchedBy(), signed)).toBe('revoked')
    const claims = z.object({ environment: z.literal('prod') })
    expect(await outcome(vouchedBy({ id: 'forge', claims }), signed)).toBe('taken')
    const stricter = z.object({ environment: z.literal('test') })
    expect(await outcome(vouchedBy({ id: 'forge', claims: stricter }), signed)).toBe('schema')
    await to.server.records.commit({ deletes: [workloadRef(signed.id)] })
    expect(await outcome(to.server, signed)).toBe('revoked')
  })
})
