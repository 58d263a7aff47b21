import { expect, test } from 'vitest'
import type { AuditFacts } from '../../src/events/audit.ts'
import type { AccessToken } from '../../src/identity/access-token.ts'
import { checkBoundKey } from '../../src/identity/confirmation.ts'
import { TokenInvalid, type TokenVerifier } from '../../src/identity/verifier.ts'
import type { DpopNonces } from '../../src/oauth/dpop-nonce.ts'
import { type Resource, resolveResources } from '../../src/oauth/resource.ts'
import { createProofCheck } from '../../src/resource-server/dpop.ts'
import { createGate, type GateDecision, type GateOptions } from '../../src/resource-server/gate.ts'
import type { RequestInfo } from '../../src/resource-server/handler.ts'
import type { PolicyDecision, RequestPolicy } from '../../src/resource-server/policy.ts'
import { accessToken, challengeOf, dpopKey } from '../../src/testing.ts'
import { stopped } from '../store/movable-clock.ts'

const identifier = 'https://notes.example.com/mcp'
const [notes] = resolveResources(identifier, { [identifier]: { scopes: { read: 'Read' }, defaultScopes: ['read'] } })
const resource: Resource = notes ?? expect.fail('no resource')

const nothing = () => {}
const setUp = (tokens: readonly AccessToken[], more: Partial<GateOptions> = {}) => {
  const audited: AuditFacts[] = []
  const logged: unknown[] = []
  const used: string[] = []
  const verifier: TokenVerifier = {
    async verify(token, _resource, jkt) {
      const found = tokens.find((each) => each.token === token)
      if (!found) throw new TokenInvalid('expired')
      checkBoundKey(found.claims, jkt)
      return found
    },
  }
  const gate = createGate({
    ...{ resource, verifier, clock: stopped() },
    dpop: () => ({
      marks: {
        use: async ({ jti }) => {
          used.push(jti)
          return used.filter((each) => each === jti).length === 1
        },
      },
    }),
    audit: (facts) => void audited.push(facts),
    logger: {
      debug: nothing,
      info: nothing,
      warn: (message) => void logged.push(message),
      error: (message, details) => void logged.push(message, details),
    },
    ...more,
  })
  const admit = async (headers: HeadersInit, info?: RequestInfo): Promise<GateDecision> =>
    gate.admit(new Request(identifier, { method: 'POST', headers }), info)
  const refused = async (headers: HeadersInit): Promise<Response> => {
    const decision = await admit(headers)
    return decision.admitted ? expect.fail('it was admitted') : decision.response
  }
  return { admit, refused, audited, logged, used }
}

const alice = accessToken({ subject: 'alice', clientId: 'editor', issuer: 'https://issuer.test', scopes: ['read'] })
const bearer = { Authorization: `Bearer ${alice.token}` }
const who = { clientId: 'editor', issuer: 'https://issuer.test', subject: 'alice', scopes: ['read'] }
const deciding = (decision: PolicyDecision): { readonly policy: RequestPolicy } => ({
  policy: { decide: () => decision },
})

test('without a policy who has a token is let in, with what the host read already', async () => {
  const { admit, audited } = setUp([alice])
  const body = { jsonrpc: '2.0' }
  expect(await admit(bearer, { parsedBody: body })).toEqual({
    ...{ admitted: true, token: alice, parsedBody: body, filter: undefined, session: undefined, responseHeaders: {} },
  })
  expect(await admit(bearer)).toMatchObject({ admitted: true, parsedBody: undefined })
  expect(audited).toEqual([])
})

test('a policy is asked with the request, its caller and what the host read already', async () => {
  const asked: unknown[] = []
  const filter = async (message: unknown) => message
  const session = { requested: 'own', issue: (id: string) => id, events: undefined }
  const policy: RequestPolicy = {
    decide: async (request, token, parsedBody) => {
      asked.push(request.url, token, parsedBody)
      return { outcome: 'allow', parsedBody: 'read', filter, session }
    },
  }
  const { admit } = setUp([alice], { policy })
  expect(await admit(bearer, { parsedBody: 'before' })).toMatchObject({ parsedBody: 'read', filter, session })
  expect(asked).toEqual([identifier, alice, 'before'])
})

test('what the policy refuses is told in its own way, and audited with its caller', async () => {
  for (const [decision, status, error] of [
    [{ outcome: 'forbid', reason: 'denied', id: 7 }, 403, { code: -32_000 }],
    [
      {
        outcome: 'malformed',
        reason: 'batch',
        status: 415,
        code: -32_600,
        message: 'No batches',
        data: { a: 1 },
        id: 7,
      },
      415,
      { code: -32_600, message: 'No batches', data: { a: 1 } },
    ],
  ] as const) {
    const { refused, audited } = setUp([alice], deciding(decision))
    const response = await refused(bearer)
    expect([response.status, challengeOf(response)]).toEqual([status, undefined])
    expect(await response.json()).toMatchObject({ jsonrpc: '2.0', id: 7, error })
    expect(audited).toEqual([{ type: 'access.refused', reason: decision.reason, resource: identifier, status, ...who }])
  }
})

