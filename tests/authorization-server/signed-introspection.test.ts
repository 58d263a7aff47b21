import {
  createRemoteJWKSet,
  customFetch,
  decodeJwt,
  decodeProtectedHeader,
  exportJWK,
  generateKeyPair,
  type JWK,
  jwtVerify,
  SignJWT,
} from 'jose'
import * as client from 'openid-client'
import { beforeAll, describe, expect, test } from 'vitest'
import type { ClientOptions } from '../../src/authorization-server/client-options.ts'
import { introspectEndpoint } from '../../src/authorization-server/introspect.ts'
import { jwksEndpoint, metadataEndpoint } from '../../src/authorization-server/metadata.ts'
import { createOwnVerifier } from '../../src/authorization-server/own-verifier.ts'
import type { JsonObject } from '../../src/identity/json.ts'
import { type IntrospectionOptions, introspection } from '../../src/resource-server/introspection-verifier.ts'
import {
  approved,
  basic,
  formPost,
  issuer,
  mcp,
  postToken,
  registered,
  revoke,
  signedIn,
  type TestServer,
  testServer,
} from '../support/authorization-server.ts'
import { dpopKey } from '../support/dpop-key.ts'

const secret = 'a client secret of more than 32 characters'
const signedType = 'application/token-introspection+jwt'

let clientKey: JWK
let clients: ClientOptions[]
beforeAll(async () => {
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true })
  clientKey = { ...(await exportJWK(privateKey)), kid: 'one', alg: 'ES256' }
  clients = [
    { id: 'notes-server', secret, introspects: ['/mcp'] },
    { id: 'key-server', jwks: { keys: [{ ...(await exportJWK(publicKey)), kid: 'one' }] }, introspects: ['/mcp'] },
    { id: 'nightly', secret, scopes: { '/mcp': ['notes:read'] } },
  ]
})

const ask = (to: TestServer, token: string, accept: string | undefined) =>
  introspectEndpoint(
    to.server,
    formPost(
      '/introspect',
      { token },
      { ...basic('notes-server', secret), ...(accept === undefined ? {} : { Accept: accept }) },
    ),
  )

/** The server's own endpoints, as others reach them. */
const reach =
  (to: TestServer, mangle = async (response: Response) => response) =>
  async (url: string | URL | Request, init?: RequestInit): Promise<Response> => {
    const request = new Request(url, init)
    const { pathname } = new URL(request.url)
    if (pathname === '/introspect') return mangle(await introspectEndpoint(to.server, request))
    if (pathname === '/jwks') return jwksEndpoint(to.server, request)
    if (pathname === '/.well-known/oauth-authorization-server') return metadataEndpoint(to.server, request)
    return new Response(null, { status: 404 })
  }

const verifierOf = (
  to: TestServer,
  options: Partial<IntrospectionOptions<unknown>> = {},
  mangle?: (response: Response) => Promise<Response>,
) => {
  const { clientId = 'notes-server', ...rest } = options
  const proof = rest.clientKey ? {} : { clientSecret: secret }
  return introspection(issuer, {
    clientId,
    ...proof,
    fetch: reach(to, mangle) as never,
    clock: to.clock,
    signed: true,
    rememberedFor: 0,
    ...rest,
  })
}

