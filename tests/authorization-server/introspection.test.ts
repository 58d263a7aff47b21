import { SignJWT } from 'jose'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { ClientOptions } from '../../src/authorization-server/client-options.ts'
import { createClient, deleteClient } from '../../src/authorization-server/clients.ts'
import { introspectEndpoint } from '../../src/authorization-server/introspect.ts'
import { metadataEndpoint } from '../../src/authorization-server/metadata.ts'
import { createOwnVerifier } from '../../src/authorization-server/own-verifier.ts'
import type { JsonObject } from '../../src/identity/json.ts'
import { introspection } from '../../src/resource-server/introspection-verifier.ts'
import {
  approved,
  basic,
  callback,
  eventTypes,
  formPost,
  issuer,
  mcp,
  otherMcp,
  postToken,
  refresh,
  registered,
  revoke,
  signedIn,
  type TestServer,
  testServer,
} from '../support/authorization-server.ts'

const secret = 'a client secret of more than 32 characters'
const notes: ClientOptions = { id: 'notes-server', secret, introspects: ['/mcp'] }
const clients: ClientOptions[] = [
  notes,
  { id: 'other-server', secret, introspects: [otherMcp] },
  { id: 'nightly', secret, scopes: { '/mcp': ['notes:read'] } },
]

async function ask(
  to: TestServer,
  token: string,
  headers: Record<string, string> = basic('notes-server', secret),
  more: Record<string, string> = {},
) {
  const response = await introspectEndpoint(to.server, formPost('/introspect', { token, ...more }, headers))
  return { status: response.status, headers: response.headers, body: (await response.json()) as JsonObject }
}

const said = { groups: ['staff'] }

describe('what a resource server is told', () => {
  test('origin 6 and 7: of an access token, the whole of it, with its issuer', async () => {
    const to = await testServer({ clients })
    const client = await registered(to)
    const { access_token: token } = await signedIn(to, client, { said })
    const { status, headers, body } = await ask(to, token, undefined, { token_type_hint: 'refresh_token' })
    expect([status, headers.get('cache-control')]).toEqual([200, 'no-store'])
    const verified = await createOwnVerifier(to.server).verify(token, mcp)
    expect(body).toEqual({
      ...verified.claims,
      active: true,
      token_type: 'Bearer',
      upstream_claims: { iss: 'https://host.example', sub: 'alice', email: 'alice@example.org', groups: ['staff'] },
    })
    expect(body).toMatchObject({
      iss: issuer,
      sub: verified.subject,
      client_id: client.client_id,
      scope: 'notes:read',
      aud: mcp,
      exp: verified.expiresAt,
      iat: expect.any(Number),
      auth_time: expect.any(Number),
      grant_id: expect.any(String),
      upstream_provider: 'host',
    })
  })

  test('of a client’s own token: origin 9, the subject is the client', async () => {
    const to = await testServer({ clients })
    const proof = { client_id: 'nightly', client_secret: secret }
    const { body: own } = await postToken(to, { grant_type: 'client_credentials', ...proof })
    expect((await ask(to, own.access_token)).body).toMatchObject({ active: true, sub: 'nightly', client_id: 'nightly' })
    await revoke(to, proof, own.access_token)
    expect((await ask(to, own.access_token)).body).toEqual({ active: false })
  })

  test('of a refresh token: what it is, and that no resource server may take it for an access token', async () => {
    const to = await testServer({ clients })
    const client = await registered(to)
    const first = await signedIn(to, client, { said })
    const { body } = await ask(to, first.refresh_token)
    expect(body).toMatchObject({
      active: true,
      token_type: 'refresh_token',
      iss: issuer,
      aud: issuer,
      client_id: client.client_id,
      scope: 'notes:read',
      upstream_claims: said,
    })
    // Asking uses nothing up: the current one rotates, the one before is good for the grace window, and no grant is revoked.
    const second = (await refresh(to, client, first.refresh_token)).body
    expect((await ask(to, first.refresh_token)).body.active).toBe(true)
    await to.pass(301_000)
    expect((await ask(to, first.refresh_token)).body).toEqual({ active: false })
    expect((await ask(to, second.refresh_token)).body.active).toBe(true)
    expect((await refresh(to, client, second.refresh_token)).status).toBe(200)
  })

  test('the metadata says where, and that a secret is needed', async () => {
    const { server } = await testServer()
    expect(await (await metadataEndpoint(server, new Request(issuer))).json()).toMatchObject({
      introspection_endpoint: `${issuer}/introspect`,
      introspection_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post', 'private_key_jwt'],
    })
  })
})

describe('{"active":false} and no more', () => {
  test('for tokens of resources that the caller does not serve', async () => {
    const to = await testServer({ clients })
    const tokens = await signedIn(to, await registered(to))
    for (const token of [tokens.access_token, tokens.refresh_token]) {
      expect((await ask(to, token, basic('other-server', secret))).body).toEqual({ active: false })
      expect((await ask(to, token)).body.active).toBe(true)
    }
  })

  test('for what is expired, revoked, forged, a code, or nothing of ours', async () => {
    const to = await testServer({ clients })
    const client = await registered(to)
    const tokens = await signedIn(to, client)
    const revoked = await signedIn(to, client)
    await revoke(to, client, revoked.access_token)
    const payload = JSON.parse(Buffer.from(tokens.access_token.split('.')[1] ?? '', 'base64url').toString())
    const forged = await new SignJWT(payload)
      .setProtectedHeader({ alg: 'HS256', typ: 'at+jwt', kid: to.server.keys.signingKey().id })
      .sign(new Uint8Array(32))
    const { code } = await approved(to, client)
    const strangers = [revoked.access_token, revoked.refresh_token, forged, code, 'ya29.a0AfH6SMB', 'x'.repeat(20_000)]
    for (const token of strangers) {
      const { status, body } = await ask(to, token)
      expect([status, body]).toEqual([200, { active: false }])
    }
    await to.pass(601_000)
    expect((await ask(to, tokens.access_token)).body).toEqual({ active: false })
  })

  test('for tokens of a client that was deleted', async () => {
    const to = await testServer({ clients })
    const { id, secret: made = '' } = await createClient(to.server, { redirectUris: [callback] })
    const tokens = await signedIn(to, { client_id: id, client_secret: made })
    await deleteClient(to.server, id)
    for (const token of [tokens.access_token, tokens.refresh_token]) {
      expect((await ask(to, token)).body).toEqual({ active: false })
    }
  })
})

