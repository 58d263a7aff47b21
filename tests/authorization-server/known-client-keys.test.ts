import { type CryptoKey, exportJWK, generateKeyPair, SignJWT } from 'jose'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createClient, getClient, updateClient } from '../../src/authorization-server/clients.ts'
import { createOwnVerifier } from '../../src/authorization-server/own-verifier.ts'
import { clientAssertionType } from '../../src/oauth/client-assertion.ts'
import {
  approved,
  callback,
  issuer,
  mcp,
  postToken,
  redeem,
  refresh,
  signedIn,
  type TestServer,
  testServer,
} from '../support/authorization-server.ts'
import { type DocumentServer, documentServer } from '../support/document-server.ts'

// Clients that the operator knows, and that prove themselves by a key: from configuration and from code.

const keyOf = async (kid: string) => {
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true })
  return { privateKey, kid, jwk: { ...(await exportJWK(publicKey)), kid } }
}
type Key = Awaited<ReturnType<typeof keyOf>>

let serial = 0
const signedBy = async (to: TestServer, id: string, { privateKey, kid }: { privateKey: CryptoKey; kid: string }) => {
  const now = Math.floor(to.clock.now() / 1000)
  const claims = { iss: id, sub: id, aud: issuer, jti: `jti-${serial++}`, iat: now, exp: now + 60 }
  return {
    client_assertion_type: clientAssertionType,
    client_assertion: await new SignJWT(claims).setProtectedHeader({ alg: 'ES256', kid }).sign(privateKey),
  }
}

const own = async (to: TestServer, id: string, key: Key) =>
  postToken(to, { grant_type: 'client_credentials', ...(await signedBy(to, id, key)) })

const outcome = ({ status, body }: { status: number; body: { error?: string } }) => [status, body.error]

let key: Key
beforeEach(async () => {
  key = await keyOf('one')
})

describe('from code', () => {
  const scopes = { '/mcp': ['notes:read'] }

  test('its keys stand in place of a secret: tokens of its own, and people’s', async () => {
    const to = await testServer()
    const made = await createClient(to.server, { redirectUris: [callback], scopes, jwks: { keys: [key.jwk] } })
    expect(made).toMatchObject({ confidential: true, keys: { jwks: { keys: [key.jwk] } } })
    expect(made.secret).toBeUndefined()
    expect(await getClient(to.server, made.id)).toEqual(made)
    const { body } = await own(to, made.id, key)
    const verifier = createOwnVerifier(to.server)
    expect(await verifier.verify(body.access_token, mcp)).toMatchObject({ kind: 'client', clientId: made.id })
    const client = { client_id: made.id }
    const code = await approved(to, client)
    expect(outcome(await redeem(to, client, code))).toEqual([401, 'invalid_client'])
    const tokens = await redeem(to, client, code, await signedBy(to, made.id, key))
    expect(tokens.status).toBe(200)
    expect(outcome(await refresh(to, client, tokens.body.refresh_token))).toEqual([401, 'invalid_client'])
    const again = await refresh(to, client, tokens.body.refresh_token, await signedBy(to, made.id, key))
    expect(again.status).toBe(200)
    expect(outcome(await own(to, made.id, await keyOf('one')))).toEqual([401, 'invalid_client'])
  })

  test('changed: other keys count at once; a secret that it had is gone, and one that it gets is told', async () => {
    const to = await testServer()
    const made = await createClient(to.server, { scopes })
    const bySecret = { grant_type: 'client_credentials', client_id: made.id, client_secret: made.secret ?? '' }
    expect((await postToken(to, bySecret)).status).toBe(200)
    const keyed = await updateClient(to.server, made.id, { scopes, jwks: { keys: [key.jwk] } })
    expect(keyed).toMatchObject({ confidential: true })
    expect(keyed?.secret).toBeUndefined()
    expect(outcome(await postToken(to, bySecret))).toEqual([401, 'invalid_client'])
    expect((await own(to, made.id, key)).status).toBe(200)
    const next = await keyOf('two')
    await updateClient(to.server, made.id, { scopes, jwks: { keys: [next.jwk] } })
    expect(outcome(await own(to, made.id, key))).toEqual([401, 'invalid_client'])
    expect((await own(to, made.id, next)).status).toBe(200)
    // What is left out is gone; but it never becomes a client that proves nothing without a word.
    const back = await updateClient(to.server, made.id, { scopes })
    expect(back?.secret).toMatch(/^cs_cs_/)
    expect(back).not.toHaveProperty('keys')
    expect(outcome(await own(to, made.id, next))).toEqual([401, 'invalid_client'])
    expect((await postToken(to, { ...bySecret, client_secret: back?.secret ?? '' })).status).toBe(200)
  })

  test('what people granted by its key is refreshed by no less', async () => {
    const to = await testServer()
    const made = await createClient(to.server, { redirectUris: [callback], jwks: { keys: [key.jwk] } })
    const tokens = await signedIn(to, { client_id: made.id, ...(await signedBy(to, made.id, key)) })
    const back = await updateClient(to.server, made.id, { redirectUris: [callback] })
    const weaker = await refresh(to, { client_id: made.id, client_secret: back?.secret ?? '' }, tokens.refresh_token)
    expect(weaker.status).toBe(400)
  })

  test.each<[string, object]>([
    ['both of them', { jwks: { keys: [{ kty: 'EC' }] }, jwksUri: 'https://app.example/jwks' }],
    ['keys, and no proof', { jwksUri: 'https://app.example/jwks', confidential: false }],
    ['a private key', { jwks: { keys: [{ kty: 'EC', d: 'hunter2' }] } }],
    ['a shared key', { jwks: { keys: [{ kty: 'oct', k: 'hunter2' }] } }],
    ['no key', { jwks: { keys: [] } }],
    ['no set', { jwks: [] }],
    ['plain http elsewhere', { jwksUri: 'http://app.example/jwks' }],
    ['no address', { jwksUri: 'jwks.json' }],
  ])('refused: %s', async (_name, wrong) => {
    const to = await testServer()
    const made = await createClient(to.server, { scopes })
    for (const attempt of [
      createClient(to.server, { scopes, ...wrong }),
      updateClient(to.server, made.id, { scopes, ...wrong }),
    ]) {
      const error = await attempt.catch((caught: unknown) => caught)
      expect(error).toMatchObject({ name: 'ConfigurationError' })
      expect(String(error)).not.toContain('hunter2')
    }
    expect(await getClient(to.server, made.id)).toEqual({ ...made })
  })
})

