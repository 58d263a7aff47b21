import { describe, expect, test } from 'vitest'
import { type ApiKeysOptions, apiKeys, createApiKey } from '../../src/resource-server/api-keys.ts'
import { digestOf, handIssuedToken, sameDigest } from '../../src/resource-server/hand-issued.ts'
import { jwks } from '../../src/resource-server/jwks-verifier.ts'
import { developmentTokens, staticTokens } from '../../src/resource-server/static-tokens.ts'
import { resourceServer } from '../../src/verify-only.ts'
import { movable, stopped } from '../store/movable-clock.ts'

const local = 'http://localhost:8787/mcp'
const publicUrl = 'https://notes.example.com/mcp'
const invalid = (reason: string) => ({ name: 'TokenInvalid', reason })
const editor = { subject: 'alice', clientId: 'editor', scopes: ['notes:read'] }

describe('tokens for development', () => {
  test.each([
    ['static tokens', () => staticTokens({ secret: editor })],
    ['anybody’s word', () => developmentTokens()],
  ])('a resource that others can reach refuses to start with %s', (_name, make) => {
    for (const resource of [publicUrl, 'https://192.0.2.1/mcp', 'https://localhost.example.com/mcp']) {
      expect(() => resourceServer({ resource, issuers: [make()] })).toThrow(
        /issuers.*(static|development)Tokens.*loopback/,
      )
      // Also beside one that would be good.
      expect(() => resourceServer({ resource, issuers: [jwks('https://issuer.example.com'), make()] })).toThrow(
        /loopback/,
      )
    }
    for (const resource of [local, 'http://127.0.0.1/mcp', 'http://[::1]:8080/mcp', 'https://localhost/mcp']) {
      expect(() => resourceServer({ resource, issuers: [make()] })).not.toThrow()
    }
  })

  test('a static token is taken byte for byte, until it ends', async () => {
    const clock = movable()
    const expiresAt = Math.floor(clock.now() / 1000) + 60
    const verifier = staticTokens({ 'token-1': editor, 'token-2': { ...editor, expiresAt } }, { clock })
    expect(await verifier.verify('token-1', local)).toMatchObject({ kind: 'user', ...editor })
    for (const wrong of ['', 'token', 'token-11', 'TOKEN-1', 'constructor', '__proto__']) {
      await expect(verifier.verify(wrong, local)).rejects.toMatchObject(invalid('revoked'))
    }
    expect((await verifier.verify('token-2', local)).expiresAt).toBe(expiresAt)
    await clock.pass(60_000)
    await expect(verifier.verify('token-2', local)).rejects.toMatchObject(invalid('expired'))
    expect(await verifier.verify('token-1', local)).toMatchObject(editor)
    expect(() => staticTokens({ 'with space': editor })).toThrow(/tokens/)
  })

  test('a name is who it says; a JWT is nobody’s name', async () => {
    const verifier = developmentTokens({ scopes: ['notes:read'] })
    expect(await verifier.verify('alice', local)).toMatchObject({ ...editor, clientId: 'development' })
    for (const wrong of ['a.b.c', '', 'a b', 'x'.repeat(65)]) {
      await expect(verifier.verify(wrong, local)).rejects.toMatchObject(invalid('malformed'))
    }
  })

  test('metadata names only who issues tokens', async () => {
    const metadata = async (...issuers: Parameters<typeof resourceServer>[0]['issuers']) => {
      const auth = resourceServer({ resource: local, issuers })
      const response = await auth.respond(new Request('http://localhost:8787/.well-known/oauth-protected-resource/mcp'))
      return (await response?.json()) as object
    }
    expect(await metadata(developmentTokens())).not.toHaveProperty('authorization_servers')
    expect(await metadata(jwks('https://issuer.example.com'), staticTokens({ token: editor }))).toMatchObject({
      authorization_servers: ['https://issuer.example.com'],
    })
    // Some clients look at the first alone: the order is the operator's.
    expect(await metadata(jwks('https://b.example'), developmentTokens(), jwks('https://a.example'))).toMatchObject({
      authorization_servers: ['https://b.example', 'https://a.example'],
    })
  })

  test('beside an issuer of JWTs, each token goes to its own', async () => {
    const issuers = [jwks('https://issuer.example.com'), developmentTokens(), staticTokens({ 'a.b': editor })]
    const auth = resourceServer({ resource: local, issuers })
    const gated = auth.gate(local, (_, { accessToken }) => Response.json([accessToken.issuer, accessToken.subject]))
    const get = async (token: string) => {
      const response = await gated(new Request(local, { headers: { Authorization: `Bearer ${token}` } }))
      return response.status === 200 ? response.json() : response.status
    }
    expect(await get('alice')).toEqual(['urn:countersign:development', 'alice'])
    expect(await get('a.b')).toEqual(['urn:countersign:static', 'alice'])
    expect(await get('e30.e30.e30')).toBe(401)
  })
})

