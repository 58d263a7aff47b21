import fc from 'fast-check'
import { SignJWT } from 'jose'
import { beforeEach, describe, expect, test } from 'vitest'
import type { AuditEvent } from '../../src/events/audit.ts'
import { silentLogger } from '../../src/events/logger.ts'
import type { Auth } from '../../src/http/auth.ts'
import { requireUser } from '../../src/identity/context.ts'
import { resolveResources } from '../../src/oauth/resource.ts'
import { createGate } from '../../src/resource-server/gate.ts'
import { introspection } from '../../src/resource-server/introspection-verifier.ts'
import type { IssuerVerifier } from '../../src/resource-server/issuer.ts'
import { jwks } from '../../src/resource-server/jwks-verifier.ts'
import { type DpopKey, dpopKey, type TestIssuer, testIssuer } from '../../src/testing.ts'
import { type ResourceServerOptions, resourceServer } from '../../src/verify-only.ts'
import { startJwksIssuer } from '../support/jwks-issuer.ts'

const resource = 'https://notes.example.com/mcp'
const request = { method: 'POST', url: resource }

let issuer: TestIssuer
let key: DpopKey
let events: AuditEvent[]
let clock: { now(): number; offset: number }

const serve = (options: Partial<ResourceServerOptions> = {}) => {
  const auth: Auth = resourceServer({
    resource,
    scopes: { 'notes:read': 'Read', 'notes:write': 'Write' },
    defaultScopes: ['notes:read'],
    issuers: [issuer],
    audit: (event) => void events.push(event),
    clock,
    ...options,
  })
  const handler = auth.gate(
    new URL(options.resource ?? resource).pathname,
    () => new Response(requireUser(auth).subject),
  )
  const call = (headers: HeadersInit, init: RequestInit & { url?: string } = {}) => {
    const { url = options.resource ?? resource, ...rest } = init
    return handler(new Request(url, { method: 'POST', ...rest, headers }))
  }
  return { auth, call }
}

beforeEach(async () => {
  issuer = testIssuer()
  events = []
  // It stands still: each nonce is good for its minute of the clock.
  const begun = Date.now()
  clock = { offset: 0, now: () => begun + clock.offset }
  key = await dpopKey()
})

const refusal = async (response: Response) => {
  const last = events.at(-1) as { reason?: string } | undefined
  return [response.status, ((await response.json()) as { error?: string }).error, last?.reason]
}

describe('a bound token', () => {
  test('opens the gate with a proof of its key, each for one request', async () => {
    const { call } = serve()
    const token = issuer.accessToken({ jkt: key.jkt, subject: 'alice' })
    for (let index = 0; index < 3; index++) {
      const response = await call(await key.headers(token, request))
      expect([response.status, await response.text()]).toEqual([200, 'alice'])
    }
  })

  test('the scheme may be in any case (RFC 9110 §11.1)', async () => {
    const { call } = serve()
    const token = issuer.accessToken({ jkt: key.jkt })
    const { DPoP } = await key.headers(token, request)
    expect((await call({ Authorization: `dpop ${token.token}`, DPoP })).status).toBe(200)
  })

  test('is refused as a bearer token, with or without a proof beside it', async () => {
    const { call } = serve()
    const token = issuer.accessToken({ jkt: key.jkt })
    for (let index = 0; index < 2; index++) {
      const { DPoP } = await key.headers(token, request)
      expect(await refusal(await call({ Authorization: `Bearer ${token.token}` }))).toEqual([
        401,
        'invalid_token',
        'binding',
      ])
      expect(await refusal(await call({ Authorization: `Bearer ${token.token}`, DPoP }))).toEqual([
        401,
        'invalid_token',
        'binding',
      ])
      // Now it is remembered, and that changes nothing.
      expect((await call(await key.headers(token, request))).status).toBe(200)
    }
  })

  test('is refused with the proof of another key', async () => {
    const { call } = serve()
    const token = issuer.accessToken({ jkt: key.jkt })
    const thief = await dpopKey()
    expect(await refusal(await call(await thief.headers(token, request)))).toEqual([401, 'invalid_token', 'binding'])
  })

  test('and a bearer token is no bound one', async () => {
    const { call } = serve()
    const token = issuer.accessToken()
    expect(await refusal(await call(await key.headers(token, request)))).toEqual([401, 'invalid_token', 'binding'])
    expect((await call({ Authorization: `Bearer ${token.token}` })).status).toBe(200)
  })

  test('bound in a way that nobody here can check, it is worth nothing', async () => {
    const { call } = serve()
    for (const cnf of [
      { 'x5t#S256': 'a' },
      { jkt: key.jkt, 'x5t#S256': 'a' },
      {},
      { jkt: 1 },
      [],
      'x',
      null,
      { kid: 'a' },
    ]) {
      const token = issuer.accessToken({ claims: { cnf } })
      expect((await call({ Authorization: `Bearer ${token.token}` })).status).toBe(401)
      expect((await call(await key.headers(token, request))).status).toBe(401)
    }
  })
})

