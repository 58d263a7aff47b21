import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  type ClientIdUrl,
  isDomainAllowed,
  isDomainRule,
  looksLikeClientIdUrl,
  parseClientIdDocument,
  parseClientIdUrl,
} from '../../src/oauth/client-id-metadata.ts'
import { findRedirectUri } from '../../src/oauth/redirect-uri.ts'

const id = 'https://app.example.com/oauth/client.json'

function urlOf(text: string): ClientIdUrl {
  const result = parseClientIdUrl(text)
  if (!result.ok) throw new Error(result.reason)
  return result.url
}

describe('a client id that is a URL', () => {
  test.each([
    [id, 'app.example.com'],
    ['https://claude.ai/oauth/claude-code-client-metadata', 'claude.ai'],
    ['https://chatgpt.com/oauth/abc123/client.json', 'chatgpt.com'],
    ['https://vscode.dev/oauth/client-metadata.json', 'vscode.dev'],
    ['https://example.com:8443/client', 'example.com:8443'],
    ['https://example.com/client?version=2', 'example.com'],
    ['https://example.com/a%20b/', 'example.com'],
    ['https://xn--bcher-kva.example/client', 'xn--bcher-kva.example'],
    ['https://example.xn--p1ai/client', 'example.xn--p1ai'],
  ])('%s is taken, as it is written', (text, domain) => {
    expect(parseClientIdUrl(text)).toEqual({ ok: true, url: expect.objectContaining({ text, domain }) })
  })

  test.each([
    ['http://app.example.com/client.json', 'not https'],
    ['ftp://app.example.com/client.json', 'not https'],
    ['https://app.example.com', 'usual form'],
    ['https://app.example.com/', 'no path'],
    ['https://app.example.com/?client', 'no path'],
    ['https://app.example.com/client#', 'fragment'],
    ['https://app.example.com/client#a', 'fragment'],
    ['https://user@app.example.com/client', 'user name'],
    ['https://user:secret@app.example.com/client', 'user name'],
    ['https://@app.example.com/client', 'usual form'],
    ['https://app.example.com/a/../client', 'usual form'],
    ['https://app.example.com/./client', 'usual form'],
    ['https://app.example.com/client/..', 'usual form'],
    ['https://app.example.com/a/%2e%2e/client', 'usual form'],
    ['https://app.example.com/%2E/client', 'usual form'],
    ['https://app.example.com\\client', 'usual form'],
    ['https:app.example.com/client', 'usual form'],
    ['HTTPS://app.example.com/client', 'usual form'],
    ['https://APP.example.com/client', 'usual form'],
    ['https://app.example.com:443/client', 'usual form'],
    ['https://app.example.com:/client', 'usual form'],
    ['https://bücher.example/client', 'usual form'],
    [' https://app.example.com/client', 'usual form'],
    ['https://app.example.com/cli ent', 'usual form'],
    ['https://app.example.com/cli\tent', 'usual form'],
    ['https://localhost/client', 'domain name'],
    ['https://intranet/client', 'domain name'],
    ['https://app.example.com./client', 'domain name'],
    ['https://127.0.0.1/client', 'domain name'],
    ['https://93.184.216.34/client', 'domain name'],
    ['https://[2606:4700::1]/client', 'domain name'],
    [`https://app.example.com/${'a'.repeat(600)}`, 'longer'],
    ['cs_cl_abc', 'not a URL'],
    ['', 'not a URL'],
  ])('%j is not', (text, reason) => {
    expect(parseClientIdUrl(text)).toEqual({ ok: false, reason: expect.stringContaining(reason) })
  })

  test('for development, this computer may be named', () => {
    for (const text of [
      'https://localhost:9443/client.json',
      'http://127.0.0.1:8080/client',
      'http://[::1]:1/client',
    ]) {
      expect(parseClientIdUrl(text).ok).toBe(false)
      expect(parseClientIdUrl(text, { loopback: true }).ok).toBe(true)
    }
    for (const text of ['http://localhost/', 'http://app.example.com/client', 'http://192.168.1.1/client']) {
      expect(parseClientIdUrl(text, { loopback: true }).ok, text).toBe(false)
    }
  })

  test('for any text, what is taken is what would be fetched, byte for byte', () => {
    const parts = fc.constantFrom('/', '.', '..', '%2e', '%2E', '@', ':', '#', '?', '\\', 'b', 'C', ' ', 'É', '8')
    fc.assert(
      fc.property(fc.constantFrom('', '/'), fc.array(parts, { maxLength: 6 }), (slash, some) => {
        const text = `https://a.example${slash}${some.join('')}`
        const result = parseClientIdUrl(text)
        if (!result.ok) return
        const url = new URL(result.url.text)
        expect([url.href, url.protocol, url.username, url.hash, url.host]).toEqual([
          text,
          'https:',
          '',
          '',
          result.url.domain,
        ])
      }),
      { numRuns: 3_000 },
    )
  })

  test('no other client id looks like one', () => {
    for (const text of ['cs_cl_abc', 'my-client', 'httpsclient', 'com.example:/x', '']) {
      expect(looksLikeClientIdUrl(text)).toBe(false)
    }
    for (const text of [id, 'HTTPS://x', 'http://x']) expect(looksLikeClientIdUrl(text)).toBe(true)
  })
})

