import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { countersign } from '../../../src/countersign.ts'
import type { JsonObject } from '../../../src/identity/json.ts'
import { memory } from '../../../src/store/memory.ts'
import { sqlite } from '../../../src/store/sqlite.ts'
import type { Store } from '../../../src/store/store.ts'
import type { NamedProvider, SignIn } from '../../../src/upstream/provider.ts'
import { passwords } from '../../attacks/support/target.ts'
import { TestBrowser, type Visit } from '../../support/browser.ts'
import {
  authorizeUrl,
  type PersonServer,
  passwordProvider,
  personServer,
  redeemed,
  refreshed,
  signInAs,
  webRedirect,
} from '../../support/person.ts'
import { temporaryDirectory } from '../../support/temporary-directory.ts'

const folder = temporaryDirectory()
afterAll(() => folder.remove())

const withClient = async (): Promise<PersonServer> => {
  const to = await personServer()
  await to.addClient({ id: 'app' })
  return to
}

/** Connects the app in this browser, and answers what the client got. */
const connect = async (to: PersonServer, browser: TestBrowser, parameters = {}, who = 'Alice'): Promise<JsonObject> => {
  let page = await browser.open(authorizeUrl(to, { prompt: 'consent', ...parameters }))
  page = await browser.submit(page, 'approve')
  if (!page.left) page = await signInAs(browser, page, who)
  return redeemed(to, page.left, undefined, (parameters as { client_id?: string }).client_id)
}

const account = (to: PersonServer, browser: TestBrowser): Promise<Visit> => browser.open(to.server.endpoints.account)

const disconnect = (browser: TestBrowser, page: Visit, client = 'app'): Promise<Visit> => {
  const form = page.forms.find(({ fields }) => fields.some(({ name, value }) => name === 'client' && value === client))
  if (!form) throw new Error(`${client} is not on the page: ${page.text}`)
  const body = new URLSearchParams(form.fields.map(({ name, value }) => [name, value]))
  body.set('decision', 'disconnect')
  return browser.post(page.url, form.action, body)
}

test('who is not signed in signs in first, and then sees that nothing is connected', async () => {
  const to = await withClient()
  const browser = to.browser()
  const signIn = await account(to, browser)
  expect(signIn.text).toContain('Sign in to see which apps are connected to your account')
  const page = await signInAs(browser, signIn, 'Alice')
  expect([page.status, page.url]).toEqual([200, to.server.endpoints.account])
  expect(page.text).toContain('No app is connected to your account.')
  expect(page.text).toContain('As Alice (alice@example.org)')
})

test('the page says which client may do what, where its answer goes, since when, and when it was last used', async () => {
  const to = await withClient()
  await to.addClient({ id: 'native', name: 'Inspector', redirectUris: ['http://127.0.0.1/cb'] })
  const browser = to.browser()
  const { refresh_token } = await connect(to, browser, { scope: 'notes:read' })
  await to.pass(3 * 86_400_000)
  await refreshed(to, String(refresh_token))
  const shown = await signInAs(browser, await account(to, browser), 'Alice')
  expect(shown.text).toMatch(
    /Test App Unverified It can use Notes, and Read your notes At app\.example\.net\. Connected since \w+ \d+, 20\d\d, last used (now|1 minute ago)\./,
  )
  expect(shown.text).not.toContain('Add and change your notes')
  expect(shown.html).toMatch(/<time datetime="20[0-9T:.-]+Z">/)
  await to.pass(86_400_000)
  const later = await signInAs(browser, await account(to, browser), 'Alice')
  expect(later.text).toContain('last used yesterday')
})

test('design 1: disconnecting ends every grant of (account, client), and the consent', async () => {
  const to = await withClient()
  await to.addClient({ id: 'other', name: 'Other App' })
  const [desktop, phone] = [to.browser(), to.browser()]
  const first = await connect(to, desktop, { scope: 'notes:read' })
  const second = await connect(to, phone)
  const kept = await connect(to, phone, { client_id: 'other' })
  const bobs = await connect(to, to.browser(), {}, 'Bob')
  const page = await account(to, phone)
  expect(page.text).toContain('2 connections')
  const after = await disconnect(phone, page)
  expect(after.text).toContain('The app is disconnected.')
  expect(after.text).not.toContain('Test App')
  expect(after.text).toContain('Other App')
  for (const { refresh_token } of [first, second]) {
    expect(await refreshed(to, String(refresh_token))).toMatchObject({ error: 'invalid_grant' })
  }
  expect(await refreshed(to, String(kept.refresh_token), 'other')).toHaveProperty('access_token')
  expect(await refreshed(to, String(bobs.refresh_token))).toHaveProperty('access_token')
  // Asked as at the first time, in both browsers.
  for (const browser of [desktop, phone]) {
    const again = await browser.open(authorizeUrl(to))
    expect(again.left).toBeUndefined()
    expect(again.text).not.toContain('Allowed before')
  }
  expect(to.events).toContainEqual(expect.objectContaining({ type: 'client.disconnected', clientId: 'app', grants: 2 }))
  expect(to.events.filter((event) => event.type === 'grant.revoked').map(({ by }) => by)).toEqual(['person', 'person'])
})