describe('RFC 9701: a signed answer', () => {
  test('says what the plain one says, for whom and when, and is no token', async () => {
    const to = await testServer({ clients })
    const { access_token: token } = await signedIn(to, await registered(to))
    const response = await ask(to, token, signedType)
    expect([response.status, response.headers.get('content-type'), response.headers.get('cache-control')]).toEqual([
      200,
      signedType,
      'no-store',
    ])
    const jwt = await response.text()
    expect(decodeProtectedHeader(jwt)).toMatchObject({
      typ: 'token-introspection+jwt',
      alg: 'ES256',
      kid: expect.any(String),
    })
    const keys = createRemoteJWKSet(new URL(`${issuer}/jwks`), { [customFetch]: reach(to) })
    const { payload } = await jwtVerify(jwt, keys, {
      issuer,
      audience: 'notes-server',
      currentDate: new Date(to.clock.now()),
    })
    const plain = await (await ask(to, token, 'application/json')).json()
    expect(payload).toEqual({
      iss: issuer,
      aud: 'notes-server',
      iat: Math.floor(to.clock.now() / 1000),
      token_introspection: plain,
    })
    // Neither at the gate nor anywhere else.
    await expect(createOwnVerifier(to.server).verify(jwt, mcp)).rejects.toMatchObject({ reason: 'type' })
    expect(await (await ask(to, jwt, undefined)).json()).toEqual({ active: false })
  })

  test('says when it was made, also where nothing was read of the log of revocations yet', async () => {
    const to = await testServer({ clients })
    const { refresh_token: token } = await signedIn(to, await registered(to))
    const { iat, token_introspection: answer } = decodeJwt(await (await ask(to, token, signedType)).text())
    expect(iat).toBe(Math.floor(to.clock.now() / 1000))
    expect(answer).toMatchObject({ active: true, token_type: 'refresh_token' })
  })

  test('of a token that is none, or another’s, says just that', async () => {
    const to = await testServer({ clients })
    const jwt = await (await ask(to, 'nonsense', signedType)).text()
    expect(decodeJwt(jwt).token_introspection).toEqual({ active: false })
  })

  test.each([
    [undefined, false],
    ['*/*', false],
    ['application/*', false],
    ['application/json', false],
    [signedType, true],
    [`${signedType.toUpperCase()}; q=1`, true],
    [`application/json, ${signedType}`, true],
    [`application/json;q=0.5, ${signedType};q=0.9`, true],
    [`application/json, ${signedType};q=0.9`, false],
    [`${signedType};q=0`, false],
    [`${signedType};q=x`, false],
    ['application/token-introspection+jwt2', false],
  ])('goes only to who wants it: %s', async (accept, expected) => {
    const to = await testServer({ clients })
    const type = (await ask(to, 'nonsense', accept)).headers.get('content-type')
    expect(type).toBe(expected ? signedType : 'application/json')
  })

  test('errors are JSON in any case, and only who may ask gets an answer', async () => {
    const to = await testServer({ clients })
    for (const headers of [{}, basic('notes-server', 'wrong'), basic('nightly', secret)]) {
      const response = await introspectEndpoint(
        to.server,
        formPost('/introspect', { token: 'x' }, { ...headers, Accept: signedType }),
      )
      expect(response.status).toBeGreaterThanOrEqual(400)
      expect(response.headers.get('content-type')).toBe('application/json')
    }
  })

  test('the metadata says how, and with which methods a client may authenticate', async () => {
    const to = await testServer({ clients })
    const response = await metadataEndpoint(to.server, new Request(`${issuer}/.well-known/oauth-authorization-server`))
    expect(await response.json()).toMatchObject({
      introspection_signing_alg_values_supported: ['ES256'],
      introspection_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post', 'private_key_jwt'],
      introspection_endpoint_auth_signing_alg_values_supported: expect.arrayContaining(['ES256']),
    })
  })

  test('an independent client takes it, its signature checked', async () => {
    const to = await testServer({ clients })
    const { access_token: token, scope } = await signedIn(to, await registered(to))
    const metadata = {
      introspection_signed_response_alg: 'ES256',
      [client.clockSkew]: Math.round((to.clock.now() - Date.now()) / 1000),
    }
    const configuration = await client.discovery(
      new URL(issuer),
      'notes-server',
      metadata,
      client.ClientSecretBasic(secret),
      {
        algorithm: 'oauth2',
        [client.customFetch]: reach(to) as client.CustomFetch,
      },
    )
    client.enableNonRepudiationChecks(configuration)
    expect(await client.tokenIntrospection(configuration, token)).toMatchObject({
      active: true,
      iss: issuer,
      scope,
      aud: mcp,
    })
    await revoke(to, { client_id: String(decodeJwt(token).client_id) }, token)
    expect(await client.tokenIntrospection(configuration, token)).toEqual({ active: false })
  })
})

