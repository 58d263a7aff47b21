import { decodeJwt } from 'jose'
import { describe, expect, test } from 'vitest'
import { createOwnVerifier } from '../../src/authorization-server/own-verifier.ts'
import { deriveRefreshToken } from '../../src/authorization-server/tokens.ts'
import { ringRef } from '../../src/keys/ring.ts'
import { secretSealer } from '../../src/keys/secret.ts'
import { clientRef } from '../../src/records/client.ts'
import { type Grant, grantRef, isAuthorization } from '../../src/records/grant.ts'
import { createRecords, put } from '../../src/records/records.ts'
import { upstreamSessionRef } from '../../src/records/upstream-session.ts'
import { memory } from '../../src/store/memory.ts'
import { stopped } from '../store/movable-clock.ts'
import {
  approved,
  basic,
  eventTypes,
  mcp,
  postToken,
  redeem,
  refresh,
  registered,
  secret,
  signedIn,
  type TestClient,
  type TestServer,
  testServer,
} from '../support/authorization-server.ts'
import { unreliable } from '../support/unreliable-store.ts'

const minute = 60_000

const grantOf = (token: string): string => token.slice('cs_rt_'.length).split('.')[0] ?? ''
const generationOf = (token: string): number => Number(token.split('.')[2])

async function ready(options: Parameters<typeof testServer>[0] = {}) {
  const to = await testServer(options)
  const client = await registered(to)
  const tokens = await signedIn(to, client, { scopes: ['notes:read', 'notes:write'] })
  return { to, client, tokens, first: tokens.refresh_token }
}

/** Refreshes and answers the next token. */
async function next(to: TestServer, client: TestClient, token: string): Promise<string> {
  const { status, body } = await refresh(to, client, token)
  expect([status, body.error]).toEqual([200, undefined])
  return body.refresh_token
}

async function change(to: TestServer, id: string, by: (grant: Grant) => Grant): Promise<void> {
  const [stored] = (await to.server.records.get(grantRef(id))).values
  if (!stored) throw new Error('no grant')
  await to.server.records.commit({ puts: [put(stored.ref, by(stored.value), 1_000_000)] })
}

