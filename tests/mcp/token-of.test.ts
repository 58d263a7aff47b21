import { expect, test } from 'vitest'
import type { AccessToken } from '../../src/identity/access-token.ts'
import { NoAccessToken, type TokenSource, withAccessToken } from '../../src/identity/context.ts'
import { createAuthInfo } from '../../src/mcp/auth-info.ts'
import { guardFactory } from '../../src/mcp/server-factory.ts'
import { accessTokenOf } from '../../src/mcp/token-of.ts'
import { accessToken } from '../../src/testing.ts'

const metadata = 'https://notes.example.com/.well-known/oauth-protected-resource/mcp'
const token = accessToken({ subject: 'alice', scopes: ['notes:read'], resource: 'https://notes.example.com/mcp' })
const authInfo = createAuthInfo(token, metadata)
const source: TokenSource = { vouches: (each): each is AccessToken => each === token }

test('design 2, the SDKs’ AuthInfo is fresh for each request, and the token in it is the handler’s own', () => {
  expect(authInfo).toMatchObject({
    token: token.token,
    clientId: 'test-client',
    scopes: ['notes:read'],
    expiresAt: token.expiresAt,
    resourceMetadataUrl: metadata,
  })
  expect(authInfo.resource.href).toBe('https://notes.example.com/mcp')
  expect(authInfo.extra.countersign).toBe(token)
  authInfo.scopes.push('admin')
  expect(createAuthInfo(token, metadata).scopes).toEqual(['notes:read'])
})

test.each([
  ['v1’s extra', { authInfo, signal: undefined }],
  ['v2’s ctx', { http: { authInfo } }],
  ['a factory’s context', { era: 'modern', authInfo }],
  ['a request with auth', { method: 'POST', auth: authInfo }],
  ['an AuthInfo itself', authInfo],
])('design 2, one helper reads the token from %s', (_, carrier) => {
  expect(accessTokenOf(carrier)).toBe(token)
  expect(accessTokenOf(carrier, source)).toBe(token)
})

test.each([
  undefined,
  null,
  'x',
  {},
  { authInfo: undefined },
  { authInfo: { clientId: 'x', extra: {} } },
  { http: { authInfo: { extra: { countersign: { kind: 'user', subject: 'mallory', token: 'x' } } } } },
  { auth: { extra: { countersign: 'alice' } } },
])('there is no token in %o', (carrier) => {
  expect(accessTokenOf(carrier)).toBeUndefined()
})

test('a source answers only for its own', () => {
  const other = createAuthInfo(accessToken({ subject: 'alice' }), metadata)
  expect(accessTokenOf({ authInfo: other }, source)).toBeUndefined()
})

test('fault 21, a server factory refuses where the gate is not in front', () => {
  let made = 0
  const factory = guardFactory(source, (_context?: unknown) => {
    made += 1
    return made
  })
  const stranger = accessToken({ subject: 'alice' })
  for (const context of [undefined, {}, { era: 'modern' }, { authInfo: createAuthInfo(stranger, metadata) }]) {
    expect(() => factory(context)).toThrow(NoAccessToken)
    expect(() => withAccessToken(stranger, () => factory(context))).toThrow(NoAccessToken)
  }
  expect(made).toBe(0)
  expect(factory({ authInfo })).toBe(1)
  expect(withAccessToken(token, () => factory())).toBe(2)
})
