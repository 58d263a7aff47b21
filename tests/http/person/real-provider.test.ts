import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Countersign, countersign } from '../../../src/countersign.ts'
import { memory } from '../../../src/store/memory.ts'
import { openid } from '../../../src/upstream/openid.ts'
import { passwords } from '../../attacks/support/target.ts'
import { movable } from '../../store/movable-clock.ts'
import { TestBrowser, type Visit } from '../../support/browser.ts'
import { CookieJar, type OidcProvider, signInAt, startOidcProvider } from '../../support/oidc-provider.ts'
import { authorizeUrl, redeemed, webRedirect } from '../../support/person.ts'

// The account page with a provider that nobody here wrote, in a process of its own.

const url = 'http://localhost:3000'
const account = `${url}/authorize/account`
const clock = movable()
let provider: OidcProvider
let auth: Countersign

beforeAll(async () => {
  provider = await startOidcProvider()
  const { issuer, clientId, clientSecret } = provider
  auth = countersign({
    url,
    clock,
    store: memory({ clock }),
    audit: () => {},
    upstream: [openid({ id: 'idp', name: 'Example IdP', issuer, clientId, clientSecret }), passwords],
    clients: [{ id: 'app', name: 'App', redirectUris: [webRedirect] }],
    resources: { '/mcp': { scopes: { 'notes:read': 'Read your notes' } } },
  })
})
afterAll(async () => {
  await auth?.close()
  await provider?.stop()
})

const newBrowser = () => new TestBrowser((request) => auth.respond(request), url)

/** Chooses the provider on a sign-in page, and signs in there; `jar` is the browser's, as the provider knows it. */
const signIn = async (browser: TestBrowser, page: Visit, login: string, jar = new CookieJar()): Promise<Visit> => {
  const { left } = await browser.submit(page, 'idp')
  if (!left) throw new Error(`not sent to the provider: ${page.text}`)
  return browser.open(await signInAt(left.href, { login, jar }))
}

const byPassword = (browser: TestBrowser, page: Visit) => {
  const forms = page.forms.filter(({ fields }) => fields.some(({ name }) => name === 'password'))
  return browser.submit({ ...page, forms }, undefined, { username: 'Alice', password: 'right' })
}

const subjectOf = async (left: URL | undefined) => {
  const { access_token } = await redeemed({ routes: auth, issuer: url }, left)
  return JSON.parse(Buffer.from(String(access_token).split('.')[1] ?? '', 'base64url').toString()).sub
}

test('signs in there, sees what is connected, and disconnects it', async () => {
  const browser = newBrowser()
  const asked = authorizeUrl({ issuer: url }, { scope: 'notes:read' })
  const { left } = await signIn(browser, await browser.submit(await browser.open(asked), 'approve'), 'carol')
  expect(await redeemed({ routes: auth, issuer: url }, left)).toHaveProperty('access_token')
  const other = newBrowser()
  const page = await signIn(other, await other.open(account), 'carol')
  expect(page.text).toContain('carol@example.com')
  expect(page.text).toContain('App Known to this server It can use')
  expect((await other.submit(page, 'disconnect')).text).toContain('No app is connected')
})

test('the account there is added, after proof, and leads to the same subject; taken away it does not', async () => {
  const browser = newBrowser()
  const jar = new CookieJar()
  const first = await byPassword(browser, await browser.open(account))
  await clock.pass(11 * 60_000)
  const confirm = await browser.submit(first, 'add')
  expect(confirm.text).toContain('again, so that nobody else')
  const chooser = await byPassword(browser, confirm)
  const page = await signIn(browser, chooser, 'alice', jar)
  expect(page.text).toContain('From now on you can sign in in this way, too.')

  const ask = async (who: (browser: TestBrowser, page: Visit) => Promise<Visit>) => {
    const fresh = newBrowser()
    const consent = await fresh.open(authorizeUrl({ issuer: url }, { scope: 'notes:read' }))
    return subjectOf((await who(fresh, await fresh.submit(consent, 'approve'))).left)
  }
  const mine = await ask(byPassword)
  expect(await ask((fresh, next) => signIn(fresh, next, 'alice', jar))).toBe(mine)
  const removed = await browser.submit(await browser.open(account), 'remove')
  expect(removed.text).toContain('You can no longer sign in in that way.')
  expect(await ask((fresh, next) => signIn(fresh, next, 'alice', jar))).not.toBe(mine)
})

test('who must prove again who they are is asked to there, though signed in there', async () => {
  const browser = newBrowser()
  await signIn(browser, await browser.open(account), 'dave')
  await clock.pass(11 * 60_000)
  const confirm = await browser.submit(await browser.open(account), 'add')
  const { left } = await browser.submit(confirm, 'idp')
  expect(left?.origin).toBe(new URL(provider.issuer).origin)
  expect(left?.searchParams.get('prompt')?.split(' ')).toContain('login')
})
