import { beforeAll, describe, expect, test } from 'vitest'
import { TestBrowser, type Visit } from '../support/browser.ts'
import { type AttackedClient, createTarget, elsewhere, ISSUER, passwords, type Target } from './support/target.ts'

// RFC 6819 §4.4.1.8 (CSRF), §4.4.1.9 (clickjacking), RFC 9700 §4.7; session fixation; MCP security best practices (consent).

let target: Target
let client: AttackedClient

beforeAll(async () => {
  target = await createTarget({ upstream: [passwords, elsewhere('a')] })
  client = await target.register()
})

interface Opened {
  readonly browser: TestBrowser
  readonly page: Visit
  readonly action: string
  readonly body: URLSearchParams
}

/** The consent page of a victim who is signed in, and what a click on "Allow" would send. */
const consent = async (): Promise<Opened> => {
  const browser = target.browser()
  await target.code(client, { browser })
  const page = await browser.open(target.authorizeUrl(client, { prompt: 'consent' }))
  const [action, body] = browser.filled(page, 'approve')
  return { browser, page, action, body }
}

const post = (action: string, body: BodyInit | null, headers: Record<string, string>, method = 'POST') =>
  target.send(new Request(action, { method, body, headers }))

const edited = (body: URLSearchParams, edit: (body: URLSearchParams) => void): string => {
  edit(body)
  return body.toString()
}

const form = 'application/x-www-form-urlencoded'
const here = { 'sec-fetch-site': 'same-origin', origin: ISSUER }

/** Whatever came back, nobody was let in and nothing was decided. */
const gaveNothing = async (response: Response, opened: Opened) => {
  expect(response.headers.get('location') ?? '').not.toContain('code=')
  expect(response.status).toBeLessThan(500)
  expect(await response.text()).not.toContain('cs_ac_')
  const still = await opened.browser.open(opened.page.url)
  expect(still.status).toBe(200)
  expect(still.text).toContain('Allow')
}

describe('a forged "Allow" decides nothing', () => {
  test.each<[string, (o: Opened) => [BodyInit | null, Record<string, string>, string?]]>([
    ['from another site', ({ body }) => [`${body}`, { ...here, 'sec-fetch-site': 'cross-site' }]],
    ['from another host of the site', ({ body }) => [`${body}`, { ...here, 'sec-fetch-site': 'same-site' }]],
    [
      'with a Sec-Fetch-Site that nobody knows',
      ({ body }) => [`${body}`, { ...here, 'sec-fetch-site': 'same-Origin' }],
    ],
    ['with a foreign Origin', ({ body }) => [`${body}`, { origin: 'https://evil.example' }]],
    ['with an opaque Origin', ({ body }) => [`${body}`, { origin: 'null' }]],
    [
      'with an opaque Origin, and Sec-Fetch-Site: none',
      ({ body }) => [`${body}`, { origin: 'null', 'sec-fetch-site': 'none' }],
    ],
    ['with our Origin on another port', ({ body }) => [`${body}`, { origin: `${ISSUER}:8443` }]],
    ['with our Origin by http', ({ body }) => [`${body}`, { origin: 'http://auth.example.com' }]],
    ['with our Origin as the beginning of another', ({ body }) => [`${body}`, { origin: `${ISSUER}.evil.example` }]],
    ['with two Origins', ({ body }) => [`${body}`, { origin: `${ISSUER}, https://evil.example` }]],
    ['without a token', ({ body }) => [edited(body, (it) => it.delete('csrf')), here]],
    ['with an empty token', ({ body }) => [edited(body, (it) => it.set('csrf', '')), here]],
    ['with two tokens', ({ body }) => [edited(body, (it) => it.append('csrf', 'x')), here]],
    ['with a token of the right length', ({ body }) => [edited(body, (it) => it.set('csrf', 'A'.repeat(43))), here]],
    [
      'with the token cut',
      ({ body }) => [edited(body, (it) => it.set('csrf', it.get('csrf')?.slice(0, -1) ?? '')), here],
    ],
    ['with the token in the query', ({ body }) => [edited(body, (it) => it.delete('csrf')), here]],
    ['as text/plain', ({ body }) => [`${body}`, { ...here, 'content-type': 'text/plain' }]],
    [
      'as JSON',
      ({ body }) => [JSON.stringify(Object.fromEntries(body)), { ...here, 'content-type': 'application/json' }],
    ],
    [
      'as multipart',
      ({ body }) => {
        const data = new FormData()
        for (const [name, value] of body) data.append(name, value)
        return [data, here]
      },
    ],
    ['without a type', ({ body }) => [new TextEncoder().encode(`${body}`), here]],
    ['by PUT', ({ body }) => [`${body}`, { ...here, 'content-type': form }, 'PUT']],
    ['by DELETE', ({ body }) => [`${body}`, { ...here, 'content-type': form }, 'DELETE']],
    ['by PATCH', ({ body }) => [`${body}`, { ...here, 'content-type': form }, 'PATCH']],
    ['without a body', () => [null, here]],
    ['without an interaction', ({ body }) => [edited(body, (it) => it.delete('interaction')), here]],
    [
      'with two interactions',
      ({ body }) => [edited(body, (it) => it.append('interaction', it.get('interaction') ?? '')), here],
    ],
    ['with two decisions', ({ body }) => [edited(body, (it) => it.append('decision', 'deny')), here]],
    ['with a decision that is none', ({ body }) => [edited(body, (it) => it.set('decision', 'APPROVE')), here]],
  ])('%s', async (name, change) => {
    const opened = await consent()
    const [body, headers, method] = change(opened)
    const type: Record<string, string> =
      typeof body === 'string' && !('content-type' in headers) ? { 'content-type': form } : {}
    const query = name.endsWith('in the query')
      ? `?csrf=${opened.page.forms[0]?.fields.find(({ name }) => name === 'csrf')?.value}`
      : ''
    const cookie = { cookie: opened.browser.cookieHeader }
    const response = await post(opened.action + query, body, { ...cookie, ...type, ...headers }, method)
    await gaveNothing(response, opened)
  })

  test('by a link: GET and HEAD with everything in the query, and method overrides', async () => {
    const opened = await consent()
    const cookie = opened.browser.cookieHeader
    for (const [method, headers] of [
      ['GET', {}],
      ['HEAD', {}],
      ['GET', { 'x-http-method-override': 'POST', 'x-http-method': 'POST', 'x-method-override': 'POST' }],
    ] as const) {
      const url = `${opened.action}?${opened.body}&_method=POST`
      await gaveNothing(await target.send(new Request(url, { method, headers: { cookie, ...headers } })), opened)
    }
  })

  test('without the interaction’s cookie, or with another browser’s, or with the value under another name', async () => {
    const opened = await consent()
    const other = await consent()
    const own = [...opened.browser.cookies.values()].find(({ name }) =>
      name.includes(opened.body.get('interaction') ?? '?'),
    )
    for (const cookie of [
      '',
      other.browser.cookieHeader,
      `session=${own?.value}`,
      `${own?.name}=`,
      `${own?.name}x=${own?.value}`,
    ]) {
      const headers = { ...here, 'content-type': form, ...(cookie ? { cookie } : {}) }
      const response = await post(opened.action, `${opened.body}`, headers)
      expect(response.status).toBe(403)
      await gaveNothing(response, opened)
    }
  })

  test('the very same click, unforged, does', async () => {
    const { browser, page, action, body } = await consent()
    expect((await browser.post(page.url, action, body)).left?.searchParams.get('code')).toMatch(/^cs_ac_/)
  })
})

