import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type UpstreamTarget, UpstreamTokenUnavailable } from '../../src/index.ts'
import { put } from '../../src/records/records.ts'
import { upstreamExchangeRef, upstreamExchanges } from '../../src/records/upstream-exchange.ts'
import { createCustody } from '../../src/upstream/custody.ts'
import { entra } from '../../src/upstream/entra.ts'
import { openid } from '../../src/upstream/openid.ts'
import { type OidcProvider, signInAt, startOidcProvider } from '../support/oidc-provider.ts'
import { named, plainRequest, redirecting, redirectUri, rejection, type TestContext, testContext } from './context.ts'
import { account, hour, stored } from './custody-at.ts'

let provider: OidcProvider
beforeAll(async () => {
  provider = await startOidcProvider({ accessTokenLifetime: 7200 })
})
afterAll(() => provider.stop())

const type = (name: string) => `urn:ietf:params:oauth:token-type:${name}`
const state: {
  answer?: () => Response
  delay: number
  held: Promise<void> | undefined
  requests: { form: URLSearchParams; authorization: string | null }[]
} = {
  delay: 0,
  held: undefined,
  requests: [],
}
afterEach(async () => {
  Object.assign(state, { answer: undefined, delay: 0, held: undefined, requests: [] })
  await provider.control({ mode: 'normal', listen: true })
})

/** A provider that exchanges, in front of a real one: it asks that one whose token it was given. */
const exchanging: typeof fetch = async (input, init) => {
  const form = new URLSearchParams(String(init?.body ?? ''))
  const subjectToken = form.get('subject_token') ?? form.get('assertion')
  if (subjectToken === null) return fetch(input, init)
  state.requests.push({ form, authorization: new Headers(init?.headers).get('authorization') })
  const { length } = state.requests
  if (state.delay > 0) await new Promise((resolve) => setTimeout(resolve, state.delay))
  await state.held
  if (state.answer) return state.answer()
  const me = await fetch(`${provider.issuer}/me`, { headers: { authorization: `Bearer ${subjectToken}` } })
  if (!me.ok) return Response.json({ error: 'invalid_grant' }, { status: 400 })
  const { sub } = (await me.json()) as { sub: string }
  return Response.json({
    access_token: `${length}:${sub}:${form.get('audience') ?? form.get('scope')}`,
    token_type: 'Bearer',
    issued_token_type: type('access_token'),
    expires_in: 600,
  })
}

const node = async (shared: Partial<TestContext> = {}, options: object = { onBehalfOf: 'token_exchange' }) => {
  const context = await testContext({ ...shared, fetch: exchanging })
  await stored(context)
  const { issuer, clientId, clientSecret } = provider
  const provided = named(openid({ issuer, clientId, clientSecret, ...options }), context)
  return { context, open: redirecting(provided.open), custody: createCustody(context, [provided]) }
}
type Node = Awaited<ReturnType<typeof node>>

const begun = async ({ open, custody }: Node, login = 'alice') => {
  const { url, pending } = await open.begin(plainRequest)
  const signIn = await open.complete(new URL(await signInAt(url, { login })), pending, redirectUri)
  return custody.begin(account, 'openid', signIn)
}
const ask = async ({ custody }: Node, session: string, target: UpstreamTarget): Promise<string> => {
  const identified = await custody.identity(session)
  if (typeof identified === 'string') throw new Error(identified)
  return identified.facts.accessToken?.(target) ?? 'none'
}
const calendar = { audience: 'calendar' }

