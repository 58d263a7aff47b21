import fc from 'fast-check'
import { decodeJwt } from 'jose'
import { describe, expect, test } from 'vitest'
import type { ClientOptions } from '../../src/authorization-server/client-options.ts'
import { introspectEndpoint } from '../../src/authorization-server/introspect.ts'
import { metadataEndpoint } from '../../src/authorization-server/metadata.ts'
import { tokenEndpoint } from '../../src/authorization-server/token.ts'
import { memory } from '../../src/store/memory.ts'
import { StoreUnavailable } from '../../src/store/store.ts'
import { stopped } from '../store/movable-clock.ts'
import {
  type Approved,
  type ApprovedOptions,
  approved,
  basic,
  eventTypes,
  formPost,
  issuer,
  mcp,
  postToken,
  redeem,
  refresh,
  registered,
  revoke,
  signedIn,
  type TestClient,
  type TestServer,
  type TestServerOptions,
  testServer,
} from '../support/authorization-server.ts'
import { type DpopKey, dpopKey } from '../support/dpop-key.ts'

const endpoint = `${issuer}/token`
const secret = 'a client secret of more than 32 characters'
const nightly: ClientOptions = { id: 'nightly', secret, scopes: { '/mcp': ['notes:read'] } }

const setUp = async (options: TestServerOptions = {}) => {
  const to = await testServer(options)
  const key = await dpopKey(() => to.clock.now())
  return { to, key }
}

const headers = async (key: DpopKey, claims = {}) => ({ DPoP: await key.proof('POST', endpoint, undefined, claims) })

const redeemWith = async (
  to: TestServer,
  client: TestClient,
  { code, verifier }: Approved,
  sent: Record<string, string>,
) =>
  postToken(
    to,
    {
      grant_type: 'authorization_code',
      code,
      code_verifier: verifier,
      redirect_uri: 'http://127.0.0.1:41234/callback',
      ...client,
    },
    sent,
  )

const bound = async (to: TestServer, client: TestClient, key: DpopKey, options: ApprovedOptions = {}) => {
  const answer = await redeemWith(to, client, await approved(to, client, options), await headers(key))
  if (answer.status !== 200) throw new Error(JSON.stringify(answer.body))
  return answer.body
}

const boundTo = (token: string) => (decodeJwt(token) as { cnf?: unknown }).cnf

const stored = async ({ store }: TestServer) => (await store.list('', { limit: 1000 })).entries.map(({ key }) => key)

const lastReason = ({ events }: TestServer) => (events.at(-1) as { reason?: string } | undefined)?.reason

describe('a proof binds what it is sent for', () => {
  test('a code’s tokens; the refresh keeps it', async () => {
    const { to, key } = await setUp()
    const client = await registered(to)
    const first = await bound(to, client, key)
    expect(first.token_type).toBe('DPoP')
    expect(boundTo(first.access_token)).toEqual({ jkt: key.jkt })
    const { status, body } = await refresh(to, client, first.refresh_token, {}, await headers(key))
    expect([status, body.token_type, boundTo(body.access_token)]).toEqual([200, 'DPoP', { jkt: key.jkt }])
    expect(eventTypes(to)).toEqual(['code.redeemed', 'refresh.rotated'])
  })

  test('a client’s own token', async () => {
    const { to, key } = await setUp({ clients: [nightly] })
    const form = { grant_type: 'client_credentials', client_id: 'nightly', client_secret: secret }
    const { body } = await postToken(to, form, await headers(key))
    expect([body.token_type, boundTo(body.access_token)]).toEqual(['DPoP', { jkt: key.jkt }])
  })

  test('without one, everything is as it was: Bearer', async () => {
    const { to } = await setUp({ dpopNonces: true })
    const client = await registered(to)
    const first = await signedIn(to, client)
    expect([first.token_type, boundTo(first.access_token)]).toEqual(['Bearer', undefined])
    expect((await refresh(to, client, first.refresh_token)).body.token_type).toBe('Bearer')
  })

  test('the metadata says so', async () => {
    const { to } = await setUp()
    const response = await metadataEndpoint(to.server, new Request(`${issuer}/.well-known/oauth-authorization-server`))
    const { dpop_signing_alg_values_supported: algorithms } = (await response.json()) as Record<string, string[]>
    expect(algorithms).toContain('ES256')
    expect(algorithms?.some((each) => each === 'none' || each.startsWith('HS'))).toBe(false)
  })

  test('introspection says to which key', async () => {
    const asking = { id: 'notes-server', secret, introspects: ['/mcp'] }
    const { to, key } = await setUp({ clients: [asking] })
    const client = await registered(to)
    const tokens = await bound(to, client, key)
    for (const [token, type] of [
      [tokens.access_token, 'DPoP'],
      [tokens.refresh_token, 'refresh_token'],
    ] as const) {
      const asked = formPost('/introspect', { token }, basic('notes-server', secret))
      const answer = await (await introspectEndpoint(to.server, asked)).json()
      expect(answer).toMatchObject({ active: true, token_type: type, cnf: { jkt: key.jkt } })
    }
  })

  test('a page of another origin may send one, and read the nonce', async () => {
    const { to } = await setUp()
    const response = await tokenEndpoint(to.server, new Request(endpoint, { method: 'OPTIONS' }))
    expect(response.headers.get('access-control-allow-headers')).toMatch(/\bDPoP\b/)
    expect(response.headers.get('access-control-expose-headers')).toMatch(/\bDPoP-Nonce\b/)
  })
})

