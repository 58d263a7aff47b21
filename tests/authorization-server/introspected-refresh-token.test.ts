import { decodeJwt } from 'jose'
import { describe, expect, test } from 'vitest'
import { introspectEndpoint } from '../../src/authorization-server/introspect.ts'
import { deriveRefreshToken, parseRefreshToken } from '../../src/authorization-server/tokens.ts'
import type { JsonObject } from '../../src/identity/json.ts'
import { OAuthError } from '../../src/oauth/errors.ts'
import { clientRef } from '../../src/records/client.ts'
import { type AuthorizationGrant, grantRef } from '../../src/records/grant.ts'
import { put } from '../../src/records/records.ts'
import { upstreamSessionRef } from '../../src/records/upstream-session.ts'
import { memory } from '../../src/store/memory.ts'
import { stopped } from '../store/movable-clock.ts'
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
  signedIn,
  type TestServer,
  type TestServerOptions,
  testServer,
} from '../support/authorization-server.ts'
import { dpopKey } from '../support/dpop-key.ts'
import { unreliable } from '../support/unreliable-store.ts'

const secret = 'a client secret of more than 32 characters'
const clients = [
  { id: 'notes-server', secret, introspects: ['/mcp'] },
  { id: 'both-servers', secret, introspects: ['/mcp', otherMcp] },
]
const inactive = { active: false }

const ask = async (to: TestServer, token: string, id = 'notes-server'): Promise<JsonObject> =>
  (await (
    await introspectEndpoint(to.server, formPost('/introspect', { token }, basic(id, secret)))
  ).json()) as JsonObject

const setUp = async (options: TestServerOptions = {}) => {
  const to = await testServer({ clients, ...options })
  const client = await registered(to)
  const tokens = await signedIn(to, client)
  const ref = grantRef(String(decodeJwt(tokens.access_token).grant_id))
  const grantNow = async () => {
    const [stored] = (await to.server.records.get(ref)).values
    return (stored?.value ?? expect.fail('no grant')) as AuthorizationGrant
  }
  return { to, client, tokens, grantNow, ref }
}

describe('a refresh token that is good', () => {
  test('says whose it is and until when, and stands for no access token', async () => {
    const { to, client, tokens, grantNow } = await setUp()
    const grant = await grantNow()
    expect(await ask(to, tokens.refresh_token)).toStrictEqual({
      active: true,
      token_type: 'refresh_token',
      iss: issuer,
      sub: grant.subject,
      client_id: client.client_id,
      aud: issuer,
      scope: 'notes:read',
      exp: Math.floor(to.clock.now() / 1000 + to.server.lifetimes.refreshToken),
      auth_time: grant.authTime,
      grant_id: grant.id,
      upstream_provider: 'host',
      upstream_claims: { sub: 'alice', email: 'alice@example.org', iss: 'https://host.example' },
    })
  })

  test('ends with its grant, where that is sooner, and not sooner than the tokens that it brought', async () => {
    const { to, tokens, grantNow } = await setUp({ lifetimes: { grant: 1_000 } })
    expect((await ask(to, tokens.refresh_token)).exp).toBe(Math.floor((await grantNow()).expiresAt / 1000))
    const short = await setUp({ lifetimes: { refreshToken: 60 } })
    const { exp } = decodeJwt(short.tokens.access_token)
    expect((await ask(short.to, short.tokens.refresh_token)).exp).toBe(exp)
    await short.to.pass(599_000)
    expect((await refresh(short.to, short.client, short.tokens.refresh_token)).status).toBe(200)
  })

  test('has the scopes of the resources that the caller serves, each once', async () => {
    const { to, client } = await setUp()
    const resources = { [mcp]: ['notes:read', 'notes:write'], [otherMcp]: ['other:read', 'notes:read'] }
    const { refresh_token: token } = await signedIn(to, client, { resources })
    expect((await ask(to, token)).scope).toBe('notes:read notes:write')
    expect((await ask(to, token, 'both-servers')).scope).toBe('notes:read notes:write other:read')
  })

  test('says to which key it is bound', async () => {
    const { to, client, tokens } = await setUp()
    expect(await ask(to, tokens.refresh_token)).not.toHaveProperty('cnf')
    const key = await dpopKey(() => to.clock.now())
    const { code, verifier } = await approved(to, client)
    const form = { code, code_verifier: verifier, redirect_uri: callback, ...client }
    const sent = { DPoP: await key.proof('POST', `${issuer}/token`) }
    const { body } = await postToken(to, { grant_type: 'authorization_code', ...form }, sent)
    expect((await ask(to, body.refresh_token)).cnf).toEqual({ jkt: key.jkt })
  })

  test('is good for the grace window after it was superseded, and then for nothing', async () => {
    const { to, client, tokens } = await setUp()
    await refresh(to, client, tokens.refresh_token)
    await to.pass(299_000)
    expect((await ask(to, tokens.refresh_token)).active).toBe(true)
    await to.pass(2_000)
    expect(await ask(to, tokens.refresh_token)).toEqual(inactive)
  })
})

