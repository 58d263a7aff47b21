import { expect, test } from 'vitest'
import type { TestBrowser, Visit } from '../../support/browser.ts'
import { authorizeUrl, type PersonServer, personServer, redeemed, signInAs } from '../../support/person.ts'

const withClient = async (issuer?: string): Promise<PersonServer> => {
  const to = await personServer(issuer === undefined ? {} : { issuer })
  await to.addClient({ id: 'app' })
  return to
}

const toSignIn = async (to: PersonServer, browser: TestBrowser): Promise<Visit> =>
  browser.submit(await browser.open(authorizeUrl(to)), 'approve')

const codesIssued = (to: PersonServer) => to.events.filter(({ type }) => type === 'code.issued').length

test('fault 25: pages can’t be framed, run no script, load nothing, and are kept nowhere', async () => {
  const to = await withClient()
  const browser = to.browser()
  const consent = await browser.open(authorizeUrl(to))
  const signIn = await browser.submit(consent, 'approve')
  const problem = await browser.open(authorizeUrl(to, { client_id: 'nobody' }))
  for (const { headers, html } of [consent, signIn, problem]) {
    const policy = headers.get('content-security-policy')?.split('; ') ?? []
    expect(policy).toContain("default-src 'none'")
    expect(policy).toContain("frame-ancestors 'none'")
    expect(policy).toContain("base-uri 'none'")
    expect(policy.find((part) => part.startsWith('style-src'))).toMatch(/^style-src 'sha256-[\w+/]{43}='$/)
    expect(policy.join()).not.toMatch(/unsafe|script-src|\*/)
    expect(headers.get('x-frame-options')).toBe('DENY')
    expect(headers.get('cache-control')).toBe('no-store')
    expect(headers.get('referrer-policy')).toBe('same-origin')
    expect(headers.get('x-content-type-options')).toBe('nosniff')
    expect(html).not.toMatch(/<script|\son\w+=|style="|<iframe|javascript:/i)
  }
})

test('cookies: __Host- and Secure on https, HttpOnly, Lax, one for each interaction; a session of its own name', async () => {
  const to = await withClient()
  const browser = to.browser()
  await browser.open(authorizeUrl(to))
  await signInAs(browser, await toSignIn(to, browser), 'Alice')
  const cookies = [...browser.cookies.values()]
  expect(cookies).toHaveLength(3)
  for (const { name, value, attributes } of cookies) {
    expect(name).toMatch(/^__Host-cs-[\w-]{6}-(session|i-[\w-]{22})$/)
    expect(value).toMatch(/^[\w-]{43}$/)
    expect(attributes.get('path')).toBe('/')
    expect(attributes.get('samesite')).toBe('Lax')
    expect(attributes.has('httponly') && attributes.has('secure')).toBe(true)
    expect(attributes.has('domain')).toBe(false)
  }
  const plain = await withClient('http://localhost:8787')
  const other = plain.browser()
  await other.open(authorizeUrl(plain))
  const [first] = [...other.cookies.values()]
  expect(first?.name).toMatch(/^cs-/)
  expect(first?.attributes.has('secure')).toBe(false)
})

test('servers that share a host don’t share cookies', async () => {
  const names = async (issuer: string) => {
    const to = await withClient(issuer)
    const browser = to.browser()
    await browser.open(authorizeUrl(to))
    return [...browser.cookies.keys()].map((name) => name.split('-i-')[0])
  }
  expect(await names('http://localhost:8787')).not.toEqual(await names('http://localhost:8788'))
})

test('no secret of a cookie is in the store, in an address or in the audit log', async () => {
  const to = await withClient()
  const browser = to.browser()
  const page = await toSignIn(to, browser)
  const { left } = await signInAs(browser, page, 'Alice')
  const stored = (await to.server.records.store.list('', { limit: 1000 })).entries
  const text =
    stored.map(({ key, value }) => key + Buffer.from(value).toString('latin1')).join() +
    JSON.stringify(to.events) +
    page.url
  for (const { value } of browser.cookies.values()) expect(text).not.toContain(value)
  expect(text).not.toContain(left?.searchParams.get('code'))
})

test('fault 25: a form without the CSRF token, or with another interaction’s, is refused', async () => {
  const to = await withClient()
  const browser = to.browser()
  const page = await browser.open(authorizeUrl(to))
  const other = await browser.open(authorizeUrl(to))
  const [action, body] = browser.filled(page, 'approve')
  const [, foreign] = browser.filled(other, 'approve')
  for (const csrf of [undefined, '', 'x', foreign.get('csrf') ?? '']) {
    const forged = new URLSearchParams(body)
    forged.delete('csrf')
    if (csrf !== undefined) forged.set('csrf', csrf)
    const answer = await browser.post(page.url, action, forged)
    expect([answer.status, answer.left]).toEqual([403, undefined])
  }
  expect((await browser.post(page.url, action, body)).text).toContain('Password')
})

test('fault 25: a form that is posted from elsewhere is refused, even with everything right', async () => {
  const to = await withClient()
  const browser = to.browser()
  const page = await browser.open(authorizeUrl(to))
  const [action, body] = browser.filled(page, 'approve')
  for (const headers of [
    { 'Sec-Fetch-Site': 'cross-site' },
    { 'Sec-Fetch-Site': 'same-site' },
    { Origin: 'https://evil.example' },
    { Origin: 'null', 'Sec-Fetch-Site': 'none' },
    { Origin: 'null', 'Sec-Fetch-Site': 'cross-site' },
    { Origin: 'http://auth.example.com' },
  ]) {
    const answer = await browser.post(page.url, action, body, headers)
    expect([answer.status, answer.left]).toEqual([403, undefined])
  }
  expect((await browser.post('https://evil.example/', action, body)).status).toBe(403)
  expect((await browser.post(page.url, action, body, { Origin: 'null' })).status).toBe(200)
  expect((await browser.post(page.url, action, body)).status).toBe(200)
})

test('fault 25: the browser that approved is the one that goes on: another one’s cookies are worth nothing', async () => {
  const to = await withClient()
  const victim = to.browser()
  const attacker = to.browser()
  const page = await victim.open(authorizeUrl(to))
  await attacker.open(authorizeUrl(to))
  const [action, body] = victim.filled(page, 'approve')
  for (const browser of [attacker, to.browser()]) {
    expect((await browser.open(page.url)).text).toContain('belongs to another browser')
    const answer = await browser.post(page.url, action, body)
    expect([answer.status, answer.left]).toEqual([403, undefined])
  }
})

test('design 3, consent: what one browser approved can’t be signed in for by another', async () => {
  const to = await withClient()
  const attacker = to.browser()
  const signIn = await toSignIn(to, attacker)
  const victim = to.browser()
  expect((await victim.open(signIn.url)).status).toBe(403)
  const [action, body] = attacker.filled(signIn, undefined, { username: 'Alice', password: 'right' })
  expect((await victim.post(signIn.url, action, body)).status).toBe(403)
  expect(codesIssued(to)).toBe(0)
})

test('a form of a wrong kind is refused with a page', async () => {
  const to = await withClient()
  const browser = to.browser()
  const page = await browser.open(authorizeUrl(to))
  const [action, body] = browser.filled(page, undefined)
  const post = async (form: URLSearchParams) => (await browser.post(page.url, action, form)).status
  expect(await post(body)).toBe(400)
  expect(await post(new URLSearchParams([...body, ['decision', 'maybe']]))).toBe(400)
  expect(await post(new URLSearchParams([...body, ['decision', 'approve'], ['decision', 'deny']]))).toBe(400)
  expect(await post(new URLSearchParams({ interaction: 'x'.repeat(70_000) }))).toBe(413)
  expect(await post(new URLSearchParams({ decision: 'approve' }))).toBe(400)
  const headers = { cookie: browser.cookieHeader, 'content-type': 'application/json' }
  const json = await to.routes.respond(new Request(action, { method: 'POST', body: '{}', headers }))
  expect(json?.status).toBe(400)
  expect(to.trouble).toEqual([])
})

test('an interaction that has expired says so', async () => {
  const to = await withClient()
  const browser = to.browser()
  const page = await browser.open(authorizeUrl(to))
  await to.pass(1_801_000)
  const late = await browser.submit(page, 'approve')
  expect(late.status).toBe(400)
  expect(late.text).toContain('This page has expired')
  expect((await browser.open(page.url)).status).toBe(400)
  for (const id of ['', 'x', '../../x', 'A'.repeat(22), 'A'.repeat(5000)]) {
    expect((await browser.open(`${to.issuer}/authorize/consent?interaction=${encodeURIComponent(id)}`)).status).toBe(
      400,
    )
  }
  expect((await browser.open(`${to.issuer}/authorize/consent`)).status).toBe(400)
})

test('two tabs don’t meet: each finishes its own request', async () => {
  const to = await withClient()
  const browser = to.browser()
  const one = await browser.open(authorizeUrl(to, { state: 'one' }))
  const two = await browser.open(authorizeUrl(to, { state: 'two' }))
  const signInOne = await browser.submit(one, 'approve')
  const signInTwo = await browser.submit(two, 'approve')
  const second = await signInAs(browser, signInTwo, 'Alice')
  const first = await signInAs(browser, signInOne, 'Bob')
  expect(second.left?.searchParams.get('state')).toBe('two')
  expect(first.left?.searchParams.get('state')).toBe('one')
})

test('a double click on any form: both answers are the same, and the code works once', async () => {
  const to = await withClient()
  const browser = to.browser()
  const consent = await browser.open(authorizeUrl(to))
  const [first, second] = await Promise.all([browser.submit(consent, 'approve'), browser.submit(consent, 'approve')])
  expect(first.text).toContain('Password')
  expect(second.text).toBe(first.text)
  const both = await Promise.all([signInAs(browser, first, 'Alice'), signInAs(browser, second, 'Alice')])
  expect(both[0]?.left?.href).toBe(both[1]?.left?.href)
  expect(await redeemed(to, both[0]?.left)).toHaveProperty('access_token')

  const signedIn = await browser.open(authorizeUrl(to, { prompt: 'consent' }))
  const many = await Promise.all([1, 2, 3, 4, 5].map(() => browser.submit(signedIn, 'approve')))
  expect(new Set(many.map(({ left }) => left?.href)).size).toBe(1)
  expect(await redeemed(to, many[0]?.left)).toHaveProperty('access_token')

  const denied = await browser.open(authorizeUrl(to, { prompt: 'consent' }))
  const twice = await Promise.all([browser.submit(denied, 'deny'), browser.submit(denied, 'deny')])
  expect(twice[0]?.left?.href).toBe(twice[1]?.left?.href)
  expect(to.trouble).toEqual([])
})

test('approve and deny at once: one of them wins, and both answers are its', async () => {
  const to = await withClient()
  const browser = to.browser()
  await signInAs(browser, await toSignIn(to, browser), 'Alice')
  for (let round = 0; round < 10; round++) {
    const page = await browser.open(authorizeUrl(to, { prompt: 'consent' }))
    const [yes, no] = await Promise.all([browser.submit(page, 'approve'), browser.submit(page, 'deny')])
    expect(yes.left?.href).toBe(no.left?.href)
  }
})

test('the back button: the same answer until the client has redeemed the code, then a page that says it is done', async () => {
  const to = await withClient()
  const browser = to.browser()
  const signIn = await toSignIn(to, browser)
  const done = await signInAs(browser, signIn, 'Alice')
  expect((await browser.open(signIn.url)).left?.href).toBe(done.left?.href)
  const tokens = await redeemed(to, done.left)
  expect(tokens).toHaveProperty('refresh_token')
  await to.pass(20_000)
  for (const answer of [await browser.open(signIn.url), await signInAs(browser, signIn, 'Alice')]) {
    expect([answer.status, answer.left]).toEqual([409, undefined])
    expect(answer.text).toContain('already done')
  }
  // Nothing that the person did there cost the client its session.
  const refreshed = await to.routes.respond(
    new Request(`${to.issuer}/token`, {
      method: 'POST',
      body: new URLSearchParams({
        grant_type: 'refresh_token',
        refresh_token: String(tokens.refresh_token),
        client_id: 'app',
      }),
    }),
  )
  expect(refreshed?.status).toBe(200)
})

test('after declining, coming back later says that it is done', async () => {
  const to = await withClient()
  const browser = to.browser()
  const page = await browser.open(authorizeUrl(to))
  const { left } = await browser.submit(page, 'deny')
  expect((await browser.open(page.url)).left?.href).toBe(left?.href)
  await to.pass(11_000)
  for (const late of [await browser.open(page.url), await browser.submit(page, 'approve')]) {
    expect([late.status, late.left]).toEqual([409, undefined])
  }
})

test('session fixation: each sign-in brings a new cookie, and one that was planted is never signed in', async () => {
  const to = await withClient()
  const attacker = to.browser()
  await signInAs(attacker, await toSignIn(to, attacker), 'Bob')
  const planted = [...attacker.cookies.values()].find(({ name }) => name.endsWith('session'))
  if (!planted) throw new Error('no session')
  const victim = to.browser()
  victim.cookies.set(planted.name, planted)
  const page = await victim.open(authorizeUrl(to, { prompt: 'login' }))
  const ask = await signInAs(victim, await victim.submit(page, 'approve'), 'Alice')
  await victim.submit(ask, 'continue')
  expect(victim.cookies.get(planted.name)?.value).not.toBe(planted.value)
  expect((await attacker.open(authorizeUrl(to, { prompt: 'consent' }))).text).not.toContain('Alice')
})

test('a wrong password, and too many of them, are said on the page; the name stays, the password doesn’t', async () => {
  const to = await withClient()
  const browser = to.browser()
  const page = await toSignIn(to, browser)
  const wrong = await signInAs(browser, page, 'Alice', 'wrong-secret')
  expect(wrong.status).toBe(400)
  expect(wrong.text).toContain('The user name or the password is wrong')
  expect(wrong.html).toContain('value="Alice"')
  expect(wrong.html).not.toContain('wrong-secret')
  const busy = await signInAs(browser, wrong, 'busy', 'x')
  expect(busy.status).toBe(429)
  expect(busy.headers.get('retry-after')).toBe('300')
  expect(busy.text).toContain('wait 5 minutes')
  expect(to.events.filter(({ type }) => type === 'sign_in.refused')).toMatchObject([
    { reason: 'credentials', address: '192.0.2.7' },
    { reason: 'rate_limited' },
  ])
  expect((await signInAs(browser, busy, 'Alice')).left).toBeDefined()
})

test('a browser that is sent to us again and again keeps few cookies', async () => {
  const to = await withClient()
  const browser = to.browser()
  for (let count = 0; count < 40; count++) await browser.open(authorizeUrl(to))
  expect(browser.cookies.size).toBeLessThanOrEqual(12)
  expect((await toSignIn(to, browser)).text).toContain('Password')
})

test('sign-in without consent leads back to consent', async () => {
  const to = await withClient()
  const browser = to.browser()
  const consent = await browser.open(authorizeUrl(to))
  const direct = await browser.open(consent.url.replace('/consent', '/sign-in'))
  expect(direct.text).toContain('Allow Test App')
  const [, body] = browser.filled(consent, undefined)
  body.delete('scope')
  for (const [name, value] of Object.entries({ username: 'Alice', password: 'right', provider: 'local' }))
    body.set(name, value)
  const posted = await browser.post(consent.url, `${to.issuer}/authorize/sign-in`, body)
  expect([posted.left, codesIssued(to)]).toEqual([undefined, 0])
  expect(posted.text).toContain('Allow Test App')
})
