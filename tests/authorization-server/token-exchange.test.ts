import { decodeJwt } from 'jose'
import { describe, expect, test } from 'vitest'
import { deleteAccount } from '../../src/authorization-server/account-administration.ts'
import type { ClientOptions } from '../../src/authorization-server/client-options.ts'
import { createClient, deleteClient } from '../../src/authorization-server/clients.ts'
import { type GrantOwner, type GrantSummary, listGrants } from '../../src/authorization-server/grant-list.ts'
import { revokeGrantById } from '../../src/authorization-server/grants.ts'
import { introspectEndpoint } from '../../src/authorization-server/introspect.ts'
import { metadataEndpoint } from '../../src/authorization-server/metadata.ts'
import { createOwnVerifier } from '../../src/authorization-server/own-verifier.ts'
import type { JsonObject } from '../../src/identity/json.ts'
import { principal } from '../../src/identity/principal.ts'
import { memory } from '../../src/store/memory.ts'
import { stopped } from '../store/movable-clock.ts'
import {
  answered,
  approved,
  callback,
  eventTypes,
  formPost,
  issuer,
  mcp,
  otherMcp,
  postToken,
  refresh,
  registered,
  revoke,
  signedIn,
  type TestServer,
  testServer,
} from '../support/authorization-server.ts'
import { type DpopKey, dpopKey } from '../support/dpop-key.ts'
import { startJwksIssuer } from '../support/jwks-issuer.ts'
import { unreliable } from '../support/unreliable-store.ts'

const secret = 'a client secret of more than 32 characters'
const exchangeType = 'urn:ietf:params:oauth:grant-type:token-exchange'
const accessToken = 'urn:ietf:params:oauth:token-type:access_token'

const clients: readonly ClientOptions[] = [
  // Serves /mcp, and calls the other resource for its callers.
  { id: 'notes', secret, exchange: { serves: ['/mcp'], to: { [otherMcp]: ['other:read'] } } },
  { id: 'others', secret, introspects: [otherMcp], exchange: { serves: [otherMcp], to: { '/mcp': ['notes:write'] } } },
  { id: 'agent', secret, scopes: { '/mcp': ['notes:read'] }, exchange: {} },
  { id: 'worker', secret, scopes: { '/mcp': ['notes:read'] }, exchange: { from: ['*'] } },
  { id: 'platform', secret, exchange: { from: ['app'], actors: ['agent'] } },
  { id: 'support', secret, exchange: { from: ['*'], impersonates: true, actors: ['agent'] } },
  { id: 'app', secret, redirectUris: [callback], mayAct: 'agent' },
  { id: 'idle', secret, redirectUris: [callback] },
]
const proof = (id: string) => ({ client_id: id, client_secret: secret })

type Form = Readonly<Record<string, string | readonly string[]>>

const exchange = (
  to: TestServer,
  client: string | Form,
  token: string,
  more: Form = {},
  headers: Record<string, string> = {},
) =>
  postToken(
    to,
    {
      grant_type: exchangeType,
      subject_token: token,
      subject_token_type: accessToken,
      ...(typeof client === 'string' ? proof(client) : client),
      ...more,
    },
    headers,
  )

const actorToken = async (to: TestServer, id: string): Promise<Form> => {
  const { body } = await postToken(to, { grant_type: 'client_credentials', ...proof(id) })
  return { actor_token: body.access_token, actor_token_type: accessToken }
}

const setUp = async (options: Parameters<typeof testServer>[0] = {}) => {
  const to = await testServer({ clients, tokenClaims: ['email'], ...options })
  const app = { client_id: 'app', client_secret: secret }
  const tokens = await signedIn(to, app, { scopes: ['notes:read', 'notes:write'] })
  const verifier = createOwnVerifier(to.server)
  return { to, app, tokens, verifier, subject: tokens.access_token }
}

