import { describe, expect, test } from 'vitest'
import { createOwnVerifier } from '../../src/authorization-server/own-verifier.ts'
import { registerEndpoint } from '../../src/authorization-server/register.ts'
import { hashSecret } from '../../src/crypto/hash.ts'
import { clientRef } from '../../src/records/client.ts'
import { StoreUnavailable } from '../../src/store/store.ts'
import {
  answered,
  approved,
  callback,
  eventTypes,
  issuer,
  jsonPost,
  mcp,
  redeem,
  refresh,
  signedIn,
  type TestServer,
  testServer,
} from '../support/authorization-server.ts'

const day = 86_400_000
const open = { redirect_uris: [callback], token_endpoint_auth_method: 'none', client_name: 'Test' }

interface Registration {
  readonly client_id: string
  readonly client_secret?: string
  readonly registration_client_uri: string
  readonly registration_access_token: string
  readonly [member: string]: unknown
}

const register = async ({ server }: TestServer, metadata: object = open): Promise<Registration> => {
  const response = await registerEndpoint(server, jsonPost('/register', metadata))
  expect(response.status).toBe(201)
  return (await response.json()) as Registration
}

const manage = async (
  { server }: TestServer,
  { registration_client_uri: uri, registration_access_token: token }: Registration,
  method: string,
  body?: object,
  address?: string,
) => {
  const headers = { Authorization: `Bearer ${token}`, ...(body ? { 'Content-Type': 'application/json' } : {}) }
  const request = new Request(uri, { method, headers, ...(body ? { body: JSON.stringify(body) } : {}) })
  const answer = await answered(await registerEndpoint(server, request, address === undefined ? {} : { address }))
  return { ...answer, registration: answer.body as unknown as Registration }
}

const outcome = ({ status, body }: { status: number; body: { error?: string } }) => [status, body.error]

describe('reading', () => {
  test('says what was registered, and with what it is managed; the secret was told once', async () => {
    const to = await testServer()
    const metadata = {
      ...open,
      token_endpoint_auth_method: 'client_secret_post',
      client_uri: 'https://app.example.com/',
      logo_uri: 'https://app.example.com/logo.png',
      tos_uri: 'https://app.example.com/tos',
      policy_uri: 'https://app.example.com/privacy',
    }
    const registration = await register(to, metadata)
    expect(registration.registration_access_token).toMatch(/^cs_ra_[\w-]{43}$/)
    expect(registration.registration_client_uri).toBe(`${issuer}/register?client_id=${registration.client_id}`)
    const { status, headers, registration: read } = await manage(to, registration, 'GET')
    const { client_secret: _secret, client_secret_expires_at: _expires, ...rest } = registration
    expect([status, read]).toEqual([200, rest])
    expect(read).toMatchObject({ ...metadata, redirect_uris: [callback] })
    expect(headers.get('cache-control')).toBe('no-store')
  })

  test('only the hash of its token is kept', async () => {
    const to = await testServer()
    const { client_id, registration_access_token: token } = await register(to)
    const [stored] = (await to.server.records.get(clientRef(client_id))).values
    expect(stored?.value.management).toEqual({ hash: hashSecret(token) })
    const { entries } = await to.store.list('client/')
    expect(entries.map(({ value }) => Buffer.from(value).toString()).join()).not.toContain(token)
    expect(JSON.stringify(to.events)).not.toContain(token)
  })
})

