import { decodeJwt, decodeProtectedHeader } from 'jose'
import { describe, expect, test } from 'vitest'
import { issueAccessToken, issueClientToken } from '../../src/authorization-server/access-token.ts'
import type { JsonObject } from '../../src/identity/json.ts'
import { grantRef } from '../../src/records/grant.ts'
import { put } from '../../src/records/records.ts'
import { upstreamSessionRef } from '../../src/records/upstream-session.ts'
import { createAccounts } from '../../src/upstream/accounts.ts'
import {
  approved,
  mcp,
  postToken,
  redeem,
  refresh,
  registered,
  signedIn,
  type TestServer,
  type TestServerOptions,
  testServer,
} from '../support/authorization-server.ts'

const secret = 'a client secret of more than 32 characters'
const nightly = { id: 'nightly', secret, scopes: { '/mcp': ['notes:read'] } }

const setUp = async (options: TestServerOptions = {}) => {
  const to = await testServer(options)
  const client = await registered(to)
  return { to, client }
}

const grantOf = async (to: TestServer, token: string) => {
  const [stored] = (await to.server.records.get(grantRef(String(decodeJwt(token).grant_id)))).values
  return stored?.value ?? expect.fail('no grant')
}

const lastReason = ({ events }: TestServer) => (events.at(-1) as { reason?: string } | undefined)?.reason

describe('a person is never taken for a client (RFC 9700 §4.15)', () => {
  /** People have the names that their provider gives them. */
  const named = async () => {
    const { to, client } = await setUp({ clients: [nightly] })
    const { records, random, providers } = to.server
    const accounts = createAccounts({ records, random }, { subject: 'upstream', providers })
    return { to: { ...to, server: { ...to.server, accounts } }, client }
  }

  test('one whose name at the provider is a client’s id gets no token, by a code or by refreshing', async () => {
    const { to, client } = await named()
    for (const person of ['nightly', client.client_id, 'cs_cl_somebody']) {
      const { status, body } = await redeem(to, client, await approved(to, client, { person }))
      expect([person, status, body.error, lastReason(to)]).toEqual([
        ...[person, 400, 'invalid_grant', 'subject_is_a_client'],
      ])
    }
    const tokens = await signedIn(to, client, { person: 'weekly' })
    expect(decodeJwt(tokens.access_token).sub).toBe('weekly')
    // The operator adds a client of that name.
    const configuredClients = new Map([...to.server.configuredClients].map(([, each]) => ['weekly', each] as const))
    const later = { ...to, server: { ...to.server, configuredClients } }
    expect((await refresh(later, client, tokens.refresh_token)).body.error).toBe('invalid_grant')
    expect(lastReason(to)).toBe('subject_is_a_client')
  })

  test('nor where its client’s id is the URL of a document', async () => {
    const { to, client } = await setUp()
    const grant = await grantOf(to, (await signedIn(to, client)).access_token)
    const target = { resource: mcp, scopes: [] }
    const clientId = 'https://app.example.com/client.json'
    const issue = (subject: string) =>
      issueAccessToken(to.server, { ...grant, clientId, subject }, target, to.clock.now(), undefined)
    await expect(issue(clientId)).rejects.toMatchObject({ code: 'invalid_grant', reason: 'subject_is_a_client' })
    expect(decodeJwt((await issue(`${clientId}/alice`)).token).client_id).toBe(clientId)
  })

  test('what only resembles a client’s id is a name like any other', async () => {
    const { to, client } = await named()
    for (const person of ['nightl', 'nightly2', 'cs_cl', 'xcs_cl_a', `${client.client_id.slice(0, 3)}`]) {
      expect(decodeJwt((await signedIn(to, client, { person })).access_token).sub).toBe(person)
    }
  })
})

