import type { Page as ChromiumPage } from 'playwright-core'
import type { Form, FormBrowser, FormChanges, Page } from './form-browser.ts'

export interface Person {
  readonly username: string
  readonly password: string
}

export interface SignInOptions {
  /** What they answer to the client's request; default `approve`. */
  readonly decision?: 'approve' | 'deny'
  /** Scopes that they untick on the consent page. */
  readonly without?: readonly string[]
  /** On a page that shows an account: it is somebody else's, and they say so. */
  readonly notMe?: (page: Page) => boolean
}

/** What a person saw on the way, in order. */
export interface Walk {
  readonly end: URL
  readonly pages: readonly Page[]
}

/**
 * Walks from the authorization request to the client's redirect URI: consent, then sign-in (here, or at a provider), whichever pages come.
 *
 * @throws {Error} with the page's words, if a page has neither form.
 */
export async function signIn(
  browser: FormBrowser,
  authorizationUrl: string | URL,
  person: Person,
  options: SignInOptions = {},
): Promise<Walk> {
  const pages: Page[] = []
  let page = await browser.open(authorizationUrl)
  while (!page.away) {
    pages.push(page)
    if (pages.length > 8) throw new Error(`the sign-in goes round in circles:\n${pages.map(describe).join('\n')}`)
    page = await answer(browser, page, person, options)
  }
  return { end: page.url, pages }
}

function answer(browser: FormBrowser, page: Page, person: Person, options: SignInOptions): Promise<Page> {
  const password = page.forms.find((form) => form.fields.some((field) => field.type === 'password'))
  if (password !== undefined) {
    return browser.submit(page, password, { fields: credentials(password, person), ...firstButton(password) })
  }

  const other = formWith(page, 'switch')
  if (other !== undefined && options.notMe?.(page)) {
    return browser.submit(page, other, { button: ['decision', 'switch'] })
  }
  const consent = formWith(page, 'approve')
  if (consent !== undefined) {
    const scopes = consent.fields.filter((field) => field.name === 'scope').map((field) => field.value)
    const fields = options.without ? { scope: scopes.filter((scope) => !options.without?.includes(scope)) } : {}
    return browser.submit(page, consent, { fields, button: ['decision', options.decision ?? 'approve'] })
  }

  // A provider's own "Continue".
  const [only] = page.forms
  if (only !== undefined && page.status < 400) return browser.submit(page, only, firstButton(only))
  throw new Error(`no way on from ${describe(page)}`)
}

const formWith = (page: Page, decision: string) =>
  page.forms.find(({ fields }) => fields.some(({ name, value }) => name === 'decision' && value === decision))

/** The one that the Enter key presses. */
function firstButton(form: Form): FormChanges {
  const button = form.fields.find((field) => field.type === 'submit')
  return button === undefined || button.name === '' ? {} : { button: [button.name, button.value] }
}

function credentials(form: Form, person: Person): Record<string, string> {
  const name = form.fields.find((field) => field.type === 'text' || field.type === 'email')?.name ?? 'username'
  const secret = form.fields.find((field) => field.type === 'password')?.name ?? 'password'
  return { [name]: person.username, [secret]: person.password }
}

const describe = (page: Page) => `${page.status} ${page.url.origin}${page.url.pathname}: ${page.text.slice(0, 500)}`

/** The same walk in a real browser, by clicking; ends when the page has left for a URL that `away` knows. `look` is called on each page. */
export async function signInWithChromium(
  page: ChromiumPage,
  authorizationUrl: string | URL,
  person: Person,
  away: (url: URL) => boolean,
  look: (page: ChromiumPage, name: 'consent' | 'sign-in' | 'provider') => Promise<void> = async () => {},
): Promise<URL> {
  let left: URL | undefined
  page.on('request', (request) => {
    const url = new URL(request.url())
    if (request.isNavigationRequest() && away(url)) left ??= url
  })
  await page.goto(String(authorizationUrl))
  const password = page.locator('input[type=password]')
  const approve = page.locator('button[name=decision][value=approve]')
  const allow = page.locator('button[name=step][value=allow]')
  for (let step = 0; left === undefined && step < 8; step++) {
    await password.or(approve).or(allow).first().waitFor()
    const name = (await password.isVisible()) ? 'sign-in' : (await approve.isVisible()) ? 'consent' : 'provider'
    await look(page, name)
    const before = page.url()
    if (name === 'sign-in') {
      await page.locator('input[name=username], input[name=login]').fill(person.username)
      await password.fill(person.password)
      await password.press('Enter')
    } else {
      await (name === 'consent' ? approve : allow).click()
    }
    await page.waitForURL((url) => away(url) || url.href !== before)
  }
  if (left === undefined) throw new Error(`the browser never came back to the client; it is at ${page.url()}`)
  return left
}
