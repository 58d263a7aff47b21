import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { createAccessToken } from '../../src/identity/access-token.ts'
import { put } from '../../src/records/records.ts'
import { upstreamSessionRef } from '../../src/records/upstream-session.ts'
import { createCustody } from '../../src/upstream/custody.ts'
import { openid } from '../../src/upstream/openid.ts'
import {
  ProviderUnavailable,
  type RedirectProvider,
  type Renewal,
  UpstreamRefused,
} from '../../src/upstream/provider.ts'
import { type OidcProvider, oidcSubject, signInAt, startOidcProvider } from '../support/oidc-provider.ts'
import { unreliable } from '../support/unreliable-store.ts'
import { named, plainRequest, redirecting, redirectUri, rejection, testContext } from './context.ts'
import { account, custodyAt, hour, stored } from './custody-at.ts'

let provider: OidcProvider
beforeAll(async () => {
  provider = await startOidcProvider()
})
afterAll(() => provider.stop())
afterEach(() => provider.control({ mode: 'normal', delay: 0, hold: false, listen: true, claims: {} }))

const { node, begun, signIn, refreshes, userinfoStatus, sessionOf } = custodyAt(() => provider)

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
    // Each was read at a time of its own.
    const read = (identified: typeof here) => JSON.stringify({ ...Object(identified), now: undefined })
    expect(read(there)).toBe(read(here))
    expect(there).toHaveProperty('session.id', first.session.id)
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

  test('a handler gets the token with its scopes and its expiry, which are those of the renewed one after a renewal', async () => {
    const { custody, context, session, said } = await begun()
    const upstream = async () => {
      const identified = await custody.identity(session.id)
      if (typeof identified === 'string') throw new Error(identified)
      const token = createAccessToken({
        ...{ token: 't', kind: 'user', issuer: 'i', subject: 's', clientId: 'c', scopes: [], resource: 'r' },
        ...{ expiresAt: 0, claims: {}, upstream: identified.facts },
      })
      if (!token.upstream) throw new Error('nobody')
      return token.upstream
    }
    const seconds = (milliseconds: number) => Math.floor(milliseconds / 1000)
    const scopes = ['openid', 'profile', 'email', 'groups']
    const first = await (await upstream()).accessTokenDetails()
    expect(first).toEqual({ token: said.tokens?.accessToken, scopes, expiresAt: seconds(said.tokens?.expiresAt ?? 0) })
    await context.clock.pass(hour)
    const second = await (await upstream()).accessTokenDetails()
    expect(second).toMatchObject({ token: await (await upstream()).accessToken(), scopes })
    expect(second.token).not.toBe(first.token)
    expect(second.expiresAt).toBeGreaterThanOrEqual((first.expiresAt ?? 0) + seconds(hour))
    expect(JSON.stringify(await upstream())).not.toContain(second.token)
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
    await provider.control({ hold: true })
    const renewing = first.custody.accessToken(first.session.id)
    await expect.poll(async () => (await sessionOf(first, first.session.id))?.renewal).toBeDefined()
    expect(await second.custody.accessToken(first.session.id)).toBe(old)
    await provider.control({ hold: false })
    expect(await renewing).not.toBe(old)
  })

  test('fault 4, design 3, upstream: while the provider is down the session stays, and goes on when it is back', async () => {
    for (const trouble of [{ listen: false }, { mode: 'error' }, { mode: 'invalid_client' }] as const) {
      const first = await begun()
      await first.context.clock.pass(hour)
      await provider.control(trouble)
      expect(await rejection(first.custody.accessToken(first.session.id))).toMatchObject({ reason: 'down' })
      const second = await node(first.context)
      // What says no is counted, too; who can't be reached can't be asked for the number.
      const tokenRequests = async () => {
        const { failed = 0, refused = 0 } = await provider.requests()
        return failed + refused
      }
      const asked = 'mode' in trouble ? await tokenRequests() : undefined
      expect(await rejection(second.custody.accessToken(first.session.id))).toMatchObject({ reason: 'down' })
      if (asked !== undefined) expect(await tokenRequests(), 'nobody asks again at once').toBe(asked)
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
      await stored(context)
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
      await lasting.control({ hold: true })
      const refreshes = async () => (await lasting.requests()).refresh_token
      const early = first.custody.accessToken(id)
      await expect.poll(refreshes).toBe(1)
      const late = second.custody.accessToken(id)
      await expect.poll(refreshes).toBe(2)
      await lasting.control({ hold: false })
      const [kept, read] = await Promise.all([early, late])
      expect(await refreshes()).toBe(2)
      expect(read).toBe(kept)
      const { values } = await context.records.get(upstreamSessionRef(id))
      expect(values[0]?.value).toMatchObject({ generation: 1, tokens: { accessToken: kept } })
    } finally {
      await lasting.stop()
    }
  })

  /** Two nodes and a provider that answers a refresh when the test says so; its one session's token has run out. */
  const scripted = async () => {
    const answers: { resolve: (renewal: Renewal) => void; reject: (error: Error) => void }[] = []
    const slow: RedirectProvider = {
      kind: 'redirect',
      begin: () => Promise.reject(new Error('not here')),
      complete: () => Promise.reject(new Error('not here')),
      refresh: () => new Promise((resolve, reject) => answers.push({ resolve, reject })),
    }
    const context = await testContext()
    await stored(context)
    const providers = [{ id: 'slow', name: 'Slow', open: slow }]
    const [first, second] = [context, await testContext(context)].map((each) => createCustody(each, providers))
    if (!first || !second) throw new Error('two nodes')
    const tokens = { accessToken: 'old', refreshToken: 'refresh', expiresAt: context.clock.now() + 1_000 }
    const person = { issuer: 'https://slow.example.com', subject: 'one', authTime: 0, said: [] }
    const { id } = await first.begin(account, 'slow', { ...person, tokens })
    await context.clock.pass(2_000)
    return { answers, context, first, second, id }
  }

  /** The first node's answer is late, and a second attempt was refused meanwhile. */
  const overtaken = async () => {
    const all = await scripted()
    const { answers, context, first, second, id } = all
    const late = first.accessToken(id)
    late.catch(() => {})
    await expect.poll(() => answers.length).toBe(1)
    await context.clock.pass(46_000)
    const refused = rejection(second.accessToken(id))
    await expect.poll(() => answers.length).toBe(2)
    answers[1]?.reject(new UpstreamRefused('the refresh token is used up'))
    expect(await refused).toMatchObject({ reason: 'ended' })
    expect(await second.identity(id)).toMatchObject({ session: { ended: { reason: 'outcome_unknown' } } })
    return { ...all, late }
  }

  test('design 3, upstream: a late answer brings back what a second attempt took for ended', async () => {
    const { answers, late, second, id } = await overtaken()
    answers[0]?.resolve({ tokens: { accessToken: 'new', refreshToken: 'refresh-2' }, said: [] })
    expect(await late).toBe('new')
    expect(await second.accessToken(id)).toBe('new')
  })

  test('a late failure brings nothing back', async () => {
    const { answers, late, second, id } = await overtaken()
    answers[0]?.reject(new ProviderUnavailable('down'))
    expect(await rejection(late)).toMatchObject({ reason: 'ended' })
    expect(await second.identity(id)).toMatchObject({ session: { ended: { reason: 'outcome_unknown' } } })
  })

  test('a token that has run out when it comes is given as it is, and no endless loop', async () => {
    const { answers, context, first, id } = await scripted()
    const asked = first.accessToken(id)
    await expect.poll(() => answers.length).toBe(1)
    const tokens = { accessToken: 'brief', refreshToken: 'refresh-2', expiresAt: context.clock.now() - 1_000 }
    answers[0]?.resolve({ tokens, said: [] })
    expect(await asked).toBe('brief')
    expect(answers).toHaveLength(1)
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
    expect(await userinfoStatus(await custody.accessToken(session.id))).toBe(200)
    expect(context.clock.now()).toBeGreaterThanOrEqual(abandoned.renewal.until)
    expect(await sessionOf(first, session.id)).toMatchObject({ generation: 1 })
  })

  test('a commit whose answer was lost, and a store that is away for a moment, cost no session', async () => {
    for (const mishap of ['applied, answer lost', 'lost'] as const) {
      const context = await testContext()
      const store = unreliable(context.store)
      const first = await begun({}, { clock: context.clock, store })
      await context.clock.pass(hour)
      // The first commit takes the lease, the second writes the new tokens.
      await provider.control({ hold: true })
      const asked = first.custody.accessToken(first.session.id)
      await expect.poll(async () => (await sessionOf(first, first.session.id))?.renewal).toBeDefined()
      store.mishaps.push(mishap)
      await provider.control({ hold: false })
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
})
