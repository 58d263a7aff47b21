import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { Account } from '../../src/records/account.ts'
import { sessionBrowserRef } from '../../src/records/browser-session.ts'
import { type Grant, grantRef, sessionGrantRef } from '../../src/records/grant.ts'
import { put } from '../../src/records/records.ts'
import { upstreamSessionRef } from '../../src/records/upstream-session.ts'
import { type CustodyOptions, createCustody } from '../../src/upstream/custody.ts'
import { openid } from '../../src/upstream/openid.ts'
import {
  type ClaimsSchema,
  type NamedProvider,
  type RedirectProvider,
  type Renewal,
  type SignIn,
  UpstreamRefused,
} from '../../src/upstream/provider.ts'
import { type OidcProvider, oidcSubject, signInAt, startOidcProvider } from '../support/oidc-provider.ts'
import { unreliable } from '../support/unreliable-store.ts'
import { named, plainRequest, redirecting, redirectUri, rejection, type TestContext, testContext } from './context.ts'

const account: Account = { id: 'account-1', subject: 'account-1', createdAt: 0, identities: [] }
const hour = 3_600_000

let provider: OidcProvider
beforeAll(async () => {
  provider = await startOidcProvider()
})
afterAll(() => provider.stop())
afterEach(() => provider.control({ mode: 'normal', delay: 0, listen: true, claims: {} }))

interface Node {
  readonly context: TestContext
  readonly named: NamedProvider
  readonly open: RedirectProvider
  readonly custody: ReturnType<typeof createCustody>
}

/** A node of the cluster that stands on the same store. */
const node = async (
  shared: Parameters<typeof testContext>[0] = {},
  { claims, ...options }: CustodyOptions & { claims?: ClaimsSchema<unknown> } = {},
): Promise<Node> => {
  const context = await testContext(shared)
  const { issuer, clientId, clientSecret } = provider
  const scopes = ['openid', 'profile', 'email', 'groups']
  const configured = openid({ issuer, clientId, clientSecret, scopes, ...(claims ? { claims } : {}) })
  const provided = named(configured, context)
  const custody = createCustody(context, [provided], options)
  return { context, named: provided, open: redirecting(provided.open), custody }
}

const signIn = async ({ open }: Node, login = 'alice'): Promise<SignIn> => {
  const { url, pending } = await open.begin(plainRequest)
  return open.complete(new URL(await signInAt(url, { login })), pending, redirectUri)
}

const begun = async (options: CustodyOptions = {}, shared = {}) => {
  const first = await node(shared, options)
  const said = await signIn(first)
  const session = await first.custody.begin(account, 'openid', said)
  return { ...first, said, session }
}

const refreshes = async () => (await provider.requests()).refresh_token ?? 0

/** Works with a token of the provider's, or it does not. */
const userinfoStatus = async (token: string) =>
  (await fetch(`${provider.issuer}/me`, { headers: { authorization: `Bearer ${token}` } })).status

const sessionOf = async ({ context }: Node, id: string) =>
  (await context.records.get(upstreamSessionRef(id))).values[0]?.value

describe('what was said', () => {
  test('design 1: the session is the home of what the provider said, sealed, and identity reads it from there', async () => {
    const { context, custody, session, said } = await begun()
    const identified = await custody.identity(session.id)
    if (typeof identified === 'string') throw new Error(identified)
    expect(identified.facts).toMatchObject({
      provider: 'openid',
      issuer: provider.issuer,
      subject: oidcSubject('alice'),
      claims: {
        iss: provider.issuer,
        sub: oidcSubject('alice'),
        email: 'alice@example.com',
        groups: ['people', 'team-alice'],
      },
    })
    expect(await identified.facts.accessToken?.()).toBe(said.tokens?.accessToken)
    expect(JSON.stringify(identified.facts)).not.toContain(said.tokens?.accessToken)
    const kept = (await context.store.get([upstreamSessionRef(session.id).key])).entries[0]?.value
    const bytes = Buffer.from(kept ?? []).toString('latin1')
    expect(bytes).not.toMatch(/alice|example\.com/)
    expect(bytes).not.toContain(said.tokens?.refreshToken)
  })

  test('another node, and a new process, see the same', async () => {
    const first = await begun()
    const second = await node(first.context)
    const [here, there] = await Promise.all([
      first.custody.identity(first.session.id),
      second.custody.identity(first.session.id),
    ])
    expect(JSON.stringify(there)).toBe(JSON.stringify(here))
  })

  test('design 2: a schema adds and checks, and drops nothing; who no longer satisfies it must sign in again', async () => {
    const first = await begun()
    const email = z.object({ email: z.string().transform((text) => text.toUpperCase()) })
    const typed = await node(first.context, { claims: email })
    const identified = await typed.custody.identity(first.session.id)
    expect(identified).toMatchObject({ facts: { claims: { email: 'ALICE@EXAMPLE.COM', name: 'Alice Example' } } })
    const stricter = await node(first.context, { claims: z.object({ employee: z.string() }) })
    expect(await stricter.custody.identity(first.session.id)).toBe('schema')
  })

  test('a session that is not there, or of a provider that is gone', async () => {
    const first = await begun()
    expect(await first.custody.identity('another')).toBe('gone')
    expect(await createCustody(first.context, []).identity(first.session.id)).toBe('gone')
    expect(await rejection(first.custody.accessToken('another'))).toMatchObject({ reason: 'ended' })
  })

  test('a sign-in without tokens has none', async () => {
    const first = await node()
    const { tokens: _none, ...said } = await signIn(first)
    const session = await first.custody.begin(account, 'openid', said)
    const identified = await first.custody.identity(session.id)
    expect(typeof identified === 'string' ? identified : identified.facts.accessToken).toBeUndefined()
    expect(await rejection(first.custody.accessToken(session.id))).toMatchObject({ reason: 'none' })
  })
})

