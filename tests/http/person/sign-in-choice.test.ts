import { expect, test } from 'vitest'
import { checkOptions } from '../../../src/options.ts'
import { localAccounts } from '../../../src/upstream/local.ts'
import type { Visit } from '../../support/browser.ts'
import {
  authorizeUrl,
  passwordProvider,
  personServer,
  type RedirectStandIn,
  redeemed,
  redirectProvider,
  signInAs,
} from '../../support/person.ts'

/** Two providers elsewhere, and local accounts; of two domains it is known where their people sign in. */
const withSeveral = async (local = true) => {
  const made: RedirectStandIn[] = []
  const to = await personServer({
    providers: (issuer, now) => {
      made.push(redirectProvider(now, 'acme', 'Acme SSO'), redirectProvider(now, 'other', 'Other IdP'))
      return local ? [...made, passwordProvider(issuer, now)] : made
    },
    emailDomains: { 'acme.example': 'acme', 'sub.acme.example': 'other', 'example.org': 'local' },
  })
  await to.addClient({ id: 'app' })
  const [acme, other] = made
  if (!acme || !other) throw new Error('no providers')
  const approved = async (parameters = {}, browser = to.browser()) => ({
    browser,
    page: await browser.submit(await browser.open(authorizeUrl(to, parameters)), 'approve'),
  })
  return { to, acme, other, approved }
}

const withoutTokens = ({ html }: Visit) =>
  html.replace(/value="[\w-]{22,}"/g, '').replace(/value="[^"]*@[^"]*"/g, 'value="…@…"')

test('a login_hint whose domain is known leads straight to its provider, and is passed on', async () => {
  const { acme, other, approved } = await withSeveral()
  const { page } = await approved({ login_hint: 'Alice@ACME.example' })
  expect(page.left?.origin).toBe('https://acme.example')
  expect(acme.asked).toMatchObject([{ loginHint: 'Alice@ACME.example' }])
  expect((await approved({ login_hint: 'a@sub.acme.example' })).page.left?.origin).toBe('https://other.example')
  expect(other.asked).toHaveLength(1)
})

test('any other hint leaves the choice to the person', async () => {
  const { approved } = await withSeveral()
  for (const login_hint of [
    'alice@elsewhere.example',
    'alice@deep.acme.example',
    'alice@acme.example.evil.example',
    'alice',
    'acme.example',
    '@',
    'a@b@acme.example ',
    'x@__proto__',
    'x@constructor',
  ]) {
    const { page } = await approved({ login_hint })
    expect([login_hint, page.left, page.status]).toEqual([login_hint, undefined, 200])
    expect(page.text).toContain('Continue with Acme SSO')
  }
})

test('who wants to choose the account chooses the provider, too', async () => {
  const { to, approved } = await withSeveral()
  const { page } = await approved({ login_hint: 'alice@acme.example', prompt: 'select_account' })
  expect(page.text).toContain('Continue with Other IdP')
  const { browser, page: away } = await approved({ login_hint: 'alice@acme.example', prompt: 'login' })
  const back = `${to.issuer}/authorize/callback/acme?code=Alice&state=${away.left?.searchParams.get('state')}`
  expect((await browser.open(back)).left?.searchParams.has('code')).toBe(true)
  const consent = await browser.open(authorizeUrl(to, { login_hint: 'alice@acme.example', prompt: 'consent' }))
  const switched = await browser.submit(await browser.submit(consent, 'switch'), 'approve')
  expect(switched.text).toContain('Continue with Other IdP')
})

test('on the sign-in page the domain of an e-mail address leads to its provider', async () => {
  const { acme, approved } = await withSeveral()
  const { browser, page } = await approved()
  expect(page.text).toContain('Your e-mail address')
  const { left } = await browser.submit(page, 'email', { email: ' bob@acme.example ' })
  expect(left?.origin).toBe('https://acme.example')
  expect(acme.asked).toMatchObject([{ loginHint: 'bob@acme.example' }])
})

test('an address of local accounts fills in the name there', async () => {
  const { approved } = await withSeveral()
  const { browser, page } = await approved()
  const next = await browser.submit(page, 'email', { email: 'Alice@example.org' })
  expect(next.forms.flatMap(({ fields }) => fields).find(({ name }) => name === 'username')?.value).toBe(
    'Alice@example.org',
  )
})

test('the page never reveals whether there is an account: it says the same to an address that has one and to one that has none', async () => {
  const { to, acme, approved } = await withSeveral()
  // Alice has accounts of both kinds, nobody else has any.
  const known = await approved({ login_hint: 'alice@acme.example' })
  await known.browser.open(
    `${to.issuer}/authorize/callback/acme?code=Alice&state=${known.page.left?.searchParams.get('state')}`,
  )
  const local = await approved()
  await signInAs(local.browser, { ...local.page, forms: local.page.forms.filter(hasPassword) }, 'Alice')
  for (const domain of ['acme.example', 'example.org', 'unknown.example']) {
    const answers = []
    for (const name of ['alice', 'nobody']) {
      const { browser, page } = await approved()
      const answer = await browser.submit(page, 'email', { email: `${name}@${domain}` })
      answers.push([answer.status, answer.left?.origin, withoutTokens(answer).replaceAll(name, '…')])
    }
    expect(answers[0]).toEqual(answers[1])
  }
  expect(acme.asked.length).toBeGreaterThan(0)
})

const hasPassword = ({ fields }: Visit['forms'][number]) => fields.some(({ name }) => name === 'password')

test('a domain that nobody is for is said to be so, and one chooses', async () => {
  const { approved } = await withSeveral(false)
  const { browser, page } = await approved()
  const next = await browser.submit(page, 'email', { email: '"><b>@nowhere.example' })
  expect(next.text).toContain('Choose another way to sign in')
  expect(next.html).not.toContain('"><b>')
  expect((await browser.submit(next, 'other')).left?.origin).toBe('https://other.example')
})

test('domains are checked at start', () => {
  const options = (emailDomains: Record<string, string>) => ({
    url: 'http://localhost:3000',
    resources: { '/mcp': {} },
    upstream: localAccounts(),
    emailDomains,
  })
  expect(() => checkOptions(options({ 'example.org': 'local' }))).not.toThrow()
  expect(() => checkOptions(options({ 'example.org': 'google' }))).toThrow('emailDomains["example.org"]')
  expect(() => checkOptions(options({ 'Example.org': 'local' }))).toThrow('a domain in lower case')
})

test('the account that signs in by its domain is the same as by the button', async () => {
  const { to, approved } = await withSeveral()
  const subjects = []
  for (const way of ['email', 'button'] as const) {
    const { browser, page } = await approved()
    const { left } =
      way === 'email'
        ? await browser.submit(page, 'email', { email: 'alice@acme.example' })
        : await browser.submit(page, 'acme')
    const back = `${to.issuer}/authorize/callback/acme?code=Alice&state=${left?.searchParams.get('state')}`
    const { access_token } = await redeemed(to, (await browser.open(back)).left)
    subjects.push(JSON.parse(Buffer.from(String(access_token).split('.')[1] ?? '', 'base64url').toString()).sub)
  }
  expect(subjects[0]).toBe(subjects[1])
})
