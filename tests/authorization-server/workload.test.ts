import { decodeJwt } from 'jose'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { AssertionIssuerOptions, WorkloadRule } from '../../src/authorization-server/assertion-options.ts'
import type { ClientOptions } from '../../src/authorization-server/client-options.ts'
import { createOwnVerifier } from '../../src/authorization-server/own-verifier.ts'
import { jwtBearerGrantType } from '../../src/oauth/assertion.ts'
import { memory } from '../../src/store/memory.ts'
import { movable } from '../store/movable-clock.ts'
import {
  basic,
  callback,
  eventTypes,
  issuer,
  mcp,
  otherMcp,
  postToken,
  refresh,
  revoke,
  type TestServer,
  type TestServerOptions,
  testServer,
} from '../support/authorization-server.ts'
import { type JwksIssuer, type SignOptions, startJwksIssuer } from '../support/jwks-issuer.ts'

let platform: JwksIssuer
beforeAll(async () => {
  platform = await startJwksIssuer(mcp)
})
afterAll(() => platform.close())

const audience = 'https://auth.example.com'
const deployer: ClientOptions = { id: 'deployer', scopes: { '/mcp': ['notes:read', 'notes:write'] } }
const forge = (workloads: readonly WorkloadRule[] = [{ client: 'deployer', subject: 'repo:acme/app:*' }]) =>
  [{ kind: 'workload', issuer: platform.issuer, provider: 'forge', audience, workloads }] as const

const serverFor = (options: TestServerOptions = {}) =>
  testServer({ assertions: forge(), clients: [deployer], ...options })

/** What a platform lays beside a program that it runs. */
const jwt = (to: TestServer, claims: Record<string, unknown> = {}, header: SignOptions = {}) => {
  const now = Math.floor(to.clock.now() / 1000)
  return platform.sign(
    {
      ...{ sub: 'repo:acme/app:ref:refs/heads/main', aud: audience, client_id: undefined, scope: undefined },
      ...{ iat: now, exp: now + 3600, repository_owner_id: '42', environment: 'prod', ...claims },
    },
    { typ: 'JWT', ...header },
  )
}

type Form = Record<string, string | readonly string[] | undefined>
const present = (to: TestServer, assertion: string, more: Form = {}, headers: Record<string, string> = {}) =>
  postToken(to, { grant_type: jwtBearerGrantType, assertion, ...more }, headers)

const outcome = ({ status, body }: { status: number; body: { error?: string } }) => [status, body.error]
const reasons = ({ events }: TestServer) => events.flatMap((event) => ('reason' in event ? [event.reason] : []))

test('origin 9: a workload is the client itself, and a handler sees what its platform says of it', async () => {
  const to = await serverFor({ tokenClaims: ['environment'] })
  const { status, body } = await present(to, await jwt(to))
  expect(status).toBe(200)
  expect(body).toMatchObject({ token_type: 'Bearer', scope: 'notes:read notes:write', expires_in: 600 })
  expect(body).not.toHaveProperty('refresh_token')
  const token = await createOwnVerifier(to.server).verify(body.access_token, mcp)
  expect(token).toMatchObject({
    ...{ kind: 'client', issuer, subject: 'deployer', clientId: 'deployer', resource: mcp },
    upstream: {
      provider: 'forge',
      issuer: platform.issuer,
      subject: 'repo:acme/app:ref:refs/heads/main',
      claims: { repository_owner_id: '42', environment: 'prod' },
    },
  })
  expect(decodeJwt(body.access_token).upstream_claims).toEqual({
    ...{ iss: platform.issuer, sub: 'repo:acme/app:ref:refs/heads/main', environment: 'prod' },
  })
  expect(to.events.find(({ type }) => type === 'assertion.accepted')).toMatchObject({
    ...{ provider: 'forge', clientId: 'deployer', subject: 'repo:acme/app:ref:refs/heads/main', resource: mcp },
  })
  expect((await to.store.list('account/')).entries).toEqual([])
})

test('the same JWT is good again while it lasts: the platform keeps it in a file', async () => {
  const to = await serverFor()
  const assertion = await jwt(to)
  for (let turn = 0; turn < 3; turn++) expect((await present(to, assertion)).status).toBe(200)
  await to.pass(3_700_000)
  expect(outcome(await present(to, assertion))).toEqual([400, 'invalid_grant'])
})

