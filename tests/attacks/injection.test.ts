import { beforeAll, describe, expect, test } from 'vitest'
import { createTarget, elsewhere, ISSUER, LOOPBACK, passwords, type Target, WEB } from './support/target.ts'

// Header injection, HTML, CSS and bidirectional text injection; host header poisoning; what caches and other origins may see.

let target: Target

beforeAll(async () => {
  target = await createTarget({
    upstream: [passwords, elsewhere('a')],
    registration: { perAddress: 10_000, total: 10_000 },
    branding: { name: 'Notes' },
  })
})

const markup = [
  '<script>alert(1)</script>',
  '"><script>alert(1)</script>',
  "'><img src=x onerror=alert(1)>",
  '</title><script>alert(1)</script>',
  '</style><script>alert(1)</script>',
  '<form action="https://evil.example/"><input name="password">',
  '<base href="https://evil.example/">',
  '<meta http-equiv="refresh" content="0;url=https://evil.example/">',
  '<iframe src="https://evil.example/"></iframe>',
  '<svg/onload=alert(1)>',
  '&lt;script&gt;alert(1)&lt;/script&gt;',
  '" autofocus onfocus="alert(1)',
  '" form="decide" formaction="https://evil.example/',
  '` onmouseover=alert(1) `',
  '{{constructor.constructor("alert(1)")()}}',
  '$' + '{alert(1)}',
  'javascript:alert(1)',
  '<!--',
  ']]>',
  'expression(alert(1))',
  '}body{background:url(https://evil.example/)}',
]
const invisible = [
  '\u202e',
  '\u2066',
  '\u200b',
  '\u200e',
  '\ufeff',
  '\u00ad',
  '\u0000',
  '\u001b[2J',
  '\u{e0041}',
  '\u2028',
  '\r\n',
  '\u180e',
  '\u115f',
  '\ufff9',
]

/** What stands in a page besides its text: tags with their attributes, in order. */
const skeleton = (html: string): string[] =>
  [...html.matchAll(/<[^>]*>/g)].map(([tag]) =>
    tag.replace(/value="[^"]*"/g, 'value').replace(/content="[^"]*"/g, 'content'),
  )

describe('foreign text can’t become a part of a page', () => {
  test('a client’s name and addresses', async () => {
    const plain = await target.browser().open(target.authorizeUrl(await target.register({ client_name: 'App' })))
    for (const text of [...markup, ...invisible.map((each) => `App${each}evil`)]) {
      const client = await target.register({
        client_name: text,
        client_uri: text,
        logo_uri: text,
        policy_uri: text,
        tos_uri: text,
        contacts: [text],
      })
      const page = await target.browser().open(target.authorizeUrl(client))
      expect([text, page.status]).toEqual([text, 200])
      expect([text, skeleton(page.html)]).toEqual([text, skeleton(plain.html)])
      for (const each of invisible) if (each !== '\r\n') expect([text, page.html.includes(each)]).toEqual([text, false])
      expect(page.html).not.toContain('https://evil.example/"')
    }
  })

  test('login_hint, a user name that was wrong, and what a provider says of a person', async () => {
    const client = await target.register()
    const open = async (hint: string) => {
      const browser = target.browser()
      const consent = await browser.open(target.authorizeUrl(client, { login_hint: hint }))
      const page = consent.status === 200 ? await browser.submit(consent, 'approve') : consent
      return { browser, page }
    }
    const plain = await open('Alice')
    const wrong = await plain.browser.submit(plain.page, undefined, { username: 'Alice', password: 'wrong' })
    for (const text of markup) {
      const { browser, page } = await open(text)
      expect([text, skeleton(page.html)]).toEqual([text, skeleton(plain.page.html)])
      const again = await browser.submit(page, undefined, { username: text, password: 'wrong' })
      expect([text, skeleton(again.html)]).toEqual([text, skeleton(wrong.html)])
    }
    const asPerson = async (name: string) => {
      const browser = target.browser()
      const page = await browser.submit(await browser.open(target.authorizeUrl(client)), 'approve')
      const { left } = await browser.submit(page, 'a')
      const answer = new URLSearchParams({ state: left?.searchParams.get('state') ?? '', code: name })
      expect((await browser.open(`${ISSUER}/authorize/callback/a?${answer}`)).left?.origin).toBe(
        'https://app.example.net',
      )
      return browser.open(target.authorizeUrl(client, { prompt: 'consent' }))
    }
    const known = await asPerson('Carol')
    for (const text of [...markup, ...invisible.map((each) => `Dan${each}`)]) {
      const page = await asPerson(text)
      expect([text, skeleton(page.html)]).toEqual([text, skeleton(known.html)])
    }
  })

  test('error pages say nothing of what was sent', async () => {
    for (const text of markup) {
      for (const url of [
        target.authorizeUrl({ id: text, redirectUri: text }),
        `${ISSUER}/authorize/consent?interaction=${encodeURIComponent(text)}`,
        `${ISSUER}/authorize/callback/a?state=${encodeURIComponent(text)}&error=${encodeURIComponent(text)}&error_description=${encodeURIComponent(text)}`,
        `${ISSUER}/authorize?${encodeURIComponent(text)}=${encodeURIComponent(text)}`,
      ]) {
        const page = await target.browser().open(url)
        expect(page.status).toBe(400)
        expect(page.html).not.toContain(text)
        expect(page.html).not.toMatch(/evil\.example|alert\(1\)/)
      }
    }
  })

  test('the scheme of a link back is one that was checked', async () => {
    const client = await target.register({ redirect_uris: ['com.example.app:/cb?a="b"'.replaceAll('"', '%22')] })
    const page = await target.browser().open(target.authorizeUrl(client, { response_type: 'x', state: '"><script>' }))
    const [, href = ''] = /<a [^>]*href="([^"]*)"/.exec(page.html) ?? []
    expect(href.startsWith('com.example.app:/cb?a=%22b%22&amp;error=')).toBe(true)
    expect(page.html).not.toContain('<script')
  })
})