/** The forms that end one connection each, in the order of the page: what was used last comes first. */
const ends = (page: Visit): { readonly action: string; readonly body: URLSearchParams }[] =>
  page.forms
    .filter(({ fields }) => fields.some(({ name }) => name === 'grant'))
    .map(({ action, fields }) => {
      const body = new URLSearchParams(fields.map(({ name, value }) => [name, value]))
      body.set('decision', 'end_connection')
      return { action, body }
    })

test('design 1: one connection of several can be ended by itself: the other devices and what was allowed stay', async () => {
  const to = await withClient()
  const [desktop, phone] = [to.browser(), to.browser()]
  const lost = await connect(to, desktop)
  await to.pass(60_000)
  const kept = await connect(to, phone)
  const page = await account(to, phone)
  const forms = ends(page)
  expect(forms).toHaveLength(2)
  const [, { action, body } = { action: '', body: new URLSearchParams() }] = forms
  const after = await phone.post(page.url, action, body)
  expect(after.text).toContain('The connection is ended.')
  expect(after.text).toContain('Test App')
  expect(after.text).not.toContain('2 connections')
  expect(await refreshed(to, String(lost.refresh_token))).toMatchObject({ error: 'invalid_grant' })
  expect(await refreshed(to, String(kept.refresh_token))).toHaveProperty('access_token')
  expect(to.events.filter((event) => event.type === 'grant.revoked')).toMatchObject([{ by: 'person', clientId: 'app' }])
  // The person allowed the app to do this, on every device: they are not asked again.
  expect((await desktop.open(authorizeUrl(to))).left?.searchParams.get('code')).toBeTruthy()
  // A second click, or a tab that was left open.
  expect((await phone.post(page.url, action, body)).text).toContain('The connection is ended.')
  expect(await refreshed(to, String(kept.refresh_token))).toHaveProperty('access_token')
})

test('the only connection has no button of its own: disconnecting the app is that', async () => {
  const to = await withClient()
  const browser = to.browser()
  await connect(to, browser)
  const page = await account(to, browser)
  expect(page.text).toContain('Disconnect Test App')
  expect(ends(page)).toEqual([])
})

test('design 1: an open stream of the app ends with its connection', async () => {
  const url = 'http://localhost:3000'
  const clients = [{ id: 'app', name: 'App', redirectUris: [webRedirect] }]
  const options = { url, clients, store: memory(), upstream: passwords, audit: () => {} }
  const auth = countersign({ ...options, resources: { '/mcp': { scopes: { 'notes:read': 'Read your notes' } } } })
  const gate = auth.gate('/mcp', () => {
    const start = (controller: ReadableStreamDefaultController) =>
      controller.enqueue(new TextEncoder().encode(': open\n\n'))
    return new Response(new ReadableStream({ start }), { headers: { 'content-type': 'text/event-stream' } })
  })
  const browser = new TestBrowser((request) => auth.respond(request), url)
  const consent = await browser.open(authorizeUrl({ issuer: url }, { scope: 'notes:read' }))
  const { left } = await signInAs(browser, await browser.submit(consent, 'approve'), 'Alice')
  const { access_token } = await redeemed({ routes: auth, issuer: url }, left)
  const headers = { authorization: `Bearer ${access_token}`, accept: 'text/event-stream' }
  const stream = await gate(new Request(`${url}/mcp`, { headers }))
  expect(stream.status).toBe(200)
  const ended = stream.text()
  await disconnect(browser, await browser.open(`${url}/authorize/account`))
  await ended
  expect((await gate(new Request(`${url}/mcp`, { headers }))).status).toBe(401)
  await auth.close()
})