describe('each proof is checked on every call, the token remembered or not', () => {
  test.each([
    ['another method', { htm: 'GET' }, 'dpop_method'],
    ['another place', { htu: 'https://notes.example.com/other' }, 'dpop_url'],
    ['another host', { htu: 'https://evil.example/mcp' }, 'dpop_url'],
    ['another token', { ath: 'A'.repeat(43) }, 'dpop_access_token'],
    ['no token', { ath: undefined }, 'dpop_access_token'],
    ['long ago', { iat: 1 }, 'dpop_time'],
    ['no id', { jti: undefined }, 'dpop_claims'],
  ])('a proof for %s', async (_name, claims, reason) => {
    const { call } = serve()
    const token = issuer.accessToken({ jkt: key.jkt })
    const wrong = async () => refusal(await call(await key.headers(token, request, claims as never)))
    expect(await wrong()).toEqual([401, 'invalid_dpop_proof', reason])
    expect((await call(await key.headers(token, request))).status).toBe(200)
    expect(await wrong()).toEqual([401, 'invalid_dpop_proof', reason])
  })

  test('none, two, or something else', async () => {
    const { call } = serve()
    const token = issuer.accessToken({ jkt: key.jkt })
    const { Authorization, DPoP } = await key.headers(token, request)
    expect(await refusal(await call({ Authorization }))).toEqual([401, 'invalid_dpop_proof', 'dpop_missing'])
    expect(await refusal(await call({ Authorization, DPoP: `${DPoP}, ${DPoP}` }))).toEqual([
      401,
      'invalid_dpop_proof',
      'dpop_several',
    ])
    expect(await refusal(await call({ Authorization, DPoP: token.token }))).toEqual([
      401,
      'invalid_dpop_proof',
      'dpop_malformed',
    ])
  })

  test('fault 24: one that was used before, for as long as it could be used', async () => {
    const { call } = serve()
    const token = issuer.accessToken({ jkt: key.jkt })
    const headers = await key.headers(token, request)
    expect((await call(headers)).status).toBe(200)
    expect(await refusal(await call(headers))).toEqual([401, 'invalid_dpop_proof', 'dpop_replayed'])
    clock.offset = 299_000
    expect(await refusal(await call(headers))).toEqual([401, 'invalid_dpop_proof', 'dpop_replayed'])
    clock.offset = 400_000
    expect(await refusal(await call(headers))).toEqual([401, 'invalid_dpop_proof', 'dpop_time'])
  })

  test('of twenty at the same time, one is let in', async () => {
    const { call } = serve()
    const token = issuer.accessToken({ jkt: key.jkt })
    const headers = await key.headers(token, request)
    const statuses = await Promise.all(Array.from({ length: 20 }, async () => (await call(headers)).status))
    expect(statuses.filter((status) => status === 200)).toHaveLength(1)
  })

  test('a token that is none uses no proof up', async () => {
    const { call } = serve()
    const jti = 'one'
    const token = issuer.accessToken({ jkt: key.jkt })
    const gone = issuer.accessToken({ jkt: key.jkt })
    issuer.revoke(gone)
    expect((await call(await key.headers(gone, request, { jti }))).status).toBe(401)
    expect((await call(await key.headers(token, request, { jti }))).status).toBe(200)
  })

  test('fault 22: where it must be for is configured, whatever Host and X-Forwarded-Host say', async () => {
    const hosts = ['internal.example']
    const { call } = serve({ hosts })
    const token = issuer.accessToken({ jkt: key.jkt })
    const url = 'https://internal.example/mcp'
    const forwarded = { 'X-Forwarded-Host': 'internal.example', Host: 'internal.example' }
    const wrong = await call({ ...(await key.headers(token, { method: 'POST', url })), ...forwarded }, { url })
    expect(await refusal(wrong)).toEqual([401, 'invalid_dpop_proof', 'dpop_url'])
    expect((await call({ ...(await key.headers(token, request)), ...forwarded }, { url })).status).toBe(200)
  })

  test('below the resource, the path counts; a path that a proxy changed doesn’t', async () => {
    const { call } = serve()
    const token = issuer.accessToken({ jkt: key.jkt })
    const at = async (made: string, sent: string) =>
      (
        await call(await key.headers(token, { method: 'POST', url: `https://notes.example.com${made}` }), {
          url: `https://notes.example.com${sent}`,
        })
      ).status
    expect(await at('/mcp/a', '/mcp/a')).toBe(200)
    expect(await at('/mcp/b', '/mcp/a')).toBe(401)
    expect(await at('/mcp', '/mcp/a')).toBe(401)
    expect(await at('/mcp', '/mcp?x=y')).toBe(200)
    expect(await at('/mcp', '/mcp/')).toBe(200)
    expect(await at('/mcp', '/internal')).toBe(200)
    expect(await at('/internal', '/internal')).toBe(401)
  })

  test('our own trouble is not the proof’s fault', async () => {
    const { call } = serve()
    const token = issuer.accessToken({ jkt: key.jkt })
    issuer.setAvailable(false)
    const response = await call(await key.headers(token, request))
    expect([response.status, response.headers.get('www-authenticate')]).toEqual([503, null])
  })
})