describe('a verifier that takes signed answers alone', () => {
  test('gives the same token as one that takes plain ones, and sees revocation', async () => {
    const to = await testServer({ clients })
    const person = await registered(to)
    const { access_token: token } = await signedIn(to, person, { said: { groups: ['staff'] } })
    const verifier = verifierOf(to)
    const seen = await verifier.verify(token, mcp)
    expect(seen).toEqual(await verifierOf(to, { signed: false }).verify(token, mcp))
    expect(seen).toMatchObject({ kind: 'user', upstream: { claims: { groups: ['staff'] } } })
    await revoke(to, person, token)
    await expect(verifier.verify(token, mcp)).rejects.toMatchObject({ reason: 'revoked' })
  })

  test('of a bound token, its key', async () => {
    const to = await testServer({ clients })
    const key = await dpopKey(() => to.clock.now())
    const form = { grant_type: 'client_credentials', client_id: 'nightly', client_secret: secret }
    const { body } = await postToken(to, form, { DPoP: await key.proof('POST', `${issuer}/token`) })
    const verifier = verifierOf(to)
    await expect(verifier.verify(body.access_token, mcp)).rejects.toMatchObject({ reason: 'binding' })
    expect(await verifier.verify(body.access_token, mcp, key.jkt)).toMatchObject({
      kind: 'client',
      claims: { cnf: { jkt: key.jkt } },
    })
  })

  test('proves itself by a key of its own, each time anew', async () => {
    const to = await testServer({ clients })
    const { access_token: token } = await signedIn(to, await registered(to))
    for (const signed of [true, false]) {
      const verifier = verifierOf(to, { clientId: 'key-server', clientKey, signed })
      for (let index = 0; index < 3; index++) expect(await verifier.verify(token, mcp)).toMatchObject({ resource: mcp })
    }
    const stranger = {
      ...(await exportJWK((await generateKeyPair('ES256', { extractable: true })).privateKey)),
      kid: 'one',
    }
    await expect(
      verifierOf(to, { clientId: 'key-server', clientKey: stranger }).verify(token, mcp),
    ).rejects.toMatchObject({ name: 'VerifierUnavailable' })
  })

  test.each([
    ['no proof of who asks', { clientSecret: '' }],
    ['two', { clientKey: { kty: 'EC', d: 'x' } }],
    ['a public key', { clientKey: { kty: 'EC', crv: 'P-256', x: 'x', y: 'y' }, clientSecret: '' }],
    ['a key for something else', { clientKey: { kty: 'oct', k: 'x', d: 'x' }, clientSecret: '' }],
  ])('design 7, %s is refused at start', (_name, changed) => {
    expect(() => introspection(issuer, { clientId: 'a', clientSecret: secret, ...(changed as object) })).toThrow(
      /client(Secret|Key)/,
    )
  })

  const replaced =
    (make: (payload: JsonObject, jwt: string) => Promise<string>, type = signedType) =>
    async (response: Response) => {
      const jwt = await response.text()
      return new Response(await make(decodeJwt(jwt) as JsonObject, jwt), { headers: { 'Content-Type': type } })
    }
  const ownKey = async () => (await generateKeyPair('ES256')).privateKey
  const signs = async (payload: JsonObject, header: object = {}, key?: CryptoKey) =>
    new SignJWT(payload)
      .setProtectedHeader({ alg: 'ES256', typ: 'token-introspection+jwt', ...header })
      .sign(key ?? (await ownKey()))

  test.each<[string, (response: Response) => Promise<Response>]>([
    [
      'one that somebody else signed',
      replaced((payload, jwt) => signs(payload, { kid: decodeProtectedHeader(jwt).kid })),
    ],
    ['a plain one', async (response) => Response.json(decodeJwt(await response.text()).token_introspection)],
    [
      'a plain one that says it is signed',
      async (response) =>
        new Response(JSON.stringify(decodeJwt(await response.text()).token_introspection), {
          headers: { 'Content-Type': signedType },
        }),
    ],
    ['one that is not signed', replaced(async (_payload, jwt) => `${jwt.split('.').slice(0, 2).join('.')}.`)],
    [
      'one with another content',
      replaced(async (payload, jwt) => {
        const parts = jwt.split('.')
        parts[1] = Buffer.from(JSON.stringify({ ...payload, token_introspection: { active: true } })).toString(
          'base64url',
        )
        return parts.join('.')
      }),
    ],
  ])('%s is our own trouble, and lets nobody in', async (_name, mangle) => {
    const to = await testServer({ clients })
    const { access_token: token } = await signedIn(to, await registered(to))
    await expect(verifierOf(to, {}, mangle).verify(token, mcp)).rejects.toMatchObject({ name: 'VerifierUnavailable' })
  })

  test('an answer for another server, one from before, or another JWT of the issuer is none', async () => {
    const to = await testServer({ clients })
    const { access_token: token } = await signedIn(to, await registered(to))
    const old = await (await ask(to, token, signedType)).text()
    const answers = (jwt: string) =>
      verifierOf(
        to,
        {},
        replaced(async () => jwt),
      )
    expect(await answers(old).verify(token, mcp)).toMatchObject({ resource: mcp })
    await expect(
      verifierOf(
        to,
        { clientId: 'key-server', clientKey },
        replaced(async () => old),
      ).verify(token, mcp),
    ).rejects.toMatchObject({ name: 'VerifierUnavailable' })
    await expect(answers(token).verify(token, mcp)).rejects.toMatchObject({ name: 'VerifierUnavailable' })
    await to.pass(60_000)
    await expect(answers(old).verify(token, mcp)).rejects.toMatchObject({ name: 'VerifierUnavailable' })
  })
})

test('introspection of a token by code alone: the refresh token of a public client, bound, says so', async () => {
  const to = await testServer({ clients })
  const key = await dpopKey(() => to.clock.now())
  const person = await registered(to)
  const { code, verifier } = await approved(to, person)
  const form = {
    grant_type: 'authorization_code',
    code,
    code_verifier: verifier,
    redirect_uri: 'http://127.0.0.1:41234/callback',
    ...person,
  }
  const { body } = await postToken(to, form, { DPoP: await key.proof('POST', `${issuer}/token`) })
  expect(await (await ask(to, body.refresh_token, undefined)).json()).toMatchObject({
    active: true,
    cnf: { jkt: key.jkt },
  })
})
