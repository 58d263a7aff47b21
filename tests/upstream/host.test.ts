import { expect, test } from 'vitest'
import { google } from '../../src/upstream/google.ts'
import { type HostSessionOptions, hostSession, type IdentifyHostSession } from '../../src/upstream/host.ts'
import { refreshedValue } from '../../src/upstream/refreshed-value.ts'
import { redirecting, rejection, testContext } from './context.ts'

const open = async (identify: IdentifyHostSession, options: HostSessionOptions = {}) => {
  const provider = hostSession(identify, options).open(await testContext())
  if (provider.kind !== 'host') throw new Error(provider.kind)
  return provider
}
const request = new Request('https://auth.example.com/sign-in', { headers: { cookie: 'host=1' } })
const asked = { returnTo: 'https://auth.example.com/back', reauthenticate: false }

test('the host’s user: its subject, its claims as they are, an issuer of its own', async () => {
  const identify: IdentifyHostSession = ({ headers }) => ({
    subject: `user-${headers.get('cookie')}`,
    authTime: 1_000,
    claims: { email: 'one@example.com', groups: ['a'], roles: ['b'] },
  })
  const signIn = await (await open(identify)).identify(request, asked)
  expect(signIn).toMatchObject({
    issuer: 'https://auth.example.com/upstream/host',
    subject: 'user-host=1',
    authTime: 1_000,
    said: [{ source: 'host', claims: { email: 'one@example.com', groups: ['a'], roles: ['b'] } }],
  })
  const named = await open(identify, { issuer: 'https://www.example.com', id: 'site' })
  expect(await named.identify(request, asked)).toMatchObject({ issuer: 'https://www.example.com' })
})

test('the host’s own response signs in, and is told where to return to', async () => {
  const provider = await open(async (_request, { returnTo, reauthenticate }) =>
    Response.redirect(`https://www.example.com/login?next=${encodeURIComponent(returnTo)}&again=${reauthenticate}`),
  )
  const response = await provider.identify(request, { ...asked, reauthenticate: true })
  if (!(response instanceof Response)) throw new Error('no response')
  expect(response.headers.get('location')).toBe(
    'https://www.example.com/login?next=https%3A%2F%2Fauth.example.com%2Fback&again=true',
  )
})

test('without the time of the host’s sign-in nobody counts as having signed in again', async () => {
  const provider = await open(() => ({ subject: 'one' }))
  expect(await provider.identify(request, asked)).toMatchObject({ subject: 'one', authTimeAssumed: true })
  const refused = await rejection(provider.identify(request, { ...asked, reauthenticate: true }))
  expect(refused).toMatchObject({ name: 'SignInRefused', reason: 'interaction_required' })
})

test('attack: a time of the future, such as one in milliseconds, is none either', async () => {
  const provider = await open(() => ({ subject: 'one', authTime: Date.now() }))
  const signIn = await provider.identify(request, asked)
  if (signIn instanceof Response) throw new Error('a response')
  expect(signIn.authTimeAssumed).toBe(true)
  expect(signIn.authTime).toBeLessThanOrEqual(Date.now() / 1000)
  const refused = await rejection(provider.identify(request, { ...asked, reauthenticate: true }))
  expect(refused).toMatchObject({ reason: 'interaction_required' })
})

test('an answer without a subject is a mistake of the host’s, and nobody', async () => {
  for (const answer of [undefined, null, {}, { subject: '' }, { subject: 7 }, 'one']) {
    const provider = await open((() => answer) as unknown as IdentifyHostSession)
    expect(await rejection(provider.identify(request, asked))).toBeInstanceOf(TypeError)
  }
})

test('what the host changes in its object later changes nothing', async () => {
  const claims = { groups: ['a'] }
  const provider = await open(() => ({ subject: 'one', claims }))
  const signIn = await provider.identify(request, asked)
  claims.groups.push('admin')
  expect(signIn).toMatchObject({ said: [{ claims: { groups: ['a'] } }] })
})

test('Google: offline, asked for consent, and nothing is revoked there', async () => {
  const urls: string[] = []
  const metadata = {
    issuer: 'https://accounts.google.com',
    authorization_endpoint: 'https://accounts.google.com/o/oauth2/v2/auth',
    token_endpoint: 'https://oauth2.googleapis.com/token',
    jwks_uri: 'https://www.googleapis.com/oauth2/v3/certs',
    response_types_supported: ['code'],
  }
  const context = await testContext({
    fetch: async (url) => {
      urls.push(String(url))
      return Response.json(metadata)
    },
  })
  const provider = google({ clientId: 'me', clientSecret: 'secret', domain: 'example.com' })
  expect(provider).toMatchObject({ id: 'google', name: 'Google' })
  const opened = redirecting(provider.open(context))
  const { url } = await opened.begin({
    redirectUri: 'https://auth.example.com/callback/google',
    state: 's',
    reauthenticate: false,
    selectAccount: true,
  })
  expect(Object.fromEntries(new URL(url).searchParams)).toMatchObject({
    access_type: 'offline',
    prompt: 'consent select_account',
    hd: 'example.com',
    scope: 'openid profile email',
  })
  expect(urls).toEqual(['https://accounts.google.com/.well-known/openid-configuration'])
  expect(opened.revoke).toBeUndefined()
})

test('a value is loaded once, kept while it is fresh, and kept on where it can’t be had anew', async () => {
  const { clock } = await testContext()
  let loads = 0
  let fails = false
  const load = async () => {
    loads++
    await new Promise((resolve) => setTimeout(resolve, 5))
    if (fails) throw new Error('down')
    return loads
  }
  const value = refreshedValue(load, { clock, freshFor: 60_000, retryAfter: 10_000 })
  expect(new Set(await Promise.all(Array.from({ length: 20 }, value)))).toEqual(new Set([1]))
  await clock.pass(61_000)
  fails = true
  expect(await value()).toBe(1)
  expect(await value()).toBe(1)
  expect(loads).toBe(2)
  await clock.pass(11_000)
  fails = false
  expect(await value()).toBe(3)
})