describe('header injection', () => {
  const lines = [
    '%0d%0aSet-Cookie:%20evil=1',
    '%0aLocation:%20https://evil.example',
    '%0d',
    '%00',
    '%E5%98%8A%E5%98%8DSet-Cookie:evil',
    '\r\nSet-Cookie: evil=1',
    '\u560a\u560dSet-Cookie: evil=1',
    '%c0%8a',
  ]

  test('state comes back as it came, and never as a line', async () => {
    const client = await target.register({ redirect_uris: [LOOPBACK] })
    for (const line of lines) {
      const url = `${target.authorizeUrl(client, { state: undefined, response_type: 'x' })}&state=x${line}`
      const response = await target.send(new Request(url))
      const location = response.headers.get('location') ?? ''
      expect([line, /[\r\n\0]/.test(location)]).toEqual([line, false])
      expect(response.headers.getSetCookie()).toEqual([])
      expect(new URL(location).origin).toBe('http://127.0.0.1')
    }
  })

  test('descriptions of errors hold no more than the RFC allows, whatever was sent', async () => {
    const client = await target.register({ redirect_uris: [LOOPBACK] })
    for (const line of [...lines, ...markup, '"\\', '\u202e', 'ü']) {
      for (const name of [
        'scope',
        'resource',
        'prompt',
        'max_age',
        'response_type',
        'response_mode',
        'code_challenge_method',
      ]) {
        const { left } = await target.browser().open(target.authorizeUrl(client, { [name]: line }))
        if (left) expect(left.searchParams.get('error_description') ?? '').toMatch(/^[\x20-\x21\x23-\x5b\x5d-\x7e]*$/)
      }
      const { body, headers } = await target.post('/token', { grant_type: line, client_id: line, token: line })
      expect(String(body.error_description)).toMatch(/^[\x20-\x21\x23-\x5b\x5d-\x7e]*$/)
      expect(headers.getSetCookie()).toEqual([])
    }
  })
})

describe('host header poisoning: addresses come from the configuration', () => {
  const poison: Record<string, string> = {
    host: 'evil.example',
    'x-forwarded-host': 'evil.example',
    'x-forwarded-proto': 'http',
    'x-forwarded-port': '8443',
    'x-forwarded-prefix': '/evil',
    'x-original-url': '/evil',
    'x-rewrite-url': '/evil',
    'x-original-host': 'evil.example',
    'x-host': 'evil.example',
    forwarded: 'host=evil.example;proto=http',
    origin: 'https://evil.example',
    referer: 'https://evil.example/',
  }

  test('in metadata, challenges, redirects, pages and cookies: not one letter changes', async () => {
    const client = await target.register()
    const at =
      (path: string, origin = ISSUER) =>
      (headers: Record<string, string>) =>
        target.send(new Request(`${origin}${path}`, { headers }))
    const requests: [string, (headers: Record<string, string>) => Promise<Response>][] = [
      ['server metadata', at('/.well-known/oauth-authorization-server')],
      [
        'server metadata, by another address',
        at('/.well-known/oauth-authorization-server', 'http://evil.example:8080'),
      ],
      ['resource metadata', at('/.well-known/oauth-protected-resource/mcp')],
      [
        'resource metadata, by another address',
        at('/.well-known/oauth-protected-resource/mcp', 'http://evil.example:8080'),
      ],
      ['keys', at('/jwks')],
      ['an error page', at('/authorize?client_id=x')],
      ['a missing interaction', at('/authorize/consent')],
    ]
    const clean = await Promise.all(requests.map(async ([, send]) => (await send({})).text()))
    for (const [index, [name, send]] of requests.entries()) {
      const response = await send(poison)
      expect([name, await response.text()]).toEqual([name, clean[index]])
      expect([name, JSON.stringify([...response.headers]).includes('evil')]).toEqual([name, false])
    }
    for (const origin of [ISSUER, 'http://evil.example:8080']) {
      const url = target.authorizeUrl(client).replace(ISSUER, origin)
      const response = await target.send(new Request(url, { headers: poison }))
      expect(response.headers.get('location')).toMatch(new RegExp(`^${ISSUER}/authorize/consent`))
      for (const cookie of response.headers.getSetCookie()) expect(cookie).toMatch(/^__Host-.*; Secure$/)
    }
  })

  test('the challenge names our metadata', async () => {
    const { host: _host, origin: _origin, ...rest } = poison
    const response = await target.call(undefined, { headers: rest })
    expect(response.headers.get('www-authenticate')).toContain(
      `resource_metadata="${ISSUER}/.well-known/oauth-protected-resource/mcp"`,
    )
    expect(response.headers.get('www-authenticate')).not.toContain('evil')
  })
})