test('it may ask for less, and name its resource; its client may be named too', async () => {
  const clients = [{ ...deployer, scopes: { '/mcp': ['notes:read'], [otherMcp]: ['other:read'] } }]
  const to = await serverFor({ clients })
  const assertion = await jwt(to)
  expect(outcome(await present(to, assertion))).toEqual([400, 'invalid_target'])
  const { body } = await present(to, assertion, { resource: otherMcp, client_id: 'deployer' })
  expect([body.scope, decodeJwt(body.access_token).aud]).toEqual(['other:read', otherMcp])
  expect(outcome(await present(to, assertion, { resource: mcp, scope: 'notes:write' }))).toEqual([400, 'invalid_scope'])
})

describe('what is refused', () => {
  const cases: readonly (readonly [string, Record<string, unknown>, SignOptions, string?])[] = [
    ['another subject', { sub: 'repo:acme/other:ref:refs/heads/main' }, {}, 'no_rule_for_this_workload'],
    ['a subject that begins alike', { sub: 'repo:acme/app-evil:ref:refs/heads/main' }, {}, 'no_rule_for_this_workload'],
    ['the beginning alone', { sub: 'repo:acme/app:' }, {}, 'no_rule_for_this_workload'],
    ['another audience', { aud: 'https://other.example' }, {}, 'audience'],
    ['an audience shared with others', { aud: [audience, 'https://other.example'] }, {}, 'audience'],
    ['our token endpoint, which is not what is configured', { aud: `${issuer}/token` }, {}, 'audience'],
    ['no audience', { aud: undefined }, {}],
    ['no expiry', { exp: undefined }, {}],
    ['no subject', { sub: undefined }, {}],
    ['a life of a week', { exp: Math.floor(Date.now() / 1000) + 7 * 86_400 }, {}, 'lives_too_long'],
    ['an identity assertion', {}, { typ: 'oauth-id-jag+jwt' }, 'type'],
    ['an access token', {}, { typ: 'at+jwt' }, 'type'],
    ['a foreign issuer', { iss: 'https://other.example' }, {}, 'untrusted_issuer'],
  ]
  for (const [name, claims, header, reason] of cases) {
    test(name, async () => {
      const to = await serverFor()
      const answer = await present(to, await jwt(to, claims, header))
      expect(outcome(answer)).toEqual([400, 'invalid_grant'])
      expect(eventTypes(to)).toEqual(['assertion.refused'])
      if (reason) expect(reasons(to)).toEqual([`assertion: ${reason}`])
    })
  }

  test('a key that the platform never published', async () => {
    const to = await serverFor()
    const answer = await present(to, await jwt(to, {}, { key: platform.foreignKey }))
    expect(outcome(answer)).toEqual([400, 'invalid_grant'])
  })

  test('a claim that is missing, or has another value', async () => {
    const rule = { client: 'deployer', subject: 'repo:acme/app:*', claims: { environment: 'prod', attempt: 1 } }
    const to = await serverFor({ assertions: forge([rule]) })
    expect((await present(to, await jwt(to, { attempt: 1 }))).status).toBe(200)
    for (const claims of [
      {},
      { attempt: '1' },
      { attempt: 1, environment: 'test' },
      { attempt: 1, environment: ['prod'] },
    ]) {
      expect(outcome(await present(to, await jwt(to, claims)))).toEqual([400, 'invalid_grant'])
    }
  })

  test('another proof beside it, or the name of another client', async () => {
    const to = await serverFor({ clients: [deployer, { id: 'app', redirectUris: [callback] }] })
    const assertion = await jwt(to)
    expect(outcome(await present(to, assertion, { client_id: 'app' }))).toEqual([401, 'invalid_client'])
    expect(outcome(await present(to, assertion, { client_id: 'nobody' }))).toEqual([401, 'invalid_client'])
    const secret = { client_id: 'deployer', client_secret: 'a guess' }
    expect(outcome(await present(to, assertion, secret))).toEqual([401, 'invalid_client'])
    expect(outcome(await present(to, assertion, {}, basic('deployer', 'a guess')))).toEqual([401, 'invalid_client'])
  })

  test('its client by any other way: it has no secret to show', async () => {
    const to = await serverFor()
    const { body } = await present(to, await jwt(to))
    const asClient = { grant_type: 'client_credentials', client_id: 'deployer' }
    expect((await postToken(to, asClient)).body.error).toBe('unauthorized_client')
    expect((await refresh(to, { client_id: 'deployer' }, body.access_token)).body.error).toBe('unauthorized_client')
  })
})

