import { createLocalJWKSet, exportJWK, generateKeyPair, type JWTHeaderParameters, jwtVerify, SignJWT } from 'jose'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { createOwnVerifier } from '../../src/authorization-server/own-verifier.ts'
import { grantRef } from '../../src/records/grant.ts'
import { put } from '../../src/records/records.ts'
import { revocationRef } from '../../src/records/revocation.ts'
import { upstreamSessionRef } from '../../src/records/upstream-session.ts'
import { memory } from '../../src/store/memory.ts'
import { stopped } from '../store/movable-clock.ts'
import {
  issuer,
  mcp,
  otherMcp,
  refresh,
  registered,
  revoke,
  signedIn,
  type TestServerOptions,
  testServer,
} from '../support/authorization-server.ts'
import { unreliable } from '../support/unreliable-store.ts'

async function ready(options: TestServerOptions = {}) {
  const clock = options.clock ?? stopped()
  const store = unreliable(options.store ?? memory({ clock }))
  const to = await testServer({ ...options, clock, store })
  const client = await registered(to)
  const tokens = await signedIn(to, client, { scopes: ['notes:read', 'notes:write'], said: { groups: ['staff'] } })
  return { to, client, tokens, token: tokens.access_token, store, verifier: createOwnVerifier(to.server) }
}

const payloadOf = (token: string) => JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString())
const encoded = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')

describe('what a handler is told', () => {
  test('origin 4 and 8: subject, client and claims; the subject is a stable id and no name', async () => {
    const { to, client, token, verifier } = await ready()
    const accessToken = await verifier.verify(token, mcp)
    const payload = payloadOf(token)
    expect(accessToken).toMatchObject({
      kind: 'user',
      issuer,
      subject: payload.sub,
      clientId: client.client_id,
      scopes: ['notes:read', 'notes:write'],
      resource: mcp,
      expiresAt: payload.exp,
      claims: payload,
      upstream: { provider: 'host', issuer: 'https://host.example', subject: 'alice' },
    })
    expect(accessToken.subject).not.toContain('alice')
    const again = await verifier.verify((await signedIn(to, client, { said: { name: 'Renamed' } })).access_token, mcp)
    expect(again.subject).toBe(accessToken.subject)
    expect((await verifier.verify((await signedIn(to, client, { person: 'bob' })).access_token, mcp)).subject).not.toBe(
      accessToken.subject,
    )
  })

  test('design 2: all upstream claims are on the handler’s token, those that the server does not name too', async () => {
    const { token, verifier } = await ready()
    const accessToken = await verifier.verify(token, mcp)
    if (accessToken.kind !== 'user') throw new Error('no user')
    expect(accessToken.upstream?.claims).toMatchObject({ email: 'alice@example.org', groups: ['staff'] })
    expect(payloadOf(token).upstream_claims).toEqual({ iss: 'https://host.example', sub: 'alice' })
  })

  test.each([
    ['', {}],
    [', also where the provider is asked more seldom', { when: { every: 600 }, maximumStaleness: 3_600 } as const],
  ])('design 1: claims that are newer in the store win over the token’s, within a minute%s', async (_, policy) => {
    const { to, token, verifier } = await ready({
      tokenClaims: ['email'],
      ...('when' in policy ? { revalidation: policy } : {}),
    })
    const { records } = to.server
    const [grant] = (await records.get(grantRef(payloadOf(token).grant_id))).values
    const [session] = (await records.get(upstreamSessionRef(grant?.value.upstreamSession ?? ''))).values
    if (!session) throw new Error('no session')
    const signedIn = { ...session.value, tokens: { accessToken: 'upstream' } }
    await records.commit({ puts: [put(session.ref, signedIn)] })
    await verifier.verify(token, mcp)
    const said = [{ source: 'host', at: 0, claims: { sub: 'alice', email: 'new@example.org' } }] as const
    await records.commit({ puts: [put(session.ref, { ...signedIn, said })] })
    await to.pass(61_000)
    const accessToken = await verifier.verify(token, mcp)
    if (accessToken.kind !== 'user') throw new Error('no user')
    expect(accessToken.upstream?.claims.email).toBe('new@example.org')
    expect(accessToken.claims.upstream_claims).toMatchObject({ email: 'alice@example.org' })
  })

  test('design 2: a stored identity that no longer satisfies a new schema is 401, never 500', async () => {
    const clock = stopped()
    const inner = memory({ clock })
    const { token, tokens, client } = await ready({ clock, store: inner })
    const stricter = await testServer({ clock, store: inner, claims: z.object({ employee: z.string() }) })
    await expect(createOwnVerifier(stricter.server).verify(token, mcp)).rejects.toMatchObject({
      name: 'TokenInvalid',
      reason: 'schema',
    })
    expect((await refresh(stricter, client, tokens.refresh_token)).body.error).toBe('invalid_grant')
    // The operator takes the schema back: nothing was thrown away.
    const back = await testServer({ clock, store: inner })
    expect((await refresh(back, client, tokens.refresh_token)).status).toBe(200)
  })
})