describe('what a token says', () => {
  test('whole seconds, an id of its own, and what it is for', async () => {
    const { to, client } = await setUp()
    await to.pass(1_999 - (to.clock.now() % 1_000))
    const { access_token: token, expires_in: life } = await signedIn(to, client)
    const now = Math.floor(to.clock.now() / 1000)
    const grant = await grantOf(to, token)
    expect(decodeJwt(token)).toStrictEqual({
      iss: grant.issuer,
      sub: grant.subject,
      client_id: client.client_id,
      auth_time: grant.authTime,
      grant_id: grant.id,
      upstream_provider: 'host',
      upstream_claims: { iss: 'https://host.example', sub: 'alice' },
      aud: mcp,
      scope: 'notes:read',
      iat: now,
      exp: now + life,
      jti: expect.stringMatching(/^[\w-]{22}$/),
    })
    expect(life).toBe(to.server.lifetimes.accessToken)
    const { id: kid, algorithm: alg } = to.server.keys.signingKey()
    expect(decodeProtectedHeader(token)).toStrictEqual({ alg, kid, typ: 'at+jwt' })
    const { access_token: other } = await signedIn(to, client)
    expect(decodeJwt(other).jti).not.toBe(decodeJwt(token).jti)
  })

  test('of the upstream claims those that the server names, where the provider said them', async () => {
    const { to, client } = await setUp({ tokenClaims: ['groups', 'sub', 'phone', 'constructor', '__proto__'] })
    const { access_token: token } = await signedIn(to, client, { said: { groups: ['staff'], name: 'Alice' } })
    const said = decodeJwt(token).upstream_claims as object
    expect(Object.entries(said)).toEqual([
      ['groups', ['staff']],
      ['sub', 'alice'],
      ['iss', 'https://host.example'],
    ])
  })

  test('whatever a claim is called', async () => {
    const { to } = await setUp({ clients: [nightly], tokenClaims: ['__proto__', 'constructor', 'iss'] })
    const claims: JsonObject = JSON.parse('{"__proto__":{"admin":true},"constructor":"a","iss":"https://evil.example"}')
    const upstream = { provider: 'ci', issuer: 'https://ci.example', subject: 'job', claims }
    const target = { resource: mcp, scopes: [] }
    const { token } = await issueClientToken(to.server, 'nightly', target, to.clock.now(), undefined, upstream)
    expect(Object.entries(decodeJwt(token).upstream_claims as object)).toEqual([
      ['__proto__', { admin: true }],
      ['constructor', 'a'],
      ['iss', 'https://ci.example'],
      ['sub', 'job'],
    ])
  })

  test('without scopes there is no member for them', async () => {
    const { to, client } = await setUp({ mcp: { scopes: {} } })
    const { access_token: token, ...answer } = await signedIn(to, client, { scopes: [] })
    expect(decodeJwt(token)).not.toHaveProperty('scope')
    expect(answer).not.toHaveProperty('scope')
  })

  test('a resource may have tokens of another lifetime', async () => {
    const { to, client } = await setUp({ mcp: { lifetimes: { accessToken: 60 } } })
    const { access_token: token, expires_in: life } = await signedIn(to, client)
    const { iat = 0, exp } = decodeJwt(token)
    expect([life, exp]).toEqual([60, iat + 60])
  })

  test('no token outlives its grant, to the second', async () => {
    const { to, client } = await setUp({ lifetimes: { grant: 1_000 } })
    const { refresh_token: first, access_token: token } = await signedIn(to, client)
    const end = Math.floor((await grantOf(to, token)).expiresAt / 1000)
    await to.pass(900_000)
    const { body } = await refresh(to, client, first)
    expect(decodeJwt(body.access_token).exp).toBe(end)
    expect(body.expires_in).toBe(end - Math.floor(to.clock.now() / 1000))
  })

  test('nor what it must not outlive besides; what is over lives for no time', async () => {
    const { to, client } = await setUp()
    const grant = await grantOf(to, (await signedIn(to, client)).access_token)
    const target = { resource: mcp, scopes: [] }
    const now = to.clock.now()
    const issue = (longest: number) => issueAccessToken(to.server, grant, target, now, undefined, { longest })
    expect((await issue(7)).expiresIn).toBe(7)
    expect(decodeJwt((await issue(7)).token).exp).toBe(Math.floor(now / 1000) + 7)
    expect((await issue(-7)).expiresIn).toBe(0)
    expect(decodeJwt((await issue(-7)).token).exp).toBe(Math.floor(now / 1000) - 7)
  })

  test('who may act for the person, where somebody may', async () => {
    const { to, client } = await setUp()
    const grant = await grantOf(to, (await signedIn(to, client)).access_token)
    const target = { resource: mcp, scopes: [] }
    const claims = async (mayAct?: string) =>
      decodeJwt((await issueAccessToken(to.server, grant, target, to.clock.now(), undefined, { mayAct })).token)
    expect((await claims('agent')).may_act).toEqual({ iss: grant.issuer, sub: 'agent', client_id: 'agent' })
    expect(await claims()).not.toHaveProperty('may_act')
  })

  test('who acts for the person, where somebody does: the whole chain', async () => {
    const { to, client } = await setUp()
    const grant = await grantOf(to, (await signedIn(to, client)).access_token)
    const actor = { issuer: grant.issuer, subject: 'b', clientId: 'b', actor: { issuer: grant.issuer, subject: 'a' } }
    const chain = { kind: 'exchange', ancestors: ['parent'], clients: [], limits: {}, actor } as const
    const target = { resource: mcp, scopes: [] }
    const { token } = await issueAccessToken(to.server, { ...grant, ...chain }, target, to.clock.now(), undefined)
    const before = { iss: grant.issuer, sub: 'a' }
    expect(decodeJwt(token).act).toEqual({ iss: grant.issuer, sub: 'b', client_id: 'b', act: before })
  })

  test('to which key it is bound, where it is', async () => {
    const { to } = await setUp({ clients: [nightly] })
    const target = { resource: mcp, scopes: ['notes:read'] }
    const issue = (jkt?: string) => issueClientToken(to.server, 'nightly', target, to.clock.now(), jkt)
    const bound = await issue('thumbprint')
    expect([bound.type, decodeJwt(bound.token).cnf]).toEqual(['DPoP', { jkt: 'thumbprint' }])
    const free = await issue()
    expect(free.type).toBe('Bearer')
    expect(decodeJwt(free.token)).not.toHaveProperty('cnf')
    expect(free).toMatchObject({ id: decodeJwt(free.token).jti, scopes: ['notes:read'] })
  })

  test('of a client’s own: who it is, and nobody upstream', async () => {
    const { to } = await setUp({ clients: [nightly] })
    const proof = { client_id: 'nightly', client_secret: secret }
    const { body } = await postToken(to, { grant_type: 'client_credentials', ...proof })
    const now = Math.floor(to.clock.now() / 1000)
    expect(decodeJwt(body.access_token)).toStrictEqual({
      iss: to.server.issuer,
      sub: 'nightly',
      client_id: 'nightly',
      aud: mcp,
      scope: 'notes:read',
      iat: now,
      exp: now + to.server.lifetimes.accessToken,
      jti: expect.any(String),
    })
  })

  test('of a workload’s own: what its platform says that it is, as far as the server names it', async () => {
    const { to } = await setUp({ clients: [nightly], tokenClaims: ['repository'] })
    const claims = { repository: 'org/notes', actor: 'somebody' }
    const upstream = { provider: 'ci', issuer: 'https://ci.example', subject: 'repo:org/notes', claims }
    const target = { resource: mcp, scopes: ['notes:read'] }
    const { token } = await issueClientToken(to.server, 'nightly', target, to.clock.now(), undefined, upstream)
    expect(decodeJwt(token)).toMatchObject({ sub: 'nightly', upstream_provider: 'ci' })
    expect(decodeJwt(token).upstream_claims).toStrictEqual({
      repository: 'org/notes',
      iss: 'https://ci.example',
      sub: 'repo:org/notes',
    })
  })
})