describe('design 3, refreshing: its jkt is the least that refreshes must do', () => {
  test('a public client’s bound refresh token is worth nothing without its key, and nothing changes', async () => {
    const { to, key } = await setUp()
    const client = await registered(to)
    const first = await bound(to, client, key)
    const thief = await dpopKey(() => to.clock.now())
    const without = await refresh(to, client, first.refresh_token)
    expect([without.status, without.body.error, lastReason(to)]).toEqual([400, 'invalid_dpop_proof', 'dpop_missing'])
    const withAnother = await refresh(to, client, first.refresh_token, {}, await headers(thief))
    expect([withAnother.status, withAnother.body.error, lastReason(to)]).toEqual([
      400,
      'invalid_grant',
      'other_dpop_key',
    ])
    expect((await refresh(to, client, first.refresh_token, {}, await headers(key))).status).toBe(200)
  })

  test('a stolen unbound one can’t be bound to the thief: replay still ends the grant', async () => {
    const { to } = await setUp()
    const client = await registered(to)
    const first = await signedIn(to, client)
    const thief = await dpopKey(() => to.clock.now())
    const stolen = await refresh(to, client, first.refresh_token, {}, await headers(thief))
    expect([stolen.status, stolen.body.token_type]).toEqual([200, 'Bearer'])
    await to.pass(301_000)
    expect((await refresh(to, client, first.refresh_token)).body.error).toBe('invalid_grant')
    expect((await refresh(to, client, stolen.body.refresh_token, {}, await headers(thief))).status).toBe(400)
    expect(eventTypes(to)).toContain('refresh.replayed')
  })

  test('a client that proves who it is may change its key, and not do without one', async () => {
    const { to, key } = await setUp()
    const client = await registered(to, { token_endpoint_auth_method: 'client_secret_post' })
    const first = await bound(to, client, key)
    const without = await refresh(to, client, first.refresh_token)
    expect([without.status, without.body.error]).toEqual([400, 'invalid_dpop_proof'])
    const other = await dpopKey(() => to.clock.now())
    const { body } = await refresh(to, client, first.refresh_token, {}, await headers(other))
    expect([body.token_type, boundTo(body.access_token)]).toEqual(['DPoP', { jkt: other.jkt }])
  })

  test('and may begin with it later', async () => {
    const { to, key } = await setUp()
    const client = await registered(to, { token_endpoint_auth_method: 'client_secret_post' })
    const first = await signedIn(to, client)
    const { body } = await refresh(to, client, first.refresh_token, {}, await headers(key))
    expect([body.token_type, boundTo(body.access_token)]).toEqual(['DPoP', { jkt: key.jkt }])
    expect((await refresh(to, client, body.refresh_token)).body.token_type).toBe('Bearer')
  })

  test('revoking needs no proof', async () => {
    const { to, key } = await setUp()
    const client = await registered(to)
    const { access_token: token } = await bound(to, client, key)
    expect((await revoke(to, client, token)).status).toBe(200)
    expect(eventTypes(to)).toContain('grant.revoked')
  })
})