describe('renewal', () => {
  test('fault 2, design 3, upstream: 20 callers on 4 nodes make one refresh, and all get the token that works', async () => {
    const first = await begun()
    const nodes = [first, await node(first.context), await node(first.context), await node(first.context)]
    const before = await refreshes()
    await first.context.clock.pass(hour)
    await provider.control({ delay: 200 })
    const callers = nodes.flatMap(({ custody }) =>
      Array.from({ length: 5 }, () => custody.accessToken(first.session.id)),
    )
    const tokens = new Set(await Promise.all(callers))
    expect(await refreshes()).toBe(before + 1)
    expect(tokens.size).toBe(1)
    const [token = ''] = tokens
    expect(token).not.toBe(first.said.tokens?.accessToken)
    expect(await userinfoStatus(token)).toBe(200)
    expect(await sessionOf(first, first.session.id)).toMatchObject({ generation: 1 })
    expect(await first.custody.accessToken(first.session.id)).toBe(token)
    expect(await refreshes()).toBe(before + 1)
  })

  test('renewed again and again, with what the provider says anew', async () => {
    const { custody, context, session } = await begun()
    for (let round = 1; round <= 3; round++) {
      await context.clock.pass(hour)
      await provider.control({ claims: { alice: { groups: [`round-${round}`] } } })
      await custody.accessToken(session.id)
      const identified = await custody.identity(session.id)
      expect(identified).toMatchObject({
        session: { generation: round },
        facts: { subject: oidcSubject('alice'), claims: { groups: [`round-${round}`], name: 'Alice Example' } },
      })
    }
  })

  test('shortly before its end a token is renewed by one, and the others don’t wait', async () => {
    const first = await begun()
    const second = await node(first.context)
    const old = first.said.tokens?.accessToken
    await first.context.clock.pass(hour - 10_000)
    await provider.control({ delay: 500 })
    const renewing = first.custody.accessToken(first.session.id)
    await expect.poll(async () => (await sessionOf(first, first.session.id))?.renewal).toBeDefined()
    expect(await second.custody.accessToken(first.session.id)).toBe(old)
    expect(await renewing).not.toBe(old)
  })

  test('fault 4, design 3, upstream: while the provider is down the session stays, and goes on when it is back', async () => {
    for (const trouble of [{ listen: false }, { mode: 'error' }, { mode: 'invalid_client' }] as const) {
      const first = await begun()
      await first.context.clock.pass(hour)
      await provider.control(trouble)
      expect(await rejection(first.custody.accessToken(first.session.id))).toMatchObject({ reason: 'down' })
      const second = await node(first.context)
      const started = performance.now()
      expect(await rejection(second.custody.accessToken(first.session.id))).toMatchObject({ reason: 'down' })
      expect(performance.now() - started, 'nobody asks again at once').toBeLessThan(2_000)
      expect(await second.custody.identity(first.session.id)).toMatchObject({
        facts: { claims: { name: 'Alice Example' } },
      })
      expect(first.context.events.map(({ type }) => type)).toContain('upstream.failed')
      await provider.control({ mode: 'normal', listen: true })
      await first.context.clock.pass(10_000)
      const token = await second.custody.accessToken(first.session.id)
      expect(await userinfoStatus(token), JSON.stringify(trouble)).toBe(200)
      expect((await sessionOf(first, first.session.id))?.uncertainSince).toBeUndefined()
    }
  })

  test('a provider that is down takes nothing from a token that is still good', async () => {
    const { custody, context, session, said } = await begun()
    await context.clock.pass(hour - 10_000)
    await provider.control({ mode: 'error' })
    for (let call = 0; call < 3; call++) expect(await custody.accessToken(session.id)).toBe(said.tokens?.accessToken)
  })

  test('design 3, upstream: invalid_grant is a "no" only where no answer was lost before it', async () => {
    const refused = await begun()
    if (!refused.said.tokens) throw new Error('no tokens')
    await refused.open.revoke?.(refused.said.tokens)
    await refused.context.clock.pass(hour)
    expect(await rejection(refused.custody.accessToken(refused.session.id))).toMatchObject({ reason: 'ended' })
    expect(await sessionOf(refused, refused.session.id)).toMatchObject({ ended: { reason: 'refused' } })

    const lost = await begun()
    await lost.context.clock.pass(hour)
    await provider.control({ mode: 'lose' })
    expect(await rejection(lost.custody.accessToken(lost.session.id))).toMatchObject({ reason: 'down' })
    await provider.control({ mode: 'normal' })
    await lost.context.clock.pass(10_000)
    const before = await refreshes()
    expect(await rejection(lost.custody.accessToken(lost.session.id))).toMatchObject({ reason: 'ended' })
    expect(await sessionOf(lost, lost.session.id)).toMatchObject({ ended: { reason: 'outcome_unknown' } })
    // It ended cleanly: no loop, and still it says who the person is.
    expect(await rejection(lost.custody.accessToken(lost.session.id))).toMatchObject({ reason: 'ended' })
    expect(await refreshes()).toBe(before + 1)
    expect(await lost.custody.identity(lost.session.id)).toMatchObject({
      session: { ended: { reason: 'outcome_unknown' } },
    })
    expect(lost.context.events.filter(({ type }) => type === 'upstream.ended')).toMatchObject([
      { reason: 'outcome_unknown' },
    ])
  })

  test('design 3, upstream: late answers. The first is taken, the second is not, and both callers get the one that is kept', async () => {
    const lasting = await startOidcProvider({ rotate: false })
    try {
      const context = await testContext()
      const { issuer, clientId, clientSecret } = lasting
      const nodes = [context, await testContext(context)].map((each) => {
        const provided = named(openid({ issuer, clientId, clientSecret }), each)
        // Too short on purpose: the second asks while the first still waits.
        return { open: redirecting(provided.open), custody: createCustody(each, [provided], { lease: 300 }) }
      })
      const [first, second] = nodes
      if (!first || !second) throw new Error('two nodes')
      const { url, pending } = await first.open.begin(plainRequest)
      const said = await first.open.complete(new URL(await signInAt(url)), pending, redirectUri)
      const { id } = await first.custody.begin(account, 'openid', said)
      await context.clock.pass(hour)
      await lasting.control({ delay: 1_000 })
      const early = first.custody.accessToken(id)
      await new Promise((resolve) => setTimeout(resolve, 500))
      const [kept, read] = await Promise.all([early, second.custody.accessToken(id)])
      expect((await lasting.requests()).refresh_token).toBe(2)
      expect(read).toBe(kept)
      const { values } = await context.records.get(upstreamSessionRef(id))
      expect(values[0]?.value).toMatchObject({ generation: 1, tokens: { accessToken: kept } })
    } finally {
      await lasting.stop()
    }
  })

  test('design 3, upstream: a late answer brings back what a second attempt took for ended', async () => {
    const answers: { resolve: (renewal: Renewal) => void; reject: (error: Error) => void }[] = []
    const slow: RedirectProvider = {
      kind: 'redirect',
      begin: () => Promise.reject(new Error('not here')),
      complete: () => Promise.reject(new Error('not here')),
      refresh: () => new Promise((resolve, reject) => answers.push({ resolve, reject })),
    }
    const context = await testContext()
    const providers = [{ id: 'slow', name: 'Slow', open: slow }]
    const [first, second] = [context, await testContext(context)].map((each) => createCustody(each, providers))
    if (!first || !second) throw new Error('two nodes')
    const tokens = { accessToken: 'old', refreshToken: 'refresh', expiresAt: context.clock.now() + 1_000 }
    const person = { issuer: 'https://slow.example.com', subject: 'one', authTime: 0, said: [] }
    const { id } = await first.begin(account, 'slow', { ...person, tokens })
    await context.clock.pass(2_000)
    const late = first.accessToken(id)
    await expect.poll(() => answers.length).toBe(1)
    await context.clock.pass(46_000)
    const refused = rejection(second.accessToken(id))
    await expect.poll(() => answers.length).toBe(2)
    answers[1]?.reject(new UpstreamRefused('the refresh token is used up'))
    expect(await refused).toMatchObject({ reason: 'ended' })
    const ended = await second.identity(id)
    expect(ended).toMatchObject({ session: { ended: { reason: 'outcome_unknown' } } })
    answers[0]?.resolve({ tokens: { accessToken: 'new', refreshToken: 'refresh-2' }, said: [] })
    expect(await late).toBe('new')
    expect(await second.accessToken(id)).toBe('new')
  })

  test('a process that ended in the middle holds the others up for its lease only', async () => {
    const first = await begun({ lease: 1_000 })
    const { custody, context, session } = first
    const { values, now } = await context.records.get(upstreamSessionRef(session.id))
    const [stored] = values
    if (!stored) throw new Error('gone')
    const abandoned = { ...stored.value, renewal: { attempt: 'of a process that is gone', until: now + 1_000 + hour } }
    await context.records.commit({ unchanged: [stored], puts: [put(stored.ref, abandoned)] })
    await context.clock.pass(hour)
    const started = performance.now()
    expect(await userinfoStatus(await custody.accessToken(session.id))).toBe(200)
    expect(performance.now() - started).toBeGreaterThan(500)
    expect(await sessionOf(first, session.id)).toMatchObject({ generation: 1 })
  })

  test('a commit whose answer was lost, and a store that is away for a moment, cost no session', async () => {
    for (const mishap of ['applied, answer lost', 'lost'] as const) {
      const context = await testContext()
      const store = unreliable(context.store)
      const first = await begun({}, { clock: context.clock, store })
      await context.clock.pass(hour)
      // The first commit takes the lease, the second writes the new tokens.
      await provider.control({ delay: 100 })
      const asked = first.custody.accessToken(first.session.id)
      await expect.poll(async () => (await sessionOf(first, first.session.id))?.renewal).toBeDefined()
      store.mishaps.push(mishap)
      const token = await asked
      expect(await userinfoStatus(token), mishap).toBe(200)
      await context.clock.pass(hour)
      expect(await userinfoStatus(await first.custody.accessToken(first.session.id)), mishap).toBe(200)
    }
  })

  test('design 6: our own store away is "down", not "ended"', async () => {
    const context = await testContext()
    const store = unreliable(context.store)
    const { custody, session } = await begun({}, { clock: context.clock, store })
    store.down = true
    expect(await rejection(custody.accessToken(session.id))).toMatchObject({ reason: 'down' })
    expect(await rejection(custody.identity(session.id))).toMatchObject({ name: 'StoreUnavailable' })
  })

  test('tokens that live a second are no endless loop', async () => {
    const brief = await startOidcProvider({ accessTokenLifetime: 1 })
    try {
      const context = await testContext()
      const { issuer, clientId, clientSecret } = brief
      const provided = named(openid({ issuer, clientId, clientSecret }), context)
      const custody = createCustody(context, [provided])
      const { url, pending } = await redirecting(provided.open).begin(plainRequest)
      const said = await redirecting(provided.open).complete(new URL(await signInAt(url)), pending, redirectUri)
      const session = await custody.begin(account, 'openid', said)
      await context.clock.pass(2_000)
      await custody.accessToken(session.id)
      expect((await brief.requests()).refresh_token).toBe(1)
    } finally {
      await brief.stop()
    }
  })
})