describe('who may not ask', () => {
  test('without a right secret 401, without the right 403; and nothing of the token', async () => {
    const to = await testServer({ clients })
    const client = await registered(to, { token_endpoint_auth_method: 'client_secret_post' })
    const publicClient = await registered(to)
    const { access_token: token } = await signedIn(to, client)
    const cases: readonly (readonly [Record<string, string>, Record<string, string>, number, string])[] = [
      [basic('notes-server', `${secret}x`), {}, 401, 'invalid_client'],
      [basic('nobody', secret), {}, 401, 'invalid_client'],
      [{}, { client_id: 'notes-server' }, 401, 'invalid_client'],
      [{}, {}, 400, 'invalid_request'],
      [{}, { client_id: publicClient.client_id }, 403, 'unauthorized_client'],
      [{}, { ...client }, 403, 'unauthorized_client'],
      [basic('nightly', secret), {}, 403, 'unauthorized_client'],
      [{ Authorization: `Bearer ${token}` }, {}, 400, 'invalid_request'],
    ]
    for (const [headers, more, status, error] of cases) {
      const answer = await ask(to, token, headers, more)
      expect([answer.status, answer.body.error]).toEqual([status, error])
      expect(answer.body).not.toHaveProperty('active')
    }
    expect(eventTypes(to).filter((type) => type === 'introspection.refused')).toHaveLength(cases.length)
    const get = await introspectEndpoint(to.server, new Request(`${issuer}/introspect?token=${token}`))
    expect(get.status).toBe(405)
    const twice = formPost('/introspect', { token: [token, token] }, basic('notes-server', secret))
    expect((await introspectEndpoint(to.server, twice)).status).toBe(400)
  })
})

describe('a resource server that asks', () => {
  const connected = async () => {
    const to = await testServer({ clients })
    let asked = 0
    const fetch = async (url: string, init: RequestInit): Promise<Response> => {
      const request = new Request(url, { ...init, redirect: 'manual' })
      if (url.includes('/.well-known/')) return metadataEndpoint(to.server, request)
      asked++
      return introspectEndpoint(to.server, request)
    }
    const options = { clientId: 'notes-server', clientSecret: secret, clock: to.clock, fetch }
    return { to, options, verifier: introspection(issuer, options), asked: () => asked }
  }

  test('sees what a handler behind our own gate sees; the answer is whole in its claims', async () => {
    const { to, verifier } = await connected()
    const { access_token: token } = await signedIn(to, await registered(to), { said })
    const remote = await verifier.verify(token, mcp)
    const own = await createOwnVerifier(to.server).verify(token, mcp)
    expect({ ...remote, claims: undefined }).toEqual({ ...own, claims: undefined })
    expect(remote.claims).toEqual((await ask(to, token)).body)
    if (remote.kind !== 'user') throw new Error('no user')
    expect(remote.upstream?.claims).toMatchObject(said)
    const proof = { client_id: 'nightly', client_secret: secret }
    const { body } = await postToken(to, { grant_type: 'client_credentials', ...proof })
    expect(await verifier.verify(body.access_token, mcp)).toMatchObject({ kind: 'client', subject: 'nightly' })
  })

  test('asks once for concurrent calls and for a while; a revocation is seen then', async () => {
    const { to, verifier, asked } = await connected()
    const client = await registered(to)
    const { access_token: token } = await signedIn(to, client)
    await Promise.all(Array.from({ length: 10 }, () => verifier.verify(token, mcp)))
    await verifier.verify(token, mcp)
    expect(asked()).toBe(1)
    await revoke(to, client, token)
    await to.pass(5_000)
    await expect(verifier.verify(token, mcp)).rejects.toMatchObject({ name: 'TokenInvalid', reason: 'revoked' })
  })

  test('takes no refresh token, no other resource’s token, and no token of a schema that it has not', async () => {
    const { to, options, verifier } = await connected()
    const client = await registered(to)
    const tokens = await signedIn(to, client)
    await expect(verifier.verify(tokens.refresh_token, mcp)).rejects.toMatchObject({ reason: 'type' })
    await expect(verifier.verify(tokens.access_token, otherMcp)).rejects.toMatchObject({ reason: 'audience' })
    const strict = introspection(issuer, { ...options, claims: z.object({ employee: z.string() }) })
    await expect(strict.verify(tokens.access_token, mcp)).rejects.toMatchObject({ reason: 'schema' })
  })

  test('fault 5: its own wrong secret is its own trouble, and costs no client its token', async () => {
    const { to, options } = await connected()
    const { access_token: token } = await signedIn(to, await registered(to))
    const wrong = introspection(issuer, { ...options, clientSecret: `${secret}x` })
    await expect(wrong.verify(token, mcp)).rejects.toMatchObject({ name: 'VerifierUnavailable' })
  })
})
