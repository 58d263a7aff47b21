import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { PersonServer } from '../../support/person.ts'
import { authorizeUrl, challenge, loopbackRedirect, personServer, signInAs, webRedirect } from '../../support/person.ts'

const withClient = async (): Promise<PersonServer> => {
  const to = await personServer()
  await to.addClient({ id: 'app' })
  await to.addClient({
    id: 'known',
    source: 'configured',
    redirectUris: [webRedirect, 'https://app.example.net/second'],
  })
  await to.addClient({ id: 'native', redirectUris: [loopbackRedirect] })
  return to
}

const reasonOf = (to: PersonServer) => to.events.filter(({ type }) => type === 'authorization.refused').at(-1)

test('fault 9: a client that is not known here gets a page and nothing is redirected, whatever its redirect URI', async () => {
  const to = await withClient()
  for (const client_id of ['the-upstream-apps-own-id', '', '__proto__', 'a'.repeat(2000), '"><script>']) {
    const page = await to.browser().open(authorizeUrl(to, { client_id, redirect_uri: 'https://evil.example/' }))
    expect(page.status).toBe(400)
    expect(page.left).toBeUndefined()
    expect(page.text).toContain('This app is not known here')
    expect(page.text).toContain('remove this server and add it again')
    expect(page.html).not.toContain('evil.example')
  }
  expect(reasonOf(to)).toMatchObject({ reason: 'unknown client' })
})

test('design 6: before the redirect URI is trusted there is a page, 400, and never a redirect', async () => {
  const to = await withClient()
  const tricks = [
    'https://app.example.net/callback/',
    'https://app.example.net/callback?x=1',
    'https://app.example.net/callback/../callback',
    'https://app.example.net/Callback',
    'https://app.example.net/%63allback',
    'https://app.example.net:444/callback',
    'https://app.example.net.evil.example/callback',
    'https://app.example.net@evil.example/callback',
    'https://evil.example\\@app.example.net/callback',
    'https://app.example.net/callback#fragment',
    'http://app.example.net/callback',
    '//app.example.net/callback',
    'javascript:alert(1)//https://app.example.net/callback',
    'data:text/html,x',
    ' https://app.example.net/callback',
    'https://аpp.example.net/callback',
  ]
  for (const redirect_uri of tricks) {
    const page = await to.browser().open(authorizeUrl(to, { redirect_uri, response_type: 'nonsense' }))
    expect([redirect_uri, page.status, page.left]).toEqual([redirect_uri, 400, undefined])
    expect(page.text).toContain('This link can’t be trusted')
  }
})

test('parameter pollution: a repeated parameter is never chosen from', async () => {
  const to = await withClient()
  for (const name of ['client_id', 'redirect_uri', 'state']) {
    const page = await to.browser().open(`${authorizeUrl(to)}&${name}=second`)
    expect([name, page.status, page.left]).toEqual([name, 400, undefined])
  }
  const encoded = await to.browser().open(`${authorizeUrl(to)}&st%61te=second`)
  expect([encoded.status, encoded.left]).toEqual([400, undefined])
  for (const name of ['scope', 'code_challenge', 'response_type', 'prompt', 'code_challenge_method']) {
    const { left } = await to.browser().open(`${authorizeUrl(to, { client_id: 'known' })}&${name}=second`)
    expect([name, left?.searchParams.get('error')]).toEqual([name, 'invalid_request'])
  }
})

test('oversized parameters are refused with a page or an error, and nothing is stored', async () => {
  const to = await withClient()
  const long = 'a'.repeat(30_000)
  for (const name of ['state', 'client_id', 'redirect_uri', 'scope', 'login_hint', 'resource', 'unknown']) {
    const page = await to.browser().open(authorizeUrl(to, { [name]: long }))
    expect([name, page.status, page.left]).toEqual([name, 414, undefined])
  }
  const { left } = await to.browser().open(authorizeUrl(to, { client_id: 'known', scope: 'a'.repeat(5_000) }))
  expect(left?.searchParams.get('error')).toBe('invalid_request')
  expect(to.events.filter(({ type }) => type === 'authorization.requested')).toEqual([])
})

test('fault 20: PKCE is required, by S256 alone', async () => {
  const to = await withClient()
  for (const wrong of [
    { code_challenge: undefined },
    { code_challenge: undefined, code_challenge_method: undefined },
    { code_challenge_method: undefined },
    { code_challenge_method: 'plain' },
    { code_challenge_method: 's256' },
    { code_challenge: '' },
    { code_challenge: 'short' },
    { code_challenge: `${challenge}=` },
    { code_challenge: `${challenge.slice(0, -1)}+` },
  ]) {
    const { left } = await to.browser().open(authorizeUrl(to, { client_id: 'known', ...wrong }))
    expect(left?.searchParams.get('error'), JSON.stringify(wrong)).toBe('invalid_request')
    expect(left?.searchParams.get('error_description')).toMatch(/code_challenge/)
  }
})