describe('a refresh token is inactive, and no more is said', () => {
  test('when its grant is over, to the millisecond', async () => {
    const { to, tokens, grantNow, ref } = await setUp()
    const grant = await grantNow()
    // As it stands in a store whose clock is behind.
    const endsAt = async (expiresAt: number) => {
      await to.server.records.commit({ puts: [put(ref, { ...grant, expiresAt })] })
      return (await ask(to, tokens.refresh_token)).active
    }
    expect(await endsAt(to.clock.now() + 1)).toBe(true)
    expect(await endsAt(to.clock.now())).toBe(false)
    expect(await endsAt(to.clock.now() - 1)).toBe(false)
  })

  test('when it is further ahead than a store can have lost', async () => {
    const { to, tokens, grantNow } = await setUp()
    const token = parseRefreshToken(tokens.refresh_token) ?? expect.fail('no token')
    const { refresh: state } = await grantNow()
    const ahead = (by: number) =>
      deriveRefreshToken(token, token.generation + by, state?.salt ?? '', to.server.keys.macKey())
    expect((await ask(to, ahead(2))).active).toBe(true)
    expect(await ask(to, ahead(3))).toEqual(inactive)
  })

  test('when its client is gone, or who the person is upstream', async () => {
    const { to, client, tokens, grantNow } = await setUp()
    const [stored] = (await to.server.records.get(clientRef(client.client_id))).values
    await to.server.records.commit({ deletes: [clientRef(client.client_id)] })
    expect(await ask(to, tokens.refresh_token)).toEqual(inactive)
    await to.server.records.commit({ puts: [put(clientRef(client.client_id), stored?.value ?? expect.fail())] })
    expect((await ask(to, tokens.refresh_token)).active).toBe(true)
    await to.server.records.commit({ deletes: [upstreamSessionRef((await grantNow()).upstreamSession)] })
    expect(await ask(to, tokens.refresh_token)).toEqual(inactive)
  })
})

describe('who asks', () => {
  test('must prove who it is, whatever the configuration says of it', async () => {
    const { to, tokens } = await setUp()
    const notes = to.server.configuredClients.get('notes-server') ?? expect.fail('no client')
    const open = { ...notes, authentication: 'none' as const }
    const server = { ...to.server, configuredClients: new Map([['notes-server', open]]) }
    const form = formPost('/introspect', { token: tokens.access_token, client_id: 'notes-server' })
    const response = await introspectEndpoint(server, form)
    const body = (await response.json()) as JsonObject
    expect([response.status, body.error]).toEqual([403, 'unauthorized_client'])
    expect(body).not.toHaveProperty('active')
  })

  test('is not written down as refused where it is our own trouble', async () => {
    const clock = stopped()
    const store = unreliable(memory({ clock }))
    const { to, tokens } = await setUp({ clock, store })
    const asked = () => formPost('/introspect', { token: tokens.refresh_token }, basic('notes-server', secret))
    store.down = true
    expect((await introspectEndpoint(to.server, asked())).status).toBe(503)
    store.down = false
    for (const error of [new TypeError('a mistake'), new OAuthError('temporarily_unavailable', 'busy')]) {
      const records = { ...to.server.records, get: () => Promise.reject(error) }
      expect((await introspectEndpoint({ ...to.server, records }, asked())).status).toBe(503)
    }
    const used = asked()
    await used.text()
    expect((await introspectEndpoint(to.server, used)).status).toBe(500)
    expect(eventTypes(to)).not.toContain('introspection.refused')
  })
})