describe('API keys', () => {
  const setUp = async (more: Partial<ApiKeysOptions> = {}, facts: object = {}) => {
    const clock = movable()
    const { key, id, hash } = await createApiKey(more.prefix)
    const stored = { id, hash, subject: 'reporting', ...facts }
    const verifier = apiKeys({ issuer: 'https://notes.example.com/keys', keys: [stored], clock, ...more })
    return { verifier, key, id, hash, stored, clock }
  }

  test('each has a subject of its own, and a client that can be named in audit', async () => {
    const { verifier, key, id } = await setUp({}, { scopes: ['notes:read'], claims: { team: 'data', sub: 'mallory' } })
    const token = await verifier.verify(key, publicUrl)
    expect(token).toMatchObject({
      ...{ kind: 'user', issuer: 'https://notes.example.com/keys', subject: 'reporting', clientId: `cs_key_${id}` },
      ...{ scopes: ['notes:read'], resource: publicUrl },
      claims: { team: 'data', sub: 'reporting' },
    })
    const own = await setUp({}, { subject: undefined })
    expect(await own.verifier.verify(own.key, publicUrl)).toMatchObject({ kind: 'client', subject: `cs_key_${own.id}` })
  })

  test('what is kept is no key, and neither is what can be seen of a token', async () => {
    const { verifier, key, hash } = await setUp()
    expect(key).toMatch(/^cs_key_[0-9a-f]{16}_[A-Za-z0-9_-]{43}$/)
    expect(key).not.toContain(hash)
    await expect(verifier.verify(key.replace(/[^_]{43}$|.{43}$/, hash), publicUrl)).rejects.toMatchObject(
      invalid('revoked'),
    )
    expect(JSON.stringify(await verifier.verify(key, publicUrl))).not.toContain(key.slice(-43))
  })

  test('any other is refused', async () => {
    const { verifier, key } = await setUp()
    const other = await createApiKey()
    const flipped = key.slice(0, -1) + (key.endsWith('A') ? 'B' : 'A')
    const mixed = key.slice(0, -43) + other.key.slice(-43)
    for (const wrong of [other.key, flipped, mixed]) {
      await expect(verifier.verify(wrong, publicUrl)).rejects.toMatchObject(invalid('revoked'))
    }
    for (const wrong of [
      `${key}A`,
      key.slice(0, -1),
      key.toUpperCase(),
      `x${key}`,
      'cs_key_',
      key.replace('cs_key', 'cs_kez'),
    ]) {
      await expect(verifier.verify(wrong, publicUrl)).rejects.toMatchObject(invalid('malformed'))
    }
  })

  test('a stored hash that is none opens nothing', async () => {
    const digest = 'A'.repeat(43)
    for (const hash of ['', 'x', digest, `*${digest}`, `${digest}*`, `${digest}A`, `A${digest}`, `${digest}\n`]) {
      const { verifier, key } = await setUp({}, { hash })
      await expect(verifier.verify(key, publicUrl)).rejects.toMatchObject(invalid('revoked'))
    }
  })

  test('they end, and are taken away at once', async () => {
    const { verifier, key, clock, stored } = await setUp({}, { expiresAt: Math.floor(movable().now() / 1000) + 60 })
    await verifier.verify(key, publicUrl)
    await clock.pass(60_000)
    await expect(verifier.verify(key, publicUrl)).rejects.toMatchObject(invalid('expired'))
    const kept = new Map([[stored.id, { ...stored, expiresAt: undefined }]])
    const finding = apiKeys({ issuer: 'i', keys: async (id) => kept.get(id), clock })
    await finding.verify(key, publicUrl)
    kept.clear()
    await expect(finding.verify(key, publicUrl)).rejects.toMatchObject(invalid('revoked'))
  })

  test('fault 5, a look-up that fails is our own trouble; one that answers another key is no key', async () => {
    const down = await setUp({ keys: () => Promise.reject(new Error('the database is away')) })
    await expect(down.verifier.verify(down.key, publicUrl)).rejects.toMatchObject({ name: 'VerifierUnavailable' })
    const { key, stored } = await setUp()
    const careless = apiKeys({ issuer: 'i', keys: () => ({ ...stored, id: '0123456789abcdef' }) })
    await expect(careless.verify(key, publicUrl)).rejects.toMatchObject(invalid('revoked'))
  })

  test('a prefix of your own, that scanners can find', async () => {
    const { verifier, key } = await setUp({ prefix: 'notes_live' })
    expect(key).toMatch(/^notes_live_/)
    await verifier.verify(key, publicUrl)
    expect(verifier.recognises?.(key)).toBe(true)
    for (const prefix of ['', 'Notes', 'a.b', '_a', 'a_', 'a__b', 'a|b', 'x'.repeat(33)]) {
      await expect(createApiKey(prefix)).rejects.toThrow(/prefix/)
      expect(() => apiKeys({ issuer: 'i', prefix, keys: [] })).toThrow(/prefix/)
    }
  })
})

