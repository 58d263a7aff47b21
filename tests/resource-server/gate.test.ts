import { beforeEach, describe, expect, test } from 'vitest'
import type { AuditEvent } from '../../src/events/audit.ts'
import type { Auth } from '../../src/http/auth.ts'
import { requireUser } from '../../src/identity/context.ts'
import { principal } from '../../src/identity/principal.ts'
import { jwks } from '../../src/resource-server/jwks-verifier.ts'
import { type TestIssuer, testIssuer } from '../../src/testing.ts'
import { type ResourceServerOptions, resourceServer } from '../../src/verify-only.ts'
import { startJwksIssuer } from '../support/jwks-issuer.ts'

const resource = 'https://notes.example.com/mcp'
const metadataUrl = 'https://notes.example.com/.well-known/oauth-protected-resource/mcp'
const scopes = { 'notes:read': 'Read', 'notes:write': 'Write' }

let issuer: TestIssuer
let auth: Auth
let events: AuditEvent[]
let logs: string[]
let call: (headers?: Record<string, string>, init?: RequestInit & { url?: string }) => Promise<Response>

const serve = (options: Partial<ResourceServerOptions> = {}) => {
  const log = (message: string, details?: object) => logs.push(message + JSON.stringify(details))
  auth = resourceServer({
    resource,
    scopes,
    defaultScopes: ['notes:read'],
    issuers: [issuer],
    audit: (event) => void events.push(event),
    logger: { debug: log, info: log, warn: log, error: log },
    ...options,
  })
  const handler = auth.gate(
    new URL(options.resource ?? resource).pathname,
    () => new Response(requireUser(auth).subject),
  )
  call = (headers = {}, { url = options.resource ?? resource, ...init } = {}) =>
    handler(new Request(url, { method: 'POST', ...init, headers }))
}

beforeEach(() => {
  issuer = testIssuer()
  events = []
  logs = []
  serve()
})

const bearer = (facts: Parameters<TestIssuer['accessToken']>[0] = {}) => ({
  Authorization: `Bearer ${issuer.accessToken(facts).token}`,
})

/** Reads a challenge as clients do: one header, Bearer first, a regular expression for each field. */
const challengeOf = (response: Response) => {
  const header = response.headers.get('WWW-Authenticate') ?? expect.fail('no challenge')
  expect(header.split(' ')[0]).toBe('Bearer')
  expect(header).toMatch(/^[\x20-\x7E]+$/)
  expect(header.match(/Bearer/g)).toHaveLength(1)
  const field = (name: string) => new RegExp(`${name}=(?:"([^"]+)"|([^\\s,]+))`).exec(header)?.[1]
  return {
    error: field('error'),
    description: field('error_description'),
    scope: field('scope'),
    metadata: field('resource_metadata'),
  }
}

test('a sink of audit events that fails, at once or later, changes no answer and ends no process', async () => {
  const failures: unknown[] = []
  const unhandled = (error: unknown) => void failures.push(error)
  process.on('unhandledRejection', unhandled)
  try {
    for (const audit of [() => Promise.reject(new Error('away')), () => expect.fail('broken')]) {
      serve({ audit })
      expect((await call()).status).toBe(401)
      expect((await call(bearer())).status).toBe(200)
      // A rejection that nobody takes is told of at the end of the turn.
      await new Promise((resolve) => setImmediate(resolve))
    }
  } finally {
    process.off('unhandledRejection', unhandled)
  }
  expect(failures).toEqual([])
  expect(logs.filter((line) => line.startsWith('the audit sink failed'))).toHaveLength(2)
})

