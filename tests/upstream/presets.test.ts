import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { auth0 } from '../../src/upstream/auth0.ts'
import { checkedClaims } from '../../src/upstream/claims.ts'
import { cognito } from '../../src/upstream/cognito.ts'
import { entra } from '../../src/upstream/entra.ts'
import { github } from '../../src/upstream/github.ts'
import { gitlab } from '../../src/upstream/gitlab.ts'
import { huggingface } from '../../src/upstream/huggingface.ts'
import { keycloak } from '../../src/upstream/keycloak.ts'
import { okta } from '../../src/upstream/okta.ts'
import { openid } from '../../src/upstream/openid.ts'
import { ProviderUnavailable } from '../../src/upstream/provider.ts'
import { rejection } from './context.ts'
import { startLyingProvider } from './lying-provider.ts'
import { standIn } from './stand-in.ts'

// Stand-ins built from each provider's documentation: what its id_tokens, access tokens and userinfo hold.
let provider: Awaited<ReturnType<typeof startLyingProvider>>
beforeAll(async () => {
  provider = await startLyingProvider()
})
afterAll(() => provider.stop())
beforeEach(() => provider.tell({}))

const mine = { clientId: 'me', clientSecret: 'a secret' }
const tenant = '7b1f2a3c-0000-4000-8000-00000000000a'
const otherTenant = '7b1f2a3c-0000-4000-8000-00000000000b'

const at = standIn(() => provider)

const authority = 'https://login.microsoftonline.com'

