import { inspect } from 'node:util'
import { exportSPKI, importJWK, SignJWT } from 'jose'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { idJagType, jwtBearerGrantType } from '../../src/oauth/assertion.ts'
import { clientAssertionType } from '../../src/oauth/client-assertion.ts'
import { type JwksIssuer, type SignOptions, startJwksIssuer } from '../support/jwks-issuer.ts'
import {
  type Answer,
  createTarget,
  type Form,
  ISSUER,
  OTHER_RESOURCE,
  RESOURCE,
  type Target,
  tokensIn,
} from './support/target.ts'

// Who takes the word of others must take it from them alone, for what they said, from whom they meant.

let enterprise: JwksIssuer
let rival: JwksIssuer
let platform: JwksIssuer
beforeAll(async () => {
  ;[enterprise, rival, platform] = (await Promise.all([1, 2, 3].map(() => startJwksIssuer(RESOURCE)))) as [
    JwksIssuer,
    JwksIssuer,
    JwksIssuer,
  ]
})
afterAll(() => Promise.all([enterprise, rival, platform].map((each) => each.close())))

const secret = 'the agent’s secret, that nobody else has'
const agent = { client_id: 'agent', client_secret: secret }

let target: Target
beforeEach(async () => {
  target = await createTarget({
    clients: [
      { id: 'agent', secret },
      { id: 'other', secret: 'the secret of another client, long enough' },
      { id: 'worker', scopes: { '/mcp': ['notes:read'] } },
      { id: 'admin', scopes: { '/mcp': ['notes:write'] } },
    ],
    assertions: [
      { kind: 'enterprise', issuer: enterprise.issuer, provider: 'acme', scopes: { '/mcp': ['notes:read'] } },
      { kind: 'enterprise', issuer: rival.issuer, provider: 'rival' },
      {
        kind: 'workload',
        issuer: platform.issuer,
        provider: 'platform',
        audience: ISSUER,
        workloads: [
          { client: 'worker', subject: 'ns/jobs/*' },
          { client: 'admin', subject: 'ns/admin/root', claims: { trusted: true } },
        ],
      },
    ],
  })
})

const claims = (more: Record<string, unknown> = {}) => {
  const now = Math.floor(target.clock.now() / 1000)
  return {
    ...{ sub: 'alice', aud: ISSUER, client_id: 'agent', resource: RESOURCE, scope: 'notes:read' },
    ...{ iat: now, exp: now + 300, ...more },
  }
}
const idJag = (more: Record<string, unknown> = {}, header: SignOptions = {}, by = enterprise) =>
  by.sign(claims(more), { typ: idJagType, ...header })
const job = (more: Record<string, unknown> = {}, header: SignOptions = {}) =>
  platform.sign(
    claims({ sub: 'ns/jobs/nightly', client_id: undefined, resource: undefined, scope: undefined, ...more }),
    { typ: 'JWT', ...header },
  )

const present = (assertion: string, form: Form = agent, headers?: Record<string, string>) =>
  target.post('/token', { grant_type: jwtBearerGrantType, assertion, ...form }, headers)

const expectRefused = (answer: Answer, error?: string) => {
  expect([answer.status >= 400 && answer.status < 500, tokensIn(answer)]).toEqual([true, []])
  if (error) expect(answer.body.error).toBe(error)
}

test('what is attacked works for those who may', async () => {
  const person = await present(await idJag())
  expect((await target.call(person.body.access_token)).status).toBe(200)
  const workload = await present(await job(), {})
  expect((await target.call(workload.body.access_token)).status).toBe(200)
})