describe('its document', () => {
  const good = {
    client_id: id,
    client_name: 'An App',
    redirect_uris: ['https://app.example.com/callback', 'http://127.0.0.1/callback'],
  }
  const parse = (document: unknown) => parseClientIdDocument(urlOf(id), document)
  const reasonOf = (document: unknown) => {
    const result = parse(document)
    return result.ok ? 'it was taken' : result.reason
  }

  test('three members are enough; the rest has defaults, and what we don’t know is ignored', () => {
    const result = parse({ ...good, contacts: ['x'], software_statement: 'x', scope: 'a b', unknown: { a: 1 } })
    if (!result.ok) throw new Error(result.reason)
    expect(result.metadata).toMatchObject({
      clientName: 'An App',
      applicationType: 'native',
      tokenEndpointAuthMethod: 'none',
      grantTypes: ['authorization_code', 'refresh_token'],
    })
    expect(result.metadata.redirectUris.map(({ text }) => text)).toEqual(good.redirect_uris)
  })

  test('fault 10: client_id is the URL, byte for byte', () => {
    for (const client_id of [
      'https://app.example.com/oauth/client.json/',
      'https://app.example.com/oauth/CLIENT.json',
      'https://app.example.com:443/oauth/client.json',
      'https://app.example.com/oauth/%63lient.json',
      'https://app.example.com/oauth/client.json?',
      '',
      undefined,
      null,
      [id],
    ]) {
      expect(reasonOf({ ...good, client_id }), String(client_id)).toContain('client_id')
    }
  })

  test('what is required, and what a name must be', () => {
    for (const [change, reason] of [
      [{ client_name: undefined }, 'client_name'],
      [{ client_name: '' }, 'client_name'],
      [{ client_name: ' \u200b\u202e ' }, 'client_name'],
      [{ client_name: 5 }, 'client_name'],
      [{ redirect_uris: undefined }, 'redirect_uris'],
      [{ redirect_uris: [] }, 'redirect_uris'],
      [{ redirect_uris: id }, 'redirect_uris'],
      [{ redirect_uris: ['javascript:alert(1)'] }, 'redirect_uris'],
      [{ redirect_uris: ['http://app.example.com/callback'] }, 'redirect_uris'],
      [{ redirect_uris: ['https://app.example.com/callback#fragment'] }, 'redirect_uris'],
      [{ grant_types: ['client_credentials'] }, 'grant_types'],
      [{ response_types: ['token'] }, 'response_types'],
    ] as const) {
      expect(reasonOf({ ...good, ...change }), JSON.stringify(change)).toContain(reason)
    }
    for (const document of [undefined, null, [], 'text', 5, [good]]) expect(reasonOf(document)).not.toBe('it was taken')
  })

  test('a secret can’t be shared, and a private key must not be published', () => {
    for (const change of [
      { token_endpoint_auth_method: 'client_secret_basic' },
      { token_endpoint_auth_method: 'client_secret_post', token_endpoint_auth_methods_supported: ['none'] },
      { token_endpoint_auth_method: 'client_secret_jwt' },
      { client_secret: 'x' },
      { client_secret_expires_at: 0 },
      { jwks: { keys: [{ kty: 'EC', d: 'x' }] } },
      { jwks: { keys: [{ kty: 'oct', k: 'x' }] } },
    ]) {
      expect(reasonOf({ ...good, ...change }), JSON.stringify(change)).not.toBe('it was taken')
    }
    expect(reasonOf({ ...good, jwks: { keys: [{ kty: 'EC', d: 'x' }] } })).toMatch(/^jwks: a private key/)
    expect(reasonOf({ ...good, jwks: { keys: [{ kty: 'EC', x: 'x', y: 'y' }] } })).toBe('it was taken')
  })

  test('a client that prefers a key uses it; where it lists none as well, it need not', () => {
    const hosted = { ...good, token_endpoint_auth_method: 'private_key_jwt', jwks_uri: 'https://app.example.com/jwks' }
    expect(reasonOf({ ...hosted, token_endpoint_auth_methods_supported: ['none', 'private_key_jwt'] })).toBe(
      'it was taken',
    )
    const only = parse({ ...hosted, token_endpoint_auth_methods_supported: ['private_key_jwt'] })
    expect(only).toMatchObject({
      metadata: { tokenEndpointAuthMethod: 'private_key_jwt', keys: { jwksUri: 'https://app.example.com/jwks' } },
    })
    for (const jwks_uri of [undefined, 5, '', 'javascript:alert(1)', 'file:///etc/passwd']) {
      expect(reasonOf({ ...hosted, jwks_uri })).toContain('token_endpoint_auth_method')
    }
    expect(reasonOf({ ...good, token_endpoint_auth_method: null })).toBe('it was taken')
  })

  test('fault 10: exact redirects, loopback port apart; a wildcard or a root path matches nothing else', () => {
    const result = parse({
      ...good,
      redirect_uris: ['https://app.example.com/*', 'https://app.example.com/', 'http://127.0.0.1/callback'],
    })
    if (!result.ok) throw new Error(result.reason)
    const texts = result.metadata.redirectUris.map(({ text }) => text)
    expect(findRedirectUri(texts, 'https://app.example.com/*')).toBeDefined()
    expect(findRedirectUri(texts, 'http://127.0.0.1:51234/callback')).toBeDefined()
    for (const text of [
      'https://app.example.com/callback',
      'https://app.example.com',
      'https://app.example.com:8443/',
      'http://127.0.0.1:51234/other',
      'http://localhost:51234/callback',
    ]) {
      expect(findRedirectUri(texts, text), text).toBeUndefined()
    }
  })

  test('any JSON is a document or is refused with a reason', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), fc.jsonValue(), (a, b, c) => {
        const random = { ...good, client_name: a, redirect_uris: b, token_endpoint_auth_methods_supported: c }
        for (const document of [a, { ...good, jwks: b, grant_types: c }, random]) {
          const result = parse(document)
          if (!result.ok) expect(result.reason).not.toBe('')
          else expect(result.metadata.redirectUris.length).toBeGreaterThan(0)
        }
      }),
    )
  })
})

