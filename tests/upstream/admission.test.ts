import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, expectTypeOf, test } from 'vitest'
import { z } from 'zod'
import type { JsonObject } from '../../src/identity/json.ts'
import { type Admit, allowEmailDomains, allowGroups, allowTenants } from '../../src/index.ts'
import { entra } from '../../src/upstream/entra.ts'
import { openid } from '../../src/upstream/openid.ts'
import { upstreamWorld, type WorldOptions } from '../support/upstream-world.ts'
import { startLyingProvider } from './lying-provider.ts'

let provider: Awaited<ReturnType<typeof startLyingProvider>>
beforeAll(async () => {
  provider = await startLyingProvider()
})
afterAll(() => provider.stop())
beforeEach(() => provider.tell({}))

const atProvider = (claims: object) => async (url: string) => {
  provider.tell({ claims: { ...claims } })
  return (await fetch(url, { redirect: 'manual' })).headers.get('location') ?? ''
}
const server = (admit: Admit<unknown> | readonly Admit<unknown>[] | undefined, shared: WorldOptions = {}) =>
  upstreamWorld(
    openid({ issuer: provider.issuer, clientId: 'me', clientSecret: 'secret', ...(admit ? { admit } : {}) }),
    shared,
  )

describe('a rule for people', () => {
  test('adds claims and sets roles, for the handler and, where they are named, for readers outside', async () => {
    const admit: Admit<unknown> = ({ email, iss, sub }) => ({
      claims: { team: `team of ${email}`, iss: 'https://evil.example.com', sub: 'somebody' },
      roles: [`${iss}` === provider.issuer && sub === 'sub-1' ? 'editor' : 'nobody'],
    })
    const world = upstreamWorld(openid({ issuer: provider.issuer, clientId: 'me', clientSecret: 'secret', admit }), {
      tokenClaims: ['team', 'roles'],
    })
    const connected = await world.connect(atProvider({ roles: ['given'] }))
    const claims = { team: 'team of one@example.com', roles: ['editor'], iss: provider.issuer, sub: 'sub-1' }
    expect(await world.whoami(connected.accessToken)).toMatchObject({
      upstream: { subject: 'sub-1', claims: { ...claims, email: 'one@example.com' } },
      claims: { upstream_claims: claims },
    })
  })

  test('refuses with a reason that the person reads, and no account is made', async () => {
    const world = server(({ email }) => ({ refuse: `Ask Bob for <access>, ${email}` }))
    const { visit } = await world.arrive(atProvider({}))
    expect(visit.left).toBeUndefined()
    expect(visit.status).toBe(403)
    expect(visit.text).toContain('Ask Bob for <access>, one@example.com')
    expect(visit.html).not.toContain('<access>')
    expect(world.types()).toContain('sign_in.refused')
    expect(world.types()).not.toContain('sign_in.succeeded')
    expect(world.events.some((event) => 'account' in event)).toBe(false)
  })

  test('bounds scopes: on the grant, in the token, in the answer, after a refresh, and for who had more before', async () => {
    const before = server(undefined)
    const wide = await before.connect(atProvider({}), { scope: 'read write' })
    expect(await before.whoami(wide.accessToken)).toMatchObject({ scopes: ['read', 'write'] })

    const world = server(() => ({ scopes: ['read', 'nothing of the kind'] }), before)
    const connected = await world.connect(atProvider({}), { scope: 'read write' })
    expect(await world.whoami(connected.accessToken)).toMatchObject({ scopes: ['read'], claims: { scope: 'read' } })
    const refreshed = await world.refresh(connected)
    expect(refreshed.body.scope).toBe('read')
    expect(world.events.filter(({ type }) => type === 'code.issued').at(-1)).toMatchObject({
      resources: { 'http://localhost:8787/mcp': ['read'] },
    })
    expect(await world.whoami(wide.accessToken)).toMatchObject({ scopes: ['read'] })
    expect((await world.refresh(wide)).body.scope).toBe('read')
  })

  test('who is no longer let in is out at the next look, and is back when the rule is: nothing was lost', async () => {
    const open = server(undefined)
    const connected = await open.connect(atProvider({}))
    const closed = server(allowEmailDomains(['other.example']), open)
    const answer = await closed.call(connected.accessToken)
    expect([answer.status, answer.headers.get('www-authenticate')?.includes('invalid_token')]).toEqual([401, true])
    expect((await closed.refresh(connected)).body.error).toBe('invalid_grant')
    const again = server(undefined, open)
    expect((await again.call(connected.accessToken)).status).toBe(200)
    expect((await again.refresh(connected)).status).toBe(200)
  })

  test('several see what those before added; the first refusal counts; scopes are those that all leave', async () => {
    const seen: JsonObject[] = []
    const admit: readonly Admit<unknown>[] = [
      () => ({ claims: { team: 'a' }, scopes: ['read', 'write'] }),
      (claims) => {
        seen.push(claims)
        return { scopes: ['read'] }
      },
      async () => undefined,
    ]
    const connected = await server(admit).connect(atProvider({}), { scope: 'read write' })
    expect(connected.accessToken).toBeTruthy()
    expect(seen[0]).toMatchObject({ team: 'a', email: 'one@example.com' })
    const refused = await server([() => ({ refuse: 'the first' }), () => ({ refuse: 'the second' })]).arrive(
      atProvider({}),
    )
    expect(refused.visit.text).toContain('the first')
  })

  test('one that throws is our trouble: nobody gets in, and nobody is signed out', async () => {
    const open = server(undefined)
    const connected = await open.connect(atProvider({}))
    const broken = server(() => {
      throw new Error('the directory is away')
    }, open)
    const { visit } = await broken.arrive(atProvider({}))
    expect([visit.left, visit.status]).toEqual([undefined, 503])
    expect(visit.text).not.toContain('directory')
    const answer = await broken.call(connected.accessToken)
    expect([answer.status, answer.headers.get('www-authenticate')]).toEqual([503, null])
    const refreshed = await broken.refresh(connected)
    expect([refreshed.status, refreshed.body.error]).toEqual([503, 'temporarily_unavailable'])
    expect((await open.refresh(connected)).status).toBe(200)
  })

  test('it is typed by the schema', () => {
    openid({
      issuer: 'https://id.example.com',
      clientId: 'me',
      claims: z.object({ department: z.string() }),
      admit: (claims) => {
        expectTypeOf(claims.department).toEqualTypeOf<string>()
        return claims.department === 'sales' ? undefined : { refuse: 'only sales' }
      },
    })
    entra({
      clientId: 'me',
      clientSecret: 's',
      tenants: 'organizations',
      claims: z.object({ level: z.number() }),
      admit: [({ level }) => (level > 2 ? undefined : { refuse: 'too low' }), allowGroups(['staff'])],
    })
  })
})