test('fault 13: more scopes are asked for in the scheme that the client speaks, with what it has already', async () => {
  const key = await dpopKey()
  const bound = accessToken({ jkt: key.jkt, scopes: ['read', 'own'] })
  const { refused, audited } = setUp(
    [alice, bound],
    deciding({ outcome: 'insufficient_scope', scopes: ['write', 'read'] }),
  )
  const plain = await refused(bearer)
  expect(challengeOf(plain)).toMatchObject({ status: 403, error: 'insufficient_scope', scopes: ['read', 'write'] })
  expect(plain.headers.get('www-authenticate')).not.toContain('DPoP')
  expect(audited).toEqual([
    { type: 'access.refused', reason: 'insufficient_scope', resource: identifier, status: 403, ...who },
  ])
  const proven = await refused(await key.headers(bound, { method: 'POST', url: identifier }))
  expect(challengeOf(proven)?.scopes).toEqual(['read', 'own', 'write'])
  expect(proven.headers.get('www-authenticate')).toMatch(/DPoP error="insufficient_scope"/)
})

test('fault 5: a policy that fails, at once or later, is our own trouble, and the log says what it was', async () => {
  const problem = new Error('out of order')
  for (const decide of [
    () => {
      throw problem
    },
    () => Promise.reject(problem),
  ]) {
    const { refused, audited, logged } = setUp([alice], { policy: { decide } })
    const response = await refused(bearer)
    expect([response.status, challengeOf(response)]).toEqual([503, undefined])
    expect(await response.text()).not.toContain('out of order')
    expect(audited).toEqual([
      { type: 'access.refused', reason: 'policy_failed', resource: identifier, status: 503, ...who },
    ])
    expect(logged).toEqual([expect.stringContaining('policy_failed'), { error: problem }])
  }
})

test('fault 5: where used proofs are kept may be away: the log says so, and nobody is let in', async () => {
  const key = await dpopKey()
  const bound = accessToken({ ...who, jkt: key.jkt })
  const problem = new Error('away')
  const headers = () => key.headers(bound, { method: 'POST', url: identifier })
  const marks = setUp([bound], { dpop: () => ({ marks: { use: () => Promise.reject(problem) } }) })
  expect((await marks.refused(await headers())).status).toBe(503)
  expect(marks.audited).toMatchObject([{ reason: 'proof_unknown', status: 503, subject: 'alice' }])
  expect(marks.logged).toEqual([expect.stringContaining('proof_unknown'), { error: problem }])
  const all = setUp([bound], { dpop: () => Promise.reject(problem) })
  expect((await all.refused(await headers())).status).toBe(503)
  expect(all.audited).toMatchObject([{ reason: 'proof_unknown', status: 503 }])
  expect(all.audited[0]).not.toHaveProperty('subject')
})

test('who speaks DPoP is told of a bad token in its own challenge, who doesn’t is not', async () => {
  const key = await dpopKey()
  const gone = accessToken({ jkt: key.jkt })
  const { refused, audited, used } = setUp([])
  const proven = await refused(await key.headers(gone, { method: 'POST', url: identifier }))
  expect(proven.headers.get('www-authenticate')).toMatch(/^Bearer (?!error).*, DPoP error="invalid_token"/)
  const plain = await refused({ Authorization: 'Bearer gone' })
  expect(plain.headers.get('www-authenticate')).not.toContain('DPoP')
  expect(audited).toMatchObject([{ reason: 'expired' }, { reason: 'expired' }])
  expect(used).toEqual([])
})

test('an attacker’s copy of a remembered token needs its proof by either scheme, and its client brings it', async () => {
  const key = await dpopKey()
  const bound = accessToken({ jkt: key.jkt })
  const { Authorization, DPoP } = await key.headers(bound, { method: 'POST', url: identifier })
  const verifier: TokenVerifier = {
    async verify(_token, _resource, jkt) {
      checkBoundKey(bound.claims, jkt)
      return bound
    },
    recall: (token) => (token === bound.token ? bound : alice),
  }
  const { admit, refused, audited } = setUp([], { verifier })
  expect((await refused({ Authorization })).status).toBe(401)
  expect((await refused({ Authorization: `Bearer ${bound.token}` })).status).toBe(401)
  expect((await refused({ Authorization: `DPoP ${alice.token}` })).status).toBe(401)
  expect(audited).toMatchObject([{ reason: 'dpop_missing' }, { reason: 'binding' }, { reason: 'dpop_missing' }])
  expect((await admit({ Authorization, DPoP })).admitted).toBe(true)
  expect((await refused({ Authorization, DPoP })).status).toBe(401)
  expect(audited.at(-1)).toMatchObject({ reason: 'dpop_replayed' })
})