describe('challenges', () => {
  test('design 6, the first request is told where to go: 401 with error, scopes and metadata', async () => {
    const response = await call()
    expect(response.status).toBe(401)
    expect(challengeOf(response)).toMatchObject({ error: 'invalid_token', scope: 'notes:read', metadata: metadataUrl })
    expect(response.headers.get('Cache-Control')).toBe('no-store')
    expect(await response.json()).toMatchObject({ error: 'invalid_token' })
    expect(events).toMatchObject([{ type: 'access.refused', status: 401, reason: 'no_token', resource }])
  })

  test.each([
    ['unknown', { Authorization: 'Bearer cs_test_unknown' }, 'revoked'],
    ['garbage', { Authorization: 'Bearer "quoted"' }, 'malformed'],
    ['empty', { Authorization: 'Bearer ' }, 'malformed'],
    ['too long', { Authorization: `Bearer ${'a'.repeat(20_000)}` }, 'malformed'],
    ['of another scheme', { Authorization: 'Basic YTpi' }, 'no_token'],
    ['in another header', { 'X-Authorization': 'Bearer x' }, 'no_token'],
  ])('a token that is %s: 401 invalid_token, and the log says why', async (_, headers, reason) => {
    const response = await call(headers)
    expect(response.status).toBe(401)
    expect(challengeOf(response).error).toBe('invalid_token')
    expect(events).toMatchObject([{ reason }])
  })

  test('an expired token, and one for another resource: 401', async () => {
    expect((await call(bearer({ expiresAt: 1000 }))).status).toBe(401)
    expect((await call(bearer({ resource: 'https://other.example.com/mcp' }))).status).toBe(401)
    expect(events.map((event) => 'reason' in event && event.reason)).toEqual(['expired', 'audience'])
  })

  test('a token in the URL is not looked at', async () => {
    const { token } = issuer.accessToken()
    expect((await call({}, { url: `${resource}?access_token=${token}` })).status).toBe(401)
  })

  test('who did not speak DPoP is not told of it, and who did is', async () => {
    expect((await call({ Authorization: 'Bearer "quoted"' })).headers.get('WWW-Authenticate')).not.toContain('DPoP')
    expect((await call({ Authorization: 'DPoP "quoted"' })).headers.get('WWW-Authenticate')).toContain(', DPoP error=')
    expect((await call()).headers.get('WWW-Authenticate')).not.toContain('DPoP')
  })

  test('several tokens: which one counts would be a guess', async () => {
    const { token } = issuer.accessToken()
    const headers = new Headers()
    headers.append('Authorization', `Bearer ${token}`)
    headers.append('Authorization', `Bearer ${token}`)
    for (const value of [headers.get('Authorization') ?? '', `Basic YTpi, Bearer ${token}`]) {
      const response = await call({ Authorization: value })
      expect(response.status).toBe(400)
      expect(challengeOf(response).error).toBe('invalid_request')
      expect(events.at(-1)).toMatchObject({ reason: 'several_tokens', status: 400 })
    }
  })

  test('the scheme is compared without case', async () => {
    const { token } = issuer.accessToken({ subject: 'alice' })
    expect(await (await call({ Authorization: `bearer ${token}` })).text()).toBe('alice')
  })

  test('no secret is in what is answered, logged or audited', async () => {
    const { token } = issuer.accessToken()
    issuer.setAvailable(false)
    const responses = [
      await call({ Authorization: `Bearer ${token}` }),
      await call({ Authorization: `Bearer ${token},x` }),
    ]
    const text = (
      await Promise.all(responses.map(async (each) => JSON.stringify([...each.headers]) + (await each.text())))
    ).join()
    expect(text + JSON.stringify(events) + logs.join()).not.toContain(token)
  })
})

describe('fault 5, our own trouble', () => {
  test('design 6, a verifier that is away: 503 with Retry-After and no challenge', async () => {
    const headers = bearer({ subject: 'alice' })
    issuer.setAvailable(false)
    const response = await call(headers)
    expect(response.status).toBe(503)
    expect(Number(response.headers.get('Retry-After'))).toBeGreaterThan(0)
    expect(response.headers.has('WWW-Authenticate')).toBe(false)
    expect(events).toMatchObject([{ status: 503, reason: 'verifier_unavailable' }])
    expect(logs).toHaveLength(1)
    issuer.setAvailable(true)
    expect(await (await call(headers)).text()).toBe('alice')
  })

  test.each([new Error('connection refused'), new TypeError('x is undefined'), 'a string'])(
    'an error that nobody foresaw (%s) is not the token’s fault, and its text stays here',
    async (problem) => {
      serve({ issuers: [{ issuer: 'https://issuer.test', verify: () => Promise.reject(problem) }] })
      const response = await call({ Authorization: 'Bearer abc' })
      expect(response.status).toBe(503)
      expect(await response.text()).not.toContain(problem instanceof Error ? problem.message : problem)
    },
  )
})