test('each wrong request gets the error that its specification has for it, with state and iss', async () => {
  const to = await withClient()
  const cases: readonly (readonly [Record<string, string | readonly string[] | undefined>, string])[] = [
    [{ response_type: undefined }, 'invalid_request'],
    [{ response_type: 'token' }, 'unsupported_response_type'],
    [{ response_type: 'code token' }, 'unsupported_response_type'],
    [{ response_mode: 'fragment' }, 'invalid_request'],
    [{ request: 'x.y.z' }, 'request_not_supported'],
    [{ request_uri: 'https://app.example.net/request' }, 'request_uri_not_supported'],
    [{ scope: 'a"b' }, 'invalid_scope'],
    [{ resource: 'https://elsewhere.example/mcp' }, 'invalid_target'],
    [{ resource: ['https://auth.example.com/mcp', 'https://elsewhere.example/mcp'] }, 'invalid_target'],
    [{ prompt: 'none login' }, 'invalid_request'],
    [{ prompt: 'shout' }, 'invalid_request'],
    [{ max_age: '-1' }, 'invalid_request'],
    [{ prompt: 'none' }, 'login_required'],
  ]
  for (const [wrong, error] of cases) {
    const { left, status } = await to.browser().open(authorizeUrl(to, { client_id: 'known', ...wrong }))
    expect(status).toBe(303)
    expect(left?.href.split('?')[0]).toBe(webRedirect)
    expect(Object.fromEntries(left?.searchParams ?? []), JSON.stringify(wrong)).toEqual({
      error,
      error_description: expect.any(String),
      state: 'a state',
      iss: to.issuer,
    })
    expect(reasonOf(to)).toMatchObject({ reason: expect.stringContaining(error), clientId: 'known' })
  }
})

test('design 3, redirects: errors before the person has acted go to pre-registered and loopback redirect URIs only; others get a page with a link', async () => {
  const to = await withClient()
  await to.addClient({ id: 'cursor', redirectUris: ['cursor://anysphere.cursor-mcp/oauth/callback'] })
  const wrong = { response_type: 'nonsense' }
  const known = await to.browser().open(authorizeUrl(to, { client_id: 'known', ...wrong }))
  expect(known.left?.searchParams.get('error')).toBe('unsupported_response_type')
  const loopback = await to
    .browser()
    .open(authorizeUrl(to, { client_id: 'native', redirect_uri: 'http://127.0.0.1:5123/callback', ...wrong }))
  expect(loopback.left?.origin).toBe('http://127.0.0.1:5123')
  for (const [client_id, redirect_uri] of [
    ['app', webRedirect],
    ['cursor', 'cursor://anysphere.cursor-mcp/oauth/callback'],
  ] as const) {
    const page = await to.browser().open(authorizeUrl(to, { client_id, redirect_uri, ...wrong }))
    expect([page.status, page.left]).toEqual([400, undefined])
    const link = /href="([^"]*)"/.exec(page.html)?.[1]?.replaceAll('&amp;', '&')
    expect(link).toBe(
      `${redirect_uri}?error=unsupported_response_type&error_description=response_type%3A+expected+code&iss=${encodeURIComponent(to.issuer)}&state=a+state`,
    )
  }
})

test('design 3, redirects: a redirect URI where this person consented before gets errors', async () => {
  const to = await withClient()
  const browser = to.browser()
  const signIn = await browser.submit(await browser.open(authorizeUrl(to)), 'approve')
  expect((await signInAs(browser, signIn, 'Alice')).left).toBeDefined()
  const { left } = await browser.open(authorizeUrl(to, { response_type: 'nonsense' }))
  expect(left?.searchParams.get('error')).toBe('unsupported_response_type')
  const other = await to.browser().open(authorizeUrl(to, { response_type: 'nonsense' }))
  expect(other.left).toBeUndefined()
})

test('on loopback the port is free, the host and the path are not', async () => {
  const to = await withClient()
  const open = (redirect_uri: string) => to.browser().open(authorizeUrl(to, { client_id: 'native', redirect_uri }))
  expect((await open('http://127.0.0.1:61234/callback')).status).toBe(200)
  for (const other of [
    'http://localhost:61234/callback',
    'http://127.0.0.1:61234/other',
    'http://127.0.0.2:61234/callback',
  ]) {
    expect((await open(other)).status).toBe(400)
  }
})

test('a redirect URI may be left out where only one is registered', async () => {
  const to = await withClient()
  expect((await to.browser().open(authorizeUrl(to, { redirect_uri: undefined }))).status).toBe(200)
  expect((await to.browser().open(authorizeUrl(to, { client_id: 'known', redirect_uri: undefined }))).status).toBe(400)
})

