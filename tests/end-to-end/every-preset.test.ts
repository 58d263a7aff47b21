import { generateKeyPairSync } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { apple } from '../../src/upstream/apple.ts'
import { auth0 } from '../../src/upstream/auth0.ts'
import { azureB2c } from '../../src/upstream/azure-b2c.ts'
import { clerk } from '../../src/upstream/clerk.ts'
import { cognito } from '../../src/upstream/cognito.ts'
import { descope } from '../../src/upstream/descope.ts'
import { discord } from '../../src/upstream/discord.ts'
import { entra } from '../../src/upstream/entra.ts'
import { github } from '../../src/upstream/github.ts'
import { gitlab } from '../../src/upstream/gitlab.ts'
import { google } from '../../src/upstream/google.ts'
import { huggingface } from '../../src/upstream/huggingface.ts'
import { keycloak } from '../../src/upstream/keycloak.ts'
import { okta } from '../../src/upstream/okta.ts'
import { openid } from '../../src/upstream/openid.ts'
import { oracle } from '../../src/upstream/oracle.ts'
import { propelauth } from '../../src/upstream/propelauth.ts'
import type { Provider } from '../../src/upstream/provider.ts'
import { scalekit } from '../../src/upstream/scalekit.ts'
import { slack } from '../../src/upstream/slack.ts'
import { supabase } from '../../src/upstream/supabase.ts'
import { workos } from '../../src/upstream/workos.ts'
import { redirected } from '../support/emulate.ts'
import { type Connected, upstreamWorld } from '../support/upstream-world.ts'
import { startLyingProvider } from '../upstream/lying-provider.ts'

// Each refresh of a client's is one of the provider's, too.
const mine = { clientId: 'me', clientSecret: 'a secret', revalidate: 'on_refresh' } as const
const tenant = '7b1f2a3c-0000-4000-8000-00000000000a'
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const { clientSecret: _none, ...withoutSecret } = mine
const appleKey = { privateKey: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() }

const microsoft = `https://login.microsoftonline.com/${tenant}/v2.0`
const pool = 'https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEfGhI'
const idcs = 'idcs-0123456789abcdef0123456789abcdef'
const b2c = `https://contoso.b2clogin.com/${tenant}`
/** `issuer`: what a handler sees. `at`: where the metadata are, and what they name, where that is something else. */
const openidProviders: [
  Provider<unknown>,
  issuer: string,
  claims?: object,
  at?: { readonly base: string; readonly named: string; readonly said: object },
][] = [
  [google(mine), 'https://accounts.google.com', { hd: 'example.com' }],
  [entra({ ...mine, tenant }), microsoft, { tid: tenant, oid: 'object-1', groups: ['g-1'], roles: ['r'] }],
  [
    azureB2c({ ...mine, domain: 'contoso.b2clogin.com', tenantId: tenant, policy: 'B2C_1_in' }),
    `${b2c}/v2.0/`,
    { tfp: 'B2C_1_in', emails: ['one@example.com'] },
    { base: `${b2c}/B2C_1_in/v2.0`, named: `${b2c}/v2.0/`, said: {} },
  ],
  [
    oracle({ ...mine, domain: `${idcs}.identity.oraclecloud.com` }),
    `https://${idcs}.identity.oraclecloud.com`,
    { tenant: idcs, user_id: 'user-1', user_displayname: 'One' },
    {
      base: `https://${idcs}.identity.oraclecloud.com`,
      named: 'https://identity.oraclecloud.com/',
      said: { sub: 'user-1' },
    },
  ],
  [okta({ ...mine, domain: 'example.okta.com' }), 'https://example.okta.com', { groups: ['Everyone'] }],
  [
    auth0({ ...mine, domain: 'example.eu.auth0.com', namespace: 'https://x/' }),
    'https://example.eu.auth0.com/',
    { 'https://x/roles': ['r'] },
  ],
  [
    keycloak({ ...mine, realm: 'https://id.example.com/realms/staff' }),
    'https://id.example.com/realms/staff',
    { realm_access: { roles: ['r'] } },
  ],
  [cognito({ ...mine, userPool: 'eu-central-1_AbCdEfGhI' }), pool, { 'cognito:groups': ['g'] }],
  [gitlab(mine), 'https://gitlab.com', { groups_direct: ['a/b'] }],
  [huggingface(mine), 'https://huggingface.co', { orgs: [{ name: 'acme' }] }],
  [slack(mine), 'https://slack.com', { 'https://slack.com/team_id': 'T1' }],
  [clerk({ ...mine, domain: 'clerk.example.com' }), 'https://clerk.example.com'],
  [workos({ ...mine, domain: 'example.authkit.app' }), 'https://example.authkit.app', { org_id: 'org_1' }],
  [
    supabase({ ...mine, project: 'https://abc.supabase.co' }),
    'https://abc.supabase.co/auth/v1',
    { user_metadata: { a: 1 } },
  ],
  [descope({ ...mine, projectId: 'me' }), 'https://api.descope.com/me', { tenants: { t: {} } }],
  [
    scalekit({ ...mine, environment: 'https://example.scalekit.com' }),
    'https://example.scalekit.com',
    { oid: 'org_1' },
  ],
  [
    apple({ ...withoutSecret, ...appleKey, teamId: 'T', keyId: 'K' }),
    'https://appleid.apple.com',
    { email_verified: 'true' },
  ],
  [
    openid({ ...mine, issuer: 'https://id.example.com' }),
    'https://id.example.com',
    { address: { country: 'SE' }, __proto: 1 },
  ],
]