const act = (...ids: readonly string[]): unknown =>
  ids.reduceRight<unknown>(
    (before, id) => ({ iss: issuer, sub: id, client_id: id, ...(before ? { act: before } : {}) }),
    undefined,
  )
const actor = (...ids: readonly string[]): unknown =>
  ids.reduceRight<unknown>(
    (before, id) => ({ issuer, subject: id, clientId: id, ...(before ? { actor: before } : {}) }),
    undefined,
  )

const grantOf = (token: string): string => String(decodeJwt(token).grant_id)

/** All pages of a list, one after the other. */
const listed = async (to: TestServer, owner: GrantOwner): Promise<readonly GrantSummary[]> => {
  const all: GrantSummary[] = []
  for (let cursor: string | undefined; ; ) {
    const page = await listGrants(to.server, owner, cursor)
    all.push(...page.grants)
    if (page.cursor === undefined) return all
    cursor = page.cursor
  }
}

describe('what an operator sees of it', () => {
  test('each grant with its parent and who acts: among those of the person, and of the client that exchanged', async () => {
    const { to, subject } = await setUp()
    const first = (await exchange(to, 'worker', subject)).body.access_token
    const second = (await exchange(to, 'notes', first, { resource: otherMcp })).body.access_token
    const person = String(decodeJwt(subject).sub)
    const all = await listed(to, person)
    expect(all.map(({ id, kind }) => [id, kind]).slice(0, 1)).toEqual([[grantOf(subject), 'authorization']])
    const facts = { kind: 'exchange', subject: person, account: all[0]?.account }
    const [ofFirst, ofSecond] = [first, second].map((token) => all.find(({ id }) => id === grantOf(token)))
    expect(ofFirst).toMatchObject({ ...facts, clientId: 'worker', parent: grantOf(subject), actor: actor('worker') })
    expect(ofSecond).toEqual({
      ...facts,
      ...{ id: grantOf(second), clientId: 'notes', parent: grantOf(first), actor: actor('notes', 'worker') },
      resources: { [otherMcp]: ['other:read'] },
      ...{ authTime: expect.any(Number), createdAt: expect.any(Number), expiresAt: expect.any(Number) },
    })
    expect(all).toHaveLength(3)
    expect(await listed(to, { clientId: 'notes' })).toEqual([ofSecond])
    expect((await listed(to, { clientId: 'app' })).map(({ id }) => id)).toEqual([grantOf(subject)])
    expect(await revokeGrantById(to.server, grantOf(first), 'operator')).toBe(true)
    expect((await listed(to, person)).map(({ id }) => id)).toEqual([grantOf(subject)])
    expect(await listed(to, { clientId: 'notes' })).toEqual([])
    expect((await to.store.list('account-exchange/')).entries).toHaveLength(1)
  })

  test('none that ended: with its parent, with a client of its chain, or in time', async () => {
    const { to, subject, tokens, app } = await setUp()
    const person = String(decodeJwt(subject).sub)
    const middle = await createClient(to.server, { exchange: { from: ['*'] } })
    const by = { client_id: middle.id, client_secret: middle.secret ?? '' }
    const first = (await exchange(to, by, subject)).body.access_token
    await exchange(to, 'worker', first)
    await exchange(to, 'worker', subject)
    const exchanged = async () => (await listed(to, person)).filter(({ kind }) => kind === 'exchange').length
    expect(await exchanged()).toBe(3)
    await deleteClient(to.server, middle.id)
    expect(await exchanged()).toBe(1)
    await to.pass(601_000)
    expect(await exchanged()).toBe(0)
    // And nothing is kept of them.
    await to.pass(60_000)
    for (const prefix of ['account-exchange/', 'client-exchange/']) {
      expect((await to.store.list(prefix)).entries).toEqual([])
    }
    const { body } = await refresh(to, app, tokens.refresh_token)
    await exchange(to, 'worker', body.access_token)
    expect(await exchanged()).toBe(1)
    await revoke(to, app, body.refresh_token)
    expect(await listed(to, person)).toEqual([])
  })

  test('however many there are, each once, and people’s own first', async () => {
    const { to, subject, app } = await setUp()
    for (let count = 0; count < 103; count++) await signedIn(to, app)
    const children = new Set<string>()
    for (let count = 0; count < 205; count++)
      children.add(grantOf((await exchange(to, 'worker', subject)).body.access_token))
    const person = String(decodeJwt(subject).sub)
    const all = await listed(to, person)
    const kinds = all.map(({ kind }) => kind)
    expect(kinds).toEqual([...kinds].sort())
    expect(kinds.filter((kind) => kind === 'authorization')).toHaveLength(104)
    expect(new Set(all.filter(({ kind }) => kind === 'exchange').map(({ id }) => id))).toEqual(children)
    expect(new Set(all.map(({ id }) => id)).size).toBe(all.length)
    expect(await listed(to, { clientId: 'worker' })).toHaveLength(205)
    for (const cursor of ['exchanged.', 'exchanged.~', 'exchanged./../grant', '~']) {
      const page = await listGrants(to.server, person, cursor)
      expect(page.grants.every(({ subject }) => subject === person)).toBe(true)
    }
  })

  test('deleting the person’s account leaves nothing of them', async () => {
    const { to, subject } = await setUp()
    const first = (await exchange(to, 'worker', subject)).body.access_token
    await exchange(to, 'notes', first, { resource: otherMcp })
    const [own] = await listed(to, String(decodeJwt(subject).sub))
    expect(await deleteAccount(to.server, own?.account ?? '')).toMatchObject({ grants: 1 })
    for (const prefix of ['grant/', 'account-exchange/', 'client-exchange/']) {
      expect((await to.store.list(prefix)).entries).toEqual([])
    }
  })
})

