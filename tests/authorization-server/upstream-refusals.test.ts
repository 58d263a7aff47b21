import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { auth0 } from '../../src/upstream/auth0.ts'
import { openid } from '../../src/upstream/openid.ts'
import type { Provider } from '../../src/upstream/provider.ts'
import { slack } from '../../src/upstream/slack.ts'
import { redirected } from '../support/emulate.ts'
import { upstreamWorld } from '../support/upstream-world.ts'
import { startLyingProvider } from '../upstream/lying-provider.ts'

let provider: Awaited<ReturnType<typeof startLyingProvider>>
beforeAll(async () => {
  provider = await startLyingProvider()
})
afterAll(() => provider.stop())
beforeEach(() => provider.tell({}))

const mine = { clientId: 'me', clientSecret: 'a secret', revalidate: 'on_refresh' } as const
const minute = 60_000
const toCallback = async (url: string) => (await fetch(url, { redirect: 'manual' })).headers.get('location') ?? ''

describe('what a provider answers a refresh with', () => {
  const server = async () => {
    const world = upstreamWorld(openid({ ...mine, issuer: provider.issuer }))
    const connected = await world.connect(toCallback)
    await world.clock.pass(minute)
    return { world, connected }
  }

  test.each([
    'invalid_grant',
    'access_denied',
    'invalid_token',
    'interaction_required',
    'login_required',
    'consent_required',
    'mfa_required',
  ])(
    '%s is about the person: all that clients have by that sign-in ends, and they are told to sign in',
    async (error) => {
      const { world, connected } = await server()
      provider.tell({ tokenAnswer: { status: error === 'mfa_required' ? 403 : 400, body: JSON.stringify({ error }) } })
      const refused = await world.refresh(connected)
      expect([refused.status, refused.body.error]).toEqual([400, 'invalid_grant'])
      expect((await world.call(connected.accessToken)).status).toBe(401)
      expect(world.events).toContainEqual(expect.objectContaining({ type: 'upstream.ended', reason: 'refused' }))
      expect(world.types()).not.toContain('upstream.failed')
    },
  )

  test.each([
    [401, 'invalid_client'],
    [401, 'unauthorized'],
    [400, 'unauthorized_client'],
    [400, 'invalid_scope'],
    [400, 'invalid_request'],
    [400, 'server_error'],
    [503, 'temporarily_unavailable'],
    [429, 'slow_down'],
  ])('design 3, upstream: %i %s may be our own fault: nobody is signed out', async (status, error) => {
    const { world, connected } = await server()
    provider.tell({ tokenAnswer: { status, body: JSON.stringify({ error }) } })
    const answer = await world.refresh(connected)
    expect([answer.status, Number(answer.body.expires_in) <= 60]).toEqual([200, true])
    expect((await world.call(String(answer.body.access_token))).status).toBe(200)
    expect(world.types()).toContain('upstream.failed')
    expect(world.types()).not.toContain('upstream.ended')
  })
})