test('design 1: a code that is still under way when the person disconnects is worth nothing', async () => {
  const to = await withClient()
  const browser = to.browser()
  await connect(to, browser)
  const silent = await browser.open(authorizeUrl(to))
  expect(silent.left?.searchParams.get('code')).toMatch(/^cs_ac_/)
  await disconnect(browser, await account(to, browser))
  expect(await redeemed(to, silent.left)).toMatchObject({ error: 'invalid_grant' })
  expect((await account(to, browser)).text).toContain('No app is connected')
})

const stores: readonly [string, () => Store][] = [
  ['memory', memory],
  ['sqlite', () => sqlite(join(folder.path, 'countersign.db'))],
]

test.each(stores)('design 1: nor is anything granted in silence while the person disconnects (%s)', async (_, open) => {
  const store = open()
  const to = await personServer({ store })
  await to.addClient({ id: 'app' })
  const browser = to.browser()
  await connect(to, browser)
  const page = await account(to, browser)
  const [, ...silent] = await Promise.all([
    disconnect(browser, page),
    ...Array.from({ length: 20 }, () => browser.open(authorizeUrl(to))),
  ])
  for (const { left } of silent) {
    if (left) expect(await redeemed(to, left)).toMatchObject({ error: 'invalid_grant' })
  }
  expect((await browser.open(authorizeUrl(to))).left).toBeUndefined()
  await store.close()
})

test('design 1: however many grants there are, none is left', async () => {
  const to = await withClient()
  const browser = to.browser()
  await connect(to, browser)
  const codes = []
  for (let count = 0; count < 230; count++) codes.push((await browser.open(authorizeUrl(to))).left)
  await disconnect(browser, await account(to, browser))
  for (const left of codes) expect(await redeemed(to, left)).toMatchObject({ error: 'invalid_grant' })
  expect(to.events.filter(({ type }) => type === 'grant.revoked')).toHaveLength(231)
})

test('what is remembered without a connection is shown too, and can be forgotten', async () => {
  const to = await withClient()
  const browser = to.browser()
  await connect(to, browser)
  await to.pass(32 * 86_400_000)
  const page = await signInAs(browser, await account(to, browser), 'Alice')
  expect(page.text).toContain('Not connected now. You allowed this on')
  await disconnect(browser, page)
  expect((await browser.open(authorizeUrl(to))).text).not.toContain('Allowed before')
})

test('a code that nobody redeemed shows on no page', async () => {
  const to = await withClient()
  const browser = to.browser()
  const page = await browser.submit(await browser.open(authorizeUrl(to)), 'approve')
  await signInAs(browser, page, 'Alice')
  const shown = await account(to, browser)
  expect(shown.text).toContain('Not connected now')
  expect(shown.text).not.toContain('last used')
})

test('an app whose registration is gone can still be disconnected', async () => {
  const to = await withClient()
  const browser = to.browser()
  await connect(to, browser)
  const { clientRef } = await import('../../../src/records/client.ts')
  await to.server.records.commit({ deletes: [clientRef('app')] })
  const page = await account(to, browser)
  expect(page.text).toContain('An app without a name')
  expect((await disconnect(browser, page)).text).toContain('No app is connected')
})

test('"Sign out here" ends this browser’s session alone; "Sign out everywhere" all of them; apps stay connected', async () => {
  const to = await withClient()
  const [one, two] = [to.browser(), to.browser()]
  const { refresh_token } = await connect(to, one)
  await connect(to, two)
  const asksForSignIn = async (browser: TestBrowser) => (await account(to, browser)).url.includes('/sign-in')
  const stolen = new Map(one.cookies)
  expect((await one.submit(await account(to, one), 'sign_out')).text).toContain('Password')
  expect([await asksForSignIn(one), await asksForSignIn(two)]).toEqual([true, false])
  // The session has ended, not only its cookie.
  for (const [name, cookie] of stolen) one.cookies.set(name, cookie)
  expect(await asksForSignIn(one)).toBe(true)
  await signInAs(one, await account(to, one), 'Alice')
  await two.submit(await account(to, two), 'sign_out_everywhere')
  expect([await asksForSignIn(one), await asksForSignIn(two)]).toEqual([true, true])
  expect(await refreshed(to, String(refresh_token))).toHaveProperty('access_token')
  await to.pass(1)
  expect((await signInAs(one, await account(to, one), 'Alice')).text).toContain('Test App')
})