describe('a token that would be too long to be sent', () => {
  const upstreamOf = (claims: JsonObject) => ({ provider: 'ci', issuer: 'https://ci.example', subject: 'job', claims })
  const vouched = { iss: 'https://ci.example', sub: 'job' }

  const issuing = async () => {
    const { to } = await setUp({ clients: [nightly], tokenClaims: ['small', 'large'] })
    const issue = async (upstream?: ReturnType<typeof upstreamOf>, scopes = ['notes:read']) => {
      const target = { resource: mcp, scopes }
      return (await issueClientToken(to.server, 'nightly', target, to.clock.now(), undefined, upstream)).token
    }
    return { to, issue }
  }

  /** How long a claim can be, about: three bytes are four characters. */
  const room = async (issue: (upstream: ReturnType<typeof upstreamOf>) => Promise<string>) =>
    Math.floor(((8_000 - (await issue(upstreamOf({ small: 'a', large: '' }))).length) * 3) / 4)

  test('leaves a claim out and says so, to the operator too', async () => {
    const { to, issue } = await issuing()
    const most = await room(issue)
    const claims = { small: 'a', large: 'b'.repeat(most - 8) }
    const whole = decodeJwt(await issue(upstreamOf(claims)))
    expect(whole.upstream_claims).toEqual({ ...claims, ...vouched })
    expect(whole).not.toHaveProperty('upstream_claims_omitted')
    expect(to.trouble).toEqual([])

    const shorter = decodeJwt(await issue(upstreamOf({ ...claims, large: 'b'.repeat(most + 8) })))
    expect(shorter.upstream_claims).toEqual({ small: 'a', ...vouched })
    expect(shorter.upstream_claims_omitted).toEqual(['large'])
    expect(to.trouble).toEqual([expect.stringMatching(/ \{"claims":\["large"\],"characters":80\d\d\}$/)])
  })

  test('is one of more than 8,000 characters', async () => {
    const { issue } = await issuing()
    const most = await room(issue)
    const lengths: number[] = []
    for (let count = most - 8; count <= most + 8; count++) {
      const token = await issue(upstreamOf({ small: 'a', large: 'b'.repeat(count) }))
      if (decodeJwt(token).upstream_claims_omitted === undefined) lengths.push(token.length)
    }
    expect(Math.max(...lengths)).toBe(8_000)
    expect(lengths.length).toBeLessThan(17)
  })

  test('is sent as it is where nothing of it can be left out', async () => {
    const { to, issue } = await issuing()
    const subject = 'j'.repeat(8_000)
    const decoded = decodeJwt(await issue({ ...upstreamOf({}), subject }))
    expect(decoded.upstream_claims).toEqual({ ...vouched, sub: subject })
    expect(decoded).not.toHaveProperty('upstream_claims_omitted')
    const scope = 's'.repeat(8_000)
    expect(decodeJwt(await issue(undefined, [scope]))).toMatchObject({ scope, client_id: 'nightly' })
    expect(to.trouble).toEqual([])
  })
})

describe('who the person is upstream is asked each time', () => {
  test('without the upstream session there is no token, and the operator is told why', async () => {
    const { to, client } = await setUp()
    const tokens = await signedIn(to, client)
    const { upstreamSession } = await grantOf(to, tokens.access_token)
    const [session] = (await to.server.records.get(upstreamSessionRef(upstreamSession))).values
    await to.server.records.commit({ deletes: [upstreamSessionRef(upstreamSession)] })
    const { status, body } = await refresh(to, client, tokens.refresh_token)
    expect([status, body.error, lastReason(to)]).toEqual([400, 'invalid_grant', 'upstream_gone'])
    // Nothing else has ended.
    if (session) await to.server.records.commit({ puts: [put(session.ref, session.value)] })
    expect((await refresh(to, client, tokens.refresh_token)).status).toBe(200)
  })
})
