import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { azureB2c } from '../../src/upstream/azure-b2c.ts'
import { oracle } from '../../src/upstream/oracle.ts'
import { ProviderUnavailable, type SignIn } from '../../src/upstream/provider.ts'
import { rejection } from './context.ts'
import { type Lie, startLyingProvider } from './lying-provider.ts'
import { standIn } from './stand-in.ts'

// Providers that don't name their issuer as discovery would have it. Stand-ins built from each provider's documentation.
let provider: Awaited<ReturnType<typeof startLyingProvider>>
beforeAll(async () => {
  provider = await startLyingProvider()
})
afterAll(() => provider.stop())
beforeEach(() => provider.tell({}))

const at = standIn(() => provider)
const mine = { clientId: 'me', clientSecret: 'a secret' }

const renewable = ({ issuer, subject, tokens }: SignIn) => {
  if (!tokens) throw new Error('no tokens')
  return { issuer, subject, tokens }
}

describe('Oracle', () => {
  const tenant = 'idcs-0123456789abcdef0123456789abcdef'
  const base = `https://${tenant}.identity.oraclecloud.com`
  const shared = 'https://identity.oraclecloud.com/'
  const place = { base, issuer: shared }
  const preset = (domain = `${tenant}.identity.oraclecloud.com`) => oracle({ ...mine, domain })
  const person = (more: object = {}): Lie => ({
    claims: {
      ...{ aud: [shared, 'me'], azp: 'me', sub: 'anna@example.com', sub_mappingattr: 'userName', tok_type: 'IT' },
      ...{ user_id: 'c7dfb14d6530414e97dd2064fe23c695', user_displayname: 'Anna', user_tenantname: tenant, tenant },
      auth_time: 1_700_000_000,
      ...more,
    },
    userinfo: { sub: 'anna@example.com', name: 'Anna', email: 'anna@example.com', email_verified: true },
  })

  test('people are known by the domain and an id that stays, not by the issuer of all of Oracle’s customers and a login name', async () => {
    const { signIn, claims, asked } = await at(preset(), place, person())
    const signedIn = await signIn()
    expect(signedIn).toMatchObject({ issuer: base, subject: 'c7dfb14d6530414e97dd2064fe23c695' })
    expect(signedIn).toMatchObject({ authTime: 1_700_000_000 })
    expect(await claims()).toMatchObject({
      ...{ iss: base, sub: 'c7dfb14d6530414e97dd2064fe23c695', user_displayname: 'Anna', tenant },
      ...{ name: 'Anna', email: 'anna@example.com', email_verified: true },
    })
    // What was said is kept as it was said.
    const said = signedIn.said.find(({ source }) => source === 'id_token')
    expect(said?.claims).toMatchObject({ iss: shared, sub: 'anna@example.com' })
    expect(asked[0]?.searchParams.get('scope')).toBe('openid profile email offline_access')
    expect(provider.tokenRequest.authorization).toMatch(/^Basic /)
  })

  test.each([
    ['with a slash', shared],
    ['without', 'https://identity.oraclecloud.com'],
    ['its own', base],
    ['its own, with its port', `${base}:443`],
  ])('a domain that names its issuer %s: the same person', async (_how, issuer) => {
    const { signIn } = await at(preset(), { base, issuer }, person({ iss: issuer }))
    expect(await signIn()).toMatchObject({ issuer: base, subject: 'c7dfb14d6530414e97dd2064fe23c695' })
  })

  test('a login name that was changed, or given to somebody else, changes nobody', async () => {
    const renamed = await at(preset(), place, {
      ...person({ sub: 'anna.new@example.com' }),
      userinfo: { sub: 'anna.new@example.com' },
    })
    expect(await renamed.signIn()).toMatchObject({ subject: 'c7dfb14d6530414e97dd2064fe23c695' })
    const reused = await at(preset(), place, person({ user_id: '00000000000000000000000000000002' }))
    expect(await reused.signIn()).toMatchObject({ subject: '00000000000000000000000000000002' })
  })

  test('after a refresh it is the same person, or nobody', async () => {
    const { open, signIn } = await at(preset(), place, person())
    const current = renewable(await signIn())
    const renewed = await open.refresh?.(current)
    expect(renewed?.said.map(({ source }) => source)).toEqual(['id_token', 'userinfo'])
    const other = await at(preset(), place, person({ user_id: 'another' }))
    expect(await rejection(other.open.refresh?.(current) ?? Promise.resolve())).toBeInstanceOf(ProviderUnavailable)
  })

  test('attack: id_tokens of another domain, of another issuer, for another client, or without an id', async () => {
    const lies: Record<string, [object, string]> = {
      'another domain': [{ tenant: 'idcs-ffffffffffffffffffffffffffffffff' }, 'denied'],
      'no domain': [{ tenant: undefined, user_tenantname: undefined }, 'denied'],
      'another issuer': [{ iss: 'https://evil.example.com' }, 'untrusted'],
      'the domain, where the metadata name all': [{ iss: base }, 'untrusted'],
      'another client': [{ aud: [shared, 'somebody'], azp: 'somebody' }, 'untrusted'],
      'two clients': [{ aud: ['somebody', 'me'], azp: 'somebody' }, 'untrusted'],
      'no user_id': [{ user_id: undefined }, 'untrusted'],
    }
    for (const [what, [lie, reason]] of Object.entries(lies)) {
      const { signIn } = await at(preset(), place, person(lie))
      expect(await rejection(signIn()), what).toMatchObject({ reason })
    }
  })

  test('attack: metadata that name any other issuer are not believed', async () => {
    for (const issuer of [
      'https://evil.example.com/',
      'https://idcs-ffffffffffffffffffffffffffffffff.identity.oraclecloud.com',
      'https://identity.oraclecloud.com.evil.example.com/',
      `${shared}/`,
    ]) {
      const { signIn } = await at(preset(), { base, issuer }, person({ iss: issuer }))
      expect(await rejection(signIn()), issuer).toBeInstanceOf(ProviderUnavailable)
    }
  })

  test('a domain that is none is refused at start', () => {
    for (const domain of ['', 'example.com', `${base}`, 'identity.oraclecloud.com', `${tenant}.example.com`]) {
      expect(() => preset(domain), domain).toThrow('oracle: domain')
    }
    expect(() => preset(`${tenant}.us-ashburn-idcs-1.identity.oraclecloud.com`)).not.toThrow()
  })
})

