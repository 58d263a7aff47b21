import fc from 'fast-check'
import { expect, test } from 'vitest'
import { resolveResources } from '../../src/oauth/resource.ts'
import { formatScope, grantableScopes, isScopeToken, offlineAccess, parseScope } from '../../src/oauth/scope.ts'
import { withImplied } from '../../src/oauth/scope-hierarchy.ts'

const [notes] = resolveResources('https://notes.example.com', {
  '/mcp': { scopes: { 'notes:read': 'Read', 'notes:write': 'Write', admin: 'All' }, defaultScopes: ['notes:read'] },
})
if (!notes) throw new Error('no resource')

test('scope tokens, each once, in the order sent', () => {
  expect(parseScope('b a b')).toEqual(['b', 'a'])
  expect(parseScope('')).toEqual([])
  expect(parseScope('  a  b ')).toEqual(['a', 'b'])
  expect(parseScope('notes:read https://x/y#z !')).toEqual(['notes:read', 'https://x/y#z', '!'])
})

test('what is no scope by RFC 6749 §3.3 has no reading', () => {
  for (const text of ['a"b', 'a\\b', 'a\tb', 'a\nb', 'é', 'a\u00a0b', 'a b\u0000'])
    expect(parseScope(text)).toBeUndefined()
})

test('parsing and formatting are inverse for any scopes', () => {
  const token = fc.string({ minLength: 1, maxLength: 20 }).filter(isScopeToken)
  fc.assert(
    fc.property(fc.uniqueArray(token), (scopes) => {
      expect(parseScope(formatScope(scopes))).toEqual(scopes)
    }),
  )
})

test('design 3, scopes: unknown ones are dropped; if none is left, the default set', () => {
  expect(grantableScopes(['notes:write', 'claudeai', 'openid'], notes)).toEqual(['notes:write'])
  expect(grantableScopes(['openid', 'email', 'profile'], notes)).toEqual(['notes:read'])
  expect(grantableScopes([], notes)).toEqual(['notes:read'])
  expect(grantableScopes(undefined, notes)).toEqual(['notes:read'])
  expect(grantableScopes(['toString', '__proto__', 'constructor'], notes)).toEqual(['notes:read'])
})

test('offline_access is accepted and is no scope of the resource', () => {
  expect(grantableScopes(['offline_access', 'notes:write'], notes)).toEqual(['notes:write'])
  expect(grantableScopes(['offline_access'], notes)).toEqual(['notes:read'])
})

test('whatever is asked for, what is granted is of the resource, each once, and never nothing where there is a default', () => {
  const scope = fc.oneof(
    fc.constantFrom('notes:read', 'notes:write', 'admin', 'offline_access', 'mcp:tools'),
    fc.string(),
  )
  fc.assert(
    fc.property(fc.array(scope), (requested) => {
      const granted = grantableScopes(requested, notes)
      expect(granted.length).toBeGreaterThan(0)
      expect(new Set(granted).size).toBe(granted.length)
      for (const each of granted) expect(Object.keys(notes.scopes)).toContain(each)
      for (const each of granted) expect([...requested, 'notes:read']).toContain(each)
    }),
  )
})

test('a scope implies others in any number of steps, round in circles too, each once', () => {
  const implies = { admin: ['write'], write: ['read', 'list'], read: ['admin'] }
  expect(withImplied(['admin'], implies)).toEqual(['admin', 'write', 'read', 'list'])
  expect(withImplied(['list'], implies)).toEqual(['list'])
  expect(withImplied(['toString'], implies)).toEqual(['toString'])
  expect(withImplied(['a', 'b'], undefined)).toEqual(['a', 'b'])
  expect(offlineAccess).toBe('offline_access')
})

test('what is asked for is granted with what it implies', () => {
  const [resource] = resolveResources('https://notes.example.com', {
    '/mcp': { scopes: { read: 'Read', write: 'Write' }, defaultScopes: ['read'], implies: { write: ['read'] } },
  })
  if (!resource) throw new Error('no resource')
  expect(grantableScopes(['write'], resource)).toEqual(['write', 'read'])
  expect(grantableScopes(['x'], resource)).toEqual(['read'])
})

test('a scope token is one from its first to its last character', () => {
  for (const text of ['', ' a', 'a ', 'a b', '"a', 'a\\', 'ä', 'a\n']) expect(isScopeToken(text)).toBe(false)
  for (const text of ['a', '!', '~', '#[]']) expect(isScopeToken(text)).toBe(true)
})
