import { expect, test } from 'vitest'
import type { TestBrowser, Visit } from '../../support/browser.ts'
import {
  authorizeUrl,
  type PersonServer,
  passwordProvider,
  personServer,
  type RedirectStandIn,
  redeemed,
  redirectProvider,
  signInAs,
} from '../../support/person.ts'

const withTwo = async () => {
  const made: RedirectStandIn[] = []
  const to = await personServer({
    providers: (issuer, now) => {
      made.push(redirectProvider(now))
      return [passwordProvider(issuer, now), ...made]
    },
  })
  await to.addClient({ id: 'app' })
  const [idp] = made
  if (!idp) throw new Error('no provider')
  return { to, idp }
}

const account = (to: PersonServer, browser: TestBrowser): Promise<Visit> => browser.open(to.server.endpoints.account)

const signedIn = async (to: PersonServer, browser: TestBrowser, who = 'Alice'): Promise<Visit> =>
  signInAs(browser, await account(to, browser), who)

/** Presses "Add another way", and signs in there as somebody. */
const add = async (to: PersonServer, idp: RedirectStandIn, browser: TestBrowser, who: string) => {
  const chooser = await browser.submit(await account(to, browser), 'add')
  const { left } = await browser.submit(chooser, 'idp')
  expect(left?.origin).toBe('https://idp.example')
  return browser.open(callbackOf(to, idp, who))
}

const callbackOf = (to: PersonServer, idp: RedirectStandIn, who: string) =>
  `${to.issuer}/authorize/callback/idp?code=${who}&state=${idp.asked.at(-1)?.state}`

const subjectOf = (token: unknown): string =>
  JSON.parse(Buffer.from(String(token).split('.')[1] ?? '', 'base64url').toString()).sub

const subjectBy = async (to: PersonServer, idp: RedirectStandIn, way: 'password' | 'idp', who: string) => {
  const browser = to.browser()
  const page = await browser.submit(await browser.open(authorizeUrl(to)), 'approve')
  if (way === 'password') return subjectOf((await redeemed(to, (await signInAs(browser, page, who)).left)).access_token)
  await browser.submit(page, 'idp')
  return subjectOf((await redeemed(to, (await browser.open(callbackOf(to, idp, who))).left)).access_token)
}

test('a person who is signed in adds another identity: from then on both lead to the same account', async () => {
  const { to, idp } = await withTwo()
  const browser = to.browser()
  expect((await signedIn(to, browser)).text).toContain('Add another way: Example IdP')
  const page = await add(to, idp, browser, 'Ally')
  expect(page.text).toContain('From now on you can sign in in this way, too.')
  expect(page.text).toContain('As Alice')
  expect(page.text).not.toContain('Add another way')
  expect(idp.asked).toMatchObject([{ selectAccount: true }])
  expect(await subjectBy(to, idp, 'idp', 'Ally')).toBe(await subjectBy(to, idp, 'password', 'Alice'))
  expect(await subjectBy(to, idp, 'idp', 'Somebody')).not.toBe(await subjectBy(to, idp, 'password', 'Alice'))
  expect(to.events).toContainEqual(
    expect.objectContaining({ type: 'account.identity_added', subject: 'subject-of-Ally' }),
  )
})

test('an answer that is loaded twice adds one identity, and tells the same', async () => {
  const { to, idp } = await withTwo()
  const browser = to.browser()
  await signedIn(to, browser)
  await browser.submit(await browser.submit(await account(to, browser), 'add'), 'idp')
  const back = callbackOf(to, idp, 'Ally')
  const both = await Promise.all([browser.open(back), browser.open(back)])
  for (const page of both) expect(page.text).toContain('From now on')
})

test('two accounts are never merged: an identity that has one keeps it', async () => {
  const { to, idp } = await withTwo()
  const before = await subjectBy(to, idp, 'idp', 'Ally')
  const browser = to.browser()
  await signedIn(to, browser)
  const page = await add(to, idp, browser, 'Ally')
  expect(page.text).toContain('Two accounts can’t become one, so nothing was changed.')
  expect(await subjectBy(to, idp, 'idp', 'Ally')).toBe(before)
  expect(await subjectBy(to, idp, 'password', 'Alice')).not.toBe(before)
})

test('of two people who add the same identity at once one gets it', async () => {
  const { to, idp } = await withTwo()
  const [alice, bob] = [to.browser(), to.browser()]
  await signedIn(to, alice)
  await signedIn(to, bob, 'Bob')
  const backs = []
  for (const browser of [alice, bob]) {
    await browser.submit(await browser.submit(await account(to, browser), 'add'), 'idp')
    backs.push(callbackOf(to, idp, 'Shared'))
  }
  const pages = await Promise.all([alice.open(backs[0] ?? ''), bob.open(backs[1] ?? '')])
  expect(pages.map(({ text }) => text.includes('From now on')).filter(Boolean)).toHaveLength(1)
  expect(pages.map(({ text }) => text.includes('can’t become one')).filter(Boolean)).toHaveLength(1)
})

