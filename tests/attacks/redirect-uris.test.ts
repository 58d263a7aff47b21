import { beforeAll, describe, expect, test } from 'vitest'
import { createTarget, ISSUER, type Target, WEB } from './support/target.ts'

// RFC 9700 §4.1 (insufficient redirect URI validation), §4.11 (open redirection).

let target: Target

beforeAll(async () => {
  target = await createTarget({ registration: { perAddress: 10_000, total: 10_000 } })
})

describe('registration: an address that two readers may read in two ways is none', () => {
  test.each([
    ['a user name', 'https://app.example.net@evil.example/cb'],
    ['a user name and a password', 'https://app.example.net:x@evil.example/cb'],
    ['an empty user name', 'https://@evil.example/cb'],
    ['an encoded user name', 'https://app.example.net%40evil.example/cb'],
    ['an encoded slash in the host', 'https://app.example.net%2f.evil.example/cb'],
    ['an encoded dot in the host', 'https://app%2eexample.net/cb'],
    ['a backslash for a slash', 'https:\\\\evil.example\\cb'],
    ['a backslash before the host ends', 'https://app.example.net\\@evil.example/cb'],
    ['a backslash in the path', 'https://app.example.net/\\evil.example'],
    ['one slash', 'https:/evil.example/cb'],
    ['no slash', 'https:evil.example/cb'],
    ['three slashes', 'https:///evil.example/cb'],
    ['no scheme', '//evil.example/cb'],
    ['a path only', '/cb'],
    ['a tab in the scheme', 'ht\ttps://evil.example/cb'],
    ['a line break in the host', 'https://app.example.net\n.evil.example/cb'],
    ['a carriage return in the path', 'https://app.example.net/cb\r\nSet-Cookie: a=b'],
    ['an encoded line break', 'https://app.example.net/cb%0d%0aSet-Cookie:a=b'],
    ['an encoded null', 'https://app.example.net/cb%00'],
    ['a null', 'https://app.example.net/cb\0'],
    ['space before', ' https://app.example.net/cb'],
    ['space behind', 'https://app.example.net/cb '],
    ['a fragment', 'https://app.example.net/cb#x'],
    ['an empty fragment', 'https://app.example.net/cb#'],
    ['another alphabet', 'https://аpp.example.net/cb'],
    ['a full-width dot', 'https://app.example。net/cb'],
    ['a soft hyphen', 'https://app.exam\u00adple.net/cb'],
    ['a right-to-left override', 'https://app.example.net/\u202ecb'],
    ['an empty port', 'https://app.example.net:/cb'],
    ['a port that is none', 'https://app.example.net:99999/cb'],
    ['plain http', 'http://app.example.net/cb'],
    ['plain http to a private address', 'http://10.0.0.1/cb'],
    ['a host that begins as loopback', 'http://localhost.evil.example/cb'],
    ['an address that begins as loopback', 'http://127.0.0.1.evil.example/cb'],
    ['a name that resolves to loopback', 'http://127.0.0.1.nip.io/cb'],
    ['loopback as a user name', 'http://localhost@evil.example/cb'],
    ['loopback with a dot behind', 'http://localhost./cb'],
    ['loopback, short', 'http://127.1/cb'],
    ['loopback, decimal', 'http://2130706433/cb'],
    ['loopback, hexadecimal', 'http://0x7f000001/cb'],
    ['loopback, octal', 'http://0177.0.0.1/cb'],
    ['loopback, another address', 'http://127.0.0.2/cb'],
    ['loopback, all addresses', 'http://0.0.0.0/cb'],
    ['loopback, IPv4 in IPv6', 'http://[::ffff:127.0.0.1]/cb'],
    ['loopback, IPv6 in long', 'http://[0:0:0:0:0:0:0:1]/cb'],
    ['loopback, unspecified IPv6', 'http://[::]/cb'],
    ['javascript', 'javascript:alert(1)'],
    ['javascript in other letters', 'JaVaScRiPt:alert(1)'],
    ['javascript with a host', 'javascript://app.example.net/%0aalert(1)'],
    ['data', 'data:text/html,<script>alert(1)</script>'],
    ['a blob', 'blob:https://app.example.net/1'],
    ['a file', 'file:///etc/passwd'],
    ['ftp', 'ftp://app.example.net/cb'],
    ['an unknown scheme without a dot', 'evil://cb'],
    ['an editor’s look-alike', 'vscode2://cb'],
    ['the out-of-band address', 'urn:ietf:wg:oauth:2.0:oob'],
    ['a scheme and nothing', 'com.example.app:'],
    ['a private-use scheme with a user name', 'com.example.app://user@evil/cb'],
    ['a code of its own', 'https://app.example.net/cb?code=attacker'],
    ['an encoded code of its own', 'https://app.example.net/cb?%63ode=attacker'],
    ['a state of its own', 'https://app.example.net/cb?state=x'],
    ['an issuer of its own', 'https://app.example.net/cb?iss=https://evil.example'],
    ['an error of its own', 'https://app.example.net/cb?a=b&error=x'],
    ['too long', `https://app.example.net/${'a'.repeat(2048)}`],
  ])('%s', async (_name, uri) => {
    await expect(target.register({ redirect_uris: [uri] })).rejects.toThrow('invalid_redirect_uri')
  })

  test.each([
    [[]],
    ['https://app.example.net/cb'],
    [[['https://app.example.net/cb']]],
    [[null]],
    [[{}]],
    [{}],
    [null],
    [42],
  ])('of a wrong kind: %j', async (redirect_uris) => {
    await expect(target.register({ redirect_uris })).rejects.toThrow('invalid_redirect_uri')
  })
})

