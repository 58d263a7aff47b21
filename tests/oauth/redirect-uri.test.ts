import fc from 'fast-check'
import { expect, test } from 'vitest'
import { OAuthError } from '../../src/oauth/errors.ts'
import { isReverseDomainScheme, mayBePrivateUseScheme } from '../../src/oauth/private-use-schemes.ts'
import {
  filterRedirectUris,
  findRedirectUri,
  matchesRedirectUri,
  parseRedirectUri,
  type RedirectUri,
  redirectLocation,
} from '../../src/oauth/redirect-uri.ts'

const uri = (text: string, privateSchemes: readonly string[] = []): RedirectUri => {
  const result = parseRedirectUri(text, { privateSchemes })
  if (!result.ok) throw new Error(`${text}: ${result.reason}`)
  return result.uri
}

const matches = (registered: string, requested: string): boolean => matchesRedirectUri(uri(registered), uri(requested))

test('design 3, redirects: https, loopback http with any port, private-use schemes with a dot or of known clients', () => {
  const accepted: [string, string, string][] = [
    ['https://app.example.com/callback', 'https', 'app.example.com'],
    ['https://app.example.com:8443/cb?tenant=1', 'https', 'app.example.com:8443'],
    ['https://app.example.com:443/cb', 'https', 'app.example.com'],
    ['HTTPS://App.Example.com/Callback', 'https', 'app.example.com'],
    ['https://xn--pple-43d.example/cb', 'https', 'xn--pple-43d.example'],
    ['http://127.0.0.1/', 'loopback', '127.0.0.1'],
    ['http://127.0.0.1:33418/', 'loopback', '127.0.0.1'],
    ['http://[::1]:1234/callback', 'loopback', '[::1]'],
    ['http://localhost:3334/oauth/callback', 'loopback', 'localhost'],
    ['http://localhost', 'loopback', 'localhost'],
    ['com.example.app:/callback', 'private', 'com.example.app:'],
    ['com.example.app://callback/x', 'private', 'com.example.app://callback'],
    ['cursor://anysphere.cursor-mcp/oauth/callback', 'private', 'cursor://anysphere.cursor-mcp'],
    ['vscode://vendor.Extension/did-authenticate', 'private', 'vscode://vendor.extension'],
    ['vscode-insiders://vendor.extension', 'private', 'vscode-insiders://vendor.extension'],
  ]
  for (const [text, kind, host] of accepted)
    expect(parseRedirectUri(text)).toEqual({ ok: true, uri: { text, kind, host } })
})

test('design 3, redirects: nothing else', () => {
  const refused = [
    '',
    'callback',
    '/callback',
    '//app.example.com/cb',
    'http://app.example.com/cb',
    'http://127.0.0.1.example.com/cb',
    'http://localhost.example.com/cb',
    'http://localhost./cb',
    'http://127.0.0.2/cb',
    'http://192.168.1.7/cb',
    'http://0.0.0.0/cb',
    'javascript:alert(1)',
    'JavaScript:alert(1)',
    'javascript://app.example.com/%0aalert(1)',
    'data:text/html,x',
    'vbscript:x',
    'file:///etc/passwd',
    'blob:https://app.example.com/1',
    'about:blank',
    'filesystem:https://app.example.com/x',
    'view-source:https://app.example.com/',
    'ftp://app.example.com/',
    'ws://app.example.com/',
    'mailto:a@example.com',
    'intent://x',
    'myapp://callback',
    'urn:ietf:wg:oauth:2.0:oob',
    'cursor:',
    'cursor://[x]/callback',
    'com.example.app://a[b]/callback',
    '.com:/x',
    'com.:/x',
  ]
  for (const text of refused) expect([text, parseRedirectUri(text).ok]).toEqual([text, false])
})