describe('who may exchange', () => {
  test('the audience of the token: issuer and subject stay, the client is who exchanged, and the chain says who acts', async () => {
    const { to, verifier, subject } = await setUp()
    const before = await verifier.verify(subject, mcp)
    const { status, body, headers } = await exchange(to, 'notes', subject, { resource: otherMcp })
    expect([status, headers.get('cache-control')]).toEqual([200, 'no-store'])
    expect(body).toEqual({
      access_token: expect.any(String),
      issued_token_type: accessToken,
      token_type: 'Bearer',
      expires_in: expect.any(Number),
      scope: 'other:read',
    })
    const token = await verifier.verify(body.access_token, otherMcp)
    expect(token).toMatchObject({
      kind: 'user',
      issuer: before.issuer,
      subject: before.subject,
      clientId: 'notes',
      actor: { issuer, subject: 'notes', clientId: 'notes' },
      scopes: ['other:read'],
      upstream: { subject: 'alice', claims: { email: 'alice@example.org' } },
    })
    expect(principal(token).key).not.toBe(principal(before).key)
    // What readers elsewhere see.
    expect(decodeJwt(body.access_token)).toMatchObject({
      iss: issuer,
      sub: before.subject,
      client_id: 'notes',
      aud: otherMcp,
      act: act('notes'),
      auth_time: decodeJwt(subject).auth_time,
      upstream_claims: { sub: 'alice', email: 'alice@example.org' },
    })
  })

  test('whom `may_act` names, and nobody else by it', async () => {
    const { to, verifier, subject } = await setUp()
    expect(decodeJwt(subject).may_act).toEqual({ iss: issuer, sub: 'agent', client_id: 'agent' })
    const { body } = await exchange(to, 'agent', subject, { scope: 'notes:read' })
    expect(await verifier.verify(body.access_token, mcp)).toMatchObject({
      clientId: 'agent',
      actor: actor('agent'),
      scopes: ['notes:read'],
    })
    // It is the client's own setting, not the person's: nothing is inherited.
    expect(decodeJwt(body.access_token)).not.toHaveProperty('may_act')
    const idle = await signedIn(to, { client_id: 'idle', client_secret: secret })
    expect((await exchange(to, 'agent', idle.access_token)).body.error).toBe('invalid_request')
  })

  test('`may_act` is in tokens from refreshing, too', async () => {
    const { to, app, tokens } = await setUp()
    const { body } = await refresh(to, app, tokens.refresh_token)
    expect(decodeJwt(body.access_token).may_act).toMatchObject({ sub: 'agent' })
  })

  test('whom the operator names: for tokens of some clients, or of all', async () => {
    const { to, subject } = await setUp()
    expect((await exchange(to, 'worker', subject)).status).toBe(200)
    expect((await exchange(to, 'platform', subject)).status).toBe(200)
    const elsewhere = await signedIn(to, await registered(to))
    expect((await exchange(to, 'worker', elsewhere.access_token)).status).toBe(200)
    expect((await exchange(to, 'platform', elsewhere.access_token)).body.error).toBe('invalid_request')
    const by = to.events.flatMap((event) => (event.type === 'token.exchanged' ? [event.by] : []))
    expect(by).toEqual(['policy', 'policy', 'policy'])
  })

  test('design 3, token exchange: nobody else', async () => {
    const { to, subject } = await setUp()
    expect((await exchange(to, 'others', subject)).body).toMatchObject({ error: 'invalid_request' })
    const unregistered = [
      proof('idle'),
      proof('app'),
      { ...(await registered(to)) },
      {
        ...(await registered(to, {
          token_endpoint_auth_method: 'client_secret_post',
          grant_types: [exchangeType, 'authorization_code'],
        })),
      },
    ]
    for (const client of unregistered) {
      expect((await exchange(to, client, subject)).body).toMatchObject({ error: 'unauthorized_client' })
    }
    for (const client of [{ ...proof('notes'), client_secret: `${secret}x` }, { client_id: 'notes' }]) {
      expect((await exchange(to, client, subject)).body).toMatchObject({ error: 'invalid_client' })
    }
    expect(eventTypes(to)).not.toContain('token.exchanged')
  })
})

