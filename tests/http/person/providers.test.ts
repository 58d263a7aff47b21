import { expect, test } from 'vitest'
import type { HostProvider, SignIn } from '../../../src/upstream/provider.ts'
import type { TestBrowser } from '../../support/browser.ts'
import {
  authorizeUrl,
  type PersonServer,
  passwordProvider,
  personServer,
  type RedirectStandIn,
  redeemed,
  redirectProvider,
  signInAs,
  withProvider,
} from '../../support/person.ts'

/** Approves, and answers the address that the provider would send the browser back to. */
const away = async (to: PersonServer, idp: RedirectStandIn, browser: TestBrowser, parameters = {}, who = 'Alice') => {
  const { left } = await browser.submit(await browser.open(authorizeUrl(to, parameters)), 'approve')
  expect(left?.origin).toBe('https://idp.example')
  return `${to.issuer}/authorize/callback/idp?code=${who}&state=${idp.asked.at(-1)?.state}`
}

test('through a provider elsewhere to a code', async () => {
  const { to, idp } = await withProvider()
  const browser = to.browser()
  const back = await away(to, idp, browser, { login_hint: 'alice@example.org', max_age: '60' })
  expect(idp.asked[0]).toMatchObject({
    redirectUri: `${to.issuer}/authorize/callback/idp`,
    loginHint: 'alice@example.org',
    maxAge: 60,
    reauthenticate: false,
    selectAccount: false,
  })
  const { left } = await browser.open(back)
  expect(await redeemed(to, left)).toHaveProperty('access_token')
  expect((await browser.open(authorizeUrl(to))).left?.searchParams.has('code')).toBe(true)
})

test('prompt=login and select_account are passed on to the provider', async () => {
  const { to, idp } = await withProvider()
  await away(to, idp, to.browser(), { prompt: 'login' })
  await away(to, idp, to.browser(), { prompt: 'select_account' })
  expect(idp.asked).toMatchObject([{ reauthenticate: true }, { selectAccount: true }])
})

test('the callback needs the browser that began: another one gets a page and no code', async () => {
  const { to, idp } = await withProvider()
  const attacker = to.browser()
  const back = await away(to, idp, attacker)
  const victim = to.browser()
  await victim.open(authorizeUrl(to))
  const page = await victim.open(back)
  expect([page.status, page.left]).toEqual([403, undefined])
  expect(page.text).toContain('belongs to another browser')
  expect(to.events.some(({ type }) => type === 'sign_in.succeeded')).toBe(false)
})

test('an answer counts once; loaded again it leads to the same code, until that was redeemed', async () => {
  const { to, idp } = await withProvider()
  const browser = to.browser()
  const back = await away(to, idp, browser)
  const { left } = await browser.open(back)
  expect((await browser.open(back)).left?.href).toBe(left?.href)
  expect(to.events.filter(({ type }) => type === 'sign_in.succeeded')).toHaveLength(1)
  await redeemed(to, left)
  const late = await browser.open(back)
  expect([late.status, late.left]).toEqual([409, undefined])
})

test('a page that is loaded again while the answer is being checked waits for its outcome', async () => {
  const { to, idp } = await withProvider()
  const browser = to.browser()
  const back = await away(to, idp, browser)
  idp.behaviour = 'slow'
  const both = await Promise.all([browser.open(back), browser.open(back)])
  expect(both[0]?.left?.searchParams.get('code')).toMatch(/^cs_ac_/)
  expect(both[1]?.left?.href).toBe(both[0]?.left?.href)
  expect(to.events.filter(({ type }) => type === 'sign_in.succeeded')).toHaveLength(1)
})

test('a double click on "Allow" may end at either of the two addresses of the provider', async () => {
  const { to, idp } = await withProvider()
  for (const chosen of [0, 1]) {
    const browser = to.browser()
    const page = await browser.open(authorizeUrl(to))
    const both = await Promise.all([browser.submit(page, 'approve'), browser.submit(page, 'approve')])
    const state = both[chosen]?.left?.searchParams.get('state')
    const { left } = await browser.open(`${to.issuer}/authorize/callback/idp?code=Alice&state=${state}`)
    expect(left?.searchParams.get('code')).toMatch(/^cs_ac_/)
  }
  expect(idp.asked.length).toBeGreaterThan(2)
})

