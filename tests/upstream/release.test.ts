import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { sessionBrowserRef } from '../../src/records/browser-session.ts'
import { type AuthorizationGrant, grantRef, sessionGrantRef } from '../../src/records/grant.ts'
import { pendingRevocations } from '../../src/records/pending-revocation.ts'
import { put, type Unit } from '../../src/records/records.ts'
import type { UpstreamTokens } from '../../src/records/upstream-session.ts'
import { createCustody } from '../../src/upstream/custody.ts'
import { ProviderUnavailable, type Renewal } from '../../src/upstream/provider.ts'
import { stopped } from '../store/movable-clock.ts'
import { type OidcProvider, startOidcProvider } from '../support/oidc-provider.ts'
import { rejection } from './context.ts'
import { account, custodyAt, hour, type Node } from './custody-at.ts'

let provider: OidcProvider
beforeAll(async () => {
  provider = await startOidcProvider()
})
afterAll(() => provider.stop())
afterEach(() => provider.control({ mode: 'normal', hold: false, listen: true, claims: {} }))

const { begun, userinfoStatus, sessionOf } = custodyAt(() => provider)

describe('release', () => {
  const grantOn = (session: string, id: string, more: Partial<AuthorizationGrant> = {}): AuthorizationGrant => ({
    id,
    kind: 'authorization',
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
  const write = async ({ context }: Node, session: string, id: string, more: Partial<AuthorizationGrant> = {}) => {
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

  test('a provider that is down hinders nobody; the tokens are put aside for another try', async () => {
    const first = await begun()
    const { context, custody, session, said } = first
    await provider.control({ listen: false })
    await custody.release(session.id)
    expect(await custody.identity(session.id)).toBe('gone')
    expect(await rejection(custody.accessToken(session.id))).toMatchObject({ reason: 'ended' })
    expect(context.events.at(-1)).toMatchObject({ type: 'upstream.failed', provider: 'openid', session: session.id })
    await provider.control({ listen: true })
    expect(await userinfoStatus(said.tokens?.accessToken ?? '')).toBe(200)
    await custody.release(session.id)
    await context.clock.pass((await custody.revokePending()) ?? 0)
    expect(await custody.revokePending()).toBeUndefined()
    expect(await userinfoStatus(said.tokens?.accessToken ?? '')).toBe(401)
    expect(await custody.hasPending()).toBe(false)
  })

  test('a server that dies while it asks the provider leaves the tokens to the others, and nobody gets them meanwhile', async () => {
    const first = await begun({}, { clock: stopped() })
    const { context, session, said, named } = first
    if (named.open.kind !== 'redirect') throw new Error('unexpected')
    const dying = createCustody(context, [{ ...named, open: { ...named.open, revoke: () => new Promise(() => {}) } }])
    const browser = sessionBrowserRef(session.id, 'cookie')
    await context.records.commit({ puts: [put(browser, {})] })
    void dying.release(session.id)
    await expect.poll(() => first.custody.hasPending()).toBe(true)
    const other = createCustody(context, [named])
    expect(await rejection(other.accessToken(session.id))).toMatchObject({ reason: 'ended' })
    expect((await sessionOf(first, session.id))?.tokens).toBeUndefined()
    // It may be alive still, so long.
    expect(await other.revokePending()).toBe(60_000)
    expect(await userinfoStatus(said.tokens?.accessToken ?? '')).toBe(200)
    await context.clock.pass(60_000)
    expect(await other.revokePending()).toBeUndefined()
    expect(await userinfoStatus(said.tokens?.accessToken ?? '')).toBe(401)
  })

  test('a grant that is made while a session is released keeps it whole', async () => {
    const first = await begun()
    const { context, custody, session, said } = first
    const { commit } = context.records
    let raced = false
    const records = {
      ...context.records,
      commit: async (unit: Unit) => {
        if (!raced) {
          raced = true
          const held = await custody.hold(session.id)
          if (!held) throw new Error('nothing to hold')
          const grant = grantOn(session.id, 'grant-1')
          const puts = [held.put, put(grantRef('grant-1'), grant), put(sessionGrantRef(session.id, 'grant-1'), {})]
          expect((await commit({ unchanged: [held.unchanged], puts })).committed).toBe(true)
        }
        return commit(unit)
      },
    }
    await createCustody({ ...context, records }, [first.named]).release(session.id)
    expect(raced).toBe(true)
    expect(await custody.accessToken(session.id)).toBe(said.tokens?.accessToken)
    expect(await custody.hasPending()).toBe(false)
    expect(await userinfoStatus(said.tokens?.accessToken ?? '')).toBe(200)
  })

  test('a renewal whose answer comes after the release does not bring the session back, and its tokens are revoked', async () => {
    const first = await begun()
    const { context, custody, session } = first
    const browser = sessionBrowserRef(session.id, 'cookie')
    await context.records.commit({ puts: [put(browser, {})] })
    await context.clock.pass(hour)
    const refreshes = async () => (await provider.requests()).refresh_token ?? 0
    const before = await refreshes()
    await provider.control({ hold: true })
    const asked = rejection(custody.accessToken(session.id))
    await expect.poll(refreshes).toBe(before + 1)
    await custody.release(session.id)
    await provider.control({ hold: false })
    expect(await asked).toMatchObject({ reason: 'ended' })
    expect(await sessionOf(first, session.id)).toMatchObject({ generation: 0, ended: { reason: 'released' } })
    await expect.poll(() => context.events.filter(({ type }) => type === 'upstream.revoked').length).toBe(2)
    await expect.poll(() => custody.hasPending()).toBe(false)
  })

  test('tokens that come after the release while the provider takes none back are put aside, too', async () => {
    const first = await begun()
    const { context, session, named } = first
    if (named.open.kind !== 'redirect') throw new Error('unexpected')
    let answer = () => {}
    const state = { asked: false, away: true, revoked: [] as (string | undefined)[] }
    const tokens = { accessToken: 'late', refreshToken: 'too late' }
    const open = {
      ...named.open,
      refresh: () =>
        new Promise<Renewal>((resolve) => {
          state.asked = true
          answer = () => resolve({ tokens, said: [] })
        }),
      revoke: async ({ accessToken }: UpstreamTokens) => {
        if (state.away) throw new ProviderUnavailable('out of reach')
        state.revoked.push(accessToken)
        return 'revoked' as const
      },
    }
    const custody = createCustody(context, [{ ...named, open }])
    await context.clock.pass(hour)
    const asked = rejection(custody.accessToken(session.id))
    await expect.poll(() => state.asked).toBe(true)
    await custody.release(session.id)
    answer()
    expect(await asked).toMatchObject({ reason: 'ended' })
    // Both those that the session had and those that came.
    const aside = async () => (await context.records.list(pendingRevocations, '')).values
    await expect.poll(async () => (await aside()).every(({ value }) => value.tries === 1)).toBe(true)
    expect(await aside()).toHaveLength(2)
    state.away = false
    await context.clock.pass(30_000)
    expect(await custody.revokePending()).toBeUndefined()
    expect(state.revoked.toSorted()).toEqual([first.said.tokens?.accessToken, 'late'].toSorted())
    expect(await aside()).toEqual([])
  })
})