describe('forging', () => {
  test('no signature, a shared secret, the public key as secret, a key that comes along', async () => {
    const set = (await (await fetch(`${enterprise.issuer}/jwks`)).json()) as { keys: [JsonWebKey & { kid: string }] }
    const [jwk] = set.keys
    const pem = await exportSPKI((await importJWK({ ...jwk, ext: true }, 'ES256')) as CryptoKey)
    const payload = claims({ iss: enterprise.issuer, jti: 'forged' })
    const encoded = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const header = { typ: idJagType, kid: jwk.kid }
    const forged = [
      `${encoded({ ...header, alg: 'none' })}.${encoded(payload)}.`,
      `${encoded({ ...header, alg: 'ES256' })}.${encoded(payload)}.`,
      await new SignJWT(payload).setProtectedHeader({ ...header, alg: 'HS256' }).sign(Buffer.from(pem)),
      await new SignJWT(payload).setProtectedHeader({ ...header, alg: 'HS256' }).sign(Buffer.from(JSON.stringify(jwk))),
      await new SignJWT(payload).setProtectedHeader({ ...header, alg: 'ES256' }).sign(enterprise.foreignKey),
      await new SignJWT(payload)
        .setProtectedHeader({ typ: idJagType, alg: 'ES256', jku: `${rival.issuer}/jwks`, jwk })
        .sign(rival.foreignKey),
      'not.a.jwt',
      '..',
      'x',
    ]
    for (const assertion of forged) expectRefused(await present(assertion), 'invalid_grant')
  })

  test('one issuer in the name of another', async () => {
    expectRefused(await present(await idJag({ iss: enterprise.issuer }, {}, rival)), 'invalid_grant')
    expectRefused(await present(await idJag({ iss: ISSUER }, {}, rival)), 'invalid_grant')
    // Under its own name its people are its own, and nobody else's.
    const own = await present(await idJag({}, {}, rival))
    const theirs = await present(await idJag())
    const subjectOf = async ({ body }: Answer) =>
      ((await (await target.call(body.access_token)).json()) as { subject: string }).subject
    expect(await subjectOf(own)).not.toBe(await subjectOf(theirs))
  })

  test('a platform as an enterprise, and the other way round', async () => {
    expectRefused(await present(await job({ ...claims(), sub: 'ns/jobs/x' }, { typ: idJagType })), 'invalid_grant')
    expectRefused(await present(await job({ client_id: 'agent' })), 'invalid_client')
    expectRefused(await present(await idJag({ sub: 'ns/jobs/x' }, { typ: 'JWT' }), {}), 'invalid_grant')
  })
})

describe('using what was meant for something else', () => {
  test('our own tokens as assertions', async () => {
    const { access_token: token } = await target.tokens(await target.register())
    expectRefused(await present(token), 'invalid_grant')
    expectRefused(await present(token, {}), 'invalid_grant')
  })

  test('an assertion as an access token, as a code, as a refresh token, as proof of a client', async () => {
    const assertion = await idJag()
    expect((await target.call(assertion)).status).toBe(401)
    for (const form of [
      { grant_type: 'authorization_code', code: assertion, redirect_uri: 'x', code_verifier: 'x' },
      { grant_type: 'refresh_token', refresh_token: assertion },
      { grant_type: 'client_credentials' },
    ]) {
      expectRefused(await target.post('/token', { ...form, ...agent }))
    }
    const proof = { client_assertion_type: clientAssertionType, client_assertion: await idJag({ sub: 'agent' }) }
    expectRefused(await present(assertion, proof), 'invalid_client')
    expectRefused(
      await present(assertion, { ...proof, client_assertion: await job({ sub: 'agent' }) }),
      'invalid_client',
    )
  })

  test('one for another client, or for another server', async () => {
    const assertion = await idJag()
    const thief = { client_id: 'other', client_secret: 'the secret of another client, long enough' }
    expectRefused(await present(assertion, thief), 'invalid_grant')
    // The thief did not use it up.
    expect((await present(assertion)).status).toBe(200)
    expectRefused(await present(await idJag({ aud: 'https://elsewhere.example' })), 'invalid_grant')
    expectRefused(await present(await idJag({ aud: `${ISSUER}/` })), 'invalid_grant')
    expectRefused(await present(await idJag({ aud: [ISSUER, ISSUER] })), 'invalid_grant')
  })

  test('one with another client’s name in the request', async () => {
    expectRefused(await present(await idJag(), { client_id: 'agent' }), 'invalid_client')
    expectRefused(await present(await idJag(), {}), 'invalid_request')
    expectRefused(await present(await job(), { client_id: 'admin' }), 'invalid_client')
  })
})