describe('who acts', () => {
  test('every hop is there: for the handler, in the token, for introspection and in the audit log', async () => {
    const { to, verifier, subject } = await setUp()
    const first = await exchange(to, 'agent', subject)
    const second = await exchange(to, 'notes', first.body.access_token, { resource: otherMcp })
    const third = await exchange(to, 'worker', second.body.access_token)
    const token = third.body.access_token
    expect(await verifier.verify(token, otherMcp)).toMatchObject({
      clientId: 'worker',
      actor: actor('worker', 'notes', 'agent'),
      upstream: { subject: 'alice' },
    })
    expect(decodeJwt(token).act).toEqual(act('worker', 'notes', 'agent'))
    const told = await answered(
      await introspectEndpoint(to.server, formPost('/introspect', { token, ...proof('others') })),
    )
    expect(told.body).toMatchObject({ active: true, client_id: 'worker', act: act('worker', 'notes', 'agent') })
    const [event] = to.events.filter(({ type }) => type === 'token.exchanged').slice(-1)
    expect(event).toMatchObject({
      clientId: 'worker',
      parentClientId: 'notes',
      parent: decodeJwt(second.body.access_token).grant_id,
      grant: decodeJwt(token).grant_id,
      resource: otherMcp,
      actors: [{ subject: 'worker' }, { subject: 'notes' }, { subject: 'agent' }],
      impersonated: false,
    })
  })

  test('an actor token names the actor: its own client’s, or one whose tokens the exchanger may present', async () => {
    const { to, verifier, subject } = await setUp()
    const agent = await actorToken(to, 'agent')
    const { body } = await exchange(to, 'platform', subject, agent)
    expect(await verifier.verify(body.access_token, mcp)).toMatchObject({ clientId: 'platform', actor: actor('agent') })
    expect((await exchange(to, 'agent', subject, agent)).status).toBe(200)
    expect((await exchange(to, 'worker', subject, agent)).body.error).toBe('invalid_request')
    expect(to.events.at(-1)).toMatchObject({ type: 'exchange.refused', reason: 'actor_of_other_client' })
  })

  test('without an actor only where the operator says so; who acted before stays in the chain', async () => {
    const { to, verifier, subject } = await setUp()
    const alone = await exchange(to, 'support', subject)
    const token = await verifier.verify(alone.body.access_token, mcp)
    expect(token).not.toHaveProperty('actor')
    expect(token.clientId).toBe('support')
    expect(to.events.at(-1)).toMatchObject({ type: 'token.exchanged', impersonated: true, actors: [] })
    const after = await exchange(to, 'support', (await exchange(to, 'agent', subject)).body.access_token)
    expect(await verifier.verify(after.body.access_token, mcp)).toMatchObject({ actor: actor('agent') })
    const named = await exchange(to, 'support', subject, await actorToken(to, 'agent'))
    expect(await verifier.verify(named.body.access_token, mcp)).toMatchObject({ actor: actor('agent') })
  })
})

