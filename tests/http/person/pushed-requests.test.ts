import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { describe, expect, test } from 'vitest'
import { clientAssertionType } from '../../../src/oauth/client-assertion.ts'
import {
  challengeOf,
  createTarget,
  credentials,
  type Form,
  ISSUER,
  RESOURCE,
  type Target,
  verifier,
  WEB,
} from '../../attacks/support/target.ts'
import { type DpopKey, dpopKey } from '../../support/dpop-key.ts'

const secret = 'the secret of a client, long enough for one'
const setting = (options: Parameters<typeof createTarget>[0] = {}) =>
  createTarget({ clients: [{ id: 'web', name: 'Web App', secret, redirectUris: [WEB] }], ...options })
const web = { id: 'web', secret, redirectUri: WEB }

const request = (more: Form = {}): Form => ({
  ...{ response_type: 'code', redirect_uri: WEB, scope: 'notes:read', resource: RESOURCE, state: 'a state' },
  ...{ code_challenge: challengeOf(verifier), code_challenge_method: 'S256' },
  ...more,
})

const push = (target: Target, form: Form, headers?: Record<string, string>) => target.post('/par', form, headers)
const pushed = async (target: Target, form: Form = {}, client: Parameters<typeof credentials>[0] = web) => {
  const { status, body } = await push(target, { ...request(), ...credentials(client), ...form })
  expect(status).toBe(201)
  return body as unknown as { request_uri: string; expires_in: number }
}
const browserUrl = (request_uri: string, client_id = 'web', more: Record<string, string> = {}) =>
  `${ISSUER}/authorize?${new URLSearchParams({ client_id, request_uri, ...more })}`

test('a request that was sent ahead leads to a code, and to tokens', async () => {
  const target = await setting()
  const { status, headers, body } = await push(target, { ...request(), client_id: 'web', client_secret: secret })
  expect(status).toBe(201)
  expect(headers.get('cache-control')).toBe('no-store')
  expect(body).toEqual({
    request_uri: expect.stringMatching(/^urn:ietf:params:oauth:request_uri:cs_pr_[\w-]{43}$/),
    expires_in: 90,
  })
  const { left } = await target.signIn(target.browser(), browserUrl(String(body.request_uri)))
  expect(left?.href.startsWith(`${WEB}?code=`)).toBe(true)
  expect(left?.searchParams.get('iss')).toBe(ISSUER)
  const code = left?.searchParams.get('code') ?? ''
  expect((await target.redeem({ code, verifier, client: web })).status).toBe(200)
})

test('it counts alone: what the browser brings beside it changes nothing', async () => {
  const target = await setting()
  const { request_uri } = await pushed(target)
  const more = { scope: 'notes:write', redirect_uri: 'https://evil.example', state: 'another', prompt: 'none' }
  const page = await target.browser().open(browserUrl(request_uri, 'web', more))
  expect(page.text).toContain('Read your notes')
  expect(page.text).not.toContain('Add and change your notes')
})

test('the state comes back byte for byte', async () => {
  const target = await setting()
  for (const state of ['a%20b+c%2Bd', '%C3%A9%FF', '%22%3Cx%3E']) {
    const form = new URLSearchParams(request({ state: undefined }) as Record<string, string>)
    form.delete('state')
    const body = `state=${state}&client_id=web&client_secret=${encodeURIComponent(secret)}&${form}`
    const { body: answer } = await target.post('/par', body)
    const { left } = await target.signIn(target.browser(), browserUrl(String(answer.request_uri)))
    expect(left?.href).toContain(`&state=${state}`)
  }
})

test('it is good once, for a short time, and only for its client', async () => {
  const target = await setting()
  const other = await target.register()
  const used = await pushed(target)
  expect((await target.browser().open(browserUrl(used.request_uri))).status).toBe(200)
  const late = await pushed(target)
  await target.clock.pass(91_000)
  const cases = [browserUrl(used.request_uri), browserUrl(late.request_uri), browserUrl(`${late.request_uri}x`)]
  for (const url of [...cases, browserUrl((await pushed(target)).request_uri, other.id)]) {
    const page = await target.browser().open(url)
    expect([page.status, page.left]).toEqual([400, undefined])
    expect(page.text).toContain('unknown, used or expired')
  }
  expect((await target.store.list('pushed-request/')).entries).toHaveLength(1)
})

describe('the client proves who it is', () => {
  test('as at the token endpoint', async () => {
    const target = await setting()
    const basic = { Authorization: `Basic ${Buffer.from(`web:${secret}`).toString('base64')}` }
    expect((await push(target, request(), basic)).status).toBe(201)
    const open = await target.register()
    const { request_uri } = await pushed(target, { redirect_uri: WEB }, open)
    expect((await target.browser().open(browserUrl(request_uri, open.id))).status).toBe(200)
    for (const wrong of [{ client_id: 'web' }, { client_id: 'web', client_secret: 'wrong' }, { client_id: 'nobody' }]) {
      const { status, body } = await push(target, { ...request(), ...wrong })
      expect([status, body.error]).toEqual([401, 'invalid_client'])
    }
    expect((await push(target, request())).body.error).toBe('invalid_request')
  })

  test('by a key; and what proved it is not kept', async () => {
    const { privateKey, publicKey } = await generateKeyPair('ES256')
    const jwks = { keys: [await exportJWK(publicKey)] }
    const target = await createTarget({ clients: [{ id: 'web', jwks, redirectUris: [WEB] }] })
    const now = Math.floor(target.clock.now() / 1000)
    const client_assertion = await new SignJWT({ iss: 'web', sub: 'web', aud: ISSUER, jti: 'one', exp: now + 60 })
      .setProtectedHeader({ alg: 'ES256' })
      .sign(privateKey)
    const { status, body } = await push(target, {
      ...request(),
      client_assertion_type: clientAssertionType,
      client_assertion,
    })
    expect(status).toBe(201)
    expect((await target.browser().open(browserUrl(String(body.request_uri)))).status).toBe(200)
  })
})

