import { expect, test } from 'vitest'
import type { TestBrowser, Visit } from '../../support/browser.ts'
import {
  authorizeUrl,
  type PersonServer,
  personServer,
  redeemed,
  signInAs,
  webRedirect,
  withProvider,
} from '../../support/person.ts'

const withClient = async (): Promise<PersonServer> => {
  const to = await personServer()
  await to.addClient({ id: 'app' })
  return to
}

const connect = async (to: PersonServer, browser: TestBrowser, parameters = {}, who = 'Alice'): Promise<Visit> =>
  signInAs(browser, await browser.submit(await browser.open(authorizeUrl(to, parameters)), 'approve'), who)

const ticks = (page: Visit) =>
  page.forms.flatMap(({ fields }) =>
    fields.flatMap(({ name, value, checked }) => (name === 'scope' ? [[value, checked]] : [])),
  )

test('design 3, consent: it comes before the provider is asked', async () => {
  const { to, idp } = await withProvider()
  const browser = to.browser()
  const page = await browser.open(authorizeUrl(to))
  expect(page.text).toContain('Allow Test App to use Notes?')
  expect(page.text).toContain('Next you sign in with Example IdP')
  expect(idp.asked).toEqual([])
  const { left } = await browser.submit(page, 'approve')
  expect(left?.origin).toBe('https://idp.example')
  expect(idp.asked).toHaveLength(1)
})

test('the page says who asks, that nobody checked it, where the answer goes, for what, and what each scope allows', async () => {
  const to = await withClient()
  const page = await to.browser().open(authorizeUrl(to))
  for (const text of [
    'Test App',
    'Unverified',
    'app.example.net',
    'https://auth.example.com/mcp',
    'Read your notes',
    'Add and change your notes',
  ]) {
    expect(page.text).toContain(text)
  }
  expect(page.text).toContain('You can take this back at any time under Connected apps')
  expect(page.html).toContain(`<a href="${to.server.endpoints.account}" target="_blank" rel="noopener">`)
  await to.addClient({ id: 'known', source: 'configured' })
  const known = await to.browser().open(authorizeUrl(to, { client_id: 'known' }))
  expect(known.text).not.toContain('Unverified')
})

test('design 3, consent: a loopback or private-use redirect says "an app on this computer that calls itself …"', async () => {
  const to = await withClient()
  await to.addClient({
    id: 'native',
    name: 'Inspector',
    redirectUris: ['http://127.0.0.1/cb', 'cursor://anysphere.cursor-mcp/oauth/callback'],
  })
  for (const redirect_uri of ['http://127.0.0.1:9999/cb', 'cursor://anysphere.cursor-mcp/oauth/callback']) {
    const page = await to.browser().open(authorizeUrl(to, { client_id: 'native', redirect_uri }))
    expect(page.text).toContain('An app on this computer that calls itself “Inspector”')
  }
  expect((await to.browser().open(authorizeUrl(to))).text).not.toContain('on this computer')
})

test('design 3, consent: a request with a loopback redirect is never skipped', async () => {
  const to = await withClient()
  await to.addClient({ id: 'native', source: 'configured', redirectUris: ['http://127.0.0.1/cb'] })
  const browser = to.browser()
  const parameters = { client_id: 'native', redirect_uri: 'http://127.0.0.1:9999/cb' }
  expect((await connect(to, browser, parameters)).left?.searchParams.get('code')).toMatch(/^cs_ac_/)
  const again = await browser.open(authorizeUrl(to, parameters))
  expect(again.text).toContain('Allow')
  expect(again.text).toContain('As Alice (alice@example.org)')
  const none = await browser.open(authorizeUrl(to, { ...parameters, prompt: 'none' }))
  expect(none.left?.searchParams.get('error')).toBe('consent_required')
})

test('design 3, consent: skipping needs our own browser session and a remembered consent that covers everything', async () => {
  const to = await withClient()
  const browser = to.browser()
  await connect(to, browser, { scope: 'notes:read' })
  const covered = await browser.open(authorizeUrl(to, { scope: 'notes:read', prompt: 'none' }))
  expect(await redeemed(to, covered.left)).toMatchObject({ scope: 'notes:read' })
  expect((await browser.open(authorizeUrl(to, { scope: 'notes:read' }))).left?.searchParams.has('code')).toBe(true)
  const wider = await browser.open(authorizeUrl(to, { scope: 'notes:read notes:write' }))
  expect(wider.left).toBeUndefined()
  expect(wider.text).toContain('Allowed before')
  const nobody = await to.browser().open(authorizeUrl(to, { scope: 'notes:read' }))
  expect(nobody.left).toBeUndefined()
  await to.pass(12 * 3_600_000 + 1_000)
  expect((await browser.open(authorizeUrl(to, { scope: 'notes:read' }))).left).toBeUndefined()
})