describe('authorization: only the very address that was registered', () => {
  test.each([
    ['another host', 'https://evil.example/callback'],
    ['a host below', 'https://evil.app.example.net/callback'],
    ['a host that ends alike', 'https://evilapp.example.net/callback'],
    ['a dot behind the host', 'https://app.example.net./callback'],
    ['a port', 'https://app.example.net:8443/callback'],
    ['the default port', 'https://app.example.net:443/callback'],
    ['http', 'http://app.example.net/callback'],
    ['other letters', 'https://APP.example.net/callback'],
    ['other letters in the path', 'https://app.example.net/Callback'],
    ['a slash behind', 'https://app.example.net/callback/'],
    ['a path below', 'https://app.example.net/callback/evil'],
    ['a path above', 'https://app.example.net/callback/..'],
    ['traversal', 'https://app.example.net/callback/../evil'],
    ['encoded traversal', 'https://app.example.net/callback/%2e%2e/evil'],
    ['a detour', 'https://app.example.net/x/../callback'],
    ['an encoded letter', 'https://app.example.net/%63allback'],
    ['a query', 'https://app.example.net/callback?x=y'],
    ['an empty query', 'https://app.example.net/callback?'],
    ['a parameter', 'https://app.example.net/callback;x'],
    ['a fragment', 'https://app.example.net/callback#x'],
    ['a user name', 'https://x@app.example.net/callback'],
    ['a backslash', 'https://evil.example\\@app.example.net/callback'],
    ['a tab', 'https://app.example.net/call\tback'],
    ['a line break', 'https://app.example.net/callback\n'],
    ['a null', 'https://app.example.net/callback\0'],
    ['space', ' https://app.example.net/callback'],
    ['nothing', ''],
  ])('%s', async (name, uri) => {
    const client = await target.register({ redirect_uris: [WEB, 'https://app.example.net/second'] })
    const visit = await target.browser().open(target.authorizeUrl(client, { redirect_uri: uri }))
    expect([visit.status, visit.left], name).toEqual([400, undefined])
    // Nor is there a link to it.
    expect(visit.html).not.toMatch(/<a [^>]*href/)
  })

  test.each([
    [
      'http://127.0.0.1/cb',
      [
        'http://localhost/cb',
        'http://[::1]/cb',
        'http://127.0.0.1:1/CB',
        'http://127.0.0.1:1/cb/',
        'https://127.0.0.1/cb',
        'http://127.0.0.1:99999/cb',
        'http://127.0.0.1:x@evil.example/cb',
        'http://127.0.0.1:80@evil.example/cb',
        'http://127.1:5/cb',
        'http://127.0.0.1:5/cb?x',
        'http://127.0.0.1.evil.example/cb',
      ],
    ],
    [
      'http://localhost:3000/cb',
      [
        'http://127.0.0.1:3000/cb',
        'http://localhost.:3000/cb',
        'http://localhost.evil.example:3000/cb',
        'http://evil.localhost:3000/cb',
      ],
    ],
    ['https://localhost:3000/cb', ['https://localhost:3001/cb']],
    ['https://*.example.net/cb', ['https://evil.example.net/cb', 'https://a.b.example.net/cb']],
    ['https://app.example.net/*', ['https://app.example.net/evil', 'https://app.example.net/']],
    [
      'cursor://anysphere.cursor-mcp/cb',
      ['cursor://evil/cb', 'CURSOR://anysphere.cursor-mcp/cb', 'cursor://anysphere.cursor-mcp/cb/x'],
    ],
    [
      'com.example.app:/cb',
      ['com.example.app:/cb/', 'com.example.app:///cb', 'com.example.app2:/cb', 'com.example.app:cb'],
    ],
  ])('for %s no other', async (registered, others) => {
    const client = await target.register({ redirect_uris: [registered] })
    for (const uri of others) {
      const visit = await target.browser().open(target.authorizeUrl(client, { redirect_uri: uri }))
      expect([uri, visit.status, visit.left]).toEqual([uri, 400, undefined])
    }
  })
})