describe('Azure AD B2C', () => {
  const tenantId = '7b1f2a3c-0000-4000-8000-00000000000a'
  const domain = 'contoso.b2clogin.com'
  const policy = 'B2C_1_Sign_In'
  const base = `https://${domain}/${tenantId}/${policy}/v2.0`
  const issuer = `https://${domain}/${tenantId}/v2.0/`
  const preset = azureB2c({ ...mine, domain, tenantId: tenantId.toUpperCase(), policy })
  const person = (more: object = {}): Lie => ({
    claims: {
      ...{
        sub: 'object-1',
        tfp: policy,
        emails: ['anna@example.com', 'a@example.com'],
        name: 'Anna',
        idp: 'google.com',
      },
      ...{ auth_time: 1_700_000_000, ver: '1.0', email: undefined },
      ...more,
    },
  })

  test('people are known by the tenant and their object in it, in whichever policy; claims are those of the policy', async () => {
    const { signIn, claims, asked } = await at(preset, { base, issuer }, person())
    expect(await signIn()).toMatchObject({ issuer, subject: 'object-1', authTime: 1_700_000_000 })
    expect(await claims()).toMatchObject({
      ...{ iss: issuer, sub: 'object-1', name: 'Anna', idp: 'google.com', email: 'anna@example.com' },
      emails: ['anna@example.com', 'a@example.com'],
    })
    // It is nobody's word that they can be reached there.
    expect(await claims()).not.toHaveProperty('email_verified')
    expect(asked[0]?.searchParams.get('scope')).toBe('openid offline_access me')
    expect(asked[0]?.searchParams.has('resource')).toBe(false)
    expect(provider.tokenRequest.form.get('client_secret')).toBe('a secret')
  })

  test('a policy that has itself in the issuer, and one that names itself as old ones do: the same person', async () => {
    const compatible = `https://${domain}/tfp/${tenantId}/${policy.toLowerCase()}/v2.0/`
    const { signIn } = await at(preset, { base, issuer: compatible }, person({ iss: compatible }))
    expect(await signIn()).toMatchObject({ issuer, subject: 'object-1' })
    const old = await at(preset, { base, issuer }, person({ tfp: undefined, acr: policy.toLowerCase() }))
    expect(await old.signIn()).toMatchObject({ issuer, subject: 'object-1' })
  })

  test('a domain of your own', async () => {
    const own = azureB2c({ ...mine, domain: 'login.example.com', tenantId, policy })
    const place = {
      base: `https://login.example.com/${tenantId}/${policy}/v2.0`,
      issuer: `https://login.example.com/${tenantId}/v2.0/`,
    }
    const { signIn } = await at(own, place, person())
    expect(await signIn()).toMatchObject({ issuer: place.issuer, subject: 'object-1' })
  })

  test('after a refresh it is the same person, or nobody', async () => {
    const { open, signIn } = await at(preset, { base, issuer }, person())
    const current = renewable(await signIn())
    expect((await open.refresh?.(current))?.said.map(({ source }) => source)).toEqual(['id_token'])
    const other = await at(preset, { base, issuer }, person({ sub: 'object-2' }))
    expect(await rejection(other.open.refresh?.(current) ?? Promise.resolve())).toBeInstanceOf(ProviderUnavailable)
  })

  test('attack: id_tokens of another policy of the tenant, which asks less, of none, or of another tenant', async () => {
    for (const lie of [
      { tfp: 'B2C_1_sign_in_without_mfa' },
      { tfp: undefined },
      { tfp: undefined, acr: 'b2c_1_other' },
    ]) {
      const { signIn } = await at(preset, { base, issuer }, person(lie))
      expect(await rejection(signIn())).toMatchObject({ reason: 'denied' })
    }
    const other = issuer.replace(tenantId, '7b1f2a3c-0000-4000-8000-00000000000b')
    const foreign = await at(preset, { base, issuer }, person({ iss: other }))
    expect(await rejection(foreign.signIn())).toMatchObject({ reason: 'untrusted' })
    const named = await at(preset, { base, issuer: other }, person({ iss: other }))
    expect(await rejection(named.signIn())).toBeInstanceOf(ProviderUnavailable)
  })

  test('options that can’t be right are refused at start', () => {
    const options = { ...mine, domain, tenantId, policy }
    expect(() => azureB2c({ ...options, tenantId: 'contoso.onmicrosoft.com' })).toThrow('tenantId')
    expect(() => azureB2c({ ...options, domain: 'https://contoso.b2clogin.com' })).toThrow('domain')
    expect(() => azureB2c({ ...options, policy: 'a/../b' })).toThrow('policy')
    expect(() => azureB2c({ domain, tenantId, policy, clientId: 'me' })).toThrow()
  })
})