describe('who is let in', () => {
  test.each(['notes.example.com', 'NOTES.example.com', 'notes.example.com:443'])('Host %s', async (host) => {
    expect((await call({ Host: host, ...bearer() })).status).toBe(200)
  })

  test.each(['evil.example.com', 'notes.example.com.evil.example', 'localhost', 'notes.example.com:8443', ''])(
    'design 6, a foreign Host %j is 403, whatever its token',
    async (host) => {
      const response = await call({ Host: host, ...bearer() })
      expect(response.status).toBe(403)
      expect(response.headers.has('WWW-Authenticate')).toBe(false)
      expect(await response.json()).toMatchObject({ jsonrpc: '2.0', error: { code: -32000 } })
      expect(events).toMatchObject([{ reason: 'foreign_host' }])
    },
  )

  test.each(['localhost:8787', '127.0.0.1:8787', '[::1]:8787'])(
    'a loopback resource by its other name %s',
    async (host) => {
      serve({ resource: 'http://localhost:8787/mcp' })
      expect((await call({ Host: host, ...bearer() })).status).toBe(200)
      expect((await call({ Host: host.replace('8787', '8788'), ...bearer() })).status).toBe(403)
    },
  )

  test('a Host that the operator named', async () => {
    serve({ hosts: ['10.0.0.7:8080'] })
    expect((await call({ Host: '10.0.0.7:8080', ...bearer() })).status).toBe(200)
  })

  test.each([
    'https://notes.example.com',
    'http://localhost:6274',
    'http://127.0.0.1:1',
    'http://[::1]:80',
    'https://localhost',
  ])('Origin %s', async (origin) => {
    const expected = origin.endsWith(':80') ? 403 : 200
    expect((await call({ Origin: origin, ...bearer() })).status).toBe(expected)
  })

  test.each([
    'https://evil.example.com',
    'http://notes.example.com',
    'https://notes.example.com:8443',
    'https://notes.example.com.evil.example',
    'http://localhost.evil.example',
    'null',
    'http://localhost@evil.example',
    'file://',
    '',
  ])('design 6, a foreign Origin %j is 403, whatever its token', async (origin) => {
    const response = await call({ Origin: origin, ...bearer() })
    expect(response.status).toBe(403)
    expect(response.headers.has('Access-Control-Allow-Origin')).toBe(false)
    expect(events).toMatchObject([{ reason: 'foreign_origin' }])
  })

  test('an Origin that the operator named', async () => {
    serve({ origins: ['https://app.example.com'] })
    const response = await call({ Origin: 'https://app.example.com', ...bearer() })
    expect(response.status).toBe(200)
    expect(response.headers.get('Access-Control-Allow-Origin')).toBe('https://app.example.com')
  })
})

describe('web pages', () => {
  const origin = 'http://localhost:6274'

  test('a preflight is never gated, and allows what clients send', async () => {
    const response = await call(
      {
        Origin: origin,
        'Access-Control-Request-Method': 'POST',
        'Access-Control-Request-Headers': 'authorization,mcp-protocol-version,mcp-param-city,x-evil',
      },
      { method: 'OPTIONS' },
    )
    expect(response.status).toBe(204)
    expect(response.headers.get('Access-Control-Allow-Origin')).toBe(origin)
    const allowed = (response.headers.get('Access-Control-Allow-Headers') ?? '').toLowerCase().split(', ')
    expect(allowed).toEqual(
      expect.arrayContaining([
        ...['authorization', 'content-type', 'mcp-protocol-version', 'mcp-session-id', 'mcp-method', 'mcp-name'],
        ...['last-event-id', 'mcp-param-city'],
      ]),
    )
    expect(allowed).not.toContain('x-evil')
    expect(events).toEqual([])
  })

  test('a foreign page’s preflight allows it nothing', async () => {
    const headers = { Origin: 'https://evil.example.com', 'Access-Control-Request-Method': 'POST' }
    const response = await call(headers, { method: 'OPTIONS' })
    expect([...response.headers.keys()].filter((name) => name.startsWith('access-control'))).toEqual([])
  })

  test('an OPTIONS request that is no preflight needs a token as any other', async () => {
    expect((await call({}, { method: 'OPTIONS' })).status).toBe(401)
  })

  test('a page can read challenges and results', async () => {
    for (const headers of [{ Origin: origin }, { Origin: origin, ...bearer() }]) {
      const response = await call(headers)
      expect(response.headers.get('Access-Control-Allow-Origin')).toBe(origin)
      const exposed = response.headers.get('Access-Control-Expose-Headers')
      expect(exposed).toContain('WWW-Authenticate')
      expect(exposed).toContain('Mcp-Session-Id')
      expect(response.headers.get('Vary')).toContain('Origin')
    }
  })

  test('requests of no page get no such headers', async () => {
    const response = await call(bearer())
    expect([...response.headers.keys()].filter((name) => name.startsWith('access-control'))).toEqual([])
  })
})