describe('Slack, whose errors come with status 200', () => {
  const base = 'https://slack.com'
  const metadata = {
    issuer: base,
    authorization_endpoint: `${base}/openid/connect/authorize`,
    token_endpoint: `${base}/token`,
    userinfo_endpoint: `${base}/userinfo`,
    jwks_uri: `${base}/keys`,
  }
  const claims = { iss: base }
  const server = () => {
    const found = redirected({
      [base]: provider.issuer,
      [metadata.authorization_endpoint]: `${provider.issuer}/authorize`,
    })
    const world = upstreamWorld(slack(mine), { fetch: found })
    const arrive = async (url: string) => (await found(url, { redirect: 'manual' })).headers.get('location') ?? ''
    return { world, arrive }
  }
  const failed = (error: string) => ({
    metadata,
    claims,
    tokenAnswer: { body: JSON.stringify({ ok: false, error }) },
    userinfo: { ok: false, error },
  })

  test.each(['token_revoked', 'account_inactive', 'invalid_refresh_token'])(
    'with token rotation: %s is a no',
    async (error) => {
      provider.tell({ metadata, claims })
      const { world, arrive } = server()
      const connected = await world.connect(arrive)
      await world.clock.pass(minute)
      provider.tell(failed(error))
      const refused = await world.refresh(connected)
      expect([refused.status, refused.body.error]).toEqual([400, 'invalid_grant'])
      expect(world.events).toContainEqual(expect.objectContaining({ type: 'upstream.ended', reason: 'refused' }))
    },
  )

  /** As Slack answers an app without token rotation. */
  const withoutRotation = async () => {
    provider.tell({ metadata, claims })
    const { world, arrive } = server()
    const connected = await world.connect(async (url) => {
      const nonce = new URL(url).searchParams.get('nonce')
      const id_token = await provider.jwt({ iss: base, nonce })
      const body = { ok: true, access_token: 'xoxp-1', token_type: 'Bearer', id_token }
      provider.tell({ metadata, claims, tokenAnswer: { body: JSON.stringify(body) } })
      return arrive(url)
    })
    await world.clock.pass(minute)
    return { world, connected }
  }

  test.each(['token_revoked', 'account_inactive'])('without it: %s is a no', async (error) => {
    const { world, connected } = await withoutRotation()
    provider.tell({ metadata, claims })
    const good = await world.refresh(connected)
    expect([good.status, world.types().includes('upstream.checked')]).toEqual([200, true])
    provider.tell(failed(error))
    await world.clock.pass(minute)
    const next = { ...connected, refreshToken: String(good.body.refresh_token) }
    expect((await world.refresh(next)).body.error).toBe('invalid_grant')
    expect((await world.call(String(good.body.access_token))).status).toBe(401)
  })

  test.each(['internal_error', 'ratelimited', 'invalid_auth', 'bad_client_secret'])('%s is none', async (error) => {
    const { world, connected } = await withoutRotation()
    provider.tell(failed(error))
    const answer = await world.refresh(connected)
    expect([answer.status, Number(answer.body.expires_in) <= 60]).toEqual([200, true])
    expect(world.types()).not.toContain('upstream.ended')
  })

  test('a code that counts no more: a page that says so, and not that Slack is out of reach', async () => {
    for (const [error, status] of [
      ['invalid_code', 400],
      ['bad_client_secret', 503],
    ] as const) {
      provider.tell(failed(error))
      const { world, arrive } = server()
      const { visit } = await world.arrive(arrive)
      expect([error, visit.status]).toEqual([error, status])
      expect(visit.text).not.toContain(error)
    }
  })
})

describe('what the browser brings back when the person, or the provider, said no', () => {
  const arrive = async (preset: Provider<unknown>, from: string, error: string) => {
    const at = { authorization_endpoint: `${from}authorize`, token_endpoint: `${from}token`, jwks_uri: `${from}keys` }
    provider.tell({ metadata: { issuer: from, ...at } })
    const world = upstreamWorld(preset, { fetch: redirected({ [from]: `${provider.issuer}/` }) })
    const { visit } = await world.arrive(async (url) => {
      const { searchParams } = new URL(url)
      const back = new URL(searchParams.get('redirect_uri') ?? '')
      back.search = new URLSearchParams({ error, state: searchParams.get('state') ?? '' }).toString()
      return back.href
    })
    return { world, visit }
  }
  const preset = auth0({ clientId: 'me', clientSecret: 's', domain: 'example.eu.auth0.com' })

  test.each(['access_denied', 'unauthorized', 'user_cancelled_authorize'])('%s: a page for it, 403', async (error) => {
    const { world, visit } = await arrive(preset, 'https://example.eu.auth0.com/', error)
    expect(visit.status).toBe(403)
    expect(visit.text).not.toContain(error)
    expect(visit.forms.length, 'a way on').toBeGreaterThan(0)
    expect(world.events.at(-1)).toMatchObject({ type: 'sign_in.refused', reason: expect.stringContaining('denied') })
  })

  test.each(['server_error', 'temporarily_unavailable', 'unauthorized_client'])('%s: 503', async (error) => {
    const { visit } = await arrive(preset, 'https://example.eu.auth0.com/', error)
    expect(visit.status).toBe(503)
    expect(visit.headers.get('retry-after')).toBeTruthy()
  })
})
