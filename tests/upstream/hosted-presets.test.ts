import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { checkedClaims } from '../../src/upstream/claims.ts'
import { clerk } from '../../src/upstream/clerk.ts'
import { descope } from '../../src/upstream/descope.ts'
import { google } from '../../src/upstream/google.ts'
import { propelauth } from '../../src/upstream/propelauth.ts'
import { scalekit } from '../../src/upstream/scalekit.ts'
import { slack } from '../../src/upstream/slack.ts'
import { supabase } from '../../src/upstream/supabase.ts'
import { workos } from '../../src/upstream/workos.ts'
import { redirected } from '../support/emulate.ts'
import { plainRequest, redirecting, redirectUri, rejection, testContext } from './context.ts'
import { startLyingProvider } from './lying-provider.ts'
import { standIn } from './stand-in.ts'

// Stand-ins built from each provider's documentation.
let provider: Awaited<ReturnType<typeof startLyingProvider>>
beforeAll(async () => {
  provider = await startLyingProvider()
})
afterAll(() => provider.stop())
beforeEach(() => provider.tell({}))
const at = standIn(() => provider)
const mine = { clientId: 'me', clientSecret: 'a secret' }

describe('services that are OpenID Providers', () => {
  test.each([
    ['clerk', clerk({ ...mine, domain: 'clerk.example.com' }), 'https://clerk.example.com', 'openid profile email'],
    [
      'workos',
      workos({ ...mine, domain: 'example.authkit.app' }),
      'https://example.authkit.app',
      'openid profile email offline_access',
    ],
    [
      'supabase',
      supabase({ ...mine, project: 'https://abc.supabase.co/' }),
      'https://abc.supabase.co/auth/v1',
      'openid profile email',
    ],
    ['descope', descope({ projectId: 'me', clientSecret: 's' }), 'https://api.descope.com/me', 'openid profile email'],
    [
      'scalekit',
      scalekit({ ...mine, environment: 'https://example.scalekit.com' }),
      'https://example.scalekit.com',
      'openid profile email offline_access',
    ],
    ['slack', slack(mine), 'https://slack.com', 'openid profile email'],
  ] as const)('%s: who it is, what was said, and what was asked', async (id, preset, issuer, scopes) => {
    const { signIn, asked } = await at(preset, { base: issuer }, { claims: { email_verified: true, own: { a: 1 } } })
    const signedIn = await signIn()
    expect([preset.id, signedIn.issuer, signedIn.subject]).toEqual([id, issuer, 'sub-1'])
    expect(await checkedClaims(preset, signedIn)).toMatchObject({
      ...{ iss: issuer, sub: 'sub-1', name: 'One', email: 'one@example.com', email_verified: true, own: { a: 1 } },
    })
    expect(asked[0]?.searchParams.get('scope')).toBe(scopes)
    expect(asked[0]?.searchParams.get('code_challenge_method')).toBe('S256')
    const foreign = await at(preset, { base: issuer }, { claims: { iss: 'https://evil.example.com' } })
    expect(await rejection(foreign.signIn())).toMatchObject({ reason: 'untrusted' })
  })

  test('secrets are posted where the documentation says so', async () => {
    for (const [preset, base] of [
      [workos({ ...mine, domain: 'example.authkit.app' }), 'https://example.authkit.app'],
      [slack(mine), 'https://slack.com'],
    ] as const) {
      await (await at(preset, { base }, {})).signIn()
      expect([provider.tokenRequest.form.get('client_secret'), provider.tokenRequest.authorization]).toEqual([
        'a secret',
        '',
      ])
    }
  })

  test('Slack: another workspace’s people are refused', async () => {
    const team = (id: string) => ({ claims: { 'https://slack.com/team_id': id } })
    const ours = await at(slack({ ...mine, team: 'T1' }), { base: 'https://slack.com' }, team('T1'))
    expect(await ours.claims()).toMatchObject({ 'https://slack.com/team_id': 'T1' })
    expect(ours.asked[0]?.searchParams.get('team')).toBe('T1')
    for (const lie of [team('T2'), {}]) {
      const theirs = await at(slack({ ...mine, team: 'T1' }), { base: 'https://slack.com' }, lie)
      expect(await rejection(theirs.signIn())).toMatchObject({ reason: 'denied' })
    }
  })

  test('Google: people of another domain, or of none, are refused', async () => {
    const base = 'https://accounts.google.com'
    const of = (domain: string, hd: string | undefined) => at(google({ ...mine, domain }), { base }, { claims: { hd } })
    const ours = await of('Example.com', 'example.com')
    expect(await ours.claims()).toMatchObject({ hd: 'example.com' })
    expect(ours.asked[0]?.searchParams.get('hd')).toBe('Example.com')
    expect(await (await of('*', 'other.example')).claims()).toMatchObject({ hd: 'other.example' })
    for (const [domain, hd] of [
      ['example.com', 'other.example'],
      ['example.com', 'sub.example.com'],
      ['example.com', undefined],
      ['*', undefined],
    ] as const) {
      expect(await rejection((await of(domain, hd)).signIn()), `${domain} ${hd}`).toMatchObject({ reason: 'denied' })
    }
  })

  test('Google has no prompt=login and says no auth_time: it is not asked for them, and nothing is made up', async () => {
    const { open, signIn } = await at(google(mine), { base: 'https://accounts.google.com' }, {})
    expect(open.reauthenticates).toBe(false)
    expect(google({ ...mine, reauthenticates: false })).toBeTruthy()
    for (const reauthenticates of [true, 'unstated'] as const) {
      // @ts-expect-error: it would promise what Google does not keep
      expect(() => google({ ...mine, reauthenticates })).toThrow(/can’t be made to sign a person in again/)
    }
    expect(await signIn()).toMatchObject({ authTimeAssumed: true })
    for (const asked of [{ reauthenticate: true }, { maxAge: 60 }]) {
      const { url, pending } = await open.begin({ ...plainRequest, ...asked })
      expect(new URL(url).searchParams.get('prompt')).toBe('consent')
      expect(new URL(url).searchParams.has('max_age')).toBe(false)
      const refused = await rejection(open.complete(new URL(`${redirectUri}?code=c`), pending, redirectUri))
      expect(refused).toMatchObject({ reason: 'interaction_required' })
    }
  })

  test('Scalekit: by an organization’s connection', async () => {
    const environment = 'https://example.scalekit.com'
    const preset = scalekit({ ...mine, environment, organization: 'org_1', connection: 'conn_1' })
    const { signIn, asked } = await at(preset, { base: environment }, {})
    await signIn()
    expect(asked[0]?.searchParams.get('organization_id')).toBe('org_1')
    expect(asked[0]?.searchParams.get('connection_id')).toBe('conn_1')
  })

  test('addresses that can’t be right are refused at start', () => {
    expect(() => clerk({ ...mine, domain: 'https://clerk.example.com' })).toThrow('clerk: domain')
    expect(() => workos({ ...mine, domain: 'a/b' })).toThrow('workos: domain')
    expect(() => descope({ projectId: '../x', clientSecret: 's' })).toThrow('descope: projectId')
    expect(() => supabase({ ...mine, project: 'http://abc.supabase.co' })).toThrow('https')
  })
})

