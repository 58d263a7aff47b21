import { afterEach, describe, expect, test } from 'vitest'
import { deleteAccount } from '../../src/authorization-server/account-administration.ts'
import type { ClientOptions } from '../../src/authorization-server/client-options.ts'
import { createClient, deleteClient, updateClient } from '../../src/authorization-server/clients.ts'
import { revokeGrantById } from '../../src/authorization-server/grants.ts'
import { introspectEndpoint } from '../../src/authorization-server/introspect.ts'
import type { JsonObject } from '../../src/identity/json.ts'
import { grantRef } from '../../src/records/grant.ts'
import { put } from '../../src/records/records.ts'
import { upstreamSessionRef } from '../../src/records/upstream-session.ts'
import { memory } from '../../src/store/memory.ts'
import { stopped } from '../store/movable-clock.ts'
import {
  basic,
  callback,
  formPost,
  issuer,
  mcp,
  otherMcp,
  postToken,
  registered,
  revoke,
  signedIn,
  type TestServer,
  type TestServerOptions,
  testServer,
} from '../support/authorization-server.ts'
import { dpopKey } from '../support/dpop-key.ts'
import { unreliable } from '../support/unreliable-store.ts'

/** What was asked about before is answered from memory: each answer must be the one that the store would give. */

const secret = 'a client secret of more than 32 characters'
const exchangeType = 'urn:ietf:params:oauth:grant-type:token-exchange'
const accessTokenType = 'urn:ietf:params:oauth:token-type:access_token'
const clients: ClientOptions[] = [
  { id: 'notes-server', secret, introspects: ['/mcp'] },
  { id: 'second-server', secret, introspects: ['/mcp'] },
  { id: 'other-server', secret, introspects: [otherMcp] },
  { id: 'nightly', secret, scopes: { '/mcp': ['notes:read'] } },
  { id: 'agent', secret, exchange: { serves: ['/mcp'] } },
]

const nodes: TestServer[] = []
afterEach(() => {
  for (const { server } of nodes.splice(0)) server.verifier.close()
})

async function node(options: TestServerOptions = {}) {
  const clock = options.clock ?? stopped()
  const store = unreliable(options.store ?? memory({ clock }))
  const to = await testServer({ clients, ...options, clock, store })
  nodes.push(to)
  return { ...to, store }
}

async function ask(to: TestServer, token: string, id = 'notes-server', more: Record<string, string> = {}) {
  const headers = { ...basic(id, secret), ...more }
  const response = await introspectEndpoint(to.server, formPost('/introspect', { token }, headers))
  return { status: response.status, body: (await response.json()) as JsonObject }
}

const isActive = async (to: TestServer, token: string, id?: string) => (await ask(to, token, id)).body.active

const claimsOf = (token: string) => JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString())

/** A node that was asked about a person's token; and another at the same store, where things are done. */
async function askedAbout(options: TestServerOptions = {}) {
  const clock = stopped()
  const shared = memory({ clock })
  const to = await node({ ...options, clock, store: shared })
  const elsewhere = await node({ ...options, clock, store: shared })
  const client = await registered(elsewhere)
  const tokens = await signedIn(elsewhere, client, { said: { groups: ['staff'] } })
  const token = tokens.access_token
  const first = await ask(to, token)
  expect(first).toMatchObject({ status: 200, body: { active: true, upstream_claims: { groups: ['staff'] } } })
  return { to, elsewhere, client, token, tokens, first, store: to.store }
}