test('"Sign out everywhere" reaches a request that is under way in another browser', async () => {
  const to = await withClient()
  const [thief, owner] = [to.browser(), to.browser()]
  await connect(to, thief, {}, 'Bob')
  const consent = await thief.open(authorizeUrl(to, { prompt: 'login' }))
  const ask = await signInAs(thief, await thief.submit(consent, 'approve'), 'Alice')
  expect(ask.text).toContain('Continue as Alice?')
  await signInAs(owner, await account(to, owner), 'Alice')
  await owner.submit(await account(to, owner), 'sign_out_everywhere')
  const late = await thief.submit(ask, 'continue')
  expect(late.left).toBeUndefined()
  expect(late.text).toContain('Password')
})

test('a double click on "Sign in" ends at the page, too', async () => {
  const to = await withClient()
  const browser = to.browser()
  const signIn = await account(to, browser)
  const both = await Promise.all([signInAs(browser, signIn, 'Alice'), signInAs(browser, signIn, 'Alice')])
  for (const page of both) expect([page.status, page.url]).toEqual([200, to.server.endpoints.account])
  expect((await browser.open(signIn.url)).url).toBe(to.server.endpoints.account)
})

// Attacks.

test('another page can’t make a person disconnect or sign out: neither without the token, nor from elsewhere', async () => {
  const to = await withClient()
  const browser = to.browser()
  const { refresh_token } = await connect(to, browser)
  const page = await account(to, browser)
  const csrf = page.forms[0]?.fields.find(({ name }) => name === 'csrf')?.value ?? ''
  const other = to.browser()
  await connect(to, other, {}, 'Bob')
  const bobs = (await account(to, other)).forms[0]?.fields.find(({ name }) => name === 'csrf')?.value ?? ''
  expect(bobs).not.toBe(csrf)
  const action = to.server.endpoints.account
  for (const token of ['', 'x', bobs]) {
    const body = new URLSearchParams({ decision: 'disconnect', client: 'app', csrf: token })
    const answer = await browser.post(page.url, action, body)
    expect(answer.text).toContain('The page was out of date')
  }
  const right = new URLSearchParams({ decision: 'disconnect', client: 'app', csrf })
  const elsewhere = await browser.post('https://evil.example/', action, right)
  expect([elsewhere.status, elsewhere.text.includes('can’t be accepted')]).toEqual([403, true])
  const twice = new URLSearchParams(right)
  twice.append('client', 'other')
  expect((await browser.post(page.url, action, twice)).status).toBe(400)
  expect(await refreshed(to, String(refresh_token))).toHaveProperty('access_token')
})

test('nobody ends a connection of somebody else, by whatever id, or without the token of the page', async () => {
  const to = await withClient()
  const [alice, bob] = [to.browser(), to.browser()]
  const mine = [await connect(to, alice), await connect(to, to.browser())]
  const theirs = [await connect(to, bob, {}, 'Bob'), await connect(to, to.browser(), {}, 'Bob')]
  const [page, other] = [await account(to, alice), await account(to, bob)]
  const [own] = ends(page)
  const foreign = ends(other).map(({ body }) => body.get('grant') ?? '')
  expect(foreign).toHaveLength(2)
  if (!own) throw new Error('no form')
  const send = (edit: (body: URLSearchParams) => void, from = page.url) => {
    const body = new URLSearchParams(own.body)
    edit(body)
    return alice.post(from, own.action, body)
  }
  const before = to.events.length
  for (const grant of [...foreign, '', '../grant', 'A'.repeat(22), `${foreign[0]}\0`, 'app']) {
    await send((body) => body.set('grant', grant))
  }
  const refusals = to.events.slice(before).filter((event) => event.type === 'authorization.refused')
  expect(refusals).toHaveLength(7)
  for (const token of ['', 'x', ends(other)[0]?.body.get('csrf') ?? '']) {
    expect((await send((body) => body.set('csrf', token))).text).toContain('The page was out of date')
  }
  expect((await send(() => {}, 'https://evil.example/')).status).toBe(403)
  expect((await send((body) => body.append('grant', foreign[0] ?? ''))).status).toBe(400)
  const link = new URL(own.action)
  for (const [name, value] of own.body) link.searchParams.set(name, value)
  await alice.open(link.href)
  for (const { refresh_token } of [...mine, ...theirs]) {
    expect(await refreshed(to, String(refresh_token))).toHaveProperty('access_token')
  }
  expect(to.events.filter((event) => event.type === 'grant.revoked')).toEqual([])
})

test('a form of one sign-in does nothing in the next, though it is the same browser', async () => {
  const to = await withClient()
  const browser = to.browser()
  await connect(to, browser)
  const old = await account(to, browser)
  await browser.submit(old, 'sign_out')
  await signInAs(browser, await account(to, browser), 'Bob')
  const { refresh_token } = await connect(to, browser, {}, 'Bob')
  expect((await disconnect(browser, old)).text).toContain('The page was out of date')
  expect(await refreshed(to, String(refresh_token))).toHaveProperty('access_token')
})