describe('what a handler sees of them', () => {
  const now = 1_000_000_500
  const claims = { team: { name: 'data' }, iss: 'mallory', sub: 'mallory', client_id: 'mallory', aud: 'x', exp: 1 }

  test('the words of whoever issued them, besides what the token is', () => {
    const upstream = { provider: 'p', issuer: 'https://p.example', subject: '1', claims: { email: 'a@x.example' } }
    const facts = { ...editor, scopes: ['notes:read', 'notes:read', 'b'], claims, upstream, expiresAt: 1_000_100 }
    const token = handIssuedToken('t', local, 'urn:i', now, facts)
    expect(token).toMatchObject({
      ...{ kind: 'user', issuer: 'urn:i', subject: 'alice', clientId: 'editor', resource: local },
      ...{ scopes: ['notes:read', 'b'], expiresAt: 1_000_100 },
      upstream,
    })
    expect(token.claims).toStrictEqual({
      team: { name: 'data' },
      ...{ iss: 'urn:i', sub: 'alice', client_id: 'editor', aud: local, exp: 1_000_100 },
      scope: 'notes:read notes:read b',
    })
    // The token is frozen; what it was made of is not.
    expect(Object.isFrozen(token.claims)).toBe(true)
    expect(Object.isFrozen(claims.team) || Object.isFrozen(upstream.claims)).toBe(false)
  })

  test('without an end of their own they are looked at again within an hour, and no later where they have one', () => {
    expect(handIssuedToken('t', local, 'i', now, { clientId: 'c' })).toMatchObject({ kind: 'client', subject: 'c' })
    expect(handIssuedToken('t', local, 'i', now, { clientId: 'c' }).expiresAt).toBe(1_000_000 + 3600)
    expect(handIssuedToken('t', local, 'i', now, { clientId: 'c', expiresAt: 9e9 }).expiresAt).toBe(1_000_000 + 3600)
    expect(handIssuedToken('t', local, 'i', now, { clientId: 'c', expiresAt: 1_000_001 }).expiresAt).toBe(1_000_001)
    expect(handIssuedToken('t', local, 'i', now, { clientId: 'c' }).claims).not.toHaveProperty('scope')
    expect(handIssuedToken('t', local, 'i', now, { clientId: 'c' })).not.toHaveProperty('upstream')
  })

  test('they end at their second, and not before', async () => {
    const at = (ms: number) => ({ now: () => ms })
    const { key, id, hash } = await createApiKey()
    for (const [ms, good] of [
      [59_999, true],
      [60_000, false],
    ] as const) {
      const verifiers = [
        [apiKeys({ issuer: 'i', keys: [{ id, hash, expiresAt: 60 }], clock: at(ms) }), key],
        [staticTokens({ token: { ...editor, expiresAt: 60 } }, { clock: at(ms) }), 'token'],
      ] as const
      for (const [verifier, token] of verifiers) {
        const outcome = await verifier.verify(token, local).then(
          () => true,
          (error: { reason: string }) => (error.reason === 'expired' ? false : expect.fail(error.reason)),
        )
        expect(outcome).toBe(good)
      }
    }
  })

  test('who issued them is told, and none is asked of an authorization server', async () => {
    const all = [
      [staticTokens({ 'a.b=': editor }), 'urn:countersign:static', 'a.b='],
      [developmentTokens(), 'urn:countersign:development', 'alice'],
      [apiKeys({ issuer: 'urn:keys', keys: [] }), 'urn:keys', 'cs_key_1'],
    ] as const
    for (const [verifier, name, token] of all) {
      expect([verifier.issuer, verifier.authorizationServer, verifier.recognises?.(token)]).toEqual([name, false, true])
      for (const other of ['', 'a b', 'constructor.', `x.${token}`]) expect(verifier.recognises?.(other)).toBe(false)
    }
    expect((await developmentTokens({ clock: stopped() }).verify('x'.repeat(64), local)).scopes).toEqual([])
    expect(() => apiKeys({ issuer: '', keys: [] })).toThrow(/issuer/)
    for (const token of ['', 'a b', '=', 'a=b', 'ä', '"a"', 'a\n']) {
      expect(() => staticTokens({ [token]: editor })).toThrow(expect.objectContaining({ path: 'tokens' }))
    }
    for (const name of ['a.b', ' a', 'a ', 'ä']) {
      await expect(developmentTokens().verify(name, local)).rejects.toMatchObject(invalid('malformed'))
    }
  })

  test('among several keys each opens its own', async () => {
    const made = await Promise.all([createApiKey(), createApiKey()])
    const keys = made.map(({ id, hash }, index) => ({ id, hash, subject: `s${index}` }))
    const verifier = apiKeys({ issuer: 'i', keys })
    for (const [index, { key }] of made.entries()) {
      expect((await verifier.verify(key, local)).subject).toBe(`s${index}`)
    }
    const down = apiKeys({ issuer: 'i', keys: () => Promise.reject(new Error('away')) })
    await expect(down.verify(made[0].key, local)).rejects.toMatchObject({ cause: new Error('away') })
  })

  test('prefixes', async () => {
    for (const prefix of ['a', 'a1', 'a_1', 'ab_cd_ef', 'x'.repeat(32)]) {
      expect((await createApiKey(prefix)).key.startsWith(`${prefix}_`)).toBe(true)
    }
    for (const prefix of ['1a', ' a', 'a ', 'a\n', 'x'.repeat(33)]) {
      await expect(createApiKey(prefix)).rejects.toMatchObject({ name: 'ConfigurationError', path: 'prefix' })
    }
  })

  test('digests are the same where every byte is', async () => {
    const digest = await digestOf('abc')
    expect(Buffer.from(digest).toString('hex')).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad')
    expect(sameDigest(digest, Uint8Array.from(digest))).toBe(true)
    for (let at = 0; at < digest.length; at += 1) {
      const other = Uint8Array.from(digest, (byte, index) => (index === at ? byte ^ 1 : byte))
      expect(sameDigest(digest, other)).toBe(false)
    }
    const two = Uint8Array.from(digest, (byte, index) => (index < 2 ? byte ^ 1 : byte))
    expect(sameDigest(digest, two)).toBe(false)
    expect(sameDigest(digest, digest.slice(0, -1)) || sameDigest(digest.slice(0, -1), digest)).toBe(false)
    expect(sameDigest(Uint8Array.of(0), new Uint8Array(0)) || sameDigest(new Uint8Array(0), Uint8Array.of(0))).toBe(
      false,
    )
  })
})