test('nothing is linked by e-mail: the same address at another provider is another account', async () => {
  const { to, idp } = await withTwo()
  // Both say alice@example.org.
  expect(await subjectBy(to, idp, 'idp', 'Alice')).not.toBe(await subjectBy(to, idp, 'password', 'Alice'))
})

test('who signed in long ago proves again who they are before an identity is added', async () => {
  const { to, idp } = await withTwo()
  const browser = to.browser()
  await signedIn(to, browser)
  await to.pass(11 * 60_000)
  const confirm = await browser.submit(await account(to, browser), 'add')
  expect(confirm.text).toContain('again, so that nobody else can change how you sign in')
  const form = {
    ...confirm,
    forms: confirm.forms.filter(({ fields }) => fields.some(({ name }) => name === 'password')),
  }
  const next = await signInAs(browser, form, 'Alice')
  expect(next.text).toContain('with the account that you want to add')
  await browser.submit(next, 'idp')
  expect((await browser.open(callbackOf(to, idp, 'Ally'))).text).toContain('From now on')
})

test('who proves to be somebody else changes nothing for the first', async () => {
  const { to, idp } = await withTwo()
  const browser = to.browser()
  await signedIn(to, browser)
  await to.pass(11 * 60_000)
  const confirm = await browser.submit(await account(to, browser), 'add')
  const form = {
    ...confirm,
    forms: confirm.forms.filter(({ fields }) => fields.some(({ name }) => name === 'password')),
  }
  const page = await signInAs(browser, form, 'Bob')
  expect(page.text).toContain('As Bob')
  expect(idp.asked).toEqual([])
})

// Attacks.

test('an answer of the provider counts only in the browser that began, and only while the same person is signed in', async () => {
  const { to, idp } = await withTwo()
  const [attacker, victim] = [to.browser(), to.browser()]
  await signedIn(to, attacker, 'Bob')
  await signedIn(to, victim)
  await attacker.submit(await attacker.submit(await account(to, attacker), 'add'), 'idp')
  const lured = await victim.open(callbackOf(to, idp, 'Victim'))
  expect(lured.status).toBe(403)
  // The attacker signs out and lets the victim sign in in the same browser.
  const other = to.browser()
  await signedIn(to, other, 'Bob')
  await other.submit(await other.submit(await account(to, other), 'add'), 'idp')
  const back = callbackOf(to, idp, 'Mallory')
  await other.submit(await account(to, other), 'sign_out')
  await signedIn(to, other)
  expect((await other.open(back)).text).toContain('Somebody else has signed in meanwhile')
  const accounts = new Set([await subjectBy(to, idp, 'idp', 'Mallory'), await subjectBy(to, idp, 'password', 'Alice')])
  expect(accounts.size).toBe(2)
})

test('adding needs our own form, and a provider that is offered', async () => {
  const { to, idp } = await withTwo()
  const browser = to.browser()
  const page = await signedIn(to, browser)
  const csrf = page.forms[0]?.fields.find(({ name }) => name === 'csrf')?.value ?? ''
  const post = (fields: Record<string, string>) =>
    browser.post(page.url, to.server.endpoints.account, new URLSearchParams({ decision: 'add', ...fields }))
  expect((await post({ provider: 'idp', csrf: 'x' })).text).toContain('out of date')
  for (const provider of ['', 'nobody', 'local', '__proto__']) expect((await post({ provider, csrf })).status).toBe(400)
  expect(idp.asked).toEqual([])
})

test('a sign-in for the account page grants nothing to any client, and can’t be taken for an authorization', async () => {
  const { to } = await withTwo()
  const browser = to.browser()
  const signIn = await account(to, browser)
  const [, body] = browser.filled(signIn, undefined)
  const id = body.get('interaction')
  const consent = `${to.server.endpoints.consent}?interaction=${id}`
  expect((await browser.open(consent)).status).toBe(400)
  body.set('decision', 'approve')
  body.append('scope', 'notes:read')
  expect((await browser.post(signIn.url, to.server.endpoints.consent, body)).status).toBe(400)
  expect(to.events.some(({ type }) => type === 'code.issued')).toBe(false)
})

test('where the subject is the provider’s, nothing can be added', async () => {
  const made: RedirectStandIn[] = []
  const to = await personServer({
    providers: (_, now) => {
      made.push(redirectProvider(now))
      return made
    },
    subject: 'upstream',
  })
  const [idp] = made
  if (!idp) throw new Error('no provider')
  const browser = to.browser()
  const signIn = await account(to, browser)
  await browser.submit(signIn, 'idp')
  const page = await browser.open(callbackOf(to, idp, 'Ally'))
  expect(page.text).toContain('As Ally')
  expect(page.text).not.toContain('Add another way')
})