test('who only asks for the page, again and again, can’t fill the store', async () => {
  const to = await withClient()
  const statuses = new Map<number, number>()
  for (let count = 0; count < 3_010; count++) {
    const response = await to.routes.respond(new Request(to.server.endpoints.account), { remoteAddress: '192.0.2.9' })
    statuses.set(response?.status ?? 0, (statuses.get(response?.status ?? 0) ?? 0) + 1)
  }
  expect([...statuses]).toEqual([
    [303, 3_000],
    [429, 10],
  ])
})

test('a link can’t make the page tell what did not happen', async () => {
  const to = await withClient()
  const browser = to.browser()
  await connect(to, browser)
  for (const notice of ['disconnected', 'disconnected.', 'connection_ended', 'added.AAAAAAAAAAAAAAAAAAAAAA', '<b>']) {
    const page = await browser.open(`${to.server.endpoints.account}?notice=${encodeURIComponent(notice)}`)
    expect(page.html).not.toContain('role="status"')
    expect(page.html).not.toContain('<b>')
  }
})

test('hostile names of clients stay text, and nobody can name another account or client into the page', async () => {
  const to = await withClient()
  await to.addClient({ id: 'evil"><script>', name: '"><script>alert(1)</script>\u202egoogle' })
  const browser = to.browser()
  await connect(to, browser, { client_id: 'evil"><script>' })
  const page = await account(to, browser)
  expect(page.html).not.toContain('<script>')
  expect(page.text).not.toContain('\u202e')
  expect((await disconnect(browser, page, 'evil"><script>')).text).toContain('No app is connected')
})

test('the page is framed by nobody, cached by nobody and has no script', async () => {
  const to = await withClient()
  const browser = to.browser()
  await signInAs(browser, await account(to, browser), 'Alice')
  const { headers, html } = await account(to, browser)
  expect(headers.get('content-security-policy')).toMatch(/default-src 'none'.*frame-ancestors 'none'/)
  expect(headers.get('cache-control')).toBe('no-store')
  expect(html).not.toMatch(/<script|onclick|javascript:/)
})

test('where the host says who people are, it says so on this page, too; its sign-in leads back here', async () => {
  let who: string | undefined
  const returnTo: string[] = []
  const host = (issuer: string, now: () => number): NamedProvider => ({
    id: 'host',
    name: 'This site',
    open: {
      kind: 'host',
      async identify(_request, options): Promise<SignIn | Response> {
        returnTo.push(options.returnTo)
        if (!who) return Response.redirect(`${issuer}/login`, 303)
        const said = [{ source: 'host' as const, at: now(), claims: { name: who } }]
        return { issuer: `${issuer}/upstream/host`, subject: who, authTime: Math.floor(now() / 1000), said }
      },
    },
  })
  const to = await personServer({ providers: (issuer, now) => [host(issuer, now)] })
  await to.addClient({ id: 'app' })
  const browser = to.browser()
  const signIn = await to.routes.respond(new Request(to.server.endpoints.account))
  expect(signIn?.headers.get('location')).toBe(`${to.issuer}/login`)
  expect(returnTo).toEqual([to.server.endpoints.account])
  who = 'Carol'
  expect((await account(to, browser)).text).toContain('As Carol')
  const granted = await redeemed(to, (await browser.submit(await browser.open(authorizeUrl(to)), 'approve')).left)
  const page = await account(to, browser)
  expect(page.text).toContain('Test App')
  expect(page.text).not.toContain('Sign out')
  who = 'Dave'
  expect((await account(to, browser)).text).toContain('No app is connected')
  expect((await disconnect(browser, page)).text).toContain('out of date')
  who = 'Carol'
  expect((await disconnect(browser, await account(to, browser))).text).toContain('No app is connected')
  expect(await refreshed(to, String(granted.refresh_token))).toMatchObject({ error: 'invalid_grant' })
})

test('with several providers one chooses where to sign in, and sees the same account page', async () => {
  const to = await personServer({
    providers: (issuer, now) => [passwordProvider(issuer, now), { ...passwordProvider(issuer, now), id: 'second' }],
  })
  await to.addClient({ id: 'app', redirectUris: [webRedirect] })
  const browser = to.browser()
  const page = await account(to, browser)
  expect(page.forms).toHaveLength(2)
})
