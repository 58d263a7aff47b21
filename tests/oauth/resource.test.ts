import { expect, test } from 'vitest'
import { ConfigurationError } from '../../src/oauth/configuration-error.ts'
import { findResource, type ResourceOptions, resolveResources, sameResource } from '../../src/oauth/resource.ts'

const url = 'https://notes.example.com'

const failure = (options: Record<string, unknown>, base = url): ConfigurationError => {
  try {
    resolveResources(base, options as Record<string, ResourceOptions>)
  } catch (error) {
    if (error instanceof ConfigurationError) return error
    throw error
  }
  throw new Error('it was not refused')
}

test('a path stands on the origin of the server’s url; a URL stands for itself', () => {
  const options = { name: 'Notes', scopes: { 'notes:read': 'Read your notes', 'notes:write': 'Add notes' } }
  expect(resolveResources(url, { '/mcp': options })).toEqual([
    { identifier: 'https://notes.example.com/mcp', defaultScopes: ['notes:read', 'notes:write'], ...options },
  ])
  expect(resolveResources(`${url}/auth`, { '/mcp': {} })[0]?.identifier).toBe('https://notes.example.com/mcp')
  expect(resolveResources(url, { '/a/b/': {} })[0]?.identifier).toBe('https://notes.example.com/a/b/')
  expect(resolveResources(url, { 'https://other.example.com/mcp': {} })[0]?.identifier).toBe(
    'https://other.example.com/mcp',
  )
  expect(resolveResources('http://localhost:8787', { '/mcp': {} })[0]?.identifier).toBe('http://localhost:8787/mcp')
})

test('an origin is written without a slash', () => {
  expect(resolveResources(url, { '/': {} })[0]?.identifier).toBe('https://notes.example.com')
})

test('default scopes are those that were named, each once, or all', () => {
  const scopes = { a: 'A', b: 'B' }
  expect(resolveResources(url, { '/mcp': { scopes, defaultScopes: ['b', 'b'] } })[0]?.defaultScopes).toEqual(['b'])
  expect(resolveResources(url, { '/mcp': { scopes, defaultScopes: [] } })[0]?.defaultScopes).toEqual([])
  expect(resolveResources(url, { '/mcp': {} })[0]).toMatchObject({ scopes: {}, defaultScopes: [] })
})

test('a wrong value is refused with its path and what was expected', () => {
  const cases: [Record<string, unknown>, string, RegExp][] = [
    [{ mcp: {} }, 'resources["mcp"]', /absolute path like "\/mcp", or an https URL/],
    [{ '//evil.example.com/mcp': {} }, 'resources["//evil.example.com/mcp"]', /absolute path/],
    [{ '/a/../b': {} }, 'resources["/a/../b"]', /usual form/],
    [{ '/a b': {} }, 'resources["/a b"]', /usual form/],
    [{ '/mcp?x=1': {} }, 'resources["/mcp?x=1"]', /without query/],
    [{ 'https://x.example.com/mcp#': {} }, 'resources["https://x.example.com/mcp#"]', /fragment/],
    [{ 'http://x.example.com/mcp': {} }, 'resources["http://x.example.com/mcp"]', /https URL/],
    [{ 'ftp://localhost/mcp': {} }, 'resources["ftp://localhost/mcp"]', /https URL/],
    [{ 'https://u@x.example.com/mcp': {} }, 'resources["https://u@x.example.com/mcp"]', /https URL/],
    [{ 'https://X.example.com/mcp': {} }, 'resources["https://X.example.com/mcp"]', /usual form/],
    [{ '/mcp': null }, 'resources["/mcp"]', /an object/],
    [{ '/mcp': { scope: {} } }, 'resources["/mcp"].scope', /name, scopes, defaultScopes/],
    [{ '/mcp': { name: 7 } }, 'resources["/mcp"].name', /text/],
    [{ '/mcp': { scopes: ['a'] } }, 'resources["/mcp"].scopes', /an object/],
    [{ '/mcp': { scopes: { 'a b': 'x' } } }, 'resources["/mcp"].scopes["a b"]', /RFC 6749/],
    [{ '/mcp': { scopes: { a: ' ' } } }, 'resources["/mcp"].scopes["a"]', /in words/],
    [{ '/mcp': { scopes: { a: 7 } } }, 'resources["/mcp"].scopes["a"]', /in words/],
    [
      { '/mcp': { scopes: { offline_access: 'x' } } },
      'resources["/mcp"].scopes["offline_access"]',
      /no scope of a resource/,
    ],
    [{ '/mcp': { defaultScopes: ['a'] } }, 'resources["/mcp"].defaultScopes[0]', /one of resources\["\/mcp"\].scopes/],
    [{ '/mcp': { scopes: { a: 'A' }, defaultScopes: 'a' } }, 'resources["/mcp"].defaultScopes', /a list/],
    [{ '/mcp': {}, '/mcp/': {} }, 'resources["/mcp/"]', /only once/],
  ]
  for (const [options, path, expected] of cases) {
    const error = failure(options)
    expect([error.path, error.message]).toEqual([path, expect.stringMatching(expected)])
    expect(error.message).toContain(path)
  }
})