const metadataOf = (base: string, issuer: string) => ({
  issuer,
  authorization_endpoint: `${base}/authorize`,
  token_endpoint: `${base}/token`,
  userinfo_endpoint: `${base}/userinfo`,
  jwks_uri: `${base}/keys`,
})

/** What the handler sees of the person, after everything that can happen to it between two calls. */
const expectInvariant = async (provider: Provider<unknown>, fetch: typeof globalThis.fetch, said: object) => {
  const first = upstreamWorld(provider, { fetch, tokenClaims: ['email'] })
  const toCallback = async (url: string) => (await fetch(url, { redirect: 'manual' })).headers.get('location') ?? ''
  const connected = await first.connect(toCallback)
  type World = typeof first
  const seenBy = async (world: World, { accessToken }: Pick<Connected, 'accessToken'>) => {
    const { subject, clientId, scopes, upstream } = await world.whoami(accessToken)
    const { claims, ...identity } = upstream as { claims: Record<string, unknown> }
    // New with each id_token.
    const { iat: _iat, exp: _exp, nonce: _nonce, ...lasting } = claims
    return { subject, clientId, scopes, identity, lasting }
  }
  const seen = await seenBy(first, connected)
  expect(seen.lasting).toMatchObject(said)
  const refreshed = async (world: World, from: Connected): Promise<Connected> => {
    await world.clock.pass(120_000)
    const { status, body } = await world.refresh(from)
    expect([status, body.error]).toEqual([200, undefined])
    return { ...from, accessToken: String(body.access_token), refreshToken: String(body.refresh_token) }
  }
  const once = await refreshed(first, connected)
  expect(first.types().some((type) => type === 'upstream.refreshed' || type === 'upstream.checked')).toBe(true)
  expect(await seenBy(first, once)).toEqual(seen)
  const second = upstreamWorld(provider, { ...first, fetch })
  expect(await seenBy(second, once)).toEqual(seen)
  const twice = await refreshed(second, once)
  expect(await seenBy(first, twice)).toEqual(seen)
  const restarted = upstreamWorld(provider, { ...first, fetch })
  expect(await seenBy(restarted, twice)).toEqual(seen)
  return seen.lasting
}

