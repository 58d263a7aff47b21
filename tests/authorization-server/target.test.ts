import { describe, expect, test } from 'vitest'
import { narrowedScopes, permittedResources, permittedScopes, targetOf } from '../../src/authorization-server/target.ts'
import type { OAuthError } from '../../src/oauth/errors.ts'
import { type AuthorizationGrant, grantRef } from '../../src/records/grant.ts'
import {
  approved,
  mcp,
  otherMcp,
  redeem,
  refresh,
  registered,
  signedIn,
  type TestServerOptions,
  testServer,
} from '../support/authorization-server.ts'

const both = { [mcp]: ['notes:read', 'notes:write'], [otherMcp]: ['other:read'] }

/** A grant for two resources. */
const granted = async (options: TestServerOptions = {}) => {
  const to = await testServer(options)
  const client = await registered(to)
  const { grant: id } = await approved(to, client, { resources: both })
  const [stored] = (await to.server.records.get(grantRef(id))).values
  const grant = stored?.value as AuthorizationGrant
  return { to, client, grant }
}

const refusal = (attempt: () => unknown): [string, string] => {
  try {
    attempt()
  } catch (error) {
    const { code, reason } = error as OAuthError
    return [code, reason]
  }
  throw new Error('it was not refused')
}

describe('fault 7: an access token is for one resource of its grant', () => {
  test('the one that was named, in whatever spelling; or the first', async () => {
    const { to, grant } = await granted()
    const target = (...resource: string[]) => targetOf(to.server, grant, { resource })
    expect(target()).toEqual({ resource: mcp, scopes: both[mcp] })
    expect(targetOf(to.server, grant, {})).toEqual({ resource: mcp, scopes: both[mcp] })
    expect(target(otherMcp)).toEqual({ resource: otherMcp, scopes: both[otherMcp] })
    expect(target(`${otherMcp}/`, otherMcp)).toEqual({ resource: otherMcp, scopes: both[otherMcp] })
  })

  test.each([
    ['a foreign one', ['https://evil.example/mcp']],
    ['two', [mcp, otherMcp]],
    ['one and a foreign one', [mcp, 'https://evil.example/mcp']],
    ['a foreign one and one', ['https://evil.example/mcp', mcp]],
    ['one that it has no grant for', ['https://auth.example.com/third']],
  ])('%s: invalid_target', async (_name, resource) => {
    const { to, grant } = await granted({ mcp: {} })
    expect(refusal(() => targetOf(to.server, grant, { resource }))[0]).toBe('invalid_target')
  })

  test('a grant for none has none to give', async () => {
    const { to, grant } = await granted()
    expect(refusal(() => targetOf(to.server, { ...grant, resources: {} }, {}))[0]).toBe('invalid_target')
  })

  test('one that is not served any more is the end of the grant, which the operator can read', async () => {
    const { to, client, grant } = await granted()
    const served = to.server.resources.filter(({ identifier }) => identifier !== mcp)
    const server = { ...to.server, resources: served }
    expect(refusal(() => targetOf(server, grant, { resource: [mcp] }))).toEqual(['invalid_grant', 'resource_gone'])
    expect(targetOf(server, grant, { resource: [otherMcp] }).resource).toBe(otherMcp)
    const tokens = await signedIn(to, client)
    const { status, body } = await refresh({ ...to, server }, client, tokens.refresh_token)
    expect([status, body.error]).toEqual([400, 'invalid_grant'])
    expect(to.events.at(-1)).toMatchObject({ type: 'refresh.refused', reason: 'resource_gone' })
    // Nothing was lost, should it be served again.
    expect((await refresh(to, client, tokens.refresh_token)).status).toBe(200)
  })
})