test('the same resource: but for one trailing slash and the case of scheme and host', () => {
  expect(sameResource('https://x.example.com', 'https://x.example.com/')).toBe(true)
  expect(sameResource('https://x.example.com/mcp/', 'https://x.example.com/mcp')).toBe(true)
  expect(sameResource('HTTPS://X.example.com/mcp', 'https://x.example.com/mcp')).toBe(true)
  expect(sameResource('https://x.example.com/mcp', 'https://x.example.com/MCP')).toBe(false)
  expect(sameResource('https://x.example.com/mcp//', 'https://x.example.com/mcp')).toBe(false)
  expect(sameResource('https://x.example.com/mcp', 'https://x.example.com/mcp?')).toBe(false)
  expect(sameResource('https://x.example.com:443/mcp', 'https://x.example.com/mcp')).toBe(false)
  expect(sameResource('api://7d0c', 'api://7d0c')).toBe(true)
  expect(sameResource('7d0c/', '7d0c')).toBe(false)
})

test('fault 7: a foreign resource is none of ours', () => {
  const resources = resolveResources(url, { '/mcp': {}, '/other': {} })
  expect(findResource(resources, 'https://notes.example.com/mcp/')?.identifier).toBe('https://notes.example.com/mcp')
  for (const foreign of [
    'https://notes.example.com',
    'https://notes.example.com/mcp/x',
    'https://notes.example.com.evil.example/mcp',
    'http://notes.example.com/mcp',
    '/mcp',
    '',
  ]) {
    expect(findResource(resources, foreign)).toBeUndefined()
  }
})

test('what a resource asks of tokens is kept as it was said', () => {
  const scopes = { read: 'Read', write: 'Write' }
  const implies = { write: ['read'] }
  const lifetimes = { accessToken: 60 }
  const options = { name: 'Notes', scopes, implies, lifetimes, dpopBoundAccessTokensRequired: true }
  const [resource] = resolveResources(url, { '/mcp': options })
  expect(resource).toStrictEqual({
    identifier: 'https://notes.example.com/mcp',
    name: 'Notes',
    scopes,
    defaultScopes: ['read', 'write'],
    implies,
    accessTokenLifetime: 60,
    dpopBoundAccessTokensRequired: true,
  })
  // What the host changes later changes nothing here.
  expect(resource?.implies).not.toBe(implies)
  expect(resolveResources(url, { '/mcp': { lifetimes: {}, dpopBoundAccessTokensRequired: false } })[0]).toStrictEqual({
    identifier: 'https://notes.example.com/mcp',
    name: undefined,
    scopes: {},
    defaultScopes: [],
  })
})

test.each<[string, unknown, string, RegExp]>([
  ['implies', 'write', '', /an object/],
  ['implies', ['write'], '', /an object/],
  ['implies', { write: 'read' }, '.implies["write"]', /a list of scopes/],
  ['implies', { write: ['delete'] }, '.implies["write"]', /not "delete"/],
  ['implies', { delete: ['read'] }, '.implies["delete"]', /not "delete"/],
  ['implies', { write: [7] }, '.implies["write"]', /not "7"/],
  ['implies', { write: ['toString'] }, '.implies["write"]', /not "toString"/],
  ['lifetimes', 60, '', /an object/],
  ['lifetimes', [60], '', /an object/],
  ['lifetimes', null, '', /an object/],
  ['dpopBoundAccessTokensRequired', 'true', '', /true or false/],
  ['dpopBoundAccessTokensRequired', 1, '', /true or false/],
  ['defaultScopes', {}, '', /a list/],
])('%s: %j is refused', (name, value, below, expected) => {
  const error = failure({ '/mcp': { scopes: { read: 'Read', write: 'Write' }, [name]: value } })
  const here = below === '' ? `.${name}` : below
  expect([error.path, error.message]).toEqual([`resources["/mcp"]${here}`, expect.stringMatching(expected)])
  expect(error.name).toBe('ConfigurationError')
})

test('a user name or a password has no place in a resource', () => {
  expect(failure({ 'https://:secret@x.example.com/mcp': {} }).message).toMatch(/https URL/)
})

test('only scheme and host are compared in any case', () => {
  expect(sameResource('https://X.EXAMPLE.com', 'https://x.example.com')).toBe(true)
  expect(sameResource('api://A', 'api://a')).toBe(true)
  expect(sameResource('x https://A.example/', 'x https://a.example/')).toBe(false)
  expect(sameResource('https://x.example/?u=https://A.example', 'https://x.example/?u=https://a.example')).toBe(false)
})

test('a scope is named by a text, also where a number would find it', () => {
  const scopes = { write: 'Write', 7: 'Seven' }
  expect(failure({ '/mcp': { scopes, implies: { write: [7] } } }).path).toBe('resources["/mcp"].implies["write"]')
  expect(resolveResources(url, { '/mcp': { scopes, implies: { write: ['7'] } } })).toHaveLength(1)
})