test('fault 25: consent is remembered per client and redirect host', async () => {
  const to = await personServer()
  const other = 'https://evil.example/callback'
  await to.addClient({ id: 'app', redirectUris: [webRedirect, other] })
  const browser = to.browser()
  await connect(to, browser)
  expect((await browser.open(authorizeUrl(to))).left?.searchParams.has('code')).toBe(true)
  const elsewhere = await browser.open(authorizeUrl(to, { redirect_uri: other }))
  expect(elsewhere.left).toBeUndefined()
  expect(elsewhere.text).toContain('evil.example')
  await to.addClient({ id: 'other' })
  expect((await browser.open(authorizeUrl(to, { client_id: 'other' }))).left).toBeUndefined()
})

test('remembered consent accumulates', async () => {
  const to = await withClient()
  const browser = to.browser()
  await connect(to, browser, { scope: 'notes:read' })
  await browser.submit(await browser.open(authorizeUrl(to, { scope: 'notes:write' })), 'approve')
  const both = await browser.open(authorizeUrl(to, { scope: 'notes:read notes:write' }))
  expect(both.left?.searchParams.has('code')).toBe(true)
})

test('scopes can be unticked: what is granted is what stayed ticked, and never more than was asked', async () => {
  const to = await withClient()
  const browser = to.browser()
  const page = await browser.open(authorizeUrl(to))
  expect(ticks(page)).toEqual([
    ['notes:read', true],
    ['notes:write', true],
  ])
  const signIn = await browser.submit(page, 'approve', {}, ['notes:read'])
  expect(await redeemed(to, (await signInAs(browser, signIn, 'Alice')).left)).toMatchObject({ scope: 'notes:read' })

  const narrow = await browser.open(authorizeUrl(to, { scope: 'notes:read', prompt: 'consent' }))
  const [action, body] = browser.filled(narrow, 'approve')
  body.append('scope', 'notes:write')
  body.append('scope', 'admin')
  expect(await redeemed(to, (await browser.post(narrow.url, action, body)).left)).toMatchObject({ scope: 'notes:read' })
})

test('approving with everything unticked says so, and grants nothing', async () => {
  const to = await withClient()
  const browser = to.browser()
  const page = await browser.submit(await browser.open(authorizeUrl(to)), 'approve', {}, [])
  expect([page.status, page.left]).toEqual([400, undefined])
  expect(page.text).toContain('Nothing is ticked')
  expect(ticks(page).every(([, checked]) => checked === false)).toBe(true)
  const next = await browser.submit(page, 'approve', {}, ['notes:write'])
  expect(await redeemed(to, (await signInAs(browser, next, 'Alice')).left)).toMatchObject({ scope: 'notes:write' })
})

test('declining is access_denied, with state and iss', async () => {
  const to = await withClient()
  const browser = to.browser()
  const { left } = await browser.submit(await browser.open(authorizeUrl(to)), 'deny')
  expect(Object.fromEntries(left?.searchParams ?? [])).toEqual({
    error: 'access_denied',
    error_description: expect.any(String),
    state: 'a state',
    iss: to.issuer,
  })
  expect(to.events.map(({ type }) => type)).toContain('consent.denied')
  expect((await browser.open(authorizeUrl(to))).left).toBeUndefined()
})

test('design 3, consent: the grant is only for the account that the page showed; another one is asked "Continue as …, or switch"', async () => {
  const to = await withClient()
  const browser = to.browser()
  await connect(to, browser)
  const shown = await browser.open(authorizeUrl(to, { prompt: 'login' }))
  expect(shown.text).toContain('As Alice')
  expect(shown.text).toContain('asked to sign in again')
  const signIn = await browser.submit(shown, 'approve')
  const ask = await signInAs(browser, signIn, 'Bob')
  expect(ask.left).toBeUndefined()
  expect(ask.text).toContain('Continue as Bob?')
  expect(ask.text).toContain('Read your notes')

  const switched = await browser.submit(ask, 'switch')
  expect(switched.text).toContain('Password')
  const alice = await signInAs(browser, switched, 'Alice')
  expect(await redeemed(to, alice.left)).toHaveProperty('access_token')
  const granted = to.events
    .filter(({ type }) => type === 'code.issued')
    .map((event) => 'account' in event && event.account)
  expect(new Set(granted).size).toBe(1)
})