describe('dpop_jkt binds the code (RFC 9449 §10)', () => {
  test('who has the code and the verifier, but not the key, gets nothing and changes nothing', async () => {
    const { to, key } = await setUp()
    const client = await registered(to)
    const code = await approved(to, client, { dpopJkt: key.jkt })
    const thief = await dpopKey(() => to.clock.now())
    for (const sent of [{}, await headers(thief)]) {
      const { status, body } = await redeemWith(to, client, code, sent)
      expect([status, body.error, lastReason(to)]).toEqual([400, 'invalid_grant', 'other_dpop_key'])
    }
    const { body } = await redeemWith(to, client, code, await headers(key))
    expect(boundTo(body.access_token)).toEqual({ jkt: key.jkt })
  })
})

describe('required', () => {
  test('by the client: no token without a proof, by any grant', async () => {
    const clients = [{ ...nightly, dpopBoundAccessTokens: true }]
    const { to, key } = await setUp({ clients })
    const form = { grant_type: 'client_credentials', client_id: 'nightly', client_secret: secret }
    const refused = await postToken(to, form)
    expect([refused.status, refused.body.error]).toEqual([400, 'invalid_dpop_proof'])
    expect((await postToken(to, form, await headers(key))).body.token_type).toBe('DPoP')

    const client = await registered(to, { dpop_bound_access_tokens: true })
    const code = await approved(to, client)
    expect((await redeem(to, client, code)).body.error).toBe('invalid_dpop_proof')
    expect((await redeemWith(to, client, code, await headers(key))).status).toBe(200)
  })

  test('by the resource; a grant from before it was can’t be refreshed', async () => {
    const clock = stopped()
    const store = memory({ clock })
    const before = await testServer({ store, clock })
    const client = await registered(before)
    const old = await signedIn(before, client)
    const { to, key } = await setUp({ store, clock, mcp: { dpopBoundAccessTokensRequired: true } })
    const code = await approved(to, client)
    expect((await redeem(to, client, code)).body.error).toBe('invalid_dpop_proof')
    expect((await redeemWith(to, client, code, await headers(key))).body.token_type).toBe('DPoP')
    for (const sent of [{}, await headers(key)]) {
      expect((await refresh(to, client, old.refresh_token, {}, sent)).status).toBe(400)
    }
    expect((await signedIn(to, client, { resource: 'https://other.example.com/mcp', scopes: [] })).token_type).toBe(
      'Bearer',
    )
  })
})

// Each is good for its minute of the clock, which goes on here when it is told to alone.
describe('nonces (RFC 9449 §8), where they are asked for', () => {
  test('the first proof is told one, and the next brings it', async () => {
    const { to, key } = await setUp({ dpopNonces: true, clock: stopped() })
    const client = await registered(to)
    const code = await approved(to, client)
    const told = await redeemWith(to, client, code, await headers(key))
    expect([told.status, told.body.error]).toEqual([400, 'use_dpop_nonce'])
    expect(told.headers.get('cache-control')).toBe('no-store')
    const nonce = told.headers.get('dpop-nonce') ?? ''
    for (const wrong of ['', 'x', `${nonce}x`]) {
      expect((await redeemWith(to, client, code, await headers(key, { nonce: wrong }))).body.error).toBe(
        'use_dpop_nonce',
      )
    }
    const { status, headers: sent } = await redeemWith(to, client, code, await headers(key, { nonce }))
    expect([status, sent.get('dpop-nonce')]).toEqual([200, null])
  })

  test('a new one is told in time, with an answer that is good', async () => {
    const { to, key } = await setUp({ dpopNonces: true, clock: stopped() })
    const client = await registered(to)
    const nonce = (await redeemWith(to, client, await approved(to, client), await headers(key))).headers.get(
      'dpop-nonce',
    )
    await to.pass(60_000)
    const answer = await redeemWith(to, client, await approved(to, client), await headers(key, { nonce }))
    expect(answer.status).toBe(200)
    const next = answer.headers.get('dpop-nonce')
    expect(next).not.toBe(nonce)
    const again = await refresh(to, client, answer.body.refresh_token, {}, await headers(key, { nonce: next }))
    expect(again.status).toBe(200)
  })

  test('a proof made beforehand, for a time to come, is worth nothing (§11.2)', async () => {
    const { to, key } = await setUp({ dpopNonces: true, clock: stopped() })
    const client = await registered(to)
    const nonce = (await redeemWith(to, client, await approved(to, client), await headers(key))).headers.get(
      'dpop-nonce',
    )
    const iat = Math.floor(to.clock.now() / 1000) + 200
    const made = await headers(key, { nonce, iat })
    await to.pass(200_000)
    expect((await redeemWith(to, client, await approved(to, client), made)).body.error).toBe('use_dpop_nonce')
  })

  test('nodes of one store know each other’s', async () => {
    const clock = stopped()
    const store = memory({ clock })
    const one = await testServer({ store, clock, dpopNonces: true })
    const other = await testServer({ store, clock, dpopNonces: true })
    const key = await dpopKey(() => clock.now())
    const client = await registered(one)
    const code = await approved(one, client)
    const nonce = (await redeemWith(one, client, code, await headers(key))).headers.get('dpop-nonce')
    expect((await redeemWith(other, client, code, await headers(key, { nonce }))).status).toBe(200)
  })
})

