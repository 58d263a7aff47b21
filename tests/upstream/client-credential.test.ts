import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { decodeJwt, decodeProtectedHeader } from 'jose'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { auth0 } from '../../src/upstream/auth0.ts'
import { entra } from '../../src/upstream/entra.ts'
import { oauth2 } from '../../src/upstream/oauth2.ts'
import { okta } from '../../src/upstream/okta.ts'
import { openid } from '../../src/upstream/openid.ts'
import { ProviderUnavailable } from '../../src/upstream/provider.ts'
import { type OidcProvider, oidcSubject, signInAt, startOidcProvider } from '../support/oidc-provider.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'
import { plainRequest, redirecting, redirectUri, rejection, testContext } from './context.ts'
import { startLyingProvider } from './lying-provider.ts'

const pairs = {
  RS256: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  EdDSA: generateKeyPairSync('ed25519'),
}
const pem = (key: KeyObject) => key.export({ type: 'pkcs8', format: 'pem' }).toString()
const jwkOf = (key: KeyObject) => key.export({ format: 'jwk' })

describe('private_key_jwt at a real provider', () => {
  let provider: OidcProvider
  beforeAll(async () => {
    const clientKeys = Object.entries(pairs).map(([alg, { publicKey }]) => ({
      ...jwkOf(publicKey),
      kid: `key-${alg}`,
      use: 'sig',
    }))
    provider = await startOidcProvider({ clientAuthentication: 'private_key_jwt', clientSecret: '', clientKeys })
  })
  afterAll(() => provider.stop())

  const signIn = async (clientKey: Parameters<typeof openid>[0]['clientKey']) => {
    const { issuer, clientId } = provider
    const open = redirecting(
      openid({ issuer, clientId, ...(clientKey ? { clientKey } : {}) }).open(await testContext()),
    )
    const { url, pending } = await open.begin(plainRequest)
    const signedIn = await open.complete(new URL(await signInAt(url)), pending, redirectUri)
    const { subject, tokens } = signedIn
    if (!tokens) throw new Error('no tokens')
    const renewed = await open.refresh?.({ issuer, subject, tokens })
    expect(await open.revoke?.(renewed?.tokens ?? tokens)).toBe('revoked')
    return subject
  }

  test.each(['RS256', 'ES256', 'EdDSA'] as const)(
    '%s, as PEM and as JWK: sign-in, refresh, revocation',
    async (alg) => {
      const { privateKey } = pairs[alg]
      expect(await signIn({ privateKey: pem(privateKey), keyId: `key-${alg}` })).toBe(oidcSubject('alice'))
      expect(await signIn({ privateKey: { ...jwkOf(privateKey), kid: `key-${alg}` } })).toBe(oidcSubject('alice'))
    },
  )

  test('PS256, and the token endpoint as audience', async () => {
    const { privateKey } = pairs.RS256
    const clientKey = { privateKey: pem(privateKey), algorithm: 'PS256', audience: 'token_endpoint' } as const
    expect(await signIn(clientKey)).toBe(oidcSubject('alice'))
  })

  test('a key that is not registered: down, not a no to the person', async () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    expect(await rejection(signIn({ privateKey: pem(privateKey) }))).toBeInstanceOf(ProviderUnavailable)
    expect(await rejection(signIn(undefined))).toBeInstanceOf(ProviderUnavailable)
  })
})