describe('design 3, scopes: less than what was granted, never more', () => {
  const scopes = ['a', 'b', 'c']

  test.each<[string | undefined, readonly string[]]>([
    [undefined, scopes],
    ['a b c', scopes],
    ['b', ['b']],
    ['c a', ['c', 'a']],
    ['offline_access b', ['b']],
    ['offline_access', scopes],
    ['', scopes],
  ])('of a, b and c: %j', (requested, expected) => {
    expect(narrowedScopes(scopes, requested, undefined)).toEqual(expected)
  })

  test.each(['d', 'a d', 'a"b', 'a\\', 'A'])('of a, b and c: %j is invalid_scope', (requested) => {
    expect(refusal(() => narrowedScopes(scopes, requested, undefined))[0]).toBe('invalid_scope')
  })

  test('with a scope comes what it implies, of what was granted', () => {
    const implies = { b: ['a'], c: ['d'] }
    expect(narrowedScopes(scopes, 'b', implies)).toEqual(['b', 'a'])
    expect(narrowedScopes(['b', 'c'], 'b c', implies)).toEqual(['b', 'c'])
  })

  test('at the token endpoint, with the hierarchy of the resource', async () => {
    const { to, grant } = await granted({ mcp: { implies: { 'notes:write': ['notes:read'] } } })
    const scopesOf = (scope: string) => targetOf(to.server, grant, { scope }).scopes
    expect(scopesOf('notes:write')).toEqual(['notes:write', 'notes:read'])
    expect(scopesOf('notes:read')).toEqual(['notes:read'])
    expect(refusal(() => scopesOf('other:read'))[0]).toBe('invalid_scope')
  })
})

describe('a server’s rule for people bounds what they can give', () => {
  const implies = { 'notes:write': ['notes:read'] }

  test('to what it names, and what that implies; without a rule, to nothing', async () => {
    const { server } = await testServer({ mcp: { implies } })
    const target = { resource: mcp, scopes: both[mcp] ?? [] }
    const left = (...permitted: string[]) => permittedScopes(server, target, permitted)
    expect(permittedScopes(server, target, undefined)).toEqual(target.scopes)
    expect(left('notes:write')).toEqual(target.scopes)
    expect(left('notes:read')).toEqual(['notes:read'])
    expect(left()).toEqual([])
    // It names what people may have, and gives nobody more than was asked for.
    expect(permittedScopes(server, { resource: mcp, scopes: ['notes:read'] }, ['notes:write'])).toEqual(['notes:read'])
    // Of a resource that is not served nothing is implied.
    const gone = { resource: 'https://gone.example', scopes: both[mcp] ?? [] }
    expect(permittedScopes(server, gone, ['notes:write'])).toEqual(['notes:write'])
  })

  const permitted = async (options: TestServerOptions, session?: string) => {
    const { to, grant } = await granted(options)
    return permittedResources(to.server, session ?? grant.upstreamSession, both)
  }

  test('of every resource of a grant', async () => {
    const admit = async () => ({ scopes: ['notes:read'] })
    expect(await permitted({ admit })).toEqual({ [mcp]: ['notes:read'], [otherMcp]: [] })
    expect(await permitted({ admit: async () => ({}) })).toEqual(both)
    expect(await permitted({})).toEqual(both)
    // Who is gone is refused where their token is made.
    expect(await permitted({ admit }, 'no-session')).toEqual(both)
  })

  test('the grant has no more, and neither have its tokens', async () => {
    const to = await testServer({ admit: async () => ({ scopes: ['notes:read'] }) })
    const client = await registered(to)
    const code = await approved(to, client, { scopes: ['notes:read', 'notes:write'] })
    const [stored] = (await to.server.records.get(grantRef(code.grant))).values
    expect(stored?.value.resources).toEqual({ [mcp]: ['notes:read'] })
    expect((await redeem(to, client, code)).body.scope).toBe('notes:read')
  })

  test('also where only one of several providers has a rule', async () => {
    const { to, grant } = await granted({ admit: async () => ({ scopes: ['notes:read'] }) })
    const [ruled] = to.server.providers
    const { admit: _admit, ...without } = ruled ?? expect.fail('no provider')
    const server = { ...to.server, providers: [...to.server.providers, { ...without, id: 'another' }] }
    expect(await permittedResources(server, grant.upstreamSession, both)).toMatchObject({ [mcp]: ['notes:read'] })
  })

  test('without a rule no sign-in is looked up for it', async () => {
    const { to } = await granted()
    const custody = { ...to.server.custody, identity: () => expect.fail('it was looked up') }
    expect(await permittedResources({ ...to.server, custody }, 'session', both)).toBe(both)
  })
})