describe('wanting more', () => {
  test('another resource, other scopes, a longer life', async () => {
    expectRefused(await present(await idJag({ resource: OTHER_RESOURCE, scope: 'other:read' })), 'invalid_target')
    expectRefused(await present(await idJag(), { ...agent, resource: OTHER_RESOURCE }), 'invalid_target')
    expectRefused(await present(await idJag({ scope: 'notes:write' })), 'invalid_scope')
    expectRefused(await present(await idJag(), { ...agent, scope: 'notes:read notes:write' }), 'invalid_scope')
    expectRefused(await present(await job(), { scope: 'notes:write' }), 'invalid_scope')
    expectRefused(await present(await idJag({ exp: 9_999_999_999 })), 'invalid_grant')
    expectRefused(await present(await job({ exp: 9_999_999_999 }), {}), 'invalid_grant')
    expectRefused(await present(await job({ exp: 9_999_999_999, iat: 9_999_990_000 }), {}), 'invalid_grant')
  })

  test('a refresh token of it', async () => {
    const { body } = await present(await idJag())
    expect(Object.keys(body).sort()).toEqual(['access_token', 'expires_in', 'resource', 'scope', 'token_type'])
    expectRefused(
      await target.post('/token', { grant_type: 'refresh_token', refresh_token: body.access_token, ...agent }),
    )
  })

  test('another workload’s rights, by a subject that looks like it or by a claim of another type', async () => {
    for (const more of [
      { sub: 'ns/admin/root' },
      { sub: 'ns/admin/root', trusted: 'true' },
      { sub: 'ns/admin/root', trusted: [true] },
      { sub: ['ns/admin/root'], trusted: true },
      { sub: 'ns/admin/root/', trusted: true },
      { sub: 'NS/admin/root', trusted: true },
      { sub: 'ns/jobs' },
      { sub: '*' },
      { sub: 'ns/jobs/*'.slice(0, -1) },
    ]) {
      expectRefused(await present(await job(more), {}), 'invalid_grant')
    }
  })

  test('to be a client by being called like one', async () => {
    const { body } = await present(await idJag({ sub: 'agent' }))
    const seen = (await (await target.call(body.access_token)).json()) as Record<string, unknown>
    expect(seen.kind).toBe('user')
    expect(seen.subject).not.toBe('agent')
  })

  test('to pose as somebody by claims that are no claims', async () => {
    const assertion = await idJag({ __proto__: undefined, upstream_claims: { sub: 'root' }, iss_: 'x', grant_id: 'x' })
    const { body } = await present(assertion)
    const seen = (await (await target.call(body.access_token)).json()) as { upstream: Record<string, unknown> }
    expect(seen.upstream).toMatchObject({ issuer: enterprise.issuer, subject: 'alice' })
  })
})

describe('the request itself', () => {
  test('two assertions, an endless one, none', async () => {
    const assertion = await idJag()
    expectRefused(await present(assertion, { ...agent, assertion: [assertion, await idJag()] }), 'invalid_request')
    expectRefused(await present('a'.repeat(20_000)), 'invalid_request')
    expectRefused(await target.post('/token', { grant_type: jwtBearerGrantType, ...agent }), 'invalid_request')
    expect((await present(assertion)).status).toBe(200)
  })

  test('unknown keys make nobody ask the issuer again and again', async () => {
    await present(await idJag())
    const before = { ...enterprise.requests }
    await Promise.all(
      Array.from({ length: 50 }, async (_, n) =>
        expectRefused(await present(await idJag({}, { kid: `k${n}`, key: enterprise.foreignKey })), 'invalid_grant'),
      ),
    )
    expect(enterprise.requests.keys - before.keys).toBeLessThanOrEqual(1)
    expect(enterprise.requests.metadata).toBe(before.metadata)
  })

  test('issuers that nobody configured are never asked', async () => {
    const stranger = await startJwksIssuer(RESOURCE)
    try {
      expectRefused(await present(await idJag({}, {}, stranger)), 'invalid_grant')
      expect(stranger.requests).toEqual({ metadata: 0, keys: 0 })
    } finally {
      await stranger.close()
    }
  })

  test('an assertion is in no event, no message and no answer', async () => {
    const assertions = [await idJag(), await job(), await idJag({ aud: 'https://elsewhere.example' })]
    const answers = [
      await present(assertions[0] ?? ''),
      await present(assertions[1] ?? '', {}),
      await present(assertions[2] ?? ''),
    ]
    const all = inspect([target.events, target.log, answers.map(({ body }) => body)], {
      depth: 20,
      maxStringLength: null,
    })
    for (const assertion of assertions) {
      for (const part of assertion.split('.').slice(1)) expect(all).not.toContain(part)
    }
    expect(all).not.toContain(secret)
  })
})