describe('what is sent', () => {
  const folder = temporaryDirectory()
  let provider: Awaited<ReturnType<typeof startLyingProvider>>
  beforeAll(async () => {
    provider = await startLyingProvider()
  })
  afterAll(async () => {
    folder.remove()
    await provider.stop()
  })
  beforeEach(() => provider.tell({}))

  const tokenRequest = async (credential: object) => {
    const open = redirecting(
      openid({ issuer: provider.issuer, clientId: 'me', ...credential }).open(await testContext()),
    )
    const { url, pending } = await open.begin(plainRequest)
    const { headers } = await fetch(url, { redirect: 'manual' })
    await open.complete(new URL(headers.get('location') ?? ''), pending, redirectUri)
    return provider.tokenRequest
  }

  test('the key’s assertion: for the issuer, single-use, short, with the certificate’s thumbprint where there is one', async () => {
    const privateKey = pem(pairs.RS256.privateKey)
    const read = async (more: object = {}) => {
      const { form, authorization } = await tokenRequest({ clientKey: { privateKey, ...more } })
      expect([authorization, form.get('client_secret')]).toEqual(['', null])
      const assertion = form.get('client_assertion') ?? ''
      return { header: decodeProtectedHeader(assertion), claims: decodeJwt(assertion) }
    }
    const first = await read()
    expect(first.claims).toMatchObject({ iss: 'me', sub: 'me', aud: provider.issuer })
    expect((first.claims.exp ?? 0) - (first.claims.iat ?? 0)).toBeLessThanOrEqual(120)
    expect((await read()).claims.jti).not.toBe(first.claims.jti)
    const second = await read({ audience: 'token_endpoint', certificateThumbprint: 'abc', algorithm: 'PS256' })
    expect(second.claims.aud).toBe(`${provider.issuer}/token`)
    expect(second.header).toMatchObject({ alg: 'PS256', 'x5t#S256': 'abc' })
  })

  test('workload identity: what the platform’s file holds at that moment', async () => {
    const path = join(folder.path, 'token')
    for (const assertion of ['a.b.c', 'd.e.f']) {
      writeFileSync(path, `${assertion}\n`)
      const { form, authorization } = await tokenRequest({ clientAssertionFile: path })
      expect([form.get('client_assertion'), form.get('client_id'), authorization]).toEqual([assertion, 'me', ''])
      expect(form.get('client_assertion_type')).toBe('urn:ietf:params:oauth:client-assertion-type:jwt-bearer')
    }
    for (const wrong of ['', 'no token', `${'a'.repeat(40_000)}.b.c`]) {
      writeFileSync(path, wrong)
      expect(await rejection(tokenRequest({ clientAssertionFile: path }))).toMatchObject({ nothingDone: true })
    }
    rmSync(path)
    const refused = await rejection(tokenRequest({ clientAssertionFile: path }))
    expect(refused).toBeInstanceOf(ProviderUnavailable)
    expect(String(refused)).not.toContain(path)
  })

  test('none, and the two ways of a secret', async () => {
    expect((await tokenRequest({})).form.get('client_id')).toBe('me')
    expect((await tokenRequest({ clientSecret: 's' })).authorization).toMatch(/^Basic /)
    const posted = await tokenRequest({ clientSecret: 's', clientAuthentication: 'client_secret_post' })
    expect([posted.form.get('client_secret'), posted.authorization]).toEqual(['s', ''])
  })

  test('Entra and Okta want their token endpoint as audience', async () => {
    const sent: URLSearchParams[] = []
    const tenant = '7b1f2a3c-0000-4000-8000-00000000000a'
    const presets = [
      entra({ clientId: 'me', tenant, clientKey: { privateKey: pem(pairs.RS256.privateKey), algorithm: 'PS256' } }),
      okta({ clientId: 'me', domain: 'example.okta.com', clientKey: { privateKey: pem(pairs.ES256.privateKey) } }),
    ]
    for (const preset of presets) {
      const issuer =
        preset.id === 'okta' ? 'https://example.okta.com' : `https://login.microsoftonline.com/${tenant}/v2.0`
      const answering: typeof fetch = async (input, init) => {
        if (!String(input).endsWith('/token')) {
          return Response.json({
            issuer,
            token_endpoint: `${issuer}/token`,
            authorization_endpoint: `${issuer}/authorize`,
            jwks_uri: `${issuer}/keys`,
          })
        }
        sent.push(new URLSearchParams(String(init?.body)))
        return Response.json({ error: 'invalid_client' }, { status: 401 })
      }
      const open = redirecting(preset.open(await testContext({ fetch: answering })))
      const tokens = { accessToken: 'a', refreshToken: 'r' }
      expect(await rejection(open.refresh?.({ issuer, subject: 's', tokens }) ?? Promise.resolve())).toBeTruthy()
      expect(decodeJwt(sent.at(-1)?.get('client_assertion') ?? '').aud).toBe(`${issuer}/token`)
    }
  })
})

test('a credential that can’t be right is refused at start, and is not in the message', () => {
  const small = generateKeyPairSync('rsa', { modulusLength: 1024 })
  const other = generateKeyPairSync('ec', { namedCurve: 'P-384' })
  const credentials = [
    { clientKey: { privateKey: 'not-a-key-but-secret' } },
    { clientKey: { privateKey: { kty: 'EC', d: 'not-a-key-but-secret' } } },
    { clientKey: { privateKey: pem(small.privateKey) } },
    { clientKey: { privateKey: pem(other.privateKey) } },
    { clientKey: { privateKey: jwkOf(pairs.ES256.publicKey) } },
    { clientKey: { privateKey: pem(pairs.ES256.privateKey), algorithm: 'RS256' as const } },
    { clientSecret: 'not-a-key-but-secret', clientAssertionFile: '/tmp/token' },
  ]
  for (const credential of credentials) {
    const make = () => openid({ issuer: 'https://id.example.com', clientId: 'me', ...credential })
    expect(make).toThrow(TypeError)
    expect(make).not.toThrow('not-a-key-but-secret')
  }
  const user = { url: 'https://api.example.com/me', subject: 'id' }
  const endpoints = { authorizationEndpoint: 'https://id.example.com/a', tokenEndpoint: 'https://id.example.com/t' }
  const plain = { id: 'plain', name: 'Plain', issuer: 'https://id.example.com', clientId: 'me', user, ...endpoints }
  expect(() => oauth2({ ...plain, clientKey: { privateKey: 'x' } })).toThrow('plain: clientKey')
  expect(() => entra({ clientId: 'me', tenants: 'organizations' })).toThrow('entra: one of')
  expect(() => okta({ clientId: 'me', domain: 'example.okta.com' })).toThrow('okta: one of')
  expect(() => auth0({ clientId: 'me', domain: 'example.eu.auth0.com' })).toThrow('auth0: one of')
})