describe('refreshing', () => {
  test('origin 5: subject, client, scopes and upstream survive every refresh', async () => {
    const { to, client, tokens } = await ready({ tokenClaims: ['email'] })
    const before = decodeJwt(tokens.access_token)
    let token = tokens.refresh_token
    for (let turn = 2; turn < 6; turn++) {
      const { body } = await refresh(to, client, token)
      const { iat: _iat, exp: _exp, jti, ...claims } = decodeJwt(body.access_token)
      const { iat: _iat0, exp: _exp0, jti: jti0, ...claims0 } = before
      expect(claims).toEqual(claims0)
      expect(jti).not.toBe(jti0)
      expect([body.scope, generationOf(body.refresh_token)]).toEqual(['notes:read notes:write', turn])
      token = body.refresh_token
    }
  })

  test('design 3, refreshing: MAC, client and authentication come first; failing them changes nothing', async () => {
    const { to, client, first } = await ready()
    const other = await registered(to)
    const another = await signedIn(to, client)
    const current = await next(to, client, first)
    const [grant = '', session = '', generation = '', keyId = '', mac = ''] = current.slice(6).split('.')
    const [foreignGrant = '', foreignSession = ''] = another.refresh_token.slice(6).split('.')
    const flipped = mac.startsWith('A') ? `B${mac.slice(1)}` : `A${mac.slice(1)}`
    // The last of 43 characters has two bits to spare: another spelling of the same bytes.
    const respelled = mac.slice(0, -1) + String.fromCharCode(mac.charCodeAt(42) + 1)
    const forged = [
      `cs_rt_${grant}.${session}.${generation}.${keyId}.${flipped}`,
      `cs_rt_${grant}.${session}.${generation}.${keyId}.${respelled}`,
      `cs_rt_${grant}.${session}.${Number(generation) + 1}.${keyId}.${mac}`,
      `cs_rt_${grant}.${session}.1.${keyId}.${mac}`,
      `cs_rt_${grant}.${session}.0${generation}.${keyId}.${mac}`,
      `cs_rt_${grant}.${session}.${generation}.${keyId}x.${mac}`,
      `cs_rt_${foreignGrant}.${session}.${generation}.${keyId}.${mac}`,
      `cs_rt_${grant}.${foreignSession}.${generation}.${keyId}.${mac}`,
      `cs_rt_${grant}.${generation}.${keyId}.${mac}`,
      `cs_rt_${grant}.${session}.${generation}.${keyId}.`,
      `cs_rt_${grant}.${session}.${generation}.${keyId}.${mac}.`,
      `${current}=`,
      current.toUpperCase(),
    ]
    const version = (await to.store.get([`grant/${grant}`])).entries[0]?.version
    // A token of long ago too: only its holder's client can have the grant revoked.
    await to.pass(10 * minute)
    const attempts = [
      ...forged.map((token) => refresh(to, client, token)),
      refresh(to, other, current),
      refresh(to, other, first),
    ]
    for (const { status, body } of await Promise.all(attempts)) {
      expect([status, body.error]).toEqual([400, 'invalid_grant'])
    }
    expect((await to.store.get([`grant/${grant}`])).entries[0]?.version).toBe(version)
    expect((await refresh(to, client, current)).status).toBe(200)
    expect((await refresh(to, client, another.refresh_token)).status).toBe(200)
  })

  test('design 3, refreshing: the current generation rotates, and a superseded one gets the current token again', async () => {
    const { to, client, first } = await ready()
    const second = await next(to, client, first)
    expect(await next(to, client, first)).toBe(second)
    await to.pass(4 * minute)
    const third = await next(to, client, second)
    await to.pass(30_000)
    expect(await next(to, client, first)).toBe(third)
    expect(await next(to, client, second)).toBe(third)
    expect(eventTypes(to).slice(1)).toEqual([
      'refresh.rotated',
      'refresh.repeated',
      'refresh.rotated',
      'refresh.repeated',
      'refresh.repeated',
    ])
  })

  test('fault 3: inside the grace window the same successor; after it, the grant is revoked and the event audited', async () => {
    const { to, client, tokens, first } = await ready()
    const second = await next(to, client, first)
    await to.pass(minute)
    expect(await next(to, client, first)).toBe(second)
    await to.pass(5 * minute)
    const replayed = await refresh(to, client, first)
    expect([replayed.status, replayed.body.error]).toEqual([400, 'invalid_grant'])
    expect((await refresh(to, client, second)).body.error).toBe('invalid_grant')
    await expect(createOwnVerifier(to.server).verify(tokens.access_token, mcp)).rejects.toMatchObject({
      reason: 'revoked',
    })
    expect(to.events).toContainEqual(
      expect.objectContaining({ type: 'refresh.replayed', presented: 1, generation: 2, clientId: client.client_id }),
    )
    expect(to.events).toContainEqual(expect.objectContaining({ type: 'grant.revoked', by: 'refresh_replay' }))
  })

  test('fault 2: parallel refreshes with one token all get a working one', async () => {
    const { to, client, first } = await ready()
    const answers = await Promise.all(Array.from({ length: 8 }, () => refresh(to, client, first)))
    expect(answers.map(({ status }) => status)).toEqual(Array(8).fill(200))
    expect(new Set(answers.map(({ body }) => body.refresh_token)).size).toBe(1)
    const verifier = createOwnVerifier(to.server)
    for (const { body } of answers) expect((await verifier.verify(body.access_token, mcp)).kind).toBe('user')
    expect(eventTypes(to).filter((type) => type === 'refresh.rotated')).toHaveLength(1)
  })

  test('design 3, refreshing: one at most two ahead is honoured, caught up and audited; further ahead is refused', async () => {
    const { to, client, first } = await ready()
    const backup = (await to.server.records.get(grantRef(grantOf(first)))).values[0]?.value
    if (!backup) throw new Error('no grant')
    const tokens = [first]
    for (let turn = 0; turn < 3; turn++) tokens.push(await next(to, client, tokens.at(-1) ?? ''))
    const [, , third = '', fourth = ''] = tokens

    await change(to, backup.id, () => backup)
    const refused = await refresh(to, client, fourth)
    expect([refused.status, refused.body.error]).toEqual([400, 'invalid_grant'])
    const fifth = await next(to, client, third)
    expect(generationOf(fifth)).toBe(4)
    expect(to.events).toContainEqual(
      expect.objectContaining({ type: 'refresh.caught_up', presented: 3, generation: 4 }),
    )
    // Who still has one that the store forgot is within the window again.
    expect(await next(to, client, first)).toBe(fifth)
  })

  test('design 3, refreshing: an absent or revoked grant is never revived', async () => {
    const clock = stopped()
    const store = unreliable(memory({ clock }))
    const { to, client, first } = await ready({ store, clock })
    const [stored] = (await to.server.records.get(grantRef(grantOf(first)))).values
    if (!stored) throw new Error('no grant')
    // The grant ends between a refresh's reading and its writing.
    const commit = store.commit
    store.commit = async (batch) => {
      store.commit = commit
      await commit({ deletes: [stored.ref.key] })
      return commit(batch)
    }
    expect((await refresh(to, client, first)).body.error).toBe('invalid_grant')
    expect((await to.store.get([stored.ref.key])).entries).toEqual([undefined])
  })

  test('a lost answer: the commit was applied, and the client gets the token that it made', async () => {
    const clock = stopped()
    const store = unreliable(memory({ clock }))
    const to = await testServer({ store, clock })
    const client = await registered(to)
    for (const mishap of ['applied, answer lost', 'lost'] as const) {
      const code = await approved(to, client)
      store.mishaps.push(mishap)
      const { status, body } = await redeem(to, client, code)
      expect([mishap, status]).toEqual([mishap, 200])
      expect((await redeem(to, client, code)).body.error).toBe('invalid_grant')
      store.mishaps.push(mishap)
      const second = await next(to, client, body.refresh_token)
      expect(generationOf(second)).toBe(2)
      expect(generationOf(await next(to, client, second))).toBe(3)
    }
  })

  test('fault 5, at the token endpoint: a store out of reach is 503 with Retry-After, and nothing is lost', async () => {
    const clock = stopped()
    const store = unreliable(memory({ clock }))
    const { to, client, first } = await ready({ store, clock })
    store.down = true
    const { status, headers, body } = await refresh(to, client, first)
    expect([status, body.error]).toEqual([503, 'temporarily_unavailable'])
    expect(Number(headers.get('retry-after'))).toBeGreaterThan(0)
    expect(headers.get('www-authenticate')).toBeNull()
    expect(JSON.stringify(body)).not.toContain('down')
    store.down = false
    store.mishaps.push(...Array.from({ length: 20 }, () => 'lost' as const))
    const contended = await refresh(to, client, first)
    expect([contended.status, contended.body.error]).toEqual([503, 'temporarily_unavailable'])
    store.mishaps.length = 0
    expect((await refresh(to, client, first)).status).toBe(200)
  })

  test.each(['damaged', 'of a newer release', 'sealed with a key that nobody has'])(
    'fault 5, at the token endpoint: who stands behind a token whose sign-in is %s, nobody can tell: 503, and nothing is lost',
    async (how) => {
      const { to, client, first } = await ready()
      const [, session = ''] = first.slice('cs_rt_'.length).split('.')
      const { key } = upstreamSessionRef(session)
      const [entry] = (await to.store.get([key])).entries
      if (!entry) throw new Error('no session')
      const other = await ready()
      const [, foreign = ''] = other.first.slice('cs_rt_'.length).split('.')
      const bytes = new Uint8Array(entry.value)
      if (how === 'damaged')
        bytes.set(
          [...bytes.subarray(-8)].map((byte) => byte ^ 1),
          bytes.length - 8,
        )
      if (how === 'of a newer release') bytes[1] = 250
      const elsewhere = (await other.to.store.get([upstreamSessionRef(foreign).key])).entries[0]?.value
      const value = how === 'sealed with a key that nobody has' ? (elsewhere ?? bytes) : bytes
      await to.store.commit({ sets: [{ key, value }] })
      const grant = async () => (await to.store.get([grantRef(grantOf(first)).key])).entries[0]?.value
      const before = await grant()
      const { status, body, headers } = await refresh(to, client, first)
      expect([status, body.error]).toEqual([503, 'temporarily_unavailable'])
      expect(Number(headers.get('retry-after'))).toBeGreaterThan(0)
      expect(JSON.stringify(body)).not.toMatch(/record|session|seal/)
      expect(await grant()).toEqual(before)
      expect(eventTypes(to)).not.toContain('grant.revoked')
      await to.store.commit({ sets: [{ key, value: entry.value }] })
      await next(to, client, first)
    },
  )

  test('attack: a token that names somebody else’s sign-in, damaged or not, gets nothing by it and changes nothing', async () => {
    const { to, client, first } = await ready()
    const [grant = '', session = '', ...rest] = first.slice('cs_rt_'.length).split('.')
    const victim = await signedIn(to, client, { person: 'bob' })
    const [, theirs = ''] = victim.refresh_token.slice('cs_rt_'.length).split('.')
    expect(theirs).not.toBe(session)
    const made = `cs_rt_${[grant, theirs, ...rest].join('.')}`
    expect((await refresh(to, client, made)).body.error).toBe('invalid_grant')
    const { key } = upstreamSessionRef(theirs)
    const [entry] = (await to.store.get([key])).entries
    if (!entry) throw new Error('no session')
    await to.store.commit({ sets: [{ key, value: entry.value.slice(0, 20) }] })
    // What it names can't be read: that is all that it learns.
    expect((await refresh(to, client, made)).status).toBe(503)
    await next(to, client, first)
    await to.store.commit({ sets: [{ key, value: entry.value }] })
    await next(to, client, victim.refresh_token)
  })

  test('one read of all that decides, and one commit', async () => {
    const clock = stopped()
    const store = unreliable(memory({ clock }))
    const { to, client, first } = await ready({ store, clock })
    const before = { ...store.calls }
    await next(to, client, first)
    expect({ get: store.calls.get - before.get, commit: store.calls.commit - before.commit }).toEqual({
      get: 1,
      commit: 1,
    })
  })

  test('design 3, refreshing: how the client authenticated at redemption is the least that its refreshes must do', async () => {
    const to = await testServer()
    const client = await registered(to, { token_endpoint_auth_method: 'client_secret_basic' })
    const { client_id: id, client_secret: secret = '' } = client
    const { refresh_token: first } = await signedIn(to, client)
    expect((await refresh(to, { client_id: id }, first)).body.error).toBe('invalid_client')
    // An operator makes it a public client: what was issued before still wants the secret.
    const [stored] = (await to.server.records.get(clientRef(id))).values
    if (!stored) throw new Error('no client')
    const { secretHash: _hash, ...open } = stored.value
    await to.server.records.commit({ puts: [put(stored.ref, { ...open, authentication: 'none' })] })
    expect((await refresh(to, { client_id: id }, first)).body.error).toBe('invalid_grant')
    await to.server.records.commit({ puts: [put(stored.ref, stored.value)] })
    expect((await postToken(to, { grant_type: 'refresh_token', refresh_token: first }, basic(id, secret))).status).toBe(
      200,
    )
  })

  test('design 3, scopes: a refresh narrows and never widens; unknown ones are invalid_scope; scope is returned', async () => {
    const to = await testServer()
    const client = await registered(to)
    const { refresh_token: first } = await signedIn(to, client, { scopes: ['notes:read'] })
    for (const scope of ['notes:write', 'notes:read notes:write', 'claudeai', 'notes:read "']) {
      const { status, body } = await refresh(to, client, first, { scope })
      expect([scope, status, body.error]).toEqual([scope, 400, 'invalid_scope'])
    }
    const wide = await signedIn(to, client, { scopes: ['notes:read', 'notes:write'] })
    const narrowed = await refresh(to, client, wide.refresh_token, { scope: 'notes:read offline_access' })
    expect(narrowed.body.scope).toBe('notes:read')
    expect(decodeJwt(narrowed.body.access_token).scope).toBe('notes:read')
    // The grant itself was not narrowed. @see RFC 6749 §6
    const { body } = await refresh(to, client, narrowed.body.refresh_token)
    expect(body.scope).toBe('notes:read notes:write')
  })

  test('design 1: a grant that is not used for long, and one that is too old, end', async () => {
    const { to, client, first } = await ready({ lifetimes: { refreshToken: 100, grant: 250, accessToken: 60 } })
    await to.pass(90_000)
    const second = await next(to, client, first)
    await to.pass(90_000)
    const third = await next(to, client, second)
    await to.pass(40_000)
    const { body } = await refresh(to, client, third)
    expect(body.expires_in).toBeLessThanOrEqual(31)
    await to.pass(35_000)
    expect((await refresh(to, client, body.refresh_token)).body.error).toBe('invalid_grant')

    const { refresh_token } = await signedIn(to, client)
    await to.pass(101_000)
    expect((await refresh(to, client, refresh_token)).body.error).toBe('invalid_grant')
  })

  test('what says who the person is, is no more: invalid_grant, and the grant stays', async () => {
    const { to, client, first } = await ready()
    const [grant] = (await to.server.records.get(grantRef(grantOf(first)))).values
    const sessionRef = upstreamSessionRef(grant?.value.upstreamSession ?? '')
    const [session] = (await to.server.records.get(sessionRef)).values
    if (!session) throw new Error('no session')
    await to.server.records.commit({ deletes: [sessionRef] })
    expect((await refresh(to, client, first)).body.error).toBe('invalid_grant')
    await to.server.records.commit({ puts: [put(sessionRef, session.value)] })
    expect((await refresh(to, client, first)).status).toBe(200)
  })
})