describe('what it costs', () => {
  test('the same token asked about again costs no store, and the answer is the same', async () => {
    const { to, token, first, store } = await askedAbout()
    const before = { ...store.calls }
    for (let turn = 0; turn < 20; turn++) expect(await ask(to, token)).toEqual(first)
    expect(store.calls).toEqual(before)
  })

  test('a token that the gate has seen costs none either, and the reverse', async () => {
    const { to, elsewhere, client, token, store } = await askedAbout()
    const { access_token: other } = await signedIn(elsewhere, client)
    await to.server.verifier.verify(other, mcp)
    const before = { ...store.calls }
    expect(await isActive(to, other)).toBe(true)
    expect((await to.server.verifier.verify(token, mcp)).resource).toBe(mcp)
    expect(store.calls).toEqual(before)
  })

  test('many that ask at once about a token that nobody has seen are one look at its grant', async () => {
    const { to, elsewhere, client, store } = await askedAbout()
    const { access_token: token } = await signedIn(elsewhere, client)
    const before = store.calls.get
    const answers = await Promise.all(Array.from({ length: 10 }, () => ask(to, token)))
    expect(answers.map(({ body }) => body.active)).toEqual(answers.map(() => true))
    expect(store.calls.get - before).toBe(2)
  })

  test('a client that the configuration has not is looked up each time', async () => {
    const { to, token, store } = await askedAbout()
    const { id, secret: made = '' } = await createClient(to.server, { introspects: ['/mcp'] })
    const headers = basic(id, made)
    const before = store.calls.get
    for (let turn = 0; turn < 3; turn++) expect((await ask(to, token, id, headers)).body.active).toBe(true)
    expect(store.calls.get - before).toBe(3)
    await deleteClient(to.server, id)
    expect(await ask(to, token, id, headers)).toMatchObject({ status: 401, body: { error: 'invalid_client' } })
  })
})

describe('nobody is told what is not theirs', () => {
  test('a token that is remembered is nothing to who serves another resource, in either order', async () => {
    const { to, elsewhere, client, token } = await askedAbout()
    expect(await ask(to, token, 'other-server')).toEqual({ status: 200, body: { active: false } })
    const { access_token: unseen } = await signedIn(elsewhere, client)
    expect((await ask(to, unseen, 'other-server')).body).toEqual({ active: false })
    expect(await isActive(to, unseen)).toBe(true)
    expect((await ask(to, unseen, 'other-server')).body).toEqual({ active: false })
    const { access_token: theirs } = await signedIn(elsewhere, client, { resource: otherMcp, scopes: ['other:read'] })
    expect([await isActive(to, theirs, 'other-server'), await isActive(to, theirs)]).toEqual([true, false])
  })

  test('who fails to prove itself learns nothing of a token that is remembered', async () => {
    const { to, token } = await askedAbout()
    const wrong = basic('notes-server', `${secret}x`)
    expect(await ask(to, token, 'notes-server', wrong)).toMatchObject({
      status: 401,
      body: { error: 'invalid_client' },
    })
    expect(await ask(to, token, 'nightly')).toMatchObject({ status: 403, body: { error: 'unauthorized_client' } })
    // Ids that are like it, or that the header may be read as.
    for (const id of ['notes-server%20', 'Notes-server', 'notes-server:', '']) {
      const { status, body } = await ask(to, token, id)
      expect([status >= 400, body.active]).toEqual([true, undefined])
    }
  })

  test('a signed answer is made for who asks, each time', async () => {
    const { to, token } = await askedAbout()
    const signedType = 'application/token-introspection+jwt'
    const heard = async (id: string) => {
      const headers = { ...basic(id, secret), Accept: signedType }
      const response = await introspectEndpoint(to.server, formPost('/introspect', { token }, headers))
      return claimsOf(await response.text())
    }
    expect(await heard('notes-server')).toMatchObject({ aud: 'notes-server', token_introspection: { active: true } })
    expect(await heard('second-server')).toMatchObject({ aud: 'second-server', token_introspection: { active: true } })
    expect((await heard('other-server')).token_introspection).toEqual({ active: false })
    await to.pass(2_000)
    expect((await heard('notes-server')).iat).toBe(Math.floor(to.clock.now() / 1000))
  })

  test('a bound token that was asked about is let through the gate with the proof of its key alone', async () => {
    const to = await node()
    const key = await dpopKey(() => to.clock.now())
    const form = { grant_type: 'client_credentials', client_id: 'nightly', client_secret: secret }
    const { body } = await postToken(to, form, { DPoP: await key.proof('POST', `${issuer}/token`) })
    const token = body.access_token
    for (let turn = 0; turn < 2; turn++) {
      expect((await ask(to, token)).body).toMatchObject({ token_type: 'DPoP', cnf: { jkt: key.jkt } })
      await expect(to.server.verifier.verify(token, mcp)).rejects.toMatchObject({ reason: 'binding' })
      expect((await to.server.verifier.verify(token, mcp, key.jkt)).kind).toBe('client')
    }
    await expect(to.server.verifier.verify(token, otherMcp, key.jkt)).rejects.toMatchObject({ reason: 'audience' })
  })

  test('one that differs in any character is another, remembered or not', async () => {
    const { to, token } = await askedAbout()
    const dot = token.lastIndexOf('.')
    for (const at of [3, token.indexOf('.') + 5, dot + 1, dot + 40]) {
      const changed = token.slice(0, at) + (token[at] === 'A' ? 'B' : 'A') + token.slice(at + 1)
      expect((await ask(to, changed)).body).toEqual({ active: false })
    }
    for (const changed of [` ${token}`, `${token} `, `${token}=`, token.slice(0, -1)]) {
      expect((await ask(to, changed)).body).toEqual({ active: false })
    }
    expect(await isActive(to, token)).toBe(true)
  })
})