test('state comes back byte for byte, whatever it is', async () => {
  const to = await withClient()
  const bytes = fc
    .uint8Array({ minLength: 1, maxLength: 40 })
    .map((values) => [...values].map((value) => `%${value.toString(16).padStart(2, '0')}`).join(''))
  const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 200 }).map(encodeURIComponent)
  const odd = fc.constantFrom(
    '%',
    '%zz',
    '+',
    '%2B',
    'a+b',
    "'",
    '=',
    'a=b==',
    '%00',
    '%0d%0aSet-Cookie:x',
    '%26code=x',
  )
  await fc.assert(
    fc.asyncProperty(fc.oneof(bytes, text, odd), async (state) => {
      const url = new URL(
        `${authorizeUrl(to, { client_id: 'known', response_type: 'nonsense', state: undefined })}&state=${state}`,
      )
      const sent = /&state=(.*)$/.exec(url.search)?.[1]
      const { left } = await to.browser().open(url.href)
      expect(/[?&]state=([^&]*)/.exec(left?.search ?? '')?.[1]).toBe(sent)
      expect([...(left?.searchParams.keys() ?? [])].sort()).toEqual(['error', 'error_description', 'iss', 'state'])
    }),
  )
  const { left } = await to
    .browser()
    .open(authorizeUrl(to, { client_id: 'known', response_type: 'x', state: undefined }))
  expect(left?.searchParams.has('state')).toBe(false)
  expect(left?.searchParams.get('iss')).toBe(to.issuer)
})

test('fault 22: issuer and addresses come from configuration, never from Host or X-Forwarded-*', async () => {
  const to = await withClient()
  const forged = {
    host: 'evil.example',
    'x-forwarded-host': 'evil.example',
    'x-forwarded-proto': 'http',
    forwarded: 'host=evil.example',
  }
  const url = authorizeUrl(to).replace('https://auth.example.com/authorize', 'http://evil.example/authorize')
  const first = await to.routes.respond(new Request(url, { headers: forged }))
  expect(first?.headers.get('location')).toMatch(/^https:\/\/auth\.example\.com\/authorize\/consent\?interaction=/)
  const browser = to.browser()
  const page = await browser.open(authorizeUrl(to), forged)
  expect(page.html).not.toContain('evil.example')
  const wrong = await browser.open(authorizeUrl(to, { client_id: 'known', response_type: 'x' }), forged)
  expect(wrong.left?.searchParams.get('iss')).toBe(to.issuer)
})

test('design 3, scopes: unknown ones are dropped at the authorization endpoint; if none is left, the default set', async () => {
  const to = await withClient()
  const shown = async (scope: string | undefined) => {
    const browser = to.browser()
    const page = await browser.open(authorizeUrl(to, { scope }))
    return page.forms[0]?.fields.flatMap(({ name, value }) => (name === 'scope' ? [value] : []))
  }
  expect(await shown('notes:write unknown offline_access')).toEqual(['notes:write'])
  expect(await shown('openid email profile')).toEqual(['notes:read'])
  expect(await shown('offline_access')).toEqual(['notes:read'])
  expect(await shown(undefined)).toEqual(['notes:read'])
  expect(await shown('')).toEqual(['notes:read'])
  expect(await shown('constructor __proto__')).toEqual(['notes:read'])
  expect(await shown('notes:write notes:read notes:write')).toEqual(['notes:write', 'notes:read'])
})

test('a client that names no resource gets the first; one trailing slash makes no other resource', async () => {
  const to = await personServer({ resources: { '/mcp': { name: 'First' }, '/other': { name: 'Second' } } })
  await to.addClient({ id: 'app' })
  const title = async (resource: string | readonly string[] | undefined) =>
    (await to.browser().open(authorizeUrl(to, { resource }))).text
  expect(await title(undefined)).toContain('to use First')
  expect(await title(`${to.issuer}/other/`)).toContain('to use Second')
  expect(await title([`${to.issuer}/other`, `${to.issuer}/other/`])).toContain('to use Second')
})

test('where nobody says where they come from, all share a budget', async () => {
  const to = await withClient()
  const request = () => to.routes.respond(new Request(authorizeUrl(to)))
  await to.server.records.store.increment('limit/interaction/unknown', 29_999, 600_000)
  expect((await request())?.status).toBe(303)
  expect((await request())?.status).toBe(429)
  const known = await to.routes.respond(new Request(authorizeUrl(to)), { remoteAddress: '198.51.100.9' })
  expect(known?.status).toBe(303)
  await to.pass(601_000)
  expect((await request())?.status).toBe(303)
})

test('requests from one address are bounded, generously', async () => {
  const to = await withClient()
  const request = () => to.routes.respond(new Request(authorizeUrl(to)), { remoteAddress: '198.51.100.9' })
  for (let count = 0; count < 3_000; count++) expect((await request())?.status).toBe(303)
  const refused = await request()
  expect(refused?.status).toBe(429)
  expect(Number(refused?.headers.get('retry-after'))).toBeGreaterThan(0)
  expect((await to.browser().open(authorizeUrl(to))).status).toBe(200)
  await to.pass(601_000)
  expect((await request())?.status).toBe(303)
})