describe('the invariant: what the handler sees equals what the provider said, after exchange, refresh, upstream refresh, restart and on a second node', () => {
  let lying: Awaited<ReturnType<typeof startLyingProvider>>
  beforeAll(async () => {
    lying = await startLyingProvider()
    await new Promise<void>((resolve) => plain.listen(0, '127.0.0.1', resolve))
  })
  afterAll(async () => {
    plain.close()
    plain.closeAllConnections()
    await lying.stop()
  })

  test.each(openidProviders.map((each): [string, ...typeof each] => [each[0].id, ...each]))(
    '%s',
    async (_id, provider, issuer, own = {}, at = undefined) => {
      const { base, named, said: known } = at ?? { base: issuer.replace(/\/$/, ''), named: issuer, said: {} }
      const claims = { iss: named, email: 'one@example.com', email_verified: true, ...own }
      lying.tell({ metadata: metadataOf(base, named), claims })
      const { email_verified: _verified, ...said } = claims
      await expectInvariant(provider, redirected({ [base]: lying.issuer }), {
        ...said,
        ...known,
        iss: issuer,
        email_verified: true,
      })
    },
  )

  // Names that the protocol has, and those that presets make of others.
  const taken = new Set([
    ...[
      'iss',
      'sub',
      'aud',
      'exp',
      'nbf',
      'iat',
      'jti',
      'nonce',
      'azp',
      'auth_time',
      'at_hash',
      'c_hash',
      's_hash',
      'cnf',
    ],
    ...['email', 'email_verified', 'name', 'roles', 'groups', 'tid', 'oid', 'tfp', 'acr', 'tenant', 'user_tenantname'],
    ...['user_id', 'hd', 'is_private_email', 'realm_access', 'resource_access', '_claim_names', 'preferred_username'],
    ...['emails', 'cognito:groups', 'cognito:username', 'https://slack.com/team_id', 'sid', 'picture'],
  ])
  const name = fc.oneof(
    fc.string({ minLength: 1, maxLength: 12 }),
    fc.constantFrom('__proto__', 'constructor', 'toString', 'claims'),
  )
  const claimsOf = fc
    .array(
      fc.tuple(
        name.filter((each) => !taken.has(each)),
        fc.jsonValue({ maxDepth: 3 }),
      ),
      { maxLength: 6 },
    )
    // As it is on the wire.
    .map((entries) => JSON.parse(JSON.stringify(Object.fromEntries(entries))) as Record<string, unknown>)
  test('whatever a provider says, under whatever names', { timeout: 600_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...openidProviders),
        claimsOf,
        async ([provider, issuer, own = {}, at], more) => {
          const { base, named } = at ?? { base: issuer.replace(/\/$/, ''), named: issuer }
          const claims = { ...more, iss: named, email: 'one@example.com', email_verified: true, ...own }
          lying.tell({ metadata: metadataOf(base, named), claims })
          const lasting = await expectInvariant(provider, redirected({ [base]: lying.issuer }), {})
          const seen = Object.entries(lasting).filter(([key]) => Object.hasOwn(more, key))
          expect(Object.fromEntries(seen)).toEqual(more)
        },
      ),
      process.env.CI ? { numRuns: 8, seed: 1 } : { numRuns: 25 },
    )
  })

  const person = {
    ...{ id: 583231, user_id: 'u-1', login: 'octo', username: 'octo', email: 'one@example.com' },
    ...{ verified: true, email_confirmed: true, nested: { list: [1, { a: null }] } },
  }
  const plain = createServer(async (request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '', 'http://127.0.0.1')
    const json = (value: unknown) => {
      response.writeHead(200, { 'content-type': 'application/json' })
      response.end(JSON.stringify(value))
    }
    if (pathname.endsWith('/authorize')) {
      const back = new URL(searchParams.get('redirect_uri') ?? '')
      back.search = `code=c&state=${searchParams.get('state')}`
      response.writeHead(302, { location: back.href })
      return response.end()
    }
    if (pathname.endsWith('/token') || pathname.endsWith('/access_token')) {
      return json({ access_token: 'at', refresh_token: 'rt', token_type: 'bearer', expires_in: 3600, scope: 'a' })
    }
    return json(pathname.endsWith('/emails') ? [{ email: 'one@example.com', primary: true, verified: true }] : person)
  })
  test.each([
    ['github', github(mine), ['https://github.com', 'https://api.github.com']],
    ['discord', discord(mine), ['https://discord.com']],
    ['propelauth', propelauth({ ...mine, authUrl: 'https://auth.example.com' }), ['https://auth.example.com']],
  ] as const)('%s', async (_id, provider, addresses) => {
    const local = `http://127.0.0.1:${(plain.address() as AddressInfo).port}`
    const fetch = redirected(Object.fromEntries(addresses.map((address) => [address, local])))
    await expectInvariant(provider, fetch, { ...person, preferred_username: 'octo' })
  })
})