describe('no longer than it is so', () => {
  test('not beyond its end', async () => {
    const { to, token } = await askedAbout()
    const { exp } = claimsOf(token)
    await to.pass(exp * 1000 - to.clock.now() - 1)
    expect(await isActive(to, token)).toBe(true)
    await to.pass(1)
    expect((await ask(to, token)).body).toEqual({ active: false })
  })

  test('nor beyond its end by the store’s clock, where this node’s own is behind', async () => {
    const clock = stopped()
    const ahead = { now: () => clock.now() + 120_000 }
    const to = await node({ clock, store: memory({ clock: ahead }) })
    const { access_token: token } = await signedIn(to, await registered(to))
    expect(await isActive(to, token)).toBe(true)
    await to.pass(claimsOf(token).exp * 1000 - ahead.now() - 1)
    expect(await isActive(to, token)).toBe(true)
    await to.pass(1)
    expect((await ask(to, token)).body).toEqual({ active: false })
    // Nor one that nobody had asked about.
    const other = await node({ clock, store: to.store })
    expect((await ask(other, token)).body).toEqual({ active: false })
  })

  test('design 3, revocation: a node that is told forgets what it would have answered', async () => {
    const { to, elsewhere, client, token } = await askedAbout()
    const other = await signedIn(elsewhere, client)
    expect(await isActive(to, other.access_token)).toBe(true)
    expect((await revoke(elsewhere, client, token)).status).toBe(200)
    expect((await ask(to, token)).body).toEqual({ active: false })
    expect(await isActive(to, other.access_token)).toBe(true)
  })

  test('design 3, revocation: without notifications the bound is 5 s', async () => {
    const { to, elsewhere, client, token, tokens, store } = await askedAbout()
    store.notifies = false
    await revoke(elsewhere, client, tokens.refresh_token)
    await to.pass(5_000)
    expect((await ask(to, token)).body).toEqual({ active: false })
  })

  test('design 3, revocation: without notifications a busy node learns by reading the log beside its answers', async () => {
    const { to, elsewhere, client, token, store } = await askedAbout()
    store.notifies = false
    await revoke(elsewhere, client, token)
    await to.pass(1_000)
    await expect.poll(() => isActive(to, token), { timeout: 30_000 }).toBe(false)
  })

  test('fault 5: a node that can’t keep the bound answers 503, and neither active nor inactive', async () => {
    const { to, token, store } = await askedAbout()
    store.down = true
    await to.pass(4_000)
    expect(await isActive(to, token)).toBe(true)
    await to.pass(1_000)
    const { status, body } = await ask(to, token)
    expect([status, body.error, body.active]).toEqual([503, 'temporarily_unavailable', undefined])
    store.down = false
    expect(await isActive(to, token)).toBe(true)
  })

  test('fault 5: nor does one that never read the log', async () => {
    const { elsewhere, token } = await askedAbout()
    const fresh = await node({ clock: elsewhere.clock, store: elsewhere.store })
    fresh.store.down = true
    expect(await ask(fresh, token)).toMatchObject({ status: 503, body: { error: 'temporarily_unavailable' } })
  })

  test('a token is remembered only if nothing was revoked since its grant was read', async () => {
    const { to, elsewhere, client, store } = await askedAbout()
    const { access_token: token } = await signedIn(elsewhere, client)
    const get = store.get
    store.get = async (keys) => {
      const snapshot = await get(keys)
      if (keys.some((key) => key.startsWith('upstream-session/'))) {
        store.get = get
        await revoke(elsewhere, client, token)
      }
      return snapshot
    }
    expect((await ask(to, token)).body).toEqual({ active: false })
    expect((await ask(to, token)).body).toEqual({ active: false })
  })

  test('when its client is deleted, on another node', async () => {
    const { to, elsewhere } = await askedAbout()
    const { id, secret: made = '' } = await createClient(elsewhere.server, { redirectUris: [callback] })
    const { access_token: token } = await signedIn(elsewhere, { client_id: id, client_secret: made })
    expect(await isActive(to, token)).toBe(true)
    await deleteClient(elsewhere.server, id)
    expect((await ask(to, token)).body).toEqual({ active: false })
  })

  test('of a client’s own token, what the client still may', async () => {
    const { to, elsewhere } = await askedAbout()
    const scopes = { '/mcp': ['notes:read', 'notes:write'] }
    const { id, secret: made = '' } = await createClient(elsewhere.server, { scopes })
    const form = { grant_type: 'client_credentials', client_id: id, client_secret: made }
    const { body } = await postToken(elsewhere, form)
    expect((await ask(to, body.access_token)).body).toMatchObject({ active: true, scope: 'notes:read notes:write' })
    await updateClient(elsewhere.server, id, { scopes: { '/mcp': ['notes:read'] } })
    expect((await ask(to, body.access_token)).body).toMatchObject({ active: true, scope: 'notes:read' })
    await revoke(elsewhere, { client_id: id, client_secret: made }, body.access_token)
    expect((await ask(to, body.access_token)).body).toEqual({ active: false })
  })

  test('of a token that was exchanged: with the actor, and no longer than the person’s own lives', async () => {
    const { to, elsewhere, client, token } = await askedAbout()
    const form = { grant_type: exchangeType, subject_token: token, subject_token_type: accessTokenType }
    const { body } = await postToken(elsewhere, { ...form, client_id: 'agent', client_secret: secret })
    for (let turn = 0; turn < 2; turn++) {
      expect((await ask(to, body.access_token)).body).toMatchObject({
        ...{ active: true, client_id: 'agent', sub: claimsOf(token).sub },
        act: { iss: issuer, sub: 'agent', client_id: 'agent' },
      })
    }
    await revoke(elsewhere, client, token)
    expect((await ask(to, body.access_token)).body).toEqual({ active: false })
  })

  test('when the person’s account is deleted, or an operator ends the grant', async () => {
    const { to, elsewhere, client, token } = await askedAbout()
    const { access_token: second } = await signedIn(elsewhere, client)
    const { access_token: bobs } = await signedIn(elsewhere, client, { person: 'bob' })
    for (const each of [second, bobs]) expect(await isActive(to, each)).toBe(true)
    expect(await revokeGrantById(elsewhere.server, claimsOf(second).grant_id, 'operator')).toBe(true)
    expect([await isActive(to, second), await isActive(to, token)]).toEqual([false, true])
    const account = await elsewhere.server.accounts.bySubject(claimsOf(token).sub)
    expect(await deleteAccount(elsewhere.server, account?.id ?? '')).toMatchObject({ grants: 1 })
    expect([await isActive(to, token), await isActive(to, bobs)]).toEqual([false, true])
  })

  test('when the key that signed it is withdrawn', async () => {
    const { to, elsewhere, token } = await askedAbout()
    await elsewhere.server.keys.rotate({ compromised: true })
    await expect.poll(() => isActive(to, token), { timeout: 30_000 }).toBe(false)
    expect(await isActive(elsewhere, token)).toBe(false)
  })

  test('design 1: claims that are newer in the store win over the token’s, within a minute', async () => {
    const { to, elsewhere, token } = await askedAbout({ tokenClaims: ['email'] })
    const { records } = elsewhere.server
    const [grant] = (await records.get(grantRef(claimsOf(token).grant_id))).values
    const [session] = (await records.get(upstreamSessionRef(grant?.value.upstreamSession ?? ''))).values
    if (!session) throw new Error('no session')
    const said = [{ source: 'host', at: 0, claims: { sub: 'alice', email: 'new@example.org' } }] as const
    await records.commit({ puts: [put(session.ref, { ...session.value, said })] })
    await to.pass(61_000)
    expect((await ask(to, token)).body.upstream_claims).toEqual({
      ...{ iss: 'https://host.example', sub: 'alice', email: 'new@example.org' },
    })
  })
})