describe('open redirection', () => {
  const wrong: readonly Record<string, string | undefined>[] = [
    { response_type: 'token' },
    { scope: '"' },
    { code_challenge: undefined },
    { resource: 'https://evil.example/' },
    { prompt: 'none' },
    { prompt: 'evil' },
    { max_age: '-1' },
    { request_uri: 'https://evil.example/' },
  ]

  test('nobody is sent on to a dynamically registered client before they have acted', async () => {
    const client = await target.register({ redirect_uris: ['https://evil.example/phishing'] })
    for (const parameters of wrong) {
      const visit = await target.browser().open(target.authorizeUrl(client, parameters))
      expect([JSON.stringify(parameters), visit.status, visit.left]).toEqual([
        JSON.stringify(parameters),
        400,
        undefined,
      ])
      // The page offers the way back, and says where it leads.
      expect(visit.html).toContain('rel="noreferrer"')
      expect(visit.text).toContain('evil.example')
      expect(visit.headers.get('refresh')).toBeNull()
      expect(visit.html).not.toMatch(/http-equiv|<script/i)
    }
  })

  test('an opaque or signed-out browser can’t be turned into a redirector by prompt=none', async () => {
    const client = await target.register({ redirect_uris: ['https://evil.example/phishing'] })
    const browser = target.browser()
    await target.code(await target.register(), { browser })
    const visit = await browser.open(target.authorizeUrl(client, { prompt: 'none' }))
    expect([visit.status, visit.left]).toEqual([400, undefined])
  })

  test('no parameter of ours leads anywhere: next, return_to, iss, state, target_link_uri', async () => {
    const evil = 'https://evil.example/'
    const more = Object.fromEntries(
      [
        'next',
        'return_to',
        'returnTo',
        'redirect',
        'iss',
        'issuer',
        'target_link_uri',
        'post_logout_redirect_uri',
        'RelayState',
        'provider',
        'interaction',
      ].map((name) => [name, evil]),
    )
    const client = await target.register()
    const visit = await target.browser().open(target.authorizeUrl(client, { ...more, state: evil }))
    expect(visit.url.startsWith(`${ISSUER}/authorize/consent?interaction=`)).toBe(true)
    for (const path of ['/authorize/consent', '/authorize/sign-in', '/authorize/callback/local', '/authorize']) {
      const response = await target.send(new Request(`${ISSUER}${path}?${new URLSearchParams(more)}`))
      expect([path, response.headers.get('location')]).toEqual([path, null])
    }
  })
})