describe('changing', () => {
  test('replaces all that was said; what is left out is gone', async () => {
    const to = await testServer()
    const registration = await register(to, { ...open, client_uri: 'https://app.example.com/' })
    const { client_id } = registration
    const moved = 'https://app.example.com/callback'
    const change = { client_id, redirect_uris: [moved], token_endpoint_auth_method: 'none', client_name: 'New' }
    const { status, registration: changed } = await manage(to, registration, 'PUT', change)
    expect(status).toBe(200)
    expect(changed).toMatchObject({ ...change, application_type: 'web' })
    expect(changed).not.toHaveProperty('client_uri')
    const [stored] = (await to.server.records.get(clientRef(client_id))).values
    expect(stored?.value).toMatchObject({ name: 'New', redirectUris: [moved], source: 'dynamic' })
    expect(stored?.value).not.toHaveProperty('uri')
    expect(to.events.at(-1)).toMatchObject({
      type: 'client.updated',
      clientId: client_id,
      redirectHosts: ['app.example.com'],
    })
  })

  test('fault 8: what is kept is bounded here, too', async () => {
    const to = await testServer()
    const registration = await register(to)
    const { client_id } = registration
    const many = Array.from({ length: 32 }, (_, index) => `https://app.example/${index}`.padEnd(300, 'x'))
    const answer = await manage(to, registration, 'PUT', { ...open, client_id, redirect_uris: many })
    expect(outcome(answer)).toEqual([400, 'invalid_client_metadata'])
    expect((await manage(to, registration, 'GET')).registration).toMatchObject({ redirect_uris: open.redirect_uris })
  })

  test('gives a new token; the old one is good until that was used', async () => {
    const to = await testServer()
    const first = await register(to)
    const change = { ...open, client_id: first.client_id }
    const second = { ...first, ...(await manage(to, first, 'PUT', change)).registration }
    expect(second.registration_access_token).not.toBe(first.registration_access_token)
    // The answer was lost: the client tries again with what it has.
    const third = { ...first, ...(await manage(to, first, 'PUT', change)).registration }
    expect(outcome(await manage(to, second, 'GET'))).toEqual([401, 'invalid_token'])
    expect((await manage(to, first, 'GET')).status).toBe(200)
    const fourth = { ...first, ...(await manage(to, third, 'PUT', change)).registration }
    expect(outcome(await manage(to, first, 'GET'))).toEqual([401, 'invalid_token'])
    expect((await manage(to, third, 'GET')).status).toBe(200)
    expect((await manage(to, fourth, 'GET')).status).toBe(200)
    expect(outcome(await manage(to, third, 'GET'))).toEqual([401, 'invalid_token'])
  })

  test('a secret that it has stays, one that it needs is told, one that it gives up is gone', async () => {
    const to = await testServer()
    const secretly = { ...open, token_endpoint_auth_method: 'client_secret_post' }
    const registration = await register(to, secretly)
    const { client_id, client_secret } = registration
    const same = await manage(to, registration, 'PUT', { ...secretly, client_id, client_secret })
    expect(same.registration).not.toHaveProperty('client_secret')
    const tokens = await signedIn(to, { client_id, client_secret: client_secret ?? '' })
    const bare = await manage(to, { ...registration, ...same.registration }, 'PUT', { ...open, client_id })
    expect(bare.registration.token_endpoint_auth_method).toBe('none')
    // What it got with the secret can't be had without.
    expect(outcome(await refresh(to, { client_id }, tokens.refresh_token))).toEqual([400, 'invalid_grant'])
    const again = await manage(to, { ...registration, ...bare.registration }, 'PUT', { ...secretly, client_id })
    expect(again.registration.client_secret).toMatch(/^cs_cs_/)
    expect(again.registration.client_secret).not.toBe(client_secret)
  })

  test('its life is not changed by it, and neither are its grants', async () => {
    const to = await testServer()
    const registration = await register(to)
    const { client_id } = registration
    const tokens = await signedIn(to, { client_id })
    await manage(to, registration, 'PUT', { ...open, client_id, redirect_uris: ['https://app.example.com/cb'] })
    await to.pass(20 * day)
    expect((await refresh(to, { client_id }, tokens.refresh_token)).status).toBe(200)
    const idle = await register(to)
    await to.pass(20 * day)
    expect((await manage(to, idle, 'PUT', { ...open, client_id: idle.client_id })).status).toBe(200)
    await to.pass(11 * day)
    expect(outcome(await manage(to, idle, 'GET'))).toEqual([401, 'invalid_token'])
  })

  test('while it is used: neither change is lost', async () => {
    const to = await testServer()
    const registration = await register(to)
    const { client_id } = registration
    const code = await approved(to, { client_id })
    const [change, redeemed] = await Promise.all([
      manage(to, registration, 'PUT', { ...open, client_id, client_name: 'New' }),
      redeem(to, { client_id }, code),
    ])
    expect([change.status, redeemed.status]).toEqual([200, 200])
    const [stored] = (await to.server.records.get(clientRef(client_id))).values
    expect(stored?.value.name).toBe('New')
    expect((stored?.value.expiresAt ?? 0) - to.clock.now()).toBeGreaterThan(365 * day)
  })

  test.each([
    ['another client_id', { client_id: 'cs_cl_AAAAAAAAAAAAAAAAAAAAAA' }],
    ['no client_id', { client_id: undefined }],
    ['a token of its own choice', { registration_access_token: 'mine' }],
    ['an address of its own choice', { registration_client_uri: 'https://evil.example' }],
    ['a secret of its own choice', { client_secret: 'mine' }],
    ['a time of its own choice', { client_id_issued_at: 1 }],
    ['an end of its own choice', { client_secret_expires_at: 0 }],
    ['an unknown method', { token_endpoint_auth_method: 'magic' }],
    ['a software statement', { software_statement: 'a.b.c' }],
  ])('%s is refused, and changes nothing', async (_name, more) => {
    const to = await testServer()
    const registration = await register(to)
    const before = await to.store.list('client/')
    const change = { ...open, client_id: registration.client_id, client_name: 'New', ...more }
    const { status, body } = await manage(to, registration, 'PUT', change)
    expect(status).toBe(400)
    expect(['invalid_client_metadata', 'unapproved_software_statement']).toContain(body.error)
    expect((await to.store.list('client/')).entries).toEqual(before.entries)
  })
})