describe('attacks (RFC 9449 §11)', () => {
  test('fault 24: a proof is good once, on all nodes, for whatever request', async () => {
    const clock = stopped()
    const store = memory({ clock })
    const one = await testServer({ store, clock })
    const other = await testServer({ store, clock })
    const key = await dpopKey(() => clock.now())
    const client = await registered(one)
    const sent = await headers(key)
    const { body } = await redeemWith(one, client, await approved(one, client), sent)
    for (const to of [one, other]) {
      const again = await refresh(to, client, body.refresh_token, {}, sent)
      expect([again.status, again.body.error, lastReason(to)]).toEqual([400, 'invalid_dpop_proof', 'dpop_replayed'])
      expect((await redeemWith(to, client, await approved(to, client), sent)).body.error).toBe('invalid_dpop_proof')
    }
    await one.pass(299_000)
    expect((await refresh(other, client, body.refresh_token, {}, sent)).body.error).toBe('invalid_dpop_proof')
    await one.pass(400_000)
    expect((await refresh(other, client, body.refresh_token, {}, sent)).body.error).toBe('invalid_dpop_proof')
    expect(lastReason(other)).toBe('dpop_time')
  })

  test('who has no code or token of ours writes nothing, however many proofs they make', async () => {
    const { to, key } = await setUp()
    const client = await registered(to)
    const before = await stored(to)
    const { code, ...rest } = await approved(to, client)
    const wrong = { ...rest, code: `${code.slice(0, -4)}AAAA` }
    for (let index = 0; index < 5; index++) {
      expect((await redeemWith(to, client, wrong, await headers(key))).status).toBe(400)
      expect(
        (
          await refresh(
            to,
            client,
            `cs_rt_${'A'.repeat(22)}.${'A'.repeat(22)}.1.k.${'A'.repeat(43)}`,
            {},
            await headers(key),
          )
        ).status,
      ).toBe(400)
    }
    const added = (await stored(to)).filter((name) => !before.includes(name))
    expect(added.filter((name) => name.startsWith('dpop-proof/'))).toEqual([])
  })

  test('a proof that was overheard, with a token that was replaced long ago, ends nothing', async () => {
    const { to, key } = await setUp()
    const client = await registered(to)
    const old = await bound(to, client, key)
    const second = await refresh(to, client, old.refresh_token, {}, await headers(key))
    await to.pass(301_000)
    const overheard = await headers(key)
    const third = await refresh(to, client, second.body.refresh_token, {}, overheard)
    expect((await refresh(to, client, old.refresh_token, {}, overheard)).body.error).toBe('invalid_dpop_proof')
    expect((await refresh(to, client, third.body.refresh_token, {}, await headers(key))).status).toBe(200)
  })

  test('of ten at the same time, with one proof, one is served', async () => {
    const { to, key } = await setUp()
    const client = await registered(to)
    const { refresh_token: token } = await bound(to, client, key)
    const sent = await headers(key)
    const answers = await Promise.all(Array.from({ length: 10 }, () => refresh(to, client, token, {}, sent)))
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
  })

  test('its id is its key’s own: a stranger uses up nobody else’s', async () => {
    const { to, key } = await setUp()
    const client = await registered(to)
    const stranger = await dpopKey(() => to.clock.now())
    await bound(to, client, stranger)
    const jti = 'the same'
    const first = await redeemWith(to, client, await approved(to, client), await headers(stranger, { jti }))
    const second = await redeemWith(to, client, await approved(to, client), await headers(key, { jti }))
    expect([first.status, second.status]).toEqual([200, 200])
  })

  test.each([
    ['another method', { htm: 'GET' }, 'dpop_method'],
    ['the MCP endpoint', { htu: mcp }, 'dpop_url'],
    ['another host of the same server', { htu: 'https://evil.example/token' }, 'dpop_url'],
    ['long ago', { iat: 1 }, 'dpop_time'],
  ])('a proof for %s', async (_name, claims, reason) => {
    const { to, key } = await setUp()
    const client = await registered(to)
    const code = await approved(to, client)
    const { status, body } = await redeemWith(to, client, code, await headers(key, claims))
    expect([status, body.error, lastReason(to)]).toEqual([400, 'invalid_dpop_proof', reason])
    // Nothing changed.
    expect((await redeemWith(to, client, code, await headers(key))).status).toBe(200)
  })

  test('fault 22: a Host of the client’s own changes nothing about where it must be for', async () => {
    const { to, key } = await setUp()
    const client = await registered(to)
    const { code, verifier } = await approved(to, client)
    const form = new URLSearchParams({
      grant_type: 'authorization_code',
      code,
      code_verifier: verifier,
      redirect_uri: 'http://127.0.0.1:41234/callback',
      client_id: client.client_id,
    })
    const htu = 'https://evil.example/token'
    const sent = { DPoP: await key.proof('POST', htu), Host: 'evil.example', 'X-Forwarded-Host': 'evil.example' }
    const response = await tokenEndpoint(to.server, new Request(htu, { method: 'POST', body: form, headers: sent }))
    expect([response.status, ((await response.json()) as { error: string }).error]).toEqual([400, 'invalid_dpop_proof'])
  })

  test('two proofs, one of them right', async () => {
    const { to, key } = await setUp()
    const client = await registered(to)
    const { DPoP } = await headers(key)
    const code = await approved(to, client)
    const { body } = await redeemWith(to, client, code, { DPoP: `${DPoP}, ${(await headers(key)).DPoP}` })
    expect([body.error, lastReason(to)]).toEqual(['invalid_dpop_proof', 'dpop_several'])
  })

  test('an empty header is no way around', async () => {
    const { to } = await setUp()
    const client = await registered(to)
    const { status, body } = await redeemWith(to, client, await approved(to, client), { DPoP: '' })
    expect([status, body.error]).toEqual([400, 'invalid_dpop_proof'])
  })

  test('a wrong client learns nothing by a right proof, and uses none up', async () => {
    const { to, key } = await setUp()
    const client = await registered(to)
    const first = await bound(to, client, key)
    const sent = await headers(key)
    const other = await refresh(to, { client_id: 'cs_cl_nobody' }, first.refresh_token, {}, sent)
    expect([other.status, other.body.error]).toEqual([401, 'invalid_client'])
    expect((await refresh(to, client, first.refresh_token, {}, sent)).status).toBe(200)
  })
})