describe('token exchange at the provider', () => {
  test('as RFC 8693 says, with our own authentication, for exactly this person', async () => {
    const one = await node()
    const [alice, bob] = [await begun(one), await begun(one, 'bob')]
    expect(await ask(one, alice.id, { audience: 'calendar', scopes: ['read', 'list'] })).toBe('1:sub-alice:calendar')
    expect(await ask(one, bob.id, { audience: 'calendar', scopes: ['read', 'list'] })).toBe('2:sub-bob:calendar')
    const [{ form, authorization } = { form: new URLSearchParams(), authorization: '' }] = state.requests
    expect(Object.fromEntries(form)).toEqual({
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token: alice.tokens?.accessToken,
      subject_token_type: type('access_token'),
      requested_token_type: type('access_token'),
      audience: 'calendar',
      scope: 'read list',
    })
    expect(authorization).toMatch(/^Basic /)
  })

  test('kept for each sign-in and target, sealed; one request at a time in the cluster', async () => {
    const one = await node()
    const two = await node(one.context)
    const session = await begun(one)
    state.delay = 200
    const calls = [one, two].flatMap((each) => Array.from({ length: 5 }, () => ask(each, session.id, calendar)))
    expect(new Set(await Promise.all(calls))).toEqual(new Set(['1:sub-alice:calendar']))
    expect(await ask(two, session.id, { audience: 'mail' })).toBe('2:sub-alice:mail')
    expect(await ask(one, session.id, { ...calendar, scopes: ['write'] })).toBe('3:sub-alice:calendar')
    expect(await ask(two, session.id, calendar)).toBe('1:sub-alice:calendar')
    expect(state.requests).toHaveLength(3)
    const { key } = upstreamExchangeRef(session.id, calendar)
    const bytes = (await one.context.store.get([key])).entries[0]?.value ?? new Uint8Array()
    expect(bytes.length).toBeGreaterThan(0)
    expect(Buffer.from(bytes).toString('latin1')).not.toContain('alice')
  })

  test('renewed before its end; and the person’s own token first, where that has ended', async () => {
    const one = await node()
    const session = await begun(one)
    await ask(one, session.id, calendar)
    await one.context.clock.pass(580_000)
    expect(await ask(one, session.id, calendar)).toBe('2:sub-alice:calendar')
    const before = (await provider.requests()).refresh_token ?? 0
    await one.context.clock.pass(3 * hour)
    expect(await ask(one, session.id, calendar)).toBe('3:sub-alice:calendar')
    expect((await provider.requests()).refresh_token).toBe(before + 1)
  })

  test('a process that ended in the middle holds the others up for its lease only', async () => {
    const one = await node()
    const session = await begun(one)
    const lease = { attempt: 'of another', until: one.context.clock.now() + 20_000 }
    await one.context.records.commit({ puts: [put(upstreamExchangeRef(session.id, calendar), { lease })] })
    const waiting = ask(one, session.id, calendar)
    await new Promise((resolve) => setTimeout(resolve, 200))
    expect(state.requests).toEqual([])
    await one.context.clock.pass(21_000)
    expect(await waiting).toBe('1:sub-alice:calendar')
  })

  test('a connection that is lost is down, and asked again a little later', async () => {
    const one = await node()
    const session = await begun(one)
    state.answer = () => {
      throw Object.assign(new Error('gone'), { code: 'ECONNRESET' })
    }
    expect(await rejection(ask(one, session.id, calendar))).toMatchObject({ reason: 'down' })
    Object.assign(state, { answer: undefined })
    await one.context.clock.pass(6_000)
    expect(await ask(one, session.id, calendar)).toBe('2:sub-alice:calendar')
  })
})