describe('login CSRF and session fixation', () => {
  test('a sign-in form that is posted from elsewhere, or with an attacker’s interaction, signs nobody in', async () => {
    const attacker = target.browser()
    const page = await attacker.submit(await attacker.open(target.authorizeUrl(client)), 'approve')
    const [action, body] = attacker.filled(page, undefined, { username: 'Mallory', password: 'right' })
    const victim = target.browser()
    const crossSite = await victim.post('https://evil.example/', action, body)
    const sameSite = await victim.post(page.url, action, body)
    for (const { status, left } of [crossSite, sameSite]) expect([status, left]).toEqual([403, undefined])
    expect(victim.cookieHeader).toBe('')
  })

  test('a session cookie that an attacker planted is not the one that the victim is signed in with', async () => {
    const attacker = target.browser()
    await target.code(client, { who: 'Mallory', browser: attacker })
    const planted = [...attacker.cookies.values()].find(({ name }) => name.endsWith('-session'))
    if (!planted) throw new Error('no session cookie')
    const victim = target.browser()
    victim.cookies.set(planted.name, planted)
    await target
      .code(client, { who: 'Alice', browser: victim, parameters: { prompt: 'login consent' } })
      .catch(() => {})
    const own = victim.cookies.get(planted.name)?.value
    expect(own).not.toBe(planted.value)
    // What was planted is worth nothing afterwards: not Alice, and not Mallory either.
    const look = await attacker.open(target.authorizeUrl(client, { prompt: 'consent' }))
    expect(look.text).not.toContain('alice@example.org')
  })

  test('cookies can’t be set from a host below: the names say so', async () => {
    const browser = target.browser()
    await target.code(client, { browser })
    for (const { name, attributes } of browser.cookies.values()) {
      expect(name).toMatch(/^__Host-cs-/)
      expect([
        attributes.get('path'),
        attributes.has('secure'),
        attributes.has('httponly'),
        attributes.has('domain'),
      ]).toEqual(['/', true, true, false])
      expect(attributes.get('samesite')).toBe('Lax')
    }
  })
})

test('what a person typed is sent on nowhere: after a form the browser is told to get the next page', async () => {
  const redirects: (readonly [string, number])[] = []
  const browser = new TestBrowser(async (request) => {
    const { method, url } = request
    const response = await target.send(request)
    if (response.headers.has('location')) redirects.push([`${method} ${new URL(url).pathname}`, response.status])
    return response
  }, ISSUER)
  await target.code(client, { browser })
  const forms = ['POST /authorize/consent', 'POST /authorize/sign-in']
  expect(redirects.map(([request]) => request)).toEqual(expect.arrayContaining(forms))
  expect(redirects.filter(([, status]) => status !== 303)).toEqual([])
})

test('clickjacking: every answer that a browser shows refuses to be framed', async () => {
  const opened = await consent()
  const cookie = opened.browser.cookieHeader
  for (const url of [
    opened.page.url,
    target.authorizeUrl(client),
    target.authorizeUrl({ id: 'unknown', redirectUri: 'x' }),
    `${ISSUER}/authorize/sign-in`,
    `${ISSUER}/authorize/callback/a?state=x`,
  ]) {
    const response = await target.send(new Request(url, { headers: { cookie } }))
    expect([url, response.headers.get('x-frame-options')]).toEqual([url, 'DENY'])
    const policy = response.headers.get('content-security-policy')
    if (response.status !== 303) expect(policy).toContain("frame-ancestors 'none'")
    expect(policy ?? '').not.toMatch(/unsafe|script-src|\*/)
  }
})