test('domain rules: a name is itself, *. all below it, and deny comes first', () => {
  const allowed = (rules: Parameters<typeof isDomainAllowed>[0], ...names: string[]) =>
    names.map((name) => isDomainAllowed(rules, name))
  expect(allowed({}, 'example.com')).toEqual([true])
  expect(allowed({ allow: [] }, 'example.com')).toEqual([false])
  const names = ['example.com', 'a.example.com', 'b.a.example.com', 'notexample.com', 'example.com.evil.net']
  expect(allowed({ allow: ['example.com'] }, ...names)).toEqual([true, false, false, false, false])
  expect(allowed({ allow: ['*.example.com'] }, ...names)).toEqual([false, true, true, false, false])
  expect(allowed({ deny: ['example.com', '*.example.com'] }, ...names)).toEqual([false, false, false, true, true])
  expect(allowed({ allow: ['*.example.com'], deny: ['a.example.com'] }, ...names)).toEqual([
    false,
    false,
    true,
    false,
    false,
  ])
  for (const rule of ['example.com', '*.example.com', 'localhost', '127.0.0.1', 'xn--bcher-kva.example']) {
    expect(isDomainRule(rule), rule).toBe(true)
  }
  for (const rule of [
    'https://example.com',
    'Example.com',
    '*',
    '*.*',
    'a.*.com',
    'example.com/',
    'example.com.',
    '',
  ]) {
    expect(isDomainRule(rule), rule).toBe(false)
  }
})