describe('what is told', () => {
  /** As the clients of the official SDK read it. */
  const fields = (response: Response) => {
    const header = response.headers.get('www-authenticate') ?? expect.fail('no challenge')
    expect(header).toMatch(/^[\x20-\x7E]+$/)
    expect(header.match(/Bearer/g)).toHaveLength(1)
    const field = (name: string) => new RegExp(`${name}="([^"]*)"`).exec(header)?.[1]
    return {
      first: header.split(' ')[0],
      dpop: /, DPoP (.*)$/.exec(header)?.[1],
      error: field('error'),
      scope: field('scope'),
      metadata: field('resource_metadata'),
    }
  }
  const metadata = 'https://notes.example.com/.well-known/oauth-protected-resource/mcp'

  test('design 6, a client that never heard of DPoP reads what it always read', async () => {
    const { call } = serve()
    expect(fields(await call({}))).toEqual({
      first: 'Bearer',
      dpop: undefined,
      error: 'invalid_token',
      scope: 'notes:read',
      metadata,
    })
    expect(fields(await call({ Authorization: 'Bearer x' })).dpop).toBeUndefined()
  })

  test('who speaks it is told in its own challenge, after Bearer’s', async () => {
    const { call } = serve()
    const token = issuer.accessToken({ jkt: key.jkt })
    const { Authorization } = await key.headers(token, request)
    const told = fields(await call({ Authorization }))
    expect(told).toMatchObject({ first: 'Bearer', error: 'invalid_dpop_proof', scope: 'notes:read', metadata })
    expect(told.dpop).toMatch(/^error="invalid_dpop_proof", .*algs="ES256 /)
    expect(fields(await call({ Authorization: 'DPoP garbage"' })).dpop).toMatch(/^error="invalid_token"/)
    expect(fields(await call({ Authorization: `Bearer ${token.token}` })).dpop).toMatch(/^error="invalid_token"/)
  })

  test('and of scopes, with 403 and the complete set', async () => {
    const { call } = serve({ tools: { write: ['notes:write'] } })
    const token = issuer.accessToken({ jkt: key.jkt, scopes: ['notes:read'] })
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'write' } })
    const headers = { ...(await key.headers(token, request)), 'Content-Type': 'application/json' }
    const response = await call(headers, { body })
    expect(response.status).toBe(403)
    const told = fields(response)
    expect(told).toMatchObject({ error: 'insufficient_scope', scope: 'notes:read notes:write', metadata })
    expect(told.dpop).toMatch(/^error="insufficient_scope"/)
  })

  test('a page may send proofs, and read nonces', async () => {
    const { call } = serve({ origins: ['https://app.example'] })
    const origin = { Origin: 'https://app.example' }
    const preflight = await call(
      { ...origin, 'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Headers': 'dpop' },
      { method: 'OPTIONS' },
    )
    expect(preflight.headers.get('access-control-allow-headers')).toMatch(/\bDPoP\b/)
    expect((await call(origin)).headers.get('access-control-expose-headers')).toMatch(/\bDPoP-Nonce\b/)
  })

  test('several credentials at once are refused', async () => {
    const { call } = serve()
    const bound = issuer.accessToken({ jkt: key.jkt })
    const { Authorization, DPoP } = await key.headers(bound, request)
    for (const both of [`${Authorization}, Bearer x`, `Bearer x, ${Authorization}`, `Basic x, ${Authorization}`]) {
      expect((await call({ Authorization: both, DPoP })).status).toBe(400)
    }
  })
})