test('tricks of spelling are refused: what parsers read differently, what a header can’t hold, what hides the host', () => {
  const refused = [
    'https://app.example.com/cb#',
    'https://app.example.com/cb#x',
    'https://user@app.example.com/cb',
    'https://app.example.com@evil.example/cb',
    'https://app.example.com%40evil.example/cb',
    'https://@app.example.com/cb',
    'com.example.app://user@host/cb',
    'http://localhost@evil.example/',
    'http://localhost:80@evil.example/',
    'https://app.example.com\\@evil.example/cb',
    'https:\\\\app.example.com/cb',
    'https:/app.example.com/cb',
    'https:app.example.com/cb',
    'https:///app.example.com/cb',
    ' https://app.example.com/cb',
    'https://app.example.com/cb ',
    'https://app.example.com/c b',
    'https://app.example.com/cb\n',
    'https://app.exa\tmple.com/cb',
    'https://app.example.com/cb\u0000',
    'https://app.example.com/cb%0d%0aSet-Cookie:x',
    'https://app.example.com/cb%00',
    'https://app.example.com/cb%7f',
    'https://app.example.com/%zz',
    'https://app.example.com/%',
    'https://app%2eexample.com/cb',
    'https://%61pp.example.com/cb',
    'https://аpp.example.com/cb',
    'https://app。example.com/cb',
    'https://app.example.com:/cb',
    'https://app.example.com:0443/cb',
    'https://app.example.com:99999/cb',
    'https://',
    'https:///',
    'https://?x',
    'https://[::1/cb',
    'http://0x7f.0.0.1/cb',
    'http://2130706433/cb',
    'http://127.1/cb',
    'http://[0:0:0:0:0:0:0:1]/cb',
    'https://0x7f.0.0.1/cb',
    'https://app.example.com/<script>',
    'https://app.example.com/"x',
    `https://app.example.com/${'x'.repeat(2048)}`,
  ]
  for (const text of refused) expect([text, parseRedirectUri(text).ok]).toEqual([text, false])
})

test('a refusal says what is wrong', () => {
  const reasons = {
    'https://app.example.com/cb#': /fragment/,
    'http://app.example.com/cb': /127\.0\.0\.1, \[::1\] and localhost/,
    'https://user@app.example.com/cb': /user name/,
    'https://xn--\u00e4.example/cb': /ASCII/,
    'myapp://cb': /scheme myapp/,
    callback: /absolute/,
    '1app:callback': /absolute/,
    '': /empty/,
    [`https://app.example.com/${'x'.repeat(2048)}`]: /longer than 2048/,
    'https://app.example.com/%zz': /percent/,
    'https://app.example.com/%00': /control/,
  }
  for (const [text, reason] of Object.entries(reasons)) {
    expect(parseRedirectUri(text)).toEqual({ ok: false, reason: expect.stringMatching(reason) })
  }
})

test('a redirect URI must not bring parameters that the response has', () => {
  for (const name of ['code', 'state', 'iss', 'error', 'error_description', 'c%6fde']) {
    expect(parseRedirectUri(`https://app.example.com/cb?x=1&${name}=2`).ok).toBe(false)
    expect(parseRedirectUri(`com.example.app:/cb?${name}=2`).ok).toBe(false)
  }
  expect(parseRedirectUri('https://app.example.com/cb?codes=1').ok).toBe(true)
})

test('with https too, what answers on this computer is no web site', () => {
  for (const host of [
    'localhost',
    'localhost:3000',
    'app.localhost',
    'localhost.',
    '127.0.0.1',
    '127.0.0.2',
    '0.0.0.0',
    '[::1]',
    '[::]',
  ]) {
    expect([host, uri(`https://${host}/cb`).kind]).toEqual([host, 'loopback'])
  }
  expect(uri('https://[::ffff:7f00:1]/cb').kind).toBe('loopback')
  expect(uri('https://localhost.example.com/cb').kind).toBe('https')
  expect(uri('https://mylocalhost/cb').kind).toBe('https')
  expect(matches('https://localhost:3000/cb', 'https://localhost:3001/cb')).toBe(false)
})

test('configuration adds schemes, and never those of the platform', () => {
  expect(parseRedirectUri('myapp://callback', { privateSchemes: ['myapp'] }).ok).toBe(true)
  expect(parseRedirectUri('MyApp://callback', { privateSchemes: ['myapp'] })).toMatchObject({
    uri: { host: 'myapp://callback' },
  })
  expect(parseRedirectUri('other://callback', { privateSchemes: ['myapp'] }).ok).toBe(false)
  for (const scheme of [
    'javascript',
    'data',
    'file',
    'vbscript',
    'blob',
    'about',
    'http',
    'ws',
    'intent',
    'ms-msdt',
    'search-ms',
  ]) {
    expect([scheme, parseRedirectUri(`${scheme}://x`, { privateSchemes: [scheme] }).ok]).toEqual([scheme, false])
  }
})