describe('what for', () => {
  test('left out, the same resource and scopes; `audience` is the same as `resource`', async () => {
    const { to, subject } = await setUp()
    const same = await exchange(to, 'worker', subject)
    expect([decodeJwt(same.body.access_token).aud, same.body.scope]).toEqual([mcp, 'notes:read notes:write'])
    for (const more of [
      { audience: otherMcp },
      { audience: otherMcp, resource: otherMcp },
      { resource: `${otherMcp}/` },
    ]) {
      const { body } = await exchange(to, 'notes', subject, more)
      expect([decodeJwt(body.access_token).aud, body.scope]).toEqual([otherMcp, 'other:read'])
    }
  })

  test('scopes only narrow, below what the token has and not what its grant has', async () => {
    const { to, app, tokens } = await setUp()
    const narrow = (await refresh(to, app, tokens.refresh_token, { scope: 'notes:read' })).body.access_token
    expect((await exchange(to, 'worker', narrow)).body.scope).toBe('notes:read')
    expect((await exchange(to, 'worker', narrow, { scope: 'notes:read notes:write' })).body.error).toBe('invalid_scope')
    expect((await exchange(to, 'worker', narrow, { scope: 'notes"' })).body.error).toBe('invalid_scope')
  })

  test('of another resource no more than the operator says, and no more than the person allowed there', async () => {
    const { to, subject } = await setUp({
      clients: [
        ...clients.filter(({ id }) => id !== 'others'),
        { id: 'others', secret, exchange: { serves: [otherMcp], to: { '/mcp': ['notes:read', 'notes:write'] } } },
      ],
    })
    expect((await exchange(to, 'worker', subject, { resource: otherMcp })).body.error).toBe('invalid_target')
    const both = await signedIn(
      to,
      { client_id: 'app', client_secret: secret },
      { resources: { [otherMcp]: ['other:read'], [mcp]: ['notes:read'] } },
    )
    const { body } = await exchange(to, 'others', both.access_token, { resource: mcp })
    expect(body.scope).toBe('notes:read')
  })

  test.each<[string, Form]>([
    ['a foreign resource', { resource: 'https://evil.example' }],
    ['an audience that is none of ours', { audience: 'notes' }],
    ['the issuer itself', { audience: issuer }],
    ['a good and a foreign one', { resource: otherMcp, audience: 'https://evil.example' }],
    ['two at once', { resource: [mcp, otherMcp] }],
    ['two at once, in either way', { resource: mcp, audience: otherMcp }],
  ])('fault 7: %s is invalid_target', async (_name, more) => {
    const { to, subject } = await setUp()
    const { status, body } = await exchange(to, 'notes', subject, more)
    expect([status, body.error]).toEqual([400, 'invalid_target'])
    expect(to.events.at(-1)).toMatchObject({
      type: 'exchange.refused',
      clientId: 'notes',
      grant: decodeJwt(subject).grant_id,
    })
  })

  test('it lives no longer than the token that was exchanged; nor than its resource’s tokens do; and is not refreshed', async () => {
    const { to, subject } = await setUp()
    await to.pass(200_000)
    const { body } = await exchange(to, 'worker', subject)
    expect(decodeJwt(body.access_token).exp).toBe(decodeJwt(subject).exp)
    expect(body.expires_in).toBeLessThanOrEqual(400)
    expect(body).not.toHaveProperty('refresh_token')
    const again = await exchange(to, 'worker', body.access_token)
    expect(decodeJwt(again.body.access_token).exp).toBe(decodeJwt(subject).exp)
  })

  test.each<[string, Form]>([
    ['no subject token', { subject_token: '' }],
    ['no type of it', { subject_token_type: '' }],
    ['a refresh token asked for', { requested_token_type: 'urn:ietf:params:oauth:token-type:refresh_token' }],
    ['an id_token asked for', { requested_token_type: 'urn:ietf:params:oauth:token-type:id_token' }],
    ['a type of no actor token', { actor_token_type: accessToken }],
    ['an actor token without type', { actor_token: 'x' }],
    ['an actor token that is none', { actor_token: 'x', actor_token_type: accessToken }],
    ['two subject tokens', { subject_token: ['a.b.c', 'd.e.f'] }],
  ])('invalid_request: %s', async (_name, more) => {
    const { to, subject } = await setUp()
    const { status, body } = await exchange(to, 'worker', subject, more)
    expect([status, body.error]).toEqual([400, 'invalid_request'])
  })
})