describe('deleting', () => {
  test('ends it with all its tokens, and leaves nothing', async () => {
    const to = await testServer()
    const registration = await register(to)
    const { client_id } = registration
    const tokens = await signedIn(to, { client_id })
    const verifier = createOwnVerifier(to.server)
    await verifier.verify(tokens.access_token, mcp)
    const { status, body, headers } = await manage(to, registration, 'DELETE')
    expect([status, body, headers.get('cache-control')]).toEqual([204, {}, 'no-store'])
    await expect(verifier.verify(tokens.access_token, mcp)).rejects.toMatchObject({ reason: 'revoked' })
    expect((await refresh(to, { client_id }, tokens.refresh_token)).body.error).toBe('invalid_client')
    for (const prefix of ['client/', 'grant/', 'client-grant/', 'account-grant/', 'upstream-session/']) {
      expect((await to.store.list(prefix)).entries, prefix).toEqual([])
    }
    expect(to.events.find(({ type }) => type === 'client.deleted')).toMatchObject({ clientId: client_id, by: 'client' })
    expect(outcome(await manage(to, registration, 'DELETE'))).toEqual([401, 'invalid_token'])
  })
})

test('deleting is taken up again where the store was away in the midst of it', async () => {
  const to = await testServer()
  const registration = await register(to)
  const { client_id } = registration
  for (const person of ['alice', 'bob']) await signedIn(to, { client_id }, { person })
  const { commit } = to.server.records
  let commits = 0
  const away: Partial<TestServer['server']['records']> = {
    commit: async (unit) => {
      if (++commits > 1) throw new StoreUnavailable('away')
      return commit(unit)
    },
  }
  const failing = { ...to, server: { ...to.server, records: { ...to.server.records, ...away } } }
  expect(outcome(await manage(failing, registration, 'DELETE'))).toEqual([503, 'temporarily_unavailable'])
  expect(commits).toBe(2)
  expect((await manage(to, registration, 'DELETE')).status).toBe(204)
  for (const prefix of ['client/', 'grant/', 'client-grant/']) {
    expect((await to.store.list(prefix)).entries, prefix).toEqual([])
  }
})