test('whatever is accepted is ASCII that the URL parser takes, with the host that is shown', () => {
  const pieces = fc.constantFrom(
    ...[
      'https:',
      'http:',
      '//',
      '/',
      '\\',
      '@',
      ':',
      '%',
      '%2f',
      '%40',
      '?',
      '#',
      '.',
      'a',
      'localhost',
      '127.0.0.1',
      '[::1]',
    ],
    ...['443', 'example.com', 'com.example:', 'cursor:', 'javascript:', ' ', '\t', 'é', '。', 'code=1', '&', '0x7f'],
  )
  const text = fc.array(pieces, { maxLength: 8 }).map((parts) => parts.join(''))
  const webUri = fc
    .tuple(fc.constantFrom('https://', 'http://localhost', 'http://'), text)
    .map((parts) => parts.join(''))
  fc.assert(
    fc.property(fc.oneof(text, webUri, fc.webUrl({ withQueryParameters: true })), (candidate) => {
      const result = parseRedirectUri(candidate)
      if (!result.ok) return
      expect(candidate).toMatch(/^[\x21-\x7e]+$/)
      const url = new URL(candidate)
      expect(url.username + url.password + url.hash).toBe('')
      if (result.uri.kind === 'private') expect(['http:', 'https:', 'javascript:']).not.toContain(url.protocol)
      else expect([url.host, url.hostname]).toContain(result.uri.host)
      if (url.protocol === 'http:') expect(['localhost', '127.0.0.1', '[::1]']).toContain(url.hostname)
    }),
    { numRuns: 5000 },
  )
})

test('fault 20: a redirect URI matches as the same string', () => {
  const registered = 'https://app.example.com/cb?x=1'
  expect(matches(registered, registered)).toBe(true)
  for (const other of [
    'https://app.example.com/cb?x=1&y=2',
    'https://app.example.com/cb',
    'https://app.example.com/cb/?x=1',
    'https://app.example.com/CB?x=1',
    'https://APP.example.com/cb?x=1',
    'https://app.example.com:443/cb?x=1',
    'https://app.example.com:8443/cb?x=1',
    'https://app.example.com/./cb?x=1',
    'https://app.example.com/a/../cb?x=1',
    'https://app.example.com/%63b?x=1',
    'https://x.app.example.com/cb?x=1',
  ]) {
    expect([other, matches(registered, other)]).toEqual([other, false])
  }
  expect(
    matches('cursor://anysphere.cursor-mcp/oauth/callback', 'cursor://anysphere.cursor-mcp:1/oauth/callback'),
  ).toBe(false)
  expect(matches('com.example.app:/cb', 'com.example.app:/cb2')).toBe(false)
})

test('design 3, redirects: on loopback http the port is free, and only the port', () => {
  for (const host of ['127.0.0.1', '[::1]', 'localhost']) {
    expect(matches(`http://${host}/callback`, `http://${host}:49152/callback`)).toBe(true)
    expect(matches(`http://${host}:33418/callback`, `http://${host}:49152/callback`)).toBe(true)
    expect(matches(`http://${host}:33418/callback`, `http://${host}/callback`)).toBe(true)
    expect(matches(`http://${host}/`, `http://${host}:49152`)).toBe(true)
    expect(matches(`http://${host}/callback`, `http://${host}:49152/callback/`)).toBe(false)
    expect(matches(`http://${host}/callback`, `http://${host}:49152/other`)).toBe(false)
    expect(matches(`http://${host}/callback`, `http://${host}:49152/callback?x=1`)).toBe(false)
    expect(matches(`http://${host}/callback`, `http://${host}:49152/a/../callback`)).toBe(false)
    expect(matches(`http://${host}/callback`, `https://${host}:49152/callback`)).toBe(false)
  }
  expect(matches('http://localhost/callback', 'http://127.0.0.1/callback')).toBe(false)
  expect(matches('http://127.0.0.1/callback', 'http://[::1]/callback')).toBe(false)
})

test('for any two accepted URIs, matching is equality or loopback with another port', () => {
  const loopback = fc
    .tuple(
      fc.constantFrom('127.0.0.1', '[::1]', 'localhost'),
      fc.option(fc.integer({ min: 1, max: 65535 })),
      fc.constantFrom('', '/', '/cb', '/cb?x=1'),
    )
    .map(([host, port, rest]) => `http://${host}${port === null ? '' : `:${port}`}${rest}`)
  const other = fc.constantFrom(
    'https://localhost/cb',
    'https://app.example.com/cb',
    'com.example.app:/cb',
    'cursor://cb',
  )
  const any = fc.oneof(loopback, loopback, other)
  fc.assert(
    fc.property(any, any, (a, b) => {
      const [x, y] = [new URL(a), new URL(b)]
      const samePlace =
        x.protocol === 'http:' &&
        y.protocol === 'http:' &&
        x.hostname === y.hostname &&
        x.pathname + x.search === y.pathname + y.search
      expect(matches(a, b)).toBe(a === b || samePlace)
      expect(matches(b, a)).toBe(matches(a, b))
    }),
  )
})