describe('where it publishes them', () => {
  let web: DocumentServer
  let published: Key[]
  beforeEach(async () => {
    web = await documentServer()
    published = [key]
    web.answer = (_request, response) => {
      const keys = published.map(({ jwk }) => jwk)
      response.setHeader('Content-Type', 'application/jwk-set+json').end(JSON.stringify({ keys }))
    }
  })
  afterEach(() => web.stop())

  const scopes = { '/mcp': ['notes:read'] }
  const jwksUri = () => `${web.origin}/jwks.json`

  // No rules for metadata documents hold for it: strangers name those, and the operator this one.
  test.each(['configuration', 'code'])('from %s: asked once, and again for a key that is new', async (from) => {
    const configured = from === 'configuration' ? [{ id: 'nightly', scopes, jwksUri: jwksUri() }] : []
    const to = await testServer({ clients: configured })
    const id = from === 'code' ? (await createClient(to.server, { scopes, jwksUri: jwksUri() })).id : 'nightly'
    expect(await getClient(to.server, id)).toMatchObject({ confidential: true, keys: { jwksUri: jwksUri() } })
    for (let time = 0; time < 3; time++) expect((await own(to, id, key)).status).toBe(200)
    expect(web.requests).toHaveLength(1)
    const next = await keyOf('two')
    published = [key, next]
    // Who guesses at keys does not have it asked at every turn.
    expect(outcome(await own(to, id, next))).toEqual([401, 'invalid_client'])
    expect(web.requests).toHaveLength(1)
    await to.pass(31_000)
    expect((await own(to, id, next)).status).toBe(200)
    expect(web.requests).toHaveLength(2)
  })

  test('out of reach: 503, and the client keeps what it has', async () => {
    const to = await testServer({ clients: [{ id: 'nightly', scopes, jwksUri: jwksUri() }] })
    web.answer = (_request, response) => response.writeHead(500).end()
    const { status, body } = await own(to, 'nightly', key)
    expect([status, body.error]).toEqual([503, 'temporarily_unavailable'])
  })
})