describe('design 1: a child lives only while its whole chain does', () => {
  test.each([true, false])(
    'the person’s revocation ends every token of the chain within the bound (notified: %s)',
    async (notifies) => {
      const clock = stopped()
      const store = unreliable(memory({ clock }))
      store.notifies = notifies
      const { to, verifier, app, tokens, subject } = await setUp({ clock, store })
      const first = (await exchange(to, 'agent', subject)).body.access_token
      const second = (await exchange(to, 'worker', first)).body.access_token
      for (const token of [subject, first, second]) await verifier.verify(token, mcp)
      expect((await revoke(to, app, tokens.refresh_token)).status).toBe(200)
      await to.pass(notifies ? 1_000 : 5_000)
      for (const token of [subject, first, second]) {
        await expect(verifier.verify(token, mcp)).rejects.toMatchObject({ reason: 'revoked' })
        // One that never saw it.
        await expect(createOwnVerifier(to.server).verify(token, mcp)).rejects.toMatchObject({ reason: 'revoked' })
        expect((await exchange(to, 'worker', token)).body.error).toBe('invalid_request')
      }
    },
  )

  test('also long after the revocation log has forgotten it', async () => {
    const { to, subject } = await setUp({ lifetimes: { accessToken: 3_600 } })
    const first = (await exchange(to, 'agent', subject)).body.access_token
    const second = (await exchange(to, 'worker', first)).body.access_token
    await revoke(to, proof('agent'), first)
    await to.pass(1_800_000)
    expect((await to.store.list('revocation/', { limit: 10 })).entries).toEqual([])
    const verifier = createOwnVerifier(to.server)
    expect((await verifier.verify(subject, mcp)).kind).toBe('user')
    await expect(verifier.verify(second, mcp)).rejects.toMatchObject({ reason: 'revoked' })
    expect((await exchange(to, 'worker', second)).body.error).toBe('invalid_request')
  })

  test('ending one in the middle ends those after it, and none before', async () => {
    const { to, verifier, subject } = await setUp()
    const first = (await exchange(to, 'agent', subject)).body.access_token
    const second = (await exchange(to, 'worker', first)).body.access_token
    for (const token of [subject, first, second]) await verifier.verify(token, mcp)
    // Another client's token is nobody's to revoke.
    expect((await revoke(to, proof('worker'), first)).body.error).toBe('invalid_grant')
    expect((await revoke(to, proof('agent'), first)).status).toBe(200)
    expect((await verifier.verify(subject, mcp)).kind).toBe('user')
    for (const token of [first, second]) {
      await expect(verifier.verify(token, mcp)).rejects.toMatchObject({ reason: 'revoked' })
    }
    const inactive = await answered(
      await introspectEndpoint(to.server, formPost('/introspect', { token: second, ...proof('others') })),
    )
    expect(inactive.body).toEqual({ active: false })
  })

  test('it keeps nothing alive: the upstream session ends with the person’s grant', async () => {
    const { to, verifier, app, tokens, subject } = await setUp()
    const child = (await exchange(to, 'agent', subject)).body.access_token
    expect(await revokeGrantById(to.server, String(decodeJwt(child).grant_id), 'operator')).toBe(true)
    expect(await verifier.verify(subject, mcp)).toMatchObject({ upstream: { subject: 'alice' } })
    await revoke(to, app, tokens.refresh_token)
    const sessions = (await to.store.list('upstream-session/', { limit: 10 })).entries
    expect(sessions).toEqual([])
  })

  test.each(['the exchanger', 'one in the middle', 'an actor', 'the first client'])(
    'deleting %s ends it',
    async (who) => {
      const { to, verifier } = await setUp()
      const make = (settings: JsonObject) => createClient(to.server, settings)
      const app = await make({ redirectUris: [callback] })
      const middle = await make({ exchange: { from: ['*'] } })
      const acting = await make({ scopes: { '/mcp': ['notes:read'] } })
      const last = await make({ exchange: { from: ['*'], actors: [acting.id] } })
      const credentials = (client: typeof app) => ({ client_id: client.id, client_secret: client.secret ?? '' })
      const tokens = await signedIn(to, credentials(app))
      const one = await exchange(to, credentials(middle), tokens.access_token)
      const own = await postToken(to, { grant_type: 'client_credentials', ...credentials(acting) })
      const two = await exchange(to, credentials(last), one.body.access_token, {
        actor_token: own.body.access_token,
        actor_token_type: accessToken,
      })
      const token = two.body.access_token
      expect(await verifier.verify(token, mcp)).toMatchObject({ actor: actor(acting.id, middle.id) })
      const deleted = {
        'the exchanger': last,
        'one in the middle': middle,
        'an actor': acting,
        'the first client': app,
      }[who]
      expect(await deleteClient(to.server, deleted?.id ?? '')).toBe(true)
      await to.pass(1_000)
      await expect(verifier.verify(token, mcp)).rejects.toMatchObject({ reason: 'revoked' })
      await expect(createOwnVerifier(to.server).verify(token, mcp)).rejects.toMatchObject({ reason: 'revoked' })
    },
  )

  test('a client that may exchange no more has nothing of what it exchanged', async () => {
    const store = memory()
    const before = await testServer({ store, clients })
    const tokens = await signedIn(before, proof('app'))
    const child = (await exchange(before, 'agent', tokens.access_token)).body.access_token
    const next = (await exchange(before, 'worker', child)).body.access_token
    const less = clients.map(({ exchange: may, ...client }) =>
      client.id === 'agent' || !may ? client : { ...client, exchange: may },
    )
    const after = await testServer({ store, clients: less })
    const verifier = createOwnVerifier(after.server)
    expect((await verifier.verify(tokens.access_token, mcp)).kind).toBe('user')
    for (const token of [child, next]) {
      await expect(verifier.verify(token, mcp)).rejects.toMatchObject({ reason: 'revoked' })
    }
  })

  test('fault 5: with the store away it is our own trouble', async () => {
    const clock = stopped()
    const store = unreliable(memory({ clock }))
    const { to, subject } = await setUp({ clock, store })
    store.mishaps.push('lost', 'lost', 'lost')
    const { status, body } = await exchange(to, 'worker', subject)
    expect([status, body.error]).toEqual([503, 'temporarily_unavailable'])
  })
})