describe('Entra', () => {
  const many = { base: `${authority}/organizations/v2.0`, issuer: `${authority}/{tenantid}/v2.0` }
  const person = (tid: string, more: object = {}) => ({
    claims: { iss: `${authority}/${tid}/v2.0`, tid, oid: 'object-1', sub: 'pairwise', ...more },
  })
  const tenants = [tenant]

  test('many tenants: who it is, is the object in the tenant that signed in', async () => {
    const organizations = await at(entra({ ...mine, tenants: 'organizations' }), many, person(tenant))
    expect(await organizations.signIn()).toMatchObject({ issuer: `${authority}/${tenant}/v2.0`, subject: 'object-1' })
    const other = await at(entra({ ...mine, tenants: 'organizations' }), many, person(otherTenant))
    expect(await other.signIn()).toMatchObject({ issuer: `${authority}/${otherTenant}/v2.0`, subject: 'object-1' })
    expect(other.asked[0]?.searchParams.has('resource')).toBe(false)
  })

  describe('more groups than a token holds', () => {
    const overage = {
      _claim_names: { groups: 'src1' },
      _claim_sources: { src1: { endpoint: 'https://evil.example.com' } },
    }
    const place = { base: `${authority}/${tenant}/v2.0` }
    const asked: { url: string; authorization: string | null; body: unknown }[] = []
    let answer: () => Response
    const entraWithGraph = async (claims: object) => {
      asked.length = 0
      const preset = entra({ ...mine, tenant, groupsFromGraph: true })
      const graph: typeof fetch = async (input, init) => {
        const headers = new Headers(init?.headers)
        asked.push({ url: String(input), authorization: headers.get('authorization'), body: init?.body })
        return answer()
      }
      const signedIn = await at(preset, place, person(tenant, claims), { 'https://graph.microsoft.com': graph })
      return { ...signedIn, preset }
    }

    test('Graph is asked with the person’s token, at sign-in and at a refresh; never an address of the token’s', async () => {
      answer = () => Response.json({ value: ['group-1', 'group-2'] })
      const { signIn, open, preset, asked: authorization } = await entraWithGraph(overage)
      const signedIn = await signIn()
      expect(await checkedClaims(preset, signedIn)).toMatchObject({ groups: ['group-1', 'group-2'] })
      expect(authorization[0]?.searchParams.get('scope')).toContain('User.Read')
      const url = 'https://graph.microsoft.com/v1.0/me/getMemberObjects'
      expect(asked).toEqual([{ url, authorization: 'Bearer access-1', body: '{"securityEnabledOnly":true}' }])
      const { issuer, subject, tokens = { accessToken: '' } } = signedIn
      const renewable = { issuer, subject, tokens }
      answer = () => Response.json({ value: ['group-3'] })
      const renewed = await open.refresh?.(renewable)
      expect(renewed?.said.at(-1)).toMatchObject({ source: 'directory', claims: { groups: ['group-3'] } })
      answer = () => new Response('', { status: 503 })
      expect((await open.refresh?.(renewable))?.said.map(({ source }) => source)).toEqual(['id_token'])
    })

    test('who is in few is not asked about, and what Graph said before is forgotten', async () => {
      const { signIn, open, preset } = await entraWithGraph({ groups: ['group-1'] })
      const signedIn = await signIn()
      expect(await checkedClaims(preset, signedIn)).toMatchObject({ groups: ['group-1'] })
      const { issuer, subject, tokens = { accessToken: '' } } = signedIn
      const renewed = await open.refresh?.({ issuer, subject, tokens })
      expect(renewed?.said.at(-1)).toMatchObject({ source: 'directory', claims: {} })
      expect(asked).toEqual([])
    })

    test.each([
      () => new Response('', { status: 403 }),
      () => Response.json({ value: 'group-1' }),
      () => Response.json({ value: [{ id: 'group-1' }] }),
    ])('where Graph does not say them, nobody signs in without them', async (wrong) => {
      answer = wrong
      const { signIn } = await entraWithGraph(overage)
      expect(await rejection(signIn())).toBeInstanceOf(ProviderUnavailable)
    })
  })

  test('all that was said is there; the pairwise subject in the statement', async () => {
    const groups = ['group-1', 'group-2']
    const { claims, signIn } = await at(
      entra({ ...mine, tenant }),
      { base: `${authority}/${tenant}/v2.0` },
      person(tenant, { groups, roles: ['Notes.Write'], preferred_username: 'one@contoso.example' }),
    )
    expect(await claims()).toMatchObject({
      sub: 'object-1',
      oid: 'object-1',
      tid: tenant,
      groups,
      roles: ['Notes.Write'],
    })
    expect((await signIn()).said).toMatchObject([{ source: 'id_token', claims: { sub: 'pairwise' } }])
  })

  test('a tenant that is not named is refused, though Microsoft signed for it', async () => {
    const common = { ...many, base: `${authority}/common/v2.0` }
    expect(await (await at(entra({ ...mine, tenants }), common, person(tenant))).signIn()).toBeTruthy()
    const { signIn } = await at(entra({ ...mine, tenants }), common, person(otherTenant))
    expect(await rejection(signIn())).toMatchObject({
      reason: 'denied',
      detail: `tenant ${otherTenant} is not allowed`,
    })
  })

  test('fault 14: the issuer is that of the very tenant, and nothing else', async () => {
    const lies = {
      'the issuer of another tenant': { iss: `${authority}/${otherTenant}/v2.0` },
      'another issuer': { iss: 'https://evil.example.com/v2.0' },
      'the template itself': { iss: many.issuer, tid: '{tenantid}' },
      'no tenant': { iss: `${authority}/undefined/v2.0`, tid: undefined },
      'a tenant that is a path': { iss: `${authority}/x/../${tenant}/v2.0`, tid: `x/../${tenant}` },
      'no object': { oid: undefined },
      'an object that is no text': { oid: 1 },
    }
    for (const [what, lie] of Object.entries(lies)) {
      const { signIn } = await at(entra({ ...mine, tenants: 'organizations' }), many, person(tenant, lie))
      expect(await rejection(signIn()), what).toMatchObject({ name: 'SignInRefused' })
    }
  })

  test('fault 14: metadata of many issuers are not believed where one was configured, nor other ones where many were', async () => {
    const generic = openid({ ...mine, issuer: `${authority}/organizations/v2.0` })
    const loose = await at(generic, many, person(tenant))
    expect(await rejection(loose.signIn())).toMatchObject({ name: 'ProviderUnavailable' })
    for (const issuer of ['https://evil.example.com/{tenantid}/v2.0', `${authority}/${tenant}/v2.0`]) {
      const { signIn } = await at(entra({ ...mine, tenants: 'organizations' }), { ...many, issuer }, person(tenant))
      expect(await rejection(signIn()), issuer).toMatchObject({ name: 'ProviderUnavailable' })
    }
  })

  test('a refresh that answers with another object of the tenant is no answer', async () => {
    const place = { base: `${authority}/${tenant}/v2.0` }
    const preset = entra({ ...mine, tenant })
    const { signIn } = await at(preset, place, person(tenant))
    const { issuer, subject, tokens } = await signIn()
    if (!tokens) throw new Error('no tokens')
    const same = await at(preset, place, person(tenant, { nonce: undefined, sub: 'pairwise-of-another-app' }))
    expect(await same.open.refresh?.({ issuer, subject, tokens })).toMatchObject({ said: [{ source: 'id_token' }] })
    const { open } = await at(preset, place, person(tenant, { nonce: undefined, oid: 'object-2' }))
    expect(await rejection(open.refresh?.({ issuer, subject, tokens }) ?? Promise.resolve())).toMatchObject({
      name: 'ProviderUnavailable',
    })
  })

  test('External ID: the issuer is the tenant’s own host', async () => {
    const base = `https://${tenant}.ciamlogin.com/${tenant}/v2.0`
    const { signIn } = await at(
      entra({ ...mine, externalTenant: tenant }),
      { base },
      {
        claims: { iss: base, tid: tenant, oid: 'customer-1' },
      },
    )
    expect(await signIn()).toMatchObject({ issuer: base, subject: 'customer-1' })
  })
})