describe('what is refused', () => {
  const key = async (to: Awaited<ReturnType<typeof ready>>['to']) => to.server.keys.signingKey()

  test('fault 11: exp, audience and type are required and checked', async () => {
    const { to, token, verifier } = await ready()
    const { id, key: ours } = await key(to)
    const sign = (claims: object, header: Partial<JWTHeaderParameters> = {}) =>
      new SignJWT({ ...payloadOf(token), ...claims })
        .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', kid: id, ...header })
        .sign(ours)
    const now = Math.floor(to.server.clock.now() / 1000)
    const cases: readonly (readonly [string, string])[] = [
      [await sign({ exp: undefined }), 'claims'],
      [await sign({ exp: now - 1 }), 'expired'],
      [await sign({ nbf: now + 100 }), 'not_yet_valid'],
      [await sign({ aud: 'https://evil.example' }), 'audience'],
      [await sign({ aud: [mcp, otherMcp] }), 'claims'],
      [await sign({ aud: undefined }), 'claims'],
      [await sign({ iss: 'https://evil.example' }), 'unknown_issuer'],
      [await sign({ sub: 'somebody else' }), 'claims'],
      [await sign({ client_id: 'another client' }), 'claims'],
      [await sign({ grant_id: 'AAAAAAAAAAAAAAAAAAAAAA' }), 'revoked'],
      [await sign({}, { typ: 'JWT' }), 'type'],
      [await sign({}, { typ: 'id+jwt' }), 'type'],
      [`${token}.`, 'malformed'],
      ['', 'malformed'],
      ['a'.repeat(20_000), 'malformed'],
    ]
    for (const [presented, reason] of cases) {
      await expect(verifier.verify(presented, mcp), reason).rejects.toMatchObject({ name: 'TokenInvalid', reason })
    }
    await expect(verifier.verify(token, otherMcp)).rejects.toMatchObject({ reason: 'audience' })
    // Scopes that the grant does not have are not the token's, whoever signed it.
    expect((await verifier.verify(await sign({ scope: 'notes:read admin' }), mcp)).scopes).toEqual(['notes:read'])
    await to.pass(601_000)
    await expect(verifier.verify(token, mcp)).rejects.toMatchObject({ reason: 'expired' })
  })

  test('signatures: none, a symmetric one with our public key, foreign keys, and keys that the token brings along', async () => {
    const { to, token, verifier } = await ready()
    const { id } = await key(to)
    const [published] = to.server.keys.jwks().keys
    const payload = payloadOf(token)
    const foreign = await generateKeyPair('ES256', { extractable: true })
    const jwk = await exportJWK(foreign.publicKey)
    const sign = (header: JWTHeaderParameters) =>
      new SignJWT(payload).setProtectedHeader(header).sign(foreign.privateKey)
    const [header, body, signature = ''] = token.split('.')
    const forged: readonly (readonly [string, string])[] = [
      [`${encoded({ alg: 'none', typ: 'at+jwt', kid: id })}.${body}.`, 'malformed'],
      [`${encoded({ alg: 'none', typ: 'at+jwt', kid: id })}.${body}.AA`, 'signature'],
      [
        await new SignJWT(payload)
          .setProtectedHeader({ alg: 'HS256', typ: 'at+jwt', kid: id })
          .sign(new TextEncoder().encode(JSON.stringify(published))),
        'signature',
      ],
      [await sign({ alg: 'ES256', typ: 'at+jwt', kid: id }), 'signature'],
      [await sign({ alg: 'ES256', typ: 'at+jwt', kid: 'unknown' }), 'unknown_key'],
      [await sign({ alg: 'ES256', typ: 'at+jwt' }), 'unknown_key'],
      [await sign({ alg: 'ES256', typ: 'at+jwt', kid: id, jwk }), 'signature'],
      [await sign({ alg: 'ES256', typ: 'at+jwt', kid: id, jku: 'https://evil.example/jwks' }), 'signature'],
      [await sign({ alg: 'ES256', typ: 'at+jwt', kid: 'x', jku: 'https://evil.example/jwks' }), 'unknown_key'],
      [`${header}.${encoded({ ...payload, scope: 'notes:read admin' })}.${signature}`, 'signature'],
      [`${header}.${body}.${signature.slice(0, -4)}AAAA`, 'signature'],
    ]
    for (const [presented, reason] of forged) {
      await expect(verifier.verify(presented, mcp), reason).rejects.toMatchObject({ name: 'TokenInvalid', reason })
    }
  })

  test('fault 16 and 17: an outside verifier needs only our JWKS, and reads the same', async () => {
    const { to, token, verifier } = await ready({ tokenClaims: ['email'] })
    const { payload, protectedHeader } = await jwtVerify(token, createLocalJWKSet(to.server.keys.jwks() as never), {
      issuer,
      audience: mcp,
      typ: 'at+jwt',
      algorithms: ['ES256'],
      currentDate: new Date(to.server.clock.now()),
    })
    expect(protectedHeader.kid).toBe(to.server.keys.jwks().keys[0]?.kid)
    expect(JSON.stringify(to.server.keys.jwks())).not.toContain('"d":')
    const accessToken = await verifier.verify(token, mcp)
    expect(accessToken.claims).toEqual(payload)
    expect(payload.upstream_claims).toMatchObject({ email: 'alice@example.org' })
    expect(accessToken).toMatchObject({ upstream: { claims: payload.upstream_claims } })
  })
})