test('the request’s own URI is found, not the registered one', () => {
  const registered = ['https://vscode.dev/redirect', 'http://127.0.0.1/', 'http://127.0.0.1:33418/', 'myapp://cb']
  expect(findRedirectUri(registered, 'http://127.0.0.1:50000/')?.text).toBe('http://127.0.0.1:50000/')
  expect(findRedirectUri(registered, 'https://vscode.dev/redirect')?.kind).toBe('https')
  expect(findRedirectUri(registered, 'http://localhost:50000/')).toBeUndefined()
  expect(findRedirectUri(registered, 'https://evil.example/')).toBeUndefined()
  expect(findRedirectUri(registered, 'myapp://cb')).toBeUndefined()
  expect(findRedirectUri(registered, 'myapp://cb', { privateSchemes: ['myapp'] })?.kind).toBe('private')
  expect(findRedirectUri(['javascript:alert(1)'], 'javascript:alert(1)')).toBeUndefined()
})

test('a registration with one good URI is accepted with the good ones', () => {
  const three = [
    'cursor://anysphere.cursor-mcp/oauth/callback',
    'https://www.cursor.com/agents/mcp/oauth/callback',
    'http://localhost:8787/callback',
  ]
  expect(filterRedirectUris(three).accepted.map((each) => each.text)).toEqual(three)
  const mixed = filterRedirectUris([
    'javascript:alert(1)',
    'https://a.example/cb',
    'https://a.example/cb',
    'http://b.example/cb',
  ])
  expect(mixed.accepted.map((each) => each.text)).toEqual(['https://a.example/cb'])
  expect(mixed.refused.map((each) => each.text)).toEqual(['javascript:alert(1)', 'http://b.example/cb'])
})

test('a registration without a good URI, with none or with too many is refused, and told why', () => {
  const refusal = (list: readonly string[]): OAuthError => {
    try {
      filterRedirectUris(list)
    } catch (error) {
      if (error instanceof OAuthError) return error
    }
    throw new Error('it was not refused')
  }
  const error = refusal(['http://b.example/cb', `data:${'x'.repeat(3000)}`])
  expect(error).toMatchObject({ code: 'invalid_redirect_uri', status: 400 })
  expect(error.description).toContain('http://b.example/cb: http is only for 127.0.0.1, [::1] and localhost')
  expect(error.description.length).toBeLessThan(500)
  expect(refusal([]).code).toBe('invalid_redirect_uri')
  expect(refusal(Array.from({ length: 33 }, (_, index) => `https://a.example/${index}`)).code).toBe(
    'invalid_redirect_uri',
  )
})

test('a response is added to the query that is there, and the URI stays as it is', () => {
  const parameters = { code: 'a b&c', state: 'x=1#é', iss: 'https://as.example.com' }
  const query = 'code=a+b%26c&state=x%3D1%23%C3%A9&iss=https%3A%2F%2Fas.example.com'
  expect(redirectLocation(uri('https://a.example/%7Ecb'), parameters)).toBe(`https://a.example/%7Ecb?${query}`)
  expect(redirectLocation(uri('https://a.example/cb?x=1'), parameters)).toBe(`https://a.example/cb?x=1&${query}`)
  expect(redirectLocation(uri('https://a.example/cb?'), parameters)).toBe(`https://a.example/cb?${query}`)
  expect(redirectLocation(uri('com.example.app:/cb'), { code: 'c', state: undefined })).toBe(
    'com.example.app:/cb?code=c',
  )
})

test('what a client reads from the response is what was sent, once, for any values', () => {
  const value = fc.string({ unit: 'grapheme' })
  fc.assert(
    fc.property(
      value,
      value,
      fc.constantFrom('https://a.example', 'http://[::1]:9/cb?x=1', 'cursor://cb'),
      (code, state, text) => {
        const { searchParams } = new URL(redirectLocation(uri(text), { code, state }))
        expect([searchParams.getAll('code'), searchParams.getAll('state')]).toEqual([[code], [state]])
      },
    ),
  )
})

test('a default port may be written out, and must be that of its scheme', () => {
  expect(uri('http://localhost:80/cb').host).toBe('localhost')
  expect(uri('https://app.example.com:443/cb').host).toBe('app.example.com')
  expect(matches('http://localhost:80/cb', 'http://localhost:443/cb')).toBe(true)
})