test('design 3, token exchange: a bound token is exchanged only with its key; the new one is bound to the key that is shown', async () => {
  const { to, app, verifier, subject } = await setUp()
  const [mine, stolen] = [await dpopKey(() => to.clock.now()), await dpopKey(() => to.clock.now())]
  const headers = async (key: DpopKey) => ({ DPoP: await key.proof('POST', `${issuer}/token`) })
  const { code, verifier: codeVerifier } = await approved(to, app)
  const form = { grant_type: 'authorization_code', code, code_verifier: codeVerifier, redirect_uri: callback, ...app }
  const bound = (await postToken(to, form, await headers(mine))).body.access_token
  const ask = async (token: string, key?: DpopKey, more: Form = {}) =>
    exchange(to, 'worker', token, more, key ? await headers(key) : {})
  for (const key of [undefined, stolen]) {
    expect((await ask(bound, key)).body.error).toBe('invalid_request')
    expect(to.events.at(-1)).toMatchObject({ type: 'exchange.refused', reason: 'subject_token: binding' })
  }
  const own = await postToken(to, { grant_type: 'client_credentials', ...proof('worker') }, await headers(mine))
  const actor = { actor_token: own.body.access_token, actor_token_type: accessToken }
  expect((await ask(subject, stolen, actor)).body.error).toBe('invalid_request')
  const { status, body } = await ask(bound, mine, actor)
  expect([status, body.token_type, decodeJwt(body.access_token).cnf]).toEqual([200, 'DPoP', { jkt: mine.jkt }])
  await expect(verifier.verify(body.access_token, mcp)).rejects.toMatchObject({ reason: 'binding' })
  expect(await verifier.verify(body.access_token, mcp, mine.jkt)).toMatchObject({ clientId: 'worker' })
  // Whoever shows a key binds a token that was not bound.
  expect((await ask(subject, stolen)).body.token_type).toBe('DPoP')
})

