import { describe, expect, test } from 'vitest'
import { registerEndpoint } from '../../src/authorization-server/register.ts'
import { hashSecret } from '../../src/crypto/hash.ts'
import { clientRef } from '../../src/records/client.ts'
import {
  answered,
  approved,
  callback,
  eventTypes,
  formPost,
  issuer,
  jsonPost,
  redeem,
  type TestServer,
  type TestServerOptions,
  testServer,
} from '../support/authorization-server.ts'

const open = { redirect_uris: [callback], token_endpoint_auth_method: 'none', client_name: 'Test' }

const register = async ({ server }: TestServer, body: unknown, address?: string) =>
  answered(await registerEndpoint(server, jsonPost('/register', body), address === undefined ? {} : { address }))

const limited = (perAddress: number, total: number, more: TestServerOptions = {}) =>
  testServer({ registration: { perAddress, total }, ...more })

describe('registration', () => {
  test('answers what was registered; a secret never expires and is stored hashed', async () => {
    const to = await testServer()
    const { status, headers, body } = await register(to, { ...open, token_endpoint_auth_method: 'client_secret_basic' })
    expect(status).toBe(201)
    expect(headers.get('cache-control')).toBe('no-store')
    expect(headers.get('access-control-allow-origin')).toBe('*')
    expect(body).toMatchObject({
      client_id: expect.stringMatching(/^cs_cl_[\w-]{22}$/),
      client_secret: expect.stringMatching(/^cs_cs_[\w-]{43}$/),
      client_secret_expires_at: 0,
      client_id_issued_at: Math.floor(to.server.clock.now() / 1000),
      token_endpoint_auth_method: 'client_secret_basic',
      redirect_uris: [callback],
      grant_types: ['authorization_code', 'refresh_token'],
      application_type: 'native',
    })
    const { client_id: id, client_secret: secret } = body as unknown as { client_id: string; client_secret: string }
    const [stored] = (await to.server.records.get(clientRef(id))).values
    expect(stored?.value.secretHash).toBe(hashSecret(secret))
    const { entries } = await to.store.list('client/', { limit: 10 })
    for (const { value } of entries) expect(Buffer.from(value).toString()).not.toContain(secret)
    expect(JSON.stringify(to.events)).not.toContain(secret)
    await to.pass(29 * 86_400_000)
    expect(
      (await redeem(to, { client_id: id, client_secret: secret }, await approved(to, { client_id: id }))).status,
    ).toBe(200)
  })

  test('a public client gets no secret', async () => {
    const { body } = await register(await testServer(), open)
    expect(body).not.toHaveProperty('client_secret')
    expect(body).not.toHaveProperty('client_secret_expires_at')
  })

  test('fault 8: a body that is too large is 413, stored nowhere, and audited', async () => {
    const to = await testServer()
    const { status, body } = await register(to, { ...open, client_name: 'x'.repeat(20 * 1024 * 1024) })
    expect([status, body.error]).toEqual([413, 'invalid_request'])
    expect((await to.store.list('client/')).entries).toEqual([])
    expect(eventTypes(to)).toEqual(['client.refused'])
  })

  test('fault 8: what is kept of a registration is bounded, whatever it is made of', async () => {
    const to = await testServer()
    const uri = (index: number, length: number) => `https://app.example/${index}`.padEnd(length, 'x')
    const key = { kty: 'RSA', n: 'A'.repeat(1366), e: 'AQAB', kid: 'x'.repeat(400), certificate: 'x'.repeat(2_000) }
    const web = { redirect_uris: ['https://app.example/callback'], token_endpoint_auth_method: 'none' }
    const keys = (count: number) => ({
      redirect_uris: ['https://app.example/callback'],
      token_endpoint_auth_method: 'private_key_jwt',
      jwks: { keys: Array.from({ length: count }, (_, index) => ({ ...key, kid: `${key.kid}${index}` })) },
    })
    const page = `https://app.example/${'ü'.repeat(2_000)}`
    const many = (length: number) => ({
      ...web,
      redirect_uris: Array.from({ length: 32 }, (_, index) => uri(index, length)),
    })
    for (const tooMuch of [many(300), keys(5), { ...web, logo_uri: page }, { ...web, client_uri: page }]) {
      const { status, body } = await register(to, tooMuch)
      expect([status, body.error]).toEqual([400, 'invalid_client_metadata'])
      expect(body.error_description).toContain('8192 bytes')
    }
    expect((await to.store.list('client/')).entries).toEqual([])
    expect(to.events).toContainEqual(expect.objectContaining({ type: 'client.refused', reason: 'too_large' }))
    // What clients of today send, and much more, is taken.
    for (const body of [many(200), keys(4), { ...many(60), client_name: '測'.repeat(100), contacts: [page] }]) {
      expect((await register(to, body)).status).toBe(201)
    }
    for (const { value } of (await to.store.list('client/')).entries) expect(value.length).toBeLessThan(9_000)
  })

  test('fault 8: registrations of one address are limited: 429 with Retry-After; others go on', async () => {
    const to = await limited(3, 100)
    for (let turn = 0; turn < 3; turn++) expect((await register(to, open, '192.0.2.1')).status).toBe(201)
    const { status, headers, body } = await register(to, open, '192.0.2.1')
    expect([status, body.error]).toEqual([429, 'temporarily_unavailable'])
    expect(Number(headers.get('retry-after'))).toBeGreaterThan(3_000)
    expect((await register(to, open, '192.0.2.2')).status).toBe(201)
    expect(to.events).toContainEqual(
      expect.objectContaining({ type: 'client.refused', reason: 'rate_limit_per_address', address: '192.0.2.1' }),
    )
    await to.pass(3_600_000)
    expect((await register(to, open, '192.0.2.1')).status).toBe(201)
  })

  test('fault 8: one IPv6 network is one address, however it is written', async () => {
    const to = await limited(1, 100)
    expect((await register(to, open, '2001:db8:0:1::1')).status).toBe(201)
    for (const address of ['2001:db8:0:1::2', '2001:0DB8:0000:0001:ffff:1:2:3', '2001:db8:0:1:a::']) {
      expect((await register(to, open, address)).status, address).toBe(429)
    }
    for (const address of ['2001:db8:0:2::1', '::1', '192.0.2.9', '::ffff:192.0.2.10']) {
      expect((await register(to, open, address)).status, address).toBe(201)
    }
    expect((await register(to, open, '::ffff:192.0.2.9')).status).toBe(429)
  })

  test('fault 8: there is a limit for all, which an address beyond its own doesn’t use up', async () => {
    const to = await limited(2, 4)
    for (let turn = 0; turn < 50; turn++) await register(to, open, '192.0.2.1')
    expect((await register(to, open, '192.0.2.2')).status).toBe(201)
    expect((await register(to, open)).status).toBe(201)
    const { status, body } = await register(to, open, '192.0.2.3')
    expect([status, body.error]).toEqual([429, 'temporarily_unavailable'])
  })

  test('attack: a few addresses that use up what all may keep nobody from registering who registers seldom', async () => {
    const to = await limited(50, 200)
    const outcomes = async (address: string, times: number) => {
      const statuses: number[] = []
      for (let turn = 0; turn < times; turn++) statuses.push((await register(to, open, address)).status)
      return statuses.filter((status) => status === 201).length
    }
    const mallory = ['192.0.2.1', '192.0.2.2', '192.0.2.3', '192.0.2.4', '2001:db8:1:1::1', '2001:db8:1:2::1']
    const had: number[] = []
    for (const address of mallory) had.push(await outcomes(address, 80))
    // Three quarters, and the few of each that comes later; two networks of one site come as one.
    expect(had).toEqual([50, 50, 50, 10, 10, 0])
    expect(to.events).toContainEqual(expect.objectContaining({ type: 'client.refused', reason: 'rate_limit_total' }))
    for (const at of [1, 2, 3]) expect(await outcomes(`198.51.100.${at}`, 11)).toBe(10)
    // All is all, however many addresses there are.
    expect((await register(to, open, '198.51.100.4')).status).toBe(429)
    await to.pass(3_600_000)
    expect(await outcomes('192.0.2.1', 20)).toBe(20)
  })

  test('what is refused stores nothing and counts for nothing', async () => {
    const to = await limited(1, 1)
    const cases = [
      [{ ...open, redirect_uris: ['javascript:alert(1)'] }, 'invalid_redirect_uri'],
      [{ ...open, redirect_uris: [] }, 'invalid_redirect_uri'],
      [{ ...open, token_endpoint_auth_method: 'magic' }, 'invalid_client_metadata'],
      [[], 'invalid_client_metadata'],
      ['', 'invalid_client_metadata'],
    ] as const
    for (const [body, error] of cases) {
      const answer = await register(to, body, '192.0.2.1')
      expect([answer.status, answer.body.error]).toEqual([400, error])
    }
    const form = await answered(await registerEndpoint(to.server, formPost('/register', { redirect_uris: callback })))
    expect([form.status, form.body.error]).toEqual([400, 'invalid_client_metadata'])
    expect((await to.store.list('client/')).entries).toEqual([])
    expect(eventTypes(to)).toEqual(Array(6).fill('client.refused'))
    expect((await register(to, open, '192.0.2.1')).status).toBe(201)
  })

  test('preflight is answered, other methods are refused', async () => {
    const { server } = await testServer()
    const preflight = await registerEndpoint(server, new Request(`${issuer}/register`, { method: 'OPTIONS' }))
    expect([preflight.status, preflight.headers.get('access-control-allow-origin')]).toEqual([204, '*'])
    expect(preflight.headers.get('access-control-allow-methods')).toContain('POST')
    expect(preflight.headers.get('access-control-allow-headers')).toContain('Content-Type')
    const get = await answered(await registerEndpoint(server, new Request(`${issuer}/register`)))
    expect([get.status, get.headers.get('allow'), get.body.error]).toEqual([405, 'POST, OPTIONS', 'invalid_request'])
  })
})
