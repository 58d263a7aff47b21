import { decodeJwt } from 'jose'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { leaveOutLargest } from '../../src/authorization-server/fitting-claims.ts'
import { openid } from '../../src/upstream/openid.ts'
import { upstreamWorld } from '../support/upstream-world.ts'
import { startLyingProvider } from '../upstream/lying-provider.ts'

let provider: Awaited<ReturnType<typeof startLyingProvider>>
beforeAll(async () => {
  provider = await startLyingProvider()
})
afterAll(() => provider.stop())

const secret = 'a secret of a resource server, long enough'
const groupsOf = (count: number) =>
  Array.from({ length: count }, (_, index) => `7b1f2a3c-0000-4000-8000-${String(index).padStart(12, '0')}`)

describe('a person who is in many groups, where access tokens carry them', () => {
  const setUp = async (count: number) => {
    const groups = groupsOf(count)
    provider.tell({ claims: { groups, department: 'Sales' } })
    const world = upstreamWorld(openid({ issuer: provider.issuer, clientId: 'me', clientSecret: 'a secret' }), {
      tokenClaims: ['email', 'groups', 'department'],
      clients: [{ id: 'notes', secret, introspects: ['/mcp'] }],
    })
    const connected = await world.connect(async (url) => {
      return (await fetch(url, { redirect: 'manual' })).headers.get('location') ?? ''
    })
    const introspect = (token: string) =>
      world.post('/introspect', new URLSearchParams({ token, client_id: 'notes', client_secret: secret }))
    return { world, groups, connected, introspect }
  }

  test('origin 1 and 2, fault 16: a long token says all, and can be used, asked about and revoked', async () => {
    const { world, groups, connected, introspect } = await setUp(100)
    const { accessToken: token } = connected
    expect(token.length).toBeGreaterThan(4_096)
    expect(decodeJwt(token)).toMatchObject({ upstream_claims: { groups, department: 'Sales' } })
    expect(decodeJwt(token)).not.toHaveProperty('upstream_claims_omitted')
    expect(await world.whoami(token)).toMatchObject({ upstream: { claims: { groups } } })
    expect(await introspect(token)).toMatchObject({ active: true, upstream_claims: { groups } })
    const form = new URLSearchParams({ token, ...connected.client })
    expect((await world.respond('/revoke', form)).status).toBe(200)
    expect(await introspect(token)).toEqual({ active: false })
    expect((await world.call(token)).status).toBe(401)
  })

  test('one that would be too long leaves out the largest claim and says which; handlers and introspection have all', async () => {
    const { world, groups, connected, introspect } = await setUp(2_000)
    const refreshed = await world.refresh(connected)
    for (const token of [connected.accessToken, String(refreshed.body.access_token)]) {
      expect(token.length).toBeLessThan(8_000)
      const { upstream_claims: signed, upstream_claims_omitted: omitted } = decodeJwt(token)
      expect(signed).toEqual({ iss: provider.issuer, sub: 'sub-1', email: 'one@example.com', department: 'Sales' })
      expect(omitted).toEqual(['groups'])
      expect(await world.whoami(token)).toMatchObject({ upstream: { claims: { groups, department: 'Sales' } } })
      const said = await introspect(token)
      expect(said).toMatchObject({ active: true, upstream_claims: { groups, department: 'Sales' } })
      expect(said).not.toHaveProperty('upstream_claims_omitted')
    }
  })
})

test('what is left out is the largest, whole, as much as is needed, and never who vouched for whom', () => {
  const claims = {
    iss: 'x'.repeat(500),
    sub: 'y'.repeat(500),
    small: 'a',
    large: ['b'.repeat(300)],
    larger: 'c'.repeat(400),
  }
  const { iss, sub, small, large } = claims
  expect(leaveOutLargest(claims, 400)).toEqual({ left: { iss, sub, small, large }, omitted: ['larger'] })
  expect(leaveOutLargest(claims, 700)).toEqual({ left: { iss, sub, small }, omitted: ['larger', 'large'] })
  expect(leaveOutLargest(claims, 10_000)).toEqual({ left: { iss, sub }, omitted: ['larger', 'large', 'small'] })
  // Exactly as much as is needed is enough.
  const { length } = JSON.stringify(['larger', claims.larger])
  expect(leaveOutLargest(claims, (length * 4) / 3).omitted).toEqual(['larger'])
  expect(leaveOutLargest(claims, (length * 4) / 3 + 1).omitted).toEqual(['larger', 'large'])
  expect(leaveOutLargest(claims, 0)).toEqual({ left: claims, omitted: [] })
  expect(leaveOutLargest({ iss, sub }, 10_000)).toEqual({ left: { iss, sub }, omitted: [] })
})