describe('what it costs', () => {
  test('a token that was seen needs no store while the revocation log is fresh, and is the same object', async () => {
    const { to, token, verifier, store } = await ready()
    const first = await verifier.verify(token, mcp)
    const before = { ...store.calls }
    for (let turn = 0; turn < 100; turn++) expect(await verifier.verify(token, mcp)).toBe(first)
    expect(store.calls).toEqual(before)
    await to.pass(1_500)
    for (let turn = 0; turn < 100; turn++) await verifier.verify(token, mcp)
    expect(store.calls).toEqual({ ...before, list: before.list + 1 })
  })

  test('many cold requests with one token are one verification', async () => {
    const { token, verifier, store } = await ready()
    const before = store.calls.get
    await Promise.all(Array.from({ length: 20 }, () => verifier.verify(token, mcp)))
    expect(store.calls.get - before).toBe(2)
  })
})

describe('design 3, revocation', () => {
  test('a node that is told forgets the token at once', async () => {
    const { to, client, token, verifier } = await ready()
    await verifier.verify(token, mcp)
    expect((await revoke(to, client, token)).status).toBe(200)
    await expect(verifier.verify(token, mcp)).rejects.toMatchObject({ reason: 'revoked' })
  })

  test('without notifications the bound is 5 s', async () => {
    const { to, client, token, verifier, store } = await ready()
    await verifier.verify(token, mcp)
    store.notifies = false
    await revoke(to, client, token)
    await to.pass(5_000)
    await expect(verifier.verify(token, mcp)).rejects.toMatchObject({ reason: 'revoked' })
  })

  test('without notifications a busy node learns by reading the log beside its requests, after 1 s', async () => {
    const { to, client, token, verifier, store } = await ready()
    await verifier.verify(token, mcp)
    store.notifies = false
    await revoke(to, client, token)
    await to.pass(1_000)
    await verifier.verify(token, mcp).catch(() => {})
    await new Promise((resolve) => setTimeout(resolve, 20))
    await expect(verifier.verify(token, mcp)).rejects.toMatchObject({ reason: 'revoked' })
  })

  test('fault 5: a node that can’t keep the bound answers 503, and has lost nothing when the store is back', async () => {
    const { to, token, verifier, store } = await ready()
    await verifier.verify(token, mcp)
    store.down = true
    await to.pass(4_000)
    expect((await verifier.verify(token, mcp)).kind).toBe('user')
    await to.pass(1_000)
    await expect(verifier.verify(token, mcp)).rejects.toMatchObject({ name: 'VerifierUnavailable' })
    await expect(createOwnVerifier(to.server).verify(token, mcp)).rejects.toMatchObject({ name: 'VerifierUnavailable' })
    store.down = false
    expect((await verifier.verify(token, mcp)).kind).toBe('user')
  })

  test('a store that does not answer is 503 too, and not for ever', async () => {
    const { to, token, verifier, store } = await ready()
    await verifier.verify(token, mcp)
    const list = store.list
    store.list = () => new Promise(() => {})
    await to.pass(6_000)
    await expect(verifier.verify(token, mcp)).rejects.toMatchObject({ name: 'VerifierUnavailable' })
    store.list = list
    expect((await verifier.verify(token, mcp)).kind).toBe('user')
  })

  test('a token is remembered only if nothing was revoked since its grant was read', async () => {
    const { to, client, token, verifier, store } = await ready()
    await verifier.verify((await signedIn(to, client)).access_token, mcp)
    // All is read, then the grant is revoked, then the reader goes on.
    const get = store.get
    store.get = async (keys) => {
      const snapshot = await get(keys)
      if (keys.some((key) => key.startsWith('upstream-session/'))) {
        store.get = get
        await revoke(to, client, token)
      }
      return snapshot
    }
    await expect(verifier.verify(token, mcp)).rejects.toMatchObject({ reason: 'revoked' })
    await expect(verifier.verify(token, mcp)).rejects.toMatchObject({ reason: 'revoked' })
  })

  test('a token is remembered only if the log’s position is the same as before its grant was read', async () => {
    const { to, client, token, verifier, store } = await ready()
    const other = await signedIn(to, client)
    const get = store.get
    store.get = async (keys) => {
      const snapshot = await get(keys)
      if (keys.some((key) => key.startsWith('upstream-session/'))) {
        store.get = get
        await revoke(to, client, other.access_token)
      }
      return snapshot
    }
    const first = await verifier.verify(token, mcp)
    const second = await verifier.verify(token, mcp)
    expect(second).not.toBe(first)
    expect(await verifier.verify(token, mcp)).toBe(second)
  })

  test('the same, where the node hears of it late: what was read in between is not kept beyond the bound', async () => {
    const { to, client, token, verifier, store } = await ready()
    store.notifies = false
    const get = store.get
    store.get = async (keys) => {
      const snapshot = await get(keys)
      if (keys.some((key) => key.startsWith('upstream-session/'))) {
        store.get = get
        await revoke(to, client, token)
      }
      return snapshot
    }
    expect((await verifier.verify(token, mcp)).kind).toBe('user')
    await to.pass(5_000)
    await expect(verifier.verify(token, mcp)).rejects.toMatchObject({ reason: 'revoked' })
  })

  test('a token is remembered only if no key was dropped since its signature was checked', async () => {
    const { to, token } = await ready()
    let drop = () => {}
    let dropped = false
    const keys: typeof to.server.keys = {
      ...to.server.keys,
      whenDropped(listener) {
        drop = listener
        return () => {}
      },
      async verificationKey(id) {
        if (dropped) return undefined
        const key = await to.server.keys.verificationKey(id)
        dropped = true
        drop()
        return key
      },
    }
    const verifier = createOwnVerifier({ ...to.server, keys })
    await verifier.verify(token, mcp)
    await expect(verifier.verify(token, mcp)).rejects.toMatchObject({ reason: 'unknown_key' })
    verifier.close()
  })

  test('a revocation of another grant leaves a remembered token remembered', async () => {
    const { to, client, token, verifier, store } = await ready()
    const first = await verifier.verify(token, mcp)
    await revoke(to, client, (await signedIn(to, client)).access_token)
    const before = store.calls.get
    expect(await verifier.verify(token, mcp)).toBe(first)
    expect(store.calls.get).toBe(before)
  })

  test('a node that was away for longer than the log reaches back looks at every token again', async () => {
    const { to, client, token, verifier, store } = await ready({ lifetimes: { accessToken: 3_600 } })
    await verifier.verify(token, mcp)
    store.notifies = false
    await revoke(to, client, token)
    await to.pass(15 * 60_000)
    await expect(verifier.verify(token, mcp)).rejects.toMatchObject({ reason: 'revoked' })
  })

  test('many revocations at once are all learned', async () => {
    const { to, client, verifier, store } = await ready()
    const tokens = await Promise.all(Array.from({ length: 30 }, async () => (await signedIn(to, client)).access_token))
    for (const token of tokens) await verifier.verify(token, mcp)
    store.notifies = false
    // As much else as there are pages in the log.
    for (let page = 0; page < 25; page++) {
      const puts = Array.from({ length: 100 }, (_, index) => {
        const revoked = `grant-${page}-${index}`
        return put(revocationRef(to.server.clock.now(), revoked), { revoked }, 60_000)
      })
      await to.server.records.commit({ puts })
    }
    for (const token of tokens) await revoke(to, client, token)
    await to.pass(5_000)
    for (const token of tokens) await expect(verifier.verify(token, mcp)).rejects.toMatchObject({ reason: 'revoked' })
  })

  test.each([10_000, 40_000])('a line that is written %i ms late is learned all the same', async (late) => {
    const { to, client, token, verifier, store } = await ready()
    store.notifies = false
    const commit = store.commit
    store.commit = async (batch) => {
      store.commit = commit
      await to.pass(late)
      await verifier.verify(token, mcp)
      return commit(batch)
    }
    await revoke(to, client, token)
    await to.pass(5_000)
    await expect(verifier.verify(token, mcp)).rejects.toMatchObject({ reason: 'revoked' })
  })

  test('an operator’s clock that is set back is no reason to answer from memory', async () => {
    const { to, client, token, verifier, store } = await ready()
    await verifier.verify(token, mcp)
    store.notifies = false
    await revoke(to, client, token)
    await to.pass(-60_000)
    await expect(verifier.verify(token, mcp)).rejects.toMatchObject({ reason: 'revoked' })
    const { access_token } = await signedIn(to, client)
    await verifier.verify(access_token, mcp)
    const before = { ...store.calls }
    await verifier.verify(access_token, mcp)
    expect(store.calls).toEqual(before)
  })
})