describe('caches and other origins', () => {
  test('whatever is about somebody is kept nowhere', async () => {
    const client = await target.register()
    const browser = target.browser()
    const inHand = await target.code(client, { browser })
    const cookie = browser.cookieHeader
    const get = (url: string) => target.send(new Request(url, { headers: { cookie } }))
    const answers: [string, { headers: Headers }][] = [
      ['remembered consent', await get(target.authorizeUrl(client))],
      ['consent', await get(target.authorizeUrl(client, { prompt: 'consent' }))],
      ['an error page', await get(target.authorizeUrl({ id: 'x', redirectUri: 'x' }))],
      ['a callback', await get(`${ISSUER}/authorize/callback/a?state=x`)],
      ['a sign-in page', await get(`${ISSUER}/authorize/sign-in`)],
      ['a token', await target.redeem(inHand)],
      ['no token', await target.redeem(inHand)],
      ['a revocation', await target.post('/revoke', { token: 'x', client_id: client.id })],
      ['a wrong method', await target.send(new Request(`${ISSUER}/token`))],
      [
        'a registration',
        await target.send(
          new Request(`${ISSUER}/register`, {
            method: 'POST',
            body: JSON.stringify({ redirect_uris: [WEB] }),
            headers: { 'content-type': 'application/json' },
          }),
        ),
      ],
      [
        'a refused registration',
        await target.send(
          new Request(`${ISSUER}/register`, {
            method: 'POST',
            body: 'x',
            headers: { 'content-type': 'application/json' },
          }),
        ),
      ],
      ['a challenge', await target.call(undefined)],
      ['a refused token', await target.call('x')],
    ]
    for (const [name, { headers }] of answers) expect([name, headers.get('cache-control')]).toEqual([name, 'no-store'])
  })

  test('pages of other origins may read what carries no cookie, and nothing else; credentials are never allowed', async () => {
    const origin = 'https://evil.example'
    const open = [
      '/token',
      '/par',
      '/revoke',
      '/introspect',
      '/register',
      '/jwks',
      '/.well-known/oauth-authorization-server',
      '/.well-known/oauth-protected-resource/mcp',
    ]
    const closed = [
      '/authorize',
      '/authorize/consent',
      '/authorize/sign-in',
      '/authorize/account',
      '/authorize/callback/a',
    ]
    for (const path of [...open, ...closed]) {
      for (const method of ['GET', 'POST', 'OPTIONS']) {
        const headers = {
          origin,
          'access-control-request-method': 'POST',
          'access-control-request-headers': 'authorization, cookie',
        }
        const response = await target.send(new Request(ISSUER + path, { method, headers }))
        expect([path, response.headers.get('access-control-allow-credentials')]).toEqual([path, null])
        const allowed = response.headers.get('access-control-allow-origin')
        expect([path, method, allowed]).toEqual([path, method, open.includes(path) ? '*' : null])
        expect(response.headers.get('access-control-allow-headers') ?? '').not.toMatch(/cookie/i)
      }
    }
    const preflight = await target.call(undefined, {
      method: 'OPTIONS',
      body: null,
      headers: { origin, 'access-control-request-method': 'POST' },
    })
    expect([
      preflight.headers.get('access-control-allow-origin'),
      preflight.headers.get('access-control-allow-credentials'),
    ]).toEqual([null, null])
    expect(preflight.headers.get('vary')).toContain('Origin')
  })
})