describe('the missing claim is named on the page', () => {
  test('by its path, and by nothing that the provider said', async () => {
    const claims = z.object({ email: z.email(), department: z.string(), address: z.object({ country: z.string() }) })
    const world = upstreamWorld(
      openid({ issuer: provider.issuer, clientId: 'me', clientSecret: 'secret', claims }) as never,
    )
    const { visit } = await world.arrive(atProvider({ address: { country: 7 } }))
    expect(visit.status).toBe(403)
    expect(visit.text).toContain('department')
    expect(visit.text).toContain('address.country')
  })
})

describe('ready-made lists', () => {
  const refused = async (admit: Admit<unknown>, claims: JsonObject) => (await admit(claims))?.refuse !== undefined
  const ours = allowEmailDomains(['Example.com'])

  test('an e-mail domain: verified, whole, and the only one of the address', async () => {
    expect(await refused(ours, { email: 'one@example.com', email_verified: true })).toBe(false)
    expect(await refused(ours, { email: 'one@EXAMPLE.com', email_verified: true })).toBe(false)
    const attacks: JsonObject[] = [
      { email: 'one@example.com' },
      { email: 'one@example.com', email_verified: false },
      { email: 'one@example.com', email_verified: 'true' },
      { email: 'one@evil-example.com', email_verified: true },
      { email: 'one@sub.example.com', email_verified: true },
      { email: 'one@example.com.evil.com', email_verified: true },
      { email: 'one@evil.com@example.com', email_verified: true },
      { email: '"one@evil.com"@example.com', email_verified: true },
      { email: '@example.com', email_verified: true },
      { email: 'example.com', email_verified: true },
      { email: 'one@example.com ', email_verified: true },
      { email: 'one@example.com\n', email_verified: true },
      { email: 'one@exаmple.com', email_verified: true },
      { email: ['one@example.com'], email_verified: true },
      { email_verified: true },
      {},
    ]
    for (const claims of attacks) expect([claims, await refused(ours, claims)]).toEqual([claims, true])
  })

  test('for any address: who is let in has one @ and exactly that domain', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.emailAddress(),
          fc.string(),
          fc.string().map((text) => `${text}@example.com`),
        ),
        async (email) => {
          const admitted = !(await refused(ours, { email, email_verified: true }))
          expect(admitted).toBe(/^[^@]+@example\.com$/is.test(email))
        },
      ),
    )
  })

  test('groups: one of them, in a list or as a text; never by what every object has', async () => {
    const staff = allowGroups(['staff', 'guests'])
    expect(await refused(staff, { groups: ['people', 'guests'] })).toBe(false)
    expect(await refused(staff, { groups: 'staff' })).toBe(false)
    for (const groups of [[], ['Staff'], 'staffing', { staff: true }, null, [['staff']]]) {
      expect(await refused(staff, { groups })).toBe(true)
    }
    expect(await refused(staff, {})).toBe(true)
    // Entra leaves them out for who is in very many.
    expect(await refused(staff, { _claim_names: { groups: 'src1' } })).toBe(true)
    expect(await refused(allowGroups(['function Object() { [native code] }'], { claim: 'constructor' }), {})).toBe(true)
  })

  test('tenants, by whatever claim names them', async () => {
    expect(await refused(allowTenants(['t-1']), { tid: 't-1' })).toBe(false)
    expect(await refused(allowTenants(['t-1']), { tid: 't-2' })).toBe(true)
    expect(await refused(allowTenants(['example.com'], { claim: 'hd' }), { hd: 'example.com' })).toBe(false)
    expect(await refused(allowTenants(['example.com'], { claim: 'hd' }), {})).toBe(true)
  })

  test('what lets everybody or nobody in is refused at start', () => {
    expect(() => allowGroups([])).toThrow(TypeError)
    for (const domain of ['', '@example.com', 'com', '*.example.com', 'a b.com', 'exаmple.com']) {
      expect(() => allowEmailDomains([domain]), domain).toThrow(TypeError)
    }
  })
})