test('what only looks like this computer, or like a parameter of the response, is neither', () => {
  for (const host of ['x127.example.com', '0.0.0.0.example.com', 'a0.0.0.0.example.com']) {
    expect([host, uri(`https://${host}/cb`).kind]).toEqual([host, 'https'])
  }
  expect(uri('com.example.app:code=1').kind).toBe('private')
  for (const name of ['code', 'state', 'iss', 'error', 'error_description', 'error_uri', 'response']) {
    expect(parseRedirectUri(`com.example.app://cb?${name}=1`).ok).toBe(false)
  }
})

test.each(['%', '%4', '%4g', '%g4', '%00', '%1f', '%7F'])(
  'an encoding that is none, or of a control character: %s',
  (text) => {
    expect(parseRedirectUri(`https://app.example.com/cb${text}`).ok).toBe(false)
  },
)

test('the port is free where the URI begins as a loopback one, and nowhere else in it', () => {
  const to = (port: number) => `https://app.example.com/cb?u=http://127.0.0.1:${port}/`
  expect(matches(to(1), to(2))).toBe(false)
  expect(matches('http://localhost?x=/', 'http://localhost:1/?x=/')).toBe(true)
})

test('lengths and numbers have their bounds', () => {
  const long = (length: number) => 'https://app.example.com/'.padEnd(length, 'x')
  expect(parseRedirectUri(long(2048)).ok).toBe(true)
  expect(parseRedirectUri(long(2049)).ok).toBe(false)
  const list = Array.from({ length: 32 }, (_, index) => `https://a.example/${index}`)
  expect(filterRedirectUris(list).accepted).toHaveLength(32)
})

test('without parameters a response goes to the URI as it is', () => {
  expect(redirectLocation(uri('https://a.example/cb'), {})).toBe('https://a.example/cb')
  expect(redirectLocation(uri('https://a.example/cb?x=1'), { state: undefined })).toBe('https://a.example/cb?x=1')
})

test.each(['cursor', 'vscode', 'vscode-insiders', 'vscodium', 'windsurf', 'claude'])('%s: is known', (scheme) => {
  expect(parseRedirectUri(`${scheme}://callback`)).toMatchObject({ ok: true, uri: { kind: 'private' } })
})

test.each([
  ...['about', 'blob', 'data', 'facetime', 'facetime-audio', 'file', 'filesystem', 'ftp', 'ftps', 'geo', 'intent'],
  ...['itms', 'itms-apps', 'jar', 'javascript', 'ldap', 'ldaps', 'livescript', 'mailto', 'mhtml', 'mms', 'ms-word'],
  ...[
    'nfs',
    'res',
    'resource',
    'rtsp',
    'search',
    'search-ms',
    'sftp',
    'shell',
    'sip',
    'sips',
    'smb',
    'sms',
    'ssh',
    'tel',
  ],
  ...[
    'telnet',
    'urn',
    'vbscript',
    'view-source',
    'ws',
    'wss',
    'chrome',
    'chrome-extension',
    'moz-extension',
    'devtools',
  ],
  ...['edge', 'http', 'https'],
])('%s: is the platform’s, whatever configuration says', (scheme) => {
  expect(mayBePrivateUseScheme(scheme)).toBe(false)
})

test('a scheme is one from its first to its last character', () => {
  for (const scheme of ['myapp', 'a', 'my-app', 'profile', 'datax', 'xdata', 'com.example.app', 'a+b1']) {
    expect([scheme, mayBePrivateUseScheme(scheme)]).toEqual([scheme, true])
  }
  for (const scheme of ['', '1app', 'My', 'my app', ' my', 'my ', 'my_app', '.a']) {
    expect([scheme, mayBePrivateUseScheme(scheme)]).toEqual([scheme, false])
  }
  for (const scheme of ['com.example', 'a.b-c.d1']) expect(isReverseDomainScheme(scheme)).toBe(true)
  for (const scheme of [
    'com',
    'com.',
    '.com',
    '1com.example',
    'com..example',
    'x com.example',
    'com.example ',
    'com.e_x',
  ]) {
    expect([scheme, isReverseDomainScheme(scheme)]).toEqual([scheme, false])
  }
})

test('a refused registration is told of each URI, the long ones shortened', () => {
  const uris = [80, 81].map((length) => 'http://b.example/'.padEnd(length, 'x'))
  const reason = 'http is only for 127.0.0.1, [::1] and localhost'
  const told = `${uris[0]}: ${reason}; ${'http://b.example/'.padEnd(80, 'x')}...: ${reason}`
  expect(() => filterRedirectUris(uris)).toThrow(told)
})
