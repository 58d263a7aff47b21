import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { sessionBrowserRef } from '../../src/records/browser-session.ts'
import { type AuthorizationGrant, grantRef, sessionGrantRef } from '../../src/records/grant.ts'
import { put } from '../../src/records/records.ts'
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
  })
})