test('property: whatever is sent as a proof, it is refused as one, and the code is not spent', async () => {
  const { to, key } = await setUp()
  const client = await registered(to)
  const code = await approved(to, client)
  const good = (await headers(key)).DPoP
  const bytes = fc.string({
    unit: fc.integer({ min: 0x20, max: 0xff }).map((each) => String.fromCharCode(each)),
    maxLength: 300,
  })
  const changed = fc
    .tuple(fc.nat(good.length - 2), fc.constantFrom('A', '.', ' ', ',', '~'))
    .map(([at, other]) => good.slice(0, at) + other + good.slice(at + 1))
    .filter((text) => text !== good)
  await fc.assert(
    fc.asyncProperty(fc.oneof(bytes, changed), async (DPoP) => {
      const { status, body } = await redeemWith(to, client, code, { DPoP })
      expect([status, body.error]).toEqual([400, 'invalid_dpop_proof'])
    }),
    { numRuns: 300 },
  )
  expect((await redeemWith(to, client, code, await headers(key))).status).toBe(200)
})

test('with the store away, a proof is our own trouble: 503, and the client keeps what it has', async () => {
  const { to, key } = await setUp()
  const client = await registered(to)
  const { refresh_token: token } = await bound(to, client, key)
  const marks = { use: () => Promise.reject(new StoreUnavailable('away')) }
  const away = { ...to, server: { ...to.server, dpop: { ...to.server.dpop, marks } } }
  const { status, body, headers: sent } = await refresh(away, client, token, {}, await headers(key))
  expect([status, body.error, sent.get('retry-after')]).toEqual([503, 'temporarily_unavailable', '5'])
  expect((await refresh(to, client, token, {}, await headers(key))).status).toBe(200)
})