describe('PropelAuth', () => {
  const person = {
    ...{ user_id: '31c41c16-c281-44ae-9602-8a047e3bf33d', email: 'one@example.com', email_confirmed: true },
    ...{ first_name: 'Anna', last_name: 'One', username: 'anna', picture_url: 'https://img.example.com/1' },
    org_id_to_org_info: { o1: { org_id: 'o1', org_name: 'Acme', user_role: 'Admin' } },
  }
  const seen: { query?: URLSearchParams; form?: URLSearchParams } = {}
  const server = createServer(async (request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '', 'http://127.0.0.1')
    const json = (status: number, value: unknown) => {
      response.writeHead(status, { 'content-type': 'application/json' })
      response.end(JSON.stringify(value))
    }
    if (pathname === '/propelauth/oauth/authorize') {
      seen.query = searchParams
      const back = new URL(searchParams.get('redirect_uri') ?? '')
      back.search = `code=c&state=${searchParams.get('state')}`
      response.writeHead(302, { location: back.href })
      return response.end()
    }
    if (pathname === '/propelauth/oauth/token') {
      let body = ''
      for await (const chunk of request) body += chunk
      seen.form = new URLSearchParams(body)
      return json(200, { access_token: 'at', refresh_token: 'rt', token_type: 'Bearer', expires_in: 1800 })
    }
    const known = pathname === '/propelauth/oauth/userinfo' && request.headers.authorization === 'Bearer at'
    return known ? json(200, person) : json(401, {})
  })
  beforeAll(() => new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve)))
  afterAll(() => {
    server.close()
    server.closeAllConnections()
  })

  test('the subject is user_id; all that was said is there, and standard names of it', async () => {
    const authUrl = 'https://auth.example.com'
    const preset = propelauth({ ...mine, authUrl: `${authUrl}/`, organization: 'o1' })
    const emulated = redirected({ [authUrl]: `http://127.0.0.1:${(server.address() as AddressInfo).port}` })
    const open = redirecting(preset.open(await testContext({ fetch: emulated })))
    const { url, pending } = await open.begin(plainRequest)
    const { headers } = await emulated(url, { redirect: 'manual' })
    const signedIn = await open.complete(new URL(headers.get('location') ?? ''), pending, redirectUri)
    expect([signedIn.issuer, signedIn.subject]).toEqual([authUrl, person.user_id])
    expect(await checkedClaims(preset, signedIn)).toMatchObject({
      ...person,
      ...{ email_verified: true, name: 'Anna One', preferred_username: 'anna', picture: person.picture_url },
    })
    expect(seen.query?.get('org_id')).toBe('o1')
    expect(seen.form?.get('code_verifier')).toBeTruthy()
  })
})