test('every refusal says in words what is wrong, and a refusal for good in the words of JSON-RPC', async () => {
  const { refused, logged } = setUp([alice], deciding({ outcome: 'insufficient_scope', scopes: ['write'] }))
  const key = await dpopKey()
  const { Authorization, DPoP } = await key.headers(alice, { method: 'POST', url: identifier })
  const words = async (headers: HeadersInit) => {
    const response = await refused(headers)
    const body = (await response.json()) as { error_description?: string; error: { message?: string; code?: number } }
    const said = challengeOf(response)?.description
    if (said !== undefined) expect(body.error_description).toBe(said)
    else expect(body.error.code).toBe(-32_000)
    return said ?? body.error.message ?? ''
  }
  const texts = [
    await words({ Host: 'evil.example' }),
    await words({ Origin: 'https://evil.example' }),
    await words({}),
    await words({ Authorization: 'Bearer a, Bearer b' }),
    await words({ Authorization: 'Bearer gone' }),
    await words(bearer),
    await words({ Authorization }),
  ]
  for (const text of texts) expect(text).toMatch(/^[A-Z][\w ]{10,}(, [\w ]+)*$/)
  expect(new Set(texts).size).toBe(texts.length)
  expect(logged).toEqual([expect.stringContaining('Host')])
  const { refused: forbidden } = setUp([alice], deciding({ outcome: 'forbid', reason: 'denied' }))
  expect(await (await forbidden(bearer)).json()).toMatchObject({
    error: { message: expect.stringMatching(/^[A-Z]\w+ /) },
  })
  const old = { current: async () => 'next', isGood: async () => false }
  const { refused: asking } = setUp([alice], {
    dpop: () => ({ marks: { use: async () => true }, nonces: old as DpopNonces }),
  })
  expect(challengeOf(await asking({ Authorization, DPoP }))?.description).toMatch(/^[A-Z]\w+ /)
})

test('a nonce is told where another is to be used, and none is not good because somebody says so', async () => {
  const key = await dpopKey()
  const bound = accessToken({ jkt: key.jkt })
  const asked: unknown[] = []
  const nonces: DpopNonces = {
    current: async () => 'now',
    isGood: async (nonce) => {
      asked.push(nonce)
      return true
    },
  }
  const { admit, refused } = setUp([bound], { dpop: () => ({ marks: { use: async () => true }, nonces }) })
  const headers = (claims = {}) => key.headers(bound, { method: 'POST', url: identifier }, claims)
  expect(await admit(await headers({ nonce: 'now' }))).toMatchObject({ admitted: true, responseHeaders: {} })
  expect(asked).toEqual([])
  const earlier = await admit(await headers({ nonce: 'before' }))
  expect(earlier).toMatchObject({ admitted: true, responseHeaders: { 'DPoP-Nonce': 'now' } })
  const told = await refused(await headers())
  expect([told.status, told.headers.get('dpop-nonce')]).toEqual([401, 'now'])
  expect(asked).toEqual(['before'])
})

test('a page that is let in can read the response, also with a nonce; others get no such headers', async () => {
  const key = await dpopKey()
  const bound = accessToken({ jkt: key.jkt })
  const nonces: DpopNonces = { current: async () => 'now', isGood: async () => true }
  const { admit } = setUp([bound], { dpop: () => ({ marks: { use: async () => true }, nonces }) })
  const proof = await key.headers(bound, { method: 'POST', url: identifier }, { nonce: 'before' })
  const decision = await admit({ ...proof, Origin: 'http://localhost:6274' })
  expect(decision).toMatchObject({
    admitted: true,
    responseHeaders: { 'Access-Control-Allow-Origin': 'http://localhost:6274', 'DPoP-Nonce': 'now' },
  })
})

test('what was wrong with a proof stays with its refusal', async () => {
  const key = await dpopKey()
  const check = createProofCheck(resource, () => ({ marks: { use: async () => true } }), stopped())
  const { DPoP } = await key.headers(alice, { method: 'GET', url: identifier })
  await expect(
    check(new Request(identifier, { method: 'POST', headers: { DPoP } }), alice.token),
  ).rejects.toMatchObject({
    name: 'ProofRefused',
    code: 'invalid_dpop_proof',
    reason: 'dpop_method',
    cause: { name: 'DpopProofInvalid', reason: 'method' },
  })
})