describe('design 3, secrets rotate', () => {
  test('key ids are in tokens: those of another key are told apart, and one that nobody knows is invalid_grant', async () => {
    const { to, client, first } = await ready()
    const [grant, session, generation, keyId, mac] = first.slice(6).split('.')
    expect(keyId).toBe(to.server.keys.macKey().id)
    const unknown = await refresh(to, client, `cs_rt_${grant}.${session}.${generation}.AAAAAAAAAAAA.${mac}`)
    expect(unknown.body.error).toBe('invalid_grant')
    expect(to.events.at(-1)).toMatchObject({ type: 'refresh.refused', reason: 'unknown_key' })
  })

  test('an unknown key id while the ring can’t be read is 503, not invalid_grant', async () => {
    const clock = stopped()
    const store = unreliable(memory({ clock }))
    const { to, client, first } = await ready({ store, clock })
    await to.pass(2_000)
    const get = store.get
    store.get = (keys) => {
      store.down = keys.some((key) => key.startsWith('key-ring'))
      return get(keys)
    }
    const [grant, session, generation, , mac] = first.slice(6).split('.')
    const { status, body } = await refresh(to, client, `cs_rt_${grant}.${session}.${generation}.AAAAAAAAAAAA.${mac}`)
    expect([status, body.error]).toEqual([503, 'temporarily_unavailable'])
  })

  test('a new MAC key: what the old one made is still taken, and what is made is made with the new one', async () => {
    const { to, client, first } = await ready()
    const old = to.server.keys.macKey().id
    const operator = createRecords(to.store, secretSealer([secret]))
    const [ring] = (await operator.get(ringRef)).values
    if (!ring) throw new Error('no ring')
    const now = to.server.clock.now()
    const added = { id: 'newer', use: 'mac' as const, createdAt: now, activeFrom: now, material: 'A'.repeat(43) }
    await operator.commit({ puts: [put(ringRef, { keys: [...ring.value.keys, added] })] })
    const later = await testServer({ store: to.store, clock: to.clock })

    const second = await next(later, client, first)
    expect([first, second].map((token) => token.split('.')[3])).toEqual([old, 'newer'])
    // Also on a node that has not heard of the new key, and for a client that lost our answer.
    await to.pass(2_000)
    expect(await next(to, client, first)).toBe(second)
    expect(generationOf(await next(to, client, second))).toBe(3)
  })

  test('a stolen database makes no token: the server’s key is missing; a stolen key none: the grant’s salt is', async () => {
    const { to, client, first } = await ready()
    const [stored] = (await to.server.records.get(grantRef(grantOf(first)))).values
    const { salt = '' } = (isAuthorization(stored) && stored.value.refresh) || {}
    const key = to.server.keys.macKey()
    const of = { grant: grantOf(first), session: first.split('.')[1] ?? '' }
    const withoutKey = deriveRefreshToken(of, 1, salt, { id: key.id, key: new Uint8Array(32) })
    const withoutSalt = deriveRefreshToken(of, 1, '', key)
    expect(deriveRefreshToken(of, 1, salt, key)).toBe(first)
    for (const token of [withoutKey, withoutSalt]) {
      expect((await refresh(to, client, token)).body.error).toBe('invalid_grant')
    }
    const { entries } = await to.store.list('', { limit: 1000 })
    for (const { value } of entries) expect(Buffer.from(value).toString()).not.toContain(first.slice(-43))
  })
})