describe('metadata', () => {
  const fetchMetadata = async (path: string, init?: RequestInit) =>
    auth.respond(new Request(`https://notes.example.com${path}`, init))

  test.each(['/.well-known/oauth-protected-resource/mcp', '/.well-known/oauth-protected-resource'])(
    'at %s, with the resource as it was configured',
    async (path) => {
      expect(auth.handles(path)).toBe(true)
      const response = (await fetchMetadata(path)) ?? expect.fail('no answer')
      expect(response.headers.get('Access-Control-Allow-Origin')).toBe('*')
      expect(await response.json()).toEqual({
        resource,
        authorization_servers: ['https://issuer.test'],
        scopes_supported: ['notes:read'],
        bearer_methods_supported: ['header'],
        dpop_signing_alg_values_supported: ['ES256', 'ES384', 'EdDSA', 'Ed25519', 'PS256', 'RS256'],
      })
    },
  )

  test('nothing else is answered', async () => {
    for (const path of [
      '/mcp',
      '/.well-known/oauth-protected-resource/mcp/',
      '/.well-known/oauth-protected-resource/other',
      '/',
    ]) {
      expect(auth.handles(path)).toBe(false)
      expect(await fetchMetadata(path)).toBeUndefined()
    }
  })

  test('HEAD, preflight, and nothing that writes', async () => {
    const path = '/.well-known/oauth-protected-resource/mcp'
    expect((await fetchMetadata(path, { method: 'HEAD' }))?.status).toBe(200)
    expect((await fetchMetadata(path, { method: 'OPTIONS' }))?.status).toBe(204)
    expect((await fetchMetadata(path, { method: 'POST' }))?.status).toBe(405)
  })

  test('fault 22, nothing of Host or X-Forwarded enters a URL', async () => {
    const forged = {
      Host: 'evil.example.com',
      'X-Forwarded-Host': 'evil.example.com',
      'X-Forwarded-Proto': 'http',
      Forwarded: 'host=evil.example.com;proto=http',
    }
    const metadata = await fetchMetadata('/.well-known/oauth-protected-resource/mcp', { headers: forged })
    expect(await metadata?.text()).not.toContain('evil')
    const { Host: _, ...others } = forged
    const challenged = await call(others)
    expect(challengeOf(challenged).metadata).toBe(metadataUrl)
    expect(JSON.stringify([...challenged.headers]) + (await challenged.text())).not.toContain('evil')
  })
})

describe('configuration', () => {
  test('an unknown path is an error at once, which lists the known ones', () => {
    expect(() => auth.gate('/mpc', () => new Response())).toThrow(/"\/mpc".*"\/mcp"/)
  })

  test('the resource’s whole URL names it too', async () => {
    const handler = auth.gate(resource, () => new Response('in'))
    expect((await handler(new Request(resource, { headers: bearer() }))).status).toBe(200)
  })

  test.each([
    { resource: 'http://notes.example.com/mcp' },
    { resource: '/mcp' },
    { resource: `${resource}#x` },
    { issuers: [] },
  ])('what can’t be right is refused at start: %o', (options) => {
    expect(() => serve(options)).toThrow(/expected/)
  })
})

test('origin 7, several issuers: each token goes to its own, and the same subject is told apart', async () => {
  const [first, second] = [await startJwksIssuer(resource), await startJwksIssuer(resource)]
  try {
    serve({ issuers: [jwks(first.issuer), jwks(second.issuer), issuer] })
    const handler = auth.gate('/mcp', () => Response.json(principal(requireUser(auth))))
    const who = async (token: string) => {
      const response = await handler(new Request(resource, { headers: { Authorization: `Bearer ${token}` } }))
      return response.status === 200 ? ((await response.json()) as { key: string; issuer: string }) : undefined
    }
    const [a, b] = [await who(await first.sign()), await who(await second.sign())]
    expect([a?.issuer, b?.issuer]).toEqual([first.issuer, second.issuer])
    expect(a?.key).not.toBe(b?.key)
    expect((await who(issuer.accessToken().token))?.issuer).toBe(issuer.issuer)
    expect(await who(await first.sign({ iss: second.issuer }))).toBeUndefined()
    expect(await who(await first.sign({ iss: 'https://nobody.example' }))).toBeUndefined()
    expect(await who('garbage')).toBeUndefined()
    expect(second.requests).toEqual({ metadata: 1, keys: 1 })
  } finally {
    await Promise.all([first.close(), second.close()])
  }
  expect(() => serve({ issuers: [issuer, testIssuer()] })).toThrow(/once/)
})
