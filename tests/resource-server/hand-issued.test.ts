import { describe, expect, test } from 'vitest'
import { type ApiKeysOptions, apiKeys, createApiKey } from '../../src/resource-server/api-keys.ts'
import { jwks } from '../../src/resource-server/jwks-verifier.ts'
import { developmentTokens, staticTokens } from '../../src/resource-server/static-tokens.ts'
import { resourceServer } from '../../src/verify-only.ts'
import { movable } from '../store/movable-clock.ts'

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
      expect(() => resourceServer({ resource, issuers: [make()] })).toThrow(/issuers.*loopback/)
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
    for (const hash of ['', 'x', 'A'.repeat(43)]) {
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