describe('release', () => {
  const grantOn = (session: string, id: string, more: Partial<Grant> = {}): Grant => ({
    id,
    kind: 'user',
    issuer: 'https://auth.example.com',
    account: account.id,
    subject: account.subject,
    clientId: 'client',
    redirectHost: 'localhost',
    resources: {},
    upstreamSession: session,
    authTime: 0,
    createdAt: Date.now(),
    expiresAt: Date.now() + 48 * hour,
    code: {
      hash: '',
      redirectUri: '',
      codeChallenge: '',
      expiresAt: Date.now() + 60_000,
      redeemed: { attempt: 'a', at: 0 },
    },
    ...more,
  })
  const write = async ({ context }: Node, session: string, id: string, more: Partial<Grant> = {}) => {
    const grant = grantOn(session, id, more)
    await context.records.commit({ puts: [put(grantRef(id), grant), put(sessionGrantRef(session, id), {})] })
  }

  test('fault 6, design 3, upstream: the tokens are revoked there when the last grant ends, and not before', async () => {
    const first = await begun()
    const { context, custody, session, said } = first
    await write(first, session.id, 'grant-1')
    await write(first, session.id, 'grant-2')
    await custody.release(session.id)
    await context.records.commit({ deletes: [grantRef('grant-1'), sessionGrantRef(session.id, 'grant-1')] })
    await custody.release(session.id)
    expect(await userinfoStatus(said.tokens?.accessToken ?? '')).toBe(200)
    await context.records.commit({ deletes: [grantRef('grant-2')] })
    await custody.release(session.id)
    expect(await userinfoStatus(said.tokens?.accessToken ?? '')).toBe(401)
    expect(await custody.identity(session.id)).toBe('gone')
    expect(context.events.filter(({ type }) => type === 'upstream.revoked')).toHaveLength(1)
    await custody.release(session.id)
  })

  test('more grants than one page of the index are all looked at', async () => {
    const first = await begun()
    await write(first, first.session.id, 'zz-the-last')
    for (let i = 0; i < 205; i++) {
      const puts = [put(sessionGrantRef(first.session.id, `dead-${String(i).padStart(3, '0')}`), {})]
      await first.context.records.commit({ puts })
    }
    await first.custody.release(first.session.id)
    expect(await first.custody.identity(first.session.id)).not.toBe('gone')
  })

  test('a grant whose code may still be redeemed holds the session; one whose code ran out does not', async () => {
    const first = await begun()
    const code = { hash: '', redirectUri: '', codeChallenge: '', expiresAt: Date.now() + 60_000 }
    await write(first, first.session.id, 'grant-1', { code })
    await first.custody.release(first.session.id)
    expect(await first.custody.identity(first.session.id)).not.toBe('gone')
    await first.context.clock.pass(61_000)
    await first.custody.release(first.session.id)
    expect(await first.custody.identity(first.session.id)).toBe('gone')
  })

  test('a browser that stands on the session keeps who it is, without tokens', async () => {
    const first = await begun()
    const { context, custody, session, said } = first
    const browser = sessionBrowserRef(session.id, 'cookie')
    await context.records.commit({ puts: [put(browser, {})] })
    await custody.release(session.id)
    expect(await userinfoStatus(said.tokens?.accessToken ?? '')).toBe(401)
    expect(await custody.identity(session.id)).toMatchObject({ session: { ended: { reason: 'released' } } })
    expect(await rejection(custody.accessToken(session.id))).toMatchObject({ reason: 'ended' })
    await context.records.commit({ deletes: [browser] })
    await custody.release(session.id)
    expect(await custody.identity(session.id)).toBe('gone')
  })

  test('a provider that is down hinders nobody; the tokens are kept for another try', async () => {
    const first = await begun()
    await provider.control({ listen: false })
    await first.custody.release(first.session.id)
    expect(await rejection(first.custody.accessToken(first.session.id))).toMatchObject({ reason: 'ended' })
    expect(first.context.events.at(-1)).toMatchObject({ type: 'upstream.failed', provider: 'openid' })
    await provider.control({ listen: true })
    expect(await userinfoStatus(first.said.tokens?.accessToken ?? '')).toBe(200)
    await first.custody.release(first.session.id)
    expect(await userinfoStatus(first.said.tokens?.accessToken ?? '')).toBe(401)
    expect(await first.custody.identity(first.session.id)).toBe('gone')
  })

  test('a renewal whose answer comes after the release does not bring the session back, and its tokens are revoked', async () => {
    const first = await begun()
    const { context, custody, session } = first
    const browser = sessionBrowserRef(session.id, 'cookie')
    await context.records.commit({ puts: [put(browser, {})] })
    await context.clock.pass(hour)
    await provider.control({ delay: 800 })
    const asked = rejection(custody.accessToken(session.id))
    await expect.poll(async () => (await provider.requests()).refresh_token).toBeGreaterThan(0)
    await new Promise((resolve) => setTimeout(resolve, 200))
    await custody.release(session.id)
    expect(await asked).toMatchObject({ reason: 'ended' })
    expect(await sessionOf(first, session.id)).toMatchObject({ generation: 0, ended: { reason: 'released' } })
    await expect.poll(() => context.events.filter(({ type }) => type === 'upstream.revoked').length).toBe(2)
  })
})