test('of many presses of "Allow" at once none undoes what another began: all lead to the provider', async () => {
  const { to } = await withProvider()
  const browser = to.browser()
  const page = await browser.open(authorizeUrl(to))
  const all = await Promise.all(Array.from({ length: 6 }, () => browser.submit(page, 'approve')))
  expect(all.map(({ left }) => left?.origin)).toEqual(Array(6).fill('https://idp.example'))
  expect(to.events.filter(({ type }) => type === 'consent.approved')).toHaveLength(1)
})

test('a state that is wrong, missing, repeated, or another provider’s is refused with a page', async () => {
  const made: RedirectStandIn[] = []
  const to = await personServer({
    providers: (_, now) => {
      made.push(redirectProvider(now), redirectProvider(now, 'other', 'Other'))
      return made
    },
  })
  await to.addClient({ id: 'app' })
  const browser = to.browser()
  const chooser = await browser.submit(await browser.open(authorizeUrl(to)), 'approve')
  const { left } = await browser.submit(chooser, 'idp')
  const state = left?.searchParams.get('state') ?? ''
  const at = (path: string) => `${to.issuer}/authorize/callback/${path}`
  for (const path of [
    'idp',
    'idp?state=',
    'idp?state=x',
    `idp?code=Alice&state=${state}x`,
    `idp?code=Alice&state=${state.slice(0, -1)}`,
    `idp?code=Alice&state=${state.split('.')[0]}`,
    `idp?code=Alice&state=${state}&state=${state}`,
    `other?code=Alice&state=${state}`,
  ]) {
    const page = await browser.open(at(path))
    expect([path, page.status, page.left]).toEqual([path, 400, undefined])
  }
  expect((await browser.open(at(`idp?code=Alice&state=${state}`))).left?.searchParams.has('code')).toBe(true)
  expect(await to.routes.respond(new Request(at('nobody?state=x')))).toBeUndefined()
})

test('what goes wrong at a provider is a page with what to do next, and no foreign text', async () => {
  const { to, idp } = await withProvider()
  for (const [behaviour, text, status, reason] of [
    ['refuse', 'You were not signed in', 403, 'denied: access_denied: <b>foreign</b>'],
    ['lie', 'could not be verified', 400, 'untrusted: nonce'],
    ['lack claims', 'This account can’t be used here', 403, 'claims: email'],
  ] as const) {
    const browser = to.browser()
    idp.behaviour = 'sign in'
    const back = await away(to, idp, browser)
    idp.behaviour = behaviour
    const page = await browser.open(`${back}&error=access_denied&error_description=%3Cb%3Eforeign%3C/b%3E`)
    expect([page.status, page.left]).toEqual([status, undefined])
    expect(page.text).toContain(text)
    expect(page.html).not.toContain('foreign')
    expect(to.events.filter(({ type }) => type === 'sign_in.refused').at(-1)).toMatchObject({ provider: 'idp', reason })
    idp.behaviour = 'sign in'
    const other = await browser.submit(page, 'switch')
    expect(other.left?.origin).toBe('https://idp.example')
    expect(idp.asked.at(-1)?.selectAccount).toBe(true)
    const again = `${to.issuer}/authorize/callback/idp?code=Bob&state=${idp.asked.at(-1)?.state}`
    expect((await browser.open(again)).left?.searchParams.has('code')).toBe(true)
  }
})

test('a provider that is down is 503 with "Try again", and the approval is not lost', async () => {
  const { to, idp } = await withProvider()
  const browser = to.browser()
  idp.behaviour = 'down'
  const page = await browser.submit(await browser.open(authorizeUrl(to)), 'approve')
  expect([page.status, page.headers.get('retry-after')]).toEqual([503, '5'])
  expect(page.text).toContain('Example IdP can’t be reached')
  expect(page.html).not.toContain('ECONNREFUSED')
  expect(to.events.at(-1)).toMatchObject({ type: 'upstream.failed', reason: 'ECONNREFUSED idp' })
  idp.behaviour = 'sign in'
  await browser.submit(page, undefined)
  const back = `${to.issuer}/authorize/callback/idp?code=Alice&state=${idp.asked.at(-1)?.state}`
  idp.behaviour = 'down'
  const later = await browser.open(back)
  expect(later.status).toBe(503)
  idp.behaviour = 'sign in'
  expect((await browser.submit(later, undefined)).left?.origin).toBe('https://idp.example')
  expect(to.trouble).toEqual([])
})