test('the first rule that fits decides which client it is', async () => {
  const clients: ClientOptions[] = [
    { id: 'releases', scopes: { '/mcp': ['notes:write'] } },
    { id: 'tests', scopes: { '/mcp': ['notes:read'] } },
  ]
  const to = await testServer({
    assertions: forge([
      { client: 'releases', subject: 'repo:acme/app:ref:refs/heads/main' },
      { client: 'tests', subject: 'repo:acme/app:*' },
    ]),
    clients,
  })
  const clientOf = async (sub: string) => decodeJwt((await present(to, await jwt(to, { sub }))).body.access_token).sub
  expect(await clientOf('repo:acme/app:ref:refs/heads/main')).toBe('releases')
  expect(await clientOf('repo:acme/app:ref:refs/heads/feature')).toBe('tests')
})

describe('it lives by its client and by the rule', () => {
  test('a rule that was taken away, or an issuer, ends it at the next restart', async () => {
    const clock = movable()
    const store = memory({ clock })
    const to = await serverFor({ clock, store })
    const { body } = await present(to, await jwt(to))
    const verify = async (
      assertions: readonly AssertionIssuerOptions[],
      clients: readonly ClientOptions[] = [deployer],
    ) =>
      createOwnVerifier((await testServer({ clock, store, assertions, clients })).server).verify(body.access_token, mcp)
    expect((await verify(forge())).subject).toBe('deployer')
    const narrower = [{ client: 'deployer', subject: 'repo:acme/app:ref:refs/heads/release' }]
    await expect(verify(forge(narrower))).rejects.toMatchObject({ reason: 'revoked' })
    const secret = 'a secret that is long enough, for a client that now has one'
    await expect(verify([], [{ ...deployer, secret }])).rejects.toMatchObject({ reason: 'revoked' })
  })

  test('fault 6: it can be revoked, by its client', async () => {
    const to = await serverFor({ clients: [{ ...deployer, secret: 'a secret that is long enough for a client' }] })
    const proof = { client_id: 'deployer', client_secret: 'a secret that is long enough for a client' }
    const { body } = await present(to, await jwt(to))
    const verifier = createOwnVerifier(to.server)
    await verifier.verify(body.access_token, mcp)
    expect((await revoke(to, proof, body.access_token)).status).toBe(200)
    await expect(verifier.verify(body.access_token, mcp)).rejects.toMatchObject({ reason: 'revoked' })
  })

  test('what was said is gone with the token', async () => {
    const to = await serverFor()
    await present(to, await jwt(to))
    expect((await to.store.list('workload/')).entries).toHaveLength(1)
    await to.pass(700_000)
    expect((await to.store.list('workload/')).entries).toEqual([])
  })
})

describe('keys', () => {
  test('given in the configuration, for a platform whose issuer is no web address', async () => {
    const keys = await (await fetch(`${platform.issuer}/jwks`)).json()
    const spiffe = { ...forge()[0], issuer: 'spiffe://example.org', jwks: keys }
    const workloads = [{ client: 'deployer', subject: 'spiffe://example.org/ns/prod/*' }]
    const to = await serverFor({ assertions: [{ ...spiffe, workloads }] })
    const before = { ...platform.requests }
    const claims = { iss: 'spiffe://example.org', sub: 'spiffe://example.org/ns/prod/sa/agent' }
    expect((await present(to, await jwt(to, claims, { typ: null }))).status).toBe(200)
    expect(platform.requests).toEqual(before)
  })

  test('at an address of their own', async () => {
    const to = await serverFor({ assertions: [{ ...forge()[0], jwksUri: `${platform.issuer}/jwks` }] })
    const before = platform.requests.metadata
    expect((await present(to, await jwt(to))).status).toBe(200)
    expect(platform.requests.metadata).toBe(before)
  })
})