describe('Keycloak', () => {
  const base = 'https://id.example.com/realms/staff'
  const preset = keycloak({ ...mine, realm: `${base}/` })
  const access = {
    iss: base,
    aud: 'account',
    azp: 'me',
    realm_access: { roles: ['staff', 'admin'] },
    resource_access: { me: { roles: ['editor'] }, account: { roles: ['manage-account'] } },
  }

  test('roles are read from the access token, those of the client under its name', async () => {
    const { claims, signIn } = await at(preset, { base }, { accessToken: access })
    expect(await claims()).toMatchObject({
      aud: 'me',
      name: 'One',
      roles: ['staff', 'admin', 'me:editor'],
      realm_access: access.realm_access,
      resource_access: access.resource_access,
    })
    expect((await signIn()).said.map(({ source }) => source)).toEqual(['access_token', 'id_token', 'userinfo'])
  })

  test('a claim that a mapper made stays as it was said', async () => {
    const { claims } = await at(preset, { base }, { accessToken: access, claims: { roles: ['mapped'] } })
    expect(await claims()).toMatchObject({ roles: ['mapped'] })
  })

  test('fault 16: an access token that is about another person, of another issuer, or not signed by it, says nothing', async () => {
    for (const lie of [{ sub: 'sub-2' }, { iss: 'https://id.example.com/realms/other' }]) {
      const { claims } = await at(preset, { base }, { accessToken: { ...access, ...lie } })
      expect(await claims()).not.toHaveProperty('roles')
    }
    const { claims } = await at(preset, { base }, {})
    expect(await claims()).not.toHaveProperty('roles')
  })
})

test('Auth0: the issuer ends with a slash; the audience is asked; claims of a namespace are found', async () => {
  const base = 'https://example.eu.auth0.com/'
  const ns = 'https://example.com/'
  const preset = auth0({ ...mine, domain: 'example.eu.auth0.com', audience: 'https://api.example.com', namespace: ns })
  const { claims, asked } = await at(preset, { base }, { claims: { [`${ns}roles`]: ['reader'], [`${ns}other`]: 1 } })
  expect(await claims()).toMatchObject({ iss: base, roles: ['reader'], [`${ns}roles`]: ['reader'], [`${ns}other`]: 1 })
  expect(asked[0]?.searchParams.get('audience')).toBe('https://api.example.com')
  expect(asked[0]?.searchParams.get('scope')).toBe('openid profile email offline_access')
})

test('Auth0: who is not of the organization is refused', async () => {
  const base = 'https://example.eu.auth0.com/'
  const preset = auth0({ ...mine, domain: 'example.eu.auth0.com', organization: 'org_1' })
  expect(await (await at(preset, { base }, { claims: { org_id: 'org_1' } })).signIn()).toBeTruthy()
  for (const claims of [{ org_id: 'org_2' }, {}]) {
    const { signIn } = await at(preset, { base }, { claims })
    expect(await rejection(signIn())).toMatchObject({ reason: 'denied' })
  }
})

test('Cognito: its own names become standard ones, and stay; text is no truth value', async () => {
  const base = 'https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEfGhI'
  const preset = cognito({ ...mine, userPool: 'eu-central-1_AbCdEfGhI' })
  const said = { 'cognito:groups': ['admins'], 'cognito:username': 'one', token_use: 'id' }
  const { claims } = await at(preset, { base }, { claims: said, userinfo: { email_verified: 'false' } })
  expect(await claims()).toMatchObject({
    ...said,
    groups: ['admins'],
    preferred_username: 'one',
    email_verified: false,
  })
})

test('GitLab: groups come from userinfo, direct ones from the id_token', async () => {
  const base = 'https://git.example.com'
  const preset = gitlab({ ...mine, server: `${base}/` })
  const lie = { claims: { groups_direct: ['a'] }, userinfo: { groups: ['a', 'a/b'] } }
  expect(await (await at(preset, { base }, lie)).claims()).toMatchObject({ groups: ['a', 'a/b'], groups_direct: ['a'] })
})

test('Hugging Face: organizations are there as they are said', async () => {
  const orgs = [{ sub: 'org-1', preferred_username: 'acme', roleInOrg: 'admin' }]
  const { claims } = await at(huggingface(mine), { base: 'https://huggingface.co' }, { userinfo: { orgs } })
  expect(await claims()).toMatchObject({ iss: 'https://huggingface.co', orgs })
})

test('options that can’t be right are refused at once', () => {
  expect(() => entra({ ...mine, tenant: 'contoso.example' })).toThrow(/directory/)
  expect(() => entra({ ...mine, tenants: ['common'] })).toThrow(/directory/)
  expect(() => cognito({ ...mine, userPool: 'pool' })).toThrow(/userPool/)
  expect(() => okta({ ...mine, domain: 'https://example.okta.com' })).toThrow(/domain/)
  expect(() => auth0({ ...mine, domain: 'example.eu.auth0.com/' })).toThrow(/domain/)
  expect(() => github({ ...mine, server: 'http://git.example.com' })).toThrow(/https/)
  expect(() => keycloak({ ...mine, realm: 'http://id.example.com/realms/staff' })).toThrow(/https/)
})