test('several providers: the person chooses', async () => {
  const made: RedirectStandIn[] = []
  const to = await personServer({
    providers: (issuer, now) => {
      made.push(redirectProvider(now))
      return [passwordProvider(issuer, now), ...made]
    },
  })
  await to.addClient({ id: 'app' })
  const browser = to.browser()
  const chooser = await browser.submit(await browser.open(authorizeUrl(to)), 'approve')
  expect(chooser.text).toContain('Continue with Example IdP')
  expect((await browser.submit(chooser, 'idp')).left?.origin).toBe('https://idp.example')
  const [action, body] = browser.filled(chooser, 'idp')
  body.set('provider', 'nobody')
  expect((await browser.post(chooser.url, action, body)).status).toBe(400)
  expect((await signInAs(browser, chooser, 'Alice')).left?.searchParams.has('code')).toBe(true)
})

const hostProvider = (identify: HostProvider['identify']) => () => [
  { id: 'host', name: 'Host', open: { kind: 'host', identify } } as const,
]

const hostSignIn = (subject: string, authTime: number): SignIn => ({
  issuer: 'https://auth.example.com',
  subject,
  authTime,
  said: [{ source: 'host', at: 0, claims: { name: subject } }],
})

test('the host’s own session: who is signed in there needs no second sign-in, and who isn’t is led there and back', async () => {
  let signedIn: string | undefined
  const asked: string[] = []
  const to = await personServer({
    providers: hostProvider(async (_, { returnTo }) => {
      if (signedIn !== undefined) return hostSignIn(signedIn, Math.floor(to.server.clock.now() / 1000))
      asked.push(returnTo)
      return new Response(null, {
        status: 302,
        headers: { location: 'https://host.example/login', 'set-cookie': 'a=b' },
      })
    }),
  })
  await to.addClient({ id: 'app' })
  const browser = to.browser()
  const { left } = await browser.submit(await browser.open(authorizeUrl(to)), 'approve')
  expect(left?.href).toBe('https://host.example/login')
  expect(browser.cookies.get('a')?.value).toBe('b')
  signedIn = 'carol'
  const done = await browser.open(asked[0] ?? '')
  expect(await redeemed(to, done.left)).toHaveProperty('access_token')
  const again = await browser.open(authorizeUrl(to, { prompt: 'consent' }))
  expect((await browser.submit(again, 'approve')).left?.searchParams.has('code')).toBe(true)
  // Whoever is signed in at the host decides, not a session of ours that outlives it.
  expect([...browser.cookies.keys()].some((name) => name.endsWith('session'))).toBe(false)
})

test('the host must sign in again where the request asks for it', async () => {
  const wanted: boolean[] = []
  let authTime = 0
  const to = await personServer({
    providers: hostProvider(async (_, { reauthenticate, returnTo }) => {
      wanted.push(reauthenticate)
      return reauthenticate
        ? Response.redirect(`https://host.example/login?to=${returnTo}`)
        : hostSignIn('carol', authTime)
    }),
  })
  await to.addClient({ id: 'app' })
  const browser = to.browser()
  const { left } = await browser.submit(await browser.open(authorizeUrl(to, { prompt: 'login' })), 'approve')
  const returnTo = left?.href.split('?to=')[1] ?? ''
  const not = await browser.open(returnTo)
  expect(not.text).toContain('You need to sign in again')
  authTime = Math.floor(to.server.clock.now() / 1000)
  const { left: done } = await browser.open(returnTo)
  expect(done?.searchParams.has('code')).toBe(true)
  expect(wanted[0]).toBe(true)
})

test.each([
  ['prompt=login', { prompt: 'login' }],
  ['max_age', { max_age: '3600' }],
])(
  'attack: at a host that does not say when the person signed in, %s is not met by who comes back without having done so',
  async (_, asked) => {
    const to = await personServer({
      providers: hostProvider(async (_, { reauthenticate, returnTo }) =>
        reauthenticate
          ? Response.redirect(`https://host.example/login?to=${returnTo}`)
          : { ...hostSignIn('carol', Math.floor(to.server.clock.now() / 1000)), authTimeAssumed: true },
      ),
    })
    await to.addClient({ id: 'app' })
    const browser = to.browser()
    const first = await browser.submit(await browser.open(authorizeUrl(to, asked)), 'approve')
    // The sign-in of the host is left out.
    const returnTo = first.left?.href.split('?to=')[1]
    const came = returnTo === undefined ? first : await browser.open(returnTo)
    expect(came.left?.searchParams.has('code') ?? false).toBe(false)
    expect(came.text).toContain('You need to sign in again')
  },
)