test('a document may say that its client wants bound tokens alone', () => {
  const said = { client_id: id, client_name: 'App', redirect_uris: ['https://app.example.com/cb'] }
  const parsed = parseClientIdUrl(id)
  const url = parsed.ok ? parsed.url : expect.fail('no client id')
  const result = parseClientIdDocument(url, { ...said, dpop_bound_access_tokens: true })
  expect(result).toMatchObject({ ok: true, metadata: { dpopBoundAccessTokens: true } })
  expect(parseClientIdDocument(url, { ...said, dpop_bound_access_tokens: 'yes' }).ok).toBe(false)
})

test('what claims to be an address does so from its first character', () => {
  for (const text of [id, 'http://localhost/c', 'HTTPS://x']) expect(looksLikeClientIdUrl(text)).toBe(true)
  for (const text of ['cs_1', 'xhttps://app.example.com', 'https', '']) expect(looksLikeClientIdUrl(text)).toBe(false)
})

test('an address has 512 characters at most, and labels of one character too', () => {
  const long = (length: number) => 'https://a.example.com/'.padEnd(length, 'x')
  expect(parseClientIdUrl(long(512)).ok).toBe(true)
  expect(parseClientIdUrl(long(513)).ok).toBe(false)
  expect(parseClientIdUrl('https://x.co/c').ok).toBe(true)
})

test('this computer is named by http and https alone, where it may be named', () => {
  expect(parseClientIdUrl('http://localhost:8080/c', { loopback: true }).ok).toBe(true)
  expect(parseClientIdUrl('https://localhost:8080/c', { loopback: true }).ok).toBe(true)
  expect(parseClientIdUrl('ftp://localhost/c', { loopback: true })).toMatchObject({ reason: 'it is not https' })
  expect(parseClientIdUrl('http://app.example.com/c', { loopback: true })).toMatchObject({ reason: 'it is not https' })
})

test('a client that can prove who it is may use assertions, where they are taken and it asks for them', () => {
  const jwtBearer = 'urn:ietf:params:oauth:grant-type:jwt-bearer'
  const document = {
    client_id: id,
    client_name: 'An App',
    redirect_uris: ['https://app.example.com/callback'],
    token_endpoint_auth_method: 'private_key_jwt',
    jwks_uri: 'https://app.example.com/jwks',
    grant_types: ['authorization_code', jwtBearer],
  }
  const grantTypes = (changed: object, assertions?: boolean) => {
    const options = assertions === undefined ? {} : { assertions }
    const result = parseClientIdDocument(urlOf(id), { ...document, ...changed }, options)
    return result.ok ? result.metadata.grantTypes : result.reason
  }
  expect(grantTypes({}, true)).toEqual(['authorization_code', jwtBearer])
  expect(grantTypes({}, false)).toEqual(['authorization_code'])
  expect(grantTypes({})).toEqual(['authorization_code'])
  expect(grantTypes({ grant_types: ['authorization_code'] }, true)).toEqual(['authorization_code'])
  expect(grantTypes({ grant_types: undefined }, true)).toEqual(['authorization_code', 'refresh_token'])
  expect(grantTypes({ token_endpoint_auth_method: 'none', jwks_uri: undefined }, true)).toEqual(['authorization_code'])
  const open = parseClientIdDocument(urlOf(id), { ...document, token_endpoint_auth_method: 'none' })
  expect(open.ok && Object.keys(open.metadata)).not.toContain('keys')
})