test('"Continue as …" grants for the account that this page showed', async () => {
  const to = await withClient()
  const browser = to.browser()
  await connect(to, browser)
  const signIn = await browser.submit(await browser.open(authorizeUrl(to, { prompt: 'login' })), 'approve')
  const ask = await signInAs(browser, signIn, 'Bob')
  const { left } = await browser.submit(ask, 'continue')
  expect(left?.searchParams.get('code')).toMatch(/^cs_ac_/)
  const accounts = to.events.flatMap((event) => (event.type === 'sign_in.succeeded' ? [event.account] : []))
  const issued = to.events.flatMap((event) => (event.type === 'code.issued' ? [event.account] : []))
  expect(issued.at(-1)).toBe(accounts.at(-1))
  expect(issued.at(-1)).not.toBe(issued[0])
})

test('a page that shows one account approves nothing for another who signed in since, in another tab', async () => {
  const to = await withClient()
  const browser = to.browser()
  await connect(to, browser)
  const old = await browser.open(authorizeUrl(to, { prompt: 'consent' }))
  expect(old.text).toContain('As Alice')
  await connect(to, browser, { prompt: 'select_account' }, 'Bob')
  const again = await browser.submit(old, 'approve')
  // Bob is signed in now; the page was for Alice, so Alice must sign in.
  expect(again.left).toBeUndefined()
  const ask = await signInAs(browser, again, 'Bob')
  expect(ask.left).toBeUndefined()
  expect(ask.text).toContain('Continue as Bob?')
})

test('a page that was shown again for another account makes the older one worthless', async () => {
  const to = await withClient()
  const browser = to.browser()
  await connect(to, browser)
  const old = await browser.open(authorizeUrl(to, { prompt: 'consent' }))
  await connect(to, browser, { prompt: 'select_account' }, 'Bob')
  const fresh = await browser.open(old.url)
  expect(fresh.text).toContain('As Bob')
  const answer = await browser.submit(old, 'approve')
  expect(answer.left).toBeUndefined()
  expect(answer.text).toContain('As Bob')
})

test('"Not you?" leads to another sign-in, and the grant is for who then signed in', async () => {
  const to = await withClient()
  const browser = to.browser()
  await connect(to, browser)
  const page = await browser.submit(await browser.open(authorizeUrl(to, { prompt: 'consent' })), 'switch')
  expect(page.text).not.toContain('As Alice')
  const signIn = await browser.submit(page, 'approve')
  expect(await redeemed(to, (await signInAs(browser, signIn, 'Bob')).left)).toHaveProperty('access_token')
})

test('prompt and max_age are honoured', async () => {
  const to = await withClient()
  const browser = to.browser()
  await connect(to, browser)
  const needsSignIn = async (parameters: Record<string, string>) => {
    const page = await browser.open(authorizeUrl(to, parameters))
    if (page.left) return false
    return (await browser.submit(page, 'approve')).left === undefined
  }
  expect(await needsSignIn({})).toBe(false)
  expect(await needsSignIn({ prompt: 'consent' })).toBe(false)
  expect(await needsSignIn({ prompt: 'login' })).toBe(true)
  expect(await needsSignIn({ prompt: 'select_account' })).toBe(true)
  expect(await needsSignIn({ prompt: 'create' })).toBe(true)
  expect(await needsSignIn({ max_age: '0' })).toBe(true)
  expect(await needsSignIn({ max_age: '3600' })).toBe(false)
  await to.pass(3_601_000)
  expect(await needsSignIn({ max_age: '3600' })).toBe(true)
  const none = await browser.open(authorizeUrl(to, { max_age: '3600', prompt: 'none' }))
  expect(none.left?.searchParams.get('error')).toBe('login_required')
  const consent = await browser.open(authorizeUrl(to, { prompt: 'consent' }))
  expect(consent.text).toContain('Allow Test App')
})

test('login_hint fills in the name', async () => {
  const to = await withClient()
  const browser = to.browser()
  const page = await browser.submit(await browser.open(authorizeUrl(to, { login_hint: '"><b>alice' })), 'approve')
  expect(page.forms[0]?.fields.find(({ name }) => name === 'username')?.value).toBe('"><b>alice')
  expect(page.html).not.toContain('"><b>')
})