describe('who may', () => {
  test('nobody without the token of this very client; an unknown one is answered alike', async () => {
    const to = await testServer()
    const [mine, other] = [await register(to), await register(to)]
    const unknown = `${issuer}/register?client_id=cs_cl_AAAAAAAAAAAAAAAAAAAAAA`
    const cases: readonly Registration[] = [
      { ...other, registration_access_token: mine.registration_access_token },
      { ...mine, registration_access_token: `${mine.registration_access_token}x` },
      { ...mine, registration_access_token: mine.client_id },
      { ...mine, registration_client_uri: unknown },
    ]
    for (const method of ['GET', 'PUT', 'DELETE']) {
      for (const wrong of cases) {
        const body = method === 'PUT' ? { ...open, client_id: wrong.client_id } : undefined
        const answer = await manage(to, wrong, method, body)
        expect(outcome(answer)).toEqual([401, 'invalid_token'])
        expect(answer.headers.get('www-authenticate')).toBe('Bearer realm="register", error="invalid_token"')
      }
      const bare = await answered(
        await registerEndpoint(to.server, new Request(mine.registration_client_uri, { method })),
      )
      expect(outcome(bare)).toEqual([401, 'invalid_token'])
    }
    expect((await manage(to, mine, 'GET')).status).toBe(200)
  })

  test('no client of the configuration, and none that publishes its metadata', async () => {
    const to = await testServer({ clients: [{ id: 'fixed', redirectUris: [callback] }] })
    const mine = await register(to)
    for (const id of ['fixed', 'https://app.example.net/client.json']) {
      const uri = `${issuer}/register?client_id=${encodeURIComponent(id)}`
      expect(outcome(await manage(to, { ...mine, registration_client_uri: uri }, 'DELETE'))).toEqual([
        401,
        'invalid_token',
      ])
    }
  })

  test('fault 8: changes of one address are limited', async () => {
    const to = await testServer({ registration: { perAddress: 3, total: 100 } })
    let mine = await register(to)
    const change = { ...open, client_id: mine.client_id }
    for (let turn = 0; turn < 3; turn++) {
      mine = { ...mine, ...(await manage(to, mine, 'PUT', change, '192.0.2.1')).registration }
    }
    expect(outcome(await manage(to, mine, 'PUT', change, '192.0.2.1'))).toEqual([429, 'temporarily_unavailable'])
    expect((await manage(to, mine, 'GET', undefined, '192.0.2.1')).status).toBe(200)
  })

  test('fault 8: where addresses are not known, changes are limited in all; who only reads, and whose address is known, goes on', async () => {
    const to = await testServer({ registration: { perAddress: 3, total: 5 } })
    let [mine, other] = [await register(to), await register(to)]
    for (let turn = 0; turn < 5; turn++) {
      mine = { ...mine, ...(await manage(to, mine, 'PUT', { ...open, client_id: mine.client_id })).registration }
    }
    const change = { ...open, client_id: other.client_id }
    const refused = await manage(to, other, 'PUT', change)
    expect(refused.status).toBe(429)
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
    expect(outcome(await manage(to, other, 'DELETE'))).toEqual([429, 'temporarily_unavailable'])
    expect(to.events).toContainEqual(
      expect.objectContaining({ type: 'client.refused', reason: 'rate_limit_changes_total' }),
    )
    expect((await manage(to, other, 'GET')).status).toBe(200)
    const changed = await manage(to, other, 'PUT', change, '192.0.2.1')
    expect(changed.status).toBe(200)
    other = { ...other, ...changed.registration }
    expect((await register(to)).client_id).not.toBe(other.client_id)
    await to.pass(3_600_000)
    expect((await manage(to, other, 'DELETE')).status).toBe(204)
  })
})

describe('an initial access token', () => {
  const token = 'a-token-of-32-characters-or-more-of-randomness'
  const send = async ({ server }: TestServer, headers: Record<string, string>) => {
    const request = jsonPost('/register', open)
    for (const [name, value] of Object.entries(headers)) request.headers.set(name, value)
    return answered(await registerEndpoint(server, request, { address: '192.0.2.1' }))
  }

  test('where there is one, nobody registers without it', async () => {
    const initialAccessTokens = [hashSecret('another-one'), hashSecret(token)]
    const to = await testServer({ registration: { perAddress: 10, total: 10, initialAccessTokens } })
    for (const headers of [
      {},
      { Authorization: `Bearer ${token}x` },
      { Authorization: `Basic ${token}` },
      { Authorization: 'Bearer' },
      { Authorization: `Bearer ${hashSecret(token)}` },
    ]) {
      const answer = await send(to, headers as Record<string, string>)
      expect(outcome(answer)).toEqual([401, 'invalid_token'])
      expect(answer.headers.get('www-authenticate')).toContain('Bearer')
    }
    expect((await to.store.list('client/')).entries).toEqual([])
    expect(eventTypes(to)).toEqual(Array(5).fill('client.refused'))
    for (const good of [token, 'another-one']) {
      expect((await send(to, { Authorization: `Bearer ${good}` })).status).toBe(201)
    }
  })
})

test('without a client only registering is offered; with one, CORS lets pages manage it', async () => {
  const { server } = await testServer()
  for (const method of ['GET', 'PUT', 'DELETE']) {
    const answer = await answered(await registerEndpoint(server, new Request(`${issuer}/register`, { method })))
    expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'POST, OPTIONS'])
  }
  const preflight = await registerEndpoint(server, new Request(`${issuer}/register`, { method: 'OPTIONS' }))
  expect(preflight.headers.get('access-control-allow-methods')).toBe('POST, GET, PUT, DELETE')
})