test('the token of an assertion is exchanged, too: who its provider says acts stays in the chain, and counts', async () => {
  const idp = await startJwksIssuer(mcp)
  try {
    const to = await testServer({ clients, assertions: [{ kind: 'enterprise', issuer: idp.issuer, provider: 'acme' }] })
    const now = Math.floor(to.clock.now() / 1000)
    const asserted = async (act: JsonObject) => {
      const assertion = await idp.sign(
        {
          ...{ sub: 'U1', aud: issuer, client_id: 'app', resource: mcp, scope: 'notes:read', act },
          ...{ iat: now, exp: now + 300, jti: crypto.randomUUID() },
        },
        { typ: 'oauth-id-jag+jwt' },
      )
      const grant_type = 'urn:ietf:params:oauth:grant-type:jwt-bearer'
      return (await postToken(to, { grant_type, assertion, ...proof('app') })).body.access_token
    }
    const token = await asserted({ sub: 'assistant' })
    const { body } = await exchange(to, 'agent', token)
    expect(await createOwnVerifier(to.server).verify(body.access_token, mcp)).toMatchObject({
      clientId: 'agent',
      actor: { issuer, subject: 'agent', actor: { issuer: idp.issuer, subject: 'assistant' } },
      upstream: { provider: 'acme', subject: 'U1' },
    })
    const long = (depth: number): JsonObject => ({ sub: `a${depth}`, ...(depth > 1 ? { act: long(depth - 1) } : {}) })
    expect((await exchange(to, 'agent', await asserted(long(7)))).status).toBe(200)
    expect((await exchange(to, 'agent', await asserted(long(8)))).body.error).toBe('invalid_request')
    expect(to.events.at(-1)).toMatchObject({ reason: 'too_many_exchanges' })
  } finally {
    await idp.close()
  }
})

test('the metadata says so', async () => {
  const { server } = await testServer()
  const { body } = await answered(await metadataEndpoint(server, new Request(issuer)))
  expect(body).toMatchObject({ grant_types_supported: expect.arrayContaining([exchangeType]) })
})