describe('a resource that takes bound tokens alone', () => {
  test('says so in its metadata and its challenges, and refuses others', async () => {
    const { auth, call } = serve({ dpopBoundAccessTokensRequired: true })
    const document = await auth.respond(
      new Request('https://notes.example.com/.well-known/oauth-protected-resource/mcp'),
    )
    expect(await document?.json()).toMatchObject({
      dpop_bound_access_tokens_required: true,
      dpop_signing_alg_values_supported: expect.arrayContaining(['ES256']),
      bearer_methods_supported: [],
    })
    expect((await call({})).headers.get('www-authenticate')).toMatch(/^Bearer error=.*, DPoP algs="ES256 /)
    const bearer = issuer.accessToken()
    expect(await refusal(await call({ Authorization: `Bearer ${bearer.token}` }))).toEqual([
      401,
      'invalid_token',
      'binding',
    ])
    const bound = issuer.accessToken({ jkt: key.jkt })
    expect((await call(await key.headers(bound, request))).status).toBe(200)
  })
})

describe('nonces (RFC 9449 §9), where they are asked for', () => {
  const ask = async (call: ReturnType<typeof serve>['call'], nonce?: string) => {
    const token = issuer.accessToken({ jkt: key.jkt })
    return call(await key.headers(token, request, nonce === undefined ? {} : { nonce }))
  }

  test('the first request is told one, the next brings it, and a new one comes in time', async () => {
    const { call } = serve({ dpopNonces: true })
    const told = await ask(call)
    expect(await refusal(told)).toEqual([401, 'use_dpop_nonce', 'dpop_nonce_missing'])
    expect(told.headers.get('www-authenticate')).toMatch(/, DPoP error="use_dpop_nonce"/)
    const nonce = told.headers.get('dpop-nonce') ?? ''
    expect((await ask(call, `${nonce}x`)).status).toBe(401)
    clock.offset = 60_000
    const late = await ask(call, nonce)
    expect(late.status).toBe(200)
    const next = late.headers.get('dpop-nonce') ?? ''
    expect(next).not.toBe(nonce)
    clock.offset = 120_000
    expect(await refusal(await ask(call, nonce))).toEqual([401, 'use_dpop_nonce', 'dpop_nonce_old'])
    expect((await ask(call, next)).status).toBe(200)
  })

  test('nodes with one secret know each other’s; others don’t', async () => {
    const secret = 'a secret that two nodes have, long enough'
    const [one, two, alone] = [
      serve({ dpopNonces: true, secret }),
      serve({ dpopNonces: true, secret }),
      serve({ dpopNonces: true }),
    ]
    const nonce = (await ask(one.call)).headers.get('dpop-nonce') ?? ''
    expect((await ask(two.call, nonce)).status).toBe(200)
    expect((await ask(alone.call, nonce)).status).toBe(401)
  })

  test('bearer tokens need none', async () => {
    const { call } = serve({ dpopNonces: true })
    const response = await call({ Authorization: `Bearer ${issuer.accessToken().token}` })
    expect([response.status, response.headers.get('dpop-nonce')]).toEqual([200, null])
  })
})

describe('verifiers refuse a bound token without its proof, the gate or not', () => {
  const cases: [string, () => Promise<{ verifier: IssuerVerifier; token: string; stop?: () => Promise<void> }>][] = [
    [
      'jwks',
      async () => {
        const server = await startJwksIssuer(resource)
        const token = await server.sign({ cnf: { jkt: key.jkt } })
        return { verifier: jwks(server.issuer), token, stop: () => server.close() }
      },
    ],
    [
      'introspection',
      async () => {
        const url = 'https://issuer.example'
        const answer = {
          active: true,
          iss: url,
          sub: 'alice',
          client_id: 'app',
          aud: resource,
          exp: Date.now(),
          token_type: 'DPoP',
          cnf: { jkt: key.jkt },
        }
        const fetch = async () => Response.json(answer)
        const options = { clientId: 'a', clientSecret: 'b', endpoint: `${url}/introspect`, fetch }
        return { verifier: introspection(url, options), token: 'opaque' }
      },
    ],
    [
      'the testing kit',
      async () => ({ verifier: issuer, token: issuer.accessToken({ jkt: key.jkt, resource }).token }),
    ],
  ]
  test.each(cases)('%s', async (_name, make) => {
    const { verifier, token, stop } = await make()
    try {
      for (let index = 0; index < 2; index++) {
        await expect(verifier.verify(token, resource)).rejects.toMatchObject({ reason: 'binding' })
        await expect(verifier.verify(token, resource, 'another')).rejects.toMatchObject({ reason: 'binding' })
        expect(await verifier.verify(token, resource, key.jkt)).toMatchObject({ claims: { cnf: { jkt: key.jkt } } })
      }
    } finally {
      await stop?.()
    }
  })
})

test.each([
  ['where used proofs are kept', { marks: { use: () => Promise.reject(new Error('away')) } }],
  ['all of it', undefined],
])('what can’t be known (%s away) is our own trouble: 503 without a challenge', async (_name, dpop) => {
  const [served] = resolveResources(resource, { [resource]: {} })
  const gate = createGate({
    resource: served ?? expect.fail('no resource'),
    verifier: issuer,
    dpop: async () => dpop ?? Promise.reject(new Error('away')),
    audit: (facts) => void events.push({ at: 0, ...facts }),
    logger: silentLogger,
    clock,
  })
  const admit = (headers: HeadersInit) => gate.admit(new Request(resource, { method: 'POST', headers }))
  const token = issuer.accessToken({ jkt: key.jkt })
  const headers = await key.headers(token, request)
  const refused = await admit(headers)
  if (refused.admitted) expect.fail('it was admitted')
  const { response } = refused
  expect([response.status, response.headers.get('www-authenticate')]).toEqual([503, null])
  expect(response.headers.get('retry-after')).toBe('5')
  const plain = { Authorization: `Bearer ${issuer.accessToken().token}` }
  expect((await admit(plain)).admitted).toBe(true)
})

test('property: whatever is sent as scheme, token and proof, no token is let in without its own proof', async () => {
  const { call } = serve()
  const token = issuer.accessToken({ jkt: key.jkt })
  const { DPoP } = await key.headers(token, request)
  const [header = '', payload = '', signature = ''] = DPoP.split('.')
  const bytes = fc.string({
    unit: fc.integer({ min: 0x20, max: 0xff }).map((code) => String.fromCharCode(code)),
    maxLength: 200,
  })
  const schemes = fc.constantFrom('DPoP', 'dpop', 'Bearer', 'Basic', 'DPoP Bearer', '')
  const proofs = fc.oneof(
    bytes,
    fc.constantFrom(
      '',
      `${DPoP}, x`,
      `${DPoP},${DPoP}`,
      `${header}.${payload}.`,
      `${header}.${payload}.${signature}AAAA`,
      `${payload}.${header}.${signature}`,
    ),
  )
  await fc.assert(
    fc.asyncProperty(schemes, fc.oneof(bytes, fc.constant(token.token)), proofs, async (scheme, text, proof) => {
      const response = await call({ Authorization: `${scheme} ${text}`, DPoP: proof })
      expect([400, 401]).toContain(response.status)
      expect(response.headers.get('www-authenticate')).toMatch(/^Bearer /)
    }),
    { numRuns: 400 },
  )
})

test('a proof that another kind of JWT is (an access token, an assertion) is none', async () => {
  const { call } = serve()
  const token = issuer.accessToken({ jkt: key.jkt })
  const secret = new TextEncoder().encode('x'.repeat(32))
  const DPoP = await new SignJWT({ htm: 'POST', htu: resource, jti: '1' })
    .setProtectedHeader({ alg: 'HS256', typ: 'dpop+jwt' })
    .setIssuedAt()
    .sign(secret)
  const { Authorization } = await key.headers(token, request)
  expect(await refusal(await call({ Authorization, DPoP }))).toEqual([401, 'invalid_dpop_proof', 'dpop_algorithm'])
})