test('the key that it shows is needed for the code, too', async () => {
  const target = await setting()
  const [key, other] = [await dpopKey(() => target.clock.now()), await dpopKey(() => target.clock.now())]
  const proofs = async (by: DpopKey, path: string) => ({ DPoP: await by.proof('POST', `${ISSUER}${path}`) })
  const own = { ...request(), client_id: 'web', client_secret: secret }
  const { status, body } = await push(target, own, await proofs(key, '/par'))
  expect(status).toBe(201)
  const { left } = await target.signIn(target.browser(), browserUrl(String(body.request_uri)))
  const code = { code: left?.searchParams.get('code') ?? '', verifier, client: web }
  expect((await target.redeem(code)).status).toBe(400)
  expect((await target.redeem(code, {}, await proofs(other, '/token'))).status).toBe(400)
  expect((await target.redeem(code, {}, await proofs(key, '/token'))).body.token_type).toBe('DPoP')

  const named = { ...own, dpop_jkt: key.jkt }
  expect((await push(target, named, await proofs(key, '/par'))).status).toBe(201)
  const mixed = await push(target, named, await proofs(other, '/par'))
  expect([mixed.status, mixed.body.error]).toEqual([400, 'invalid_dpop_proof'])
  const wrong = await push(target, own, await proofs(key, '/token'))
  expect([wrong.status, wrong.body.error]).toEqual([400, 'invalid_dpop_proof'])
})

test('what is wrong with it the client learns at once, as JSON', async () => {
  const target = await setting()
  const cases: readonly (readonly [Form, string])[] = [
    [{ redirect_uri: 'https://evil.example/cb' }, 'invalid_request'],
    [{ response_type: 'token' }, 'unsupported_response_type'],
    [{ code_challenge: undefined }, 'invalid_request'],
    [{ code_challenge_method: 'plain' }, 'invalid_request'],
    [{ resource: 'https://evil.example' }, 'invalid_target'],
    [{ scope: 'a"b' }, 'invalid_scope'],
    [{ request: 'a.b.c' }, 'request_not_supported'],
    [{ request_uri: 'https://evil.example/request' }, 'invalid_request'],
    [{ request_uri: 'urn:ietf:params:oauth:request_uri:cs_pr_x' }, 'invalid_request'],
    [{ state: ['one', 'two'] }, 'invalid_request'],
    [{ prompt: 'none login' }, 'invalid_request'],
    [{ dpop_jkt: 'x' }, 'invalid_request'],
  ]
  for (const [more, error] of cases) {
    const { status, headers, body } = await push(target, { ...request(more), client_id: 'web', client_secret: secret })
    expect([status, body.error, headers.get('content-type')]).toEqual([400, error, 'application/json'])
  }
  expect((await target.store.list('pushed-request/')).entries).toEqual([])
  expect(target.events.map(({ type }) => type)).toEqual(expect.arrayContaining(['authorization.refused']))
})

describe('where it is required', () => {
  const expectRefused = async (target: Target, client: { id: string; redirectUri: string }) => {
    const page = await target.browser().open(target.authorizeUrl(client))
    const said = page.left?.searchParams.get('error_description') ?? page.text
    expect(said).toContain('push the authorization request first')
    expect(page.left?.searchParams.has('code') ?? false).toBe(false)
  }

  test('of everybody', async () => {
    const target = await setting({ requirePushedRequests: true })
    await expectRefused(target, web)
    await expectRefused(target, await target.register())
    const { request_uri } = await pushed(target)
    expect((await target.browser().open(browserUrl(request_uri))).status).toBe(200)
    const metadata = await target.send(new Request(`${ISSUER}/.well-known/oauth-authorization-server`))
    expect(await metadata.json()).toMatchObject({
      pushed_authorization_request_endpoint: `${ISSUER}/par`,
      require_pushed_authorization_requests: true,
    })
  })

  test('of a client that says so', async () => {
    const strict = { id: 'web', secret, redirectUris: [WEB], requirePushedRequests: true }
    const target = await setting({ clients: [strict] })
    await expectRefused(target, web)
    await expectRefused(target, await target.register({ require_pushed_authorization_requests: true }))
    const free = await target.register()
    expect((await target.browser().open(target.authorizeUrl(free))).status).toBe(200)
  })
})

test('it is offered, and other requests by reference or by value are not', async () => {
  const target = await setting()
  const metadata = (await (
    await target.send(new Request(`${ISSUER}/.well-known/oauth-authorization-server`))
  ).json()) as Record<string, unknown>
  expect(metadata).toMatchObject({
    pushed_authorization_request_endpoint: `${ISSUER}/par`,
    request_parameter_supported: false,
    request_uri_parameter_supported: false,
  })
  expect(metadata).not.toHaveProperty('require_pushed_authorization_requests')
  for (const [more, error] of [
    [{ request: 'a.b.c' }, 'request_not_supported'],
    [{ request_uri: 'https://app.example.net/request.jwt' }, 'request_uri_not_supported'],
    [{ request_uri: 'urn:ietf:params:oauth:request_uri:another' }, 'request_uri_not_supported'],
  ] as const) {
    const { left } = await target.browser().open(target.authorizeUrl(web, more))
    expect(left?.searchParams.get('error')).toBe(error)
  }
})