describe('what there is none of', () => {
  test('where the configuration says nothing of it, nobody is asked', async () => {
    const one = await node({}, {})
    const session = await begun(one)
    expect(await rejection(ask(one, session.id, calendar))).toMatchObject({ reason: 'none' })
    expect(state.requests).toEqual([])
  })

  test('refused, down, and answers that are something else: told apart, remembered for a moment, and the session stays', async () => {
    const refusals: [() => Response, UpstreamTokenUnavailable['reason']][] = [
      [() => Response.json({ error: 'invalid_target', error_description: 'at 10.0.0.7' }, { status: 400 }), 'refused'],
      [() => Response.json({ error: 'invalid_grant', suberror: 'consent_required' }, { status: 400 }), 'refused'],
      [() => Response.json({ error: 'invalid_client' }, { status: 401 }), 'down'],
      [() => new Response('down at 10.0.0.7', { status: 503 }), 'down'],
      [() => Response.json({ access_token: 7 }), 'down'],
      [() => Response.json({ access_token: 't', issued_token_type: type('refresh_token') }), 'down'],
      [() => new Response('no JSON'), 'down'],
    ]
    for (const [answer, reason] of refusals) {
      Object.assign(state, { answer, requests: [] })
      const one = await node()
      const session = await begun(one)
      const refused = await rejection(ask(one, session.id, calendar))
      expect(refused).toBeInstanceOf(UpstreamTokenUnavailable)
      expect([(refused as UpstreamTokenUnavailable).reason, String(refused)]).toEqual([
        reason,
        expect.not.stringContaining('10.0'),
      ])
      expect(await rejection(ask(one, session.id, calendar))).toMatchObject({ reason })
      expect(state.requests).toHaveLength(1)
      Object.assign(state, { answer: undefined })
      await one.context.clock.pass(70_000)
      expect(await ask(one, session.id, calendar)).toBe('2:sub-alice:calendar')
      expect(await one.custody.accessToken(session.id)).toBe(session.tokens?.accessToken)
    }
  })

  test('when the session has ended, what was kept is of no use', async () => {
    const one = await node()
    const session = await begun(one)
    await ask(one, session.id, calendar)
    await one.custody.release(session.id)
    expect(await one.custody.identity(session.id)).toBe('gone')
    expect((await one.context.records.list(upstreamExchanges, session.id)).values).toEqual([])
    const again = await begun(one)
    const kept = await one.custody.identity(again.id)
    if (typeof kept === 'string') throw new Error(kept)
    await kept.facts.accessToken?.(calendar)
    await one.custody.release(again.id)
    expect(await rejection(kept.facts.accessToken?.(calendar) ?? Promise.resolve())).toMatchObject({ reason: 'ended' })
  })
})

describe('other ways', () => {
  test('a token that comes when its session was erased meanwhile is not kept', async () => {
    const one = await node()
    const { id } = await begun(one)
    let answer = () => {}
    state.held = new Promise((resolve) => {
      answer = resolve
    })
    const late = ask(one, id, calendar).catch((error: unknown) => error)
    await expect.poll(() => state.requests).toHaveLength(1)
    await one.custody.erase(id)
    answer()
    expect(await late).toBeInstanceOf(UpstreamTokenUnavailable)
    expect((await one.context.records.list(upstreamExchanges, id)).values).toEqual([])
  })

  test('ID-JAG: an assertion for another authorization server, of the id_token', async () => {
    const one = await node()
    const session = await begun(one)
    const target = {
      kind: 'id_jag',
      audience: 'https://chat.example.com',
      resource: 'https://mcp.example.com',
    } as const
    state.answer = () =>
      Response.json({ access_token: 'a.b.c', token_type: 'N_A', issued_token_type: type('id-jag'), expires_in: 300 })
    expect(await ask(one, session.id, target)).toBe('a.b.c')
    expect(Object.fromEntries(state.requests[0]?.form ?? [])).toEqual({
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token: session.tokens?.idToken,
      subject_token_type: type('id_token'),
      requested_token_type: type('id-jag'),
      audience: 'https://chat.example.com',
      resource: 'https://mcp.example.com',
    })
    const other = await begun(one)
    state.answer = () => Response.json({ access_token: 'an access token', issued_token_type: type('access_token') })
    expect(await rejection(ask(one, other.id, target))).toMatchObject({ reason: 'down' })
  })

  test('Entra: its on-behalf-of flow, and never `resource`', async () => {
    const one = await node({}, { onBehalfOf: 'jwt_bearer' })
    const session = await begun(one)
    const scopes = ['https://graph.microsoft.com/Mail.Read']
    expect(await ask(one, session.id, { scopes })).toBe('1:sub-alice:https://graph.microsoft.com/Mail.Read')
    expect(Object.fromEntries(state.requests[0]?.form ?? [])).toEqual({
      grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
      assertion: session.tokens?.accessToken,
      requested_token_use: 'on_behalf_of',
      scope: 'https://graph.microsoft.com/Mail.Read',
    })
    const preset = entra({ clientId: 'me', clientSecret: 's', tenants: 'organizations' })
    expect(redirecting(preset.open(await testContext())).exchange).toBeDefined()
  })
})
