import { beforeAll, expect, test } from 'vitest'
import {
  type AttackedClient,
  challengeOf,
  createTarget,
  credentials,
  ISSUER,
  LOOPBACK,
  OTHER_RESOURCE,
  type Target,
  tokensIn,
  verifier,
  WEB,
} from './support/target.ts'

// RFC 9700 §4.5 (authorization code injection), §4.8 (PKCE downgrade), RFC 6819 §4.4.1.

let target: Target
let honest: AttackedClient
let attacker: AttackedClient
let confidential: AttackedClient

beforeAll(async () => {
  target = await createTarget()
  honest = await target.register({ redirect_uris: [WEB, 'https://app.example.net/second'] })
  attacker = await target.register({ redirect_uris: ['https://evil.example/callback', WEB] })
  confidential = await target.register({ token_endpoint_auth_method: 'client_secret_post' })
})

const injections: readonly [string, () => Record<string, string | readonly string[] | undefined>, string][] = [
  ['by another client', () => ({ client_id: attacker.id }), 'invalid_grant'],
  ['by another client that has a secret', () => credentials(confidential) as Record<string, string>, 'invalid_grant'],
  ['by nobody', () => ({ client_id: undefined }), 'invalid_request'],
  ['by an unknown client', () => ({ client_id: 'unknown' }), 'invalid_client'],
  [
    'with another redirect URI of the same client',
    () => ({ redirect_uri: 'https://app.example.net/second' }),
    'invalid_grant',
  ],
  ['with another path', () => ({ redirect_uri: `${WEB}/` }), 'invalid_grant'],
  ['with the redirect URI in other letters', () => ({ redirect_uri: WEB.toUpperCase() }), 'invalid_grant'],
  ['with a default port', () => ({ redirect_uri: 'https://app.example.net:443/callback' }), 'invalid_grant'],
  ['without a redirect URI', () => ({ redirect_uri: undefined }), 'invalid_request'],
  ['without a verifier', () => ({ code_verifier: undefined }), 'invalid_request'],
  ['with an empty verifier', () => ({ code_verifier: '' }), 'invalid_request'],
  [
    'with the challenge as the verifier (plain)',
    () => ({ code_verifier: challengeOf(verifier), code_challenge_method: 'plain' }),
    'invalid_grant',
  ],
  ['with another verifier', () => ({ code_verifier: verifier.replace('a', 'b') }), 'invalid_grant'],
  ['with a verifier too short', () => ({ code_verifier: 'short' }), 'invalid_grant'],
  ['with two verifiers', () => ({ code_verifier: [verifier, 'x'.repeat(43)] }), 'invalid_request'],
  [
    'with a challenge that is brought along',
    () => ({ code_verifier: 'x'.repeat(43), code_challenge: challengeOf('x'.repeat(43)) }),
    'invalid_grant',
  ],
  ['for a resource that was not asked for', () => ({ resource: OTHER_RESOURCE }), 'invalid_target'],
  ['for a foreign resource', () => ({ resource: 'https://evil.example/mcp' }), 'invalid_target'],
  ['as another grant type', () => ({ grant_type: 'refresh_token' }), 'invalid_request'],
  [
    'as a password grant',
    () => ({ grant_type: 'password', username: 'Alice', password: 'right' }),
    'unsupported_grant_type',
  ],
  ['as client credentials', () => ({ grant_type: 'client_credentials' }), 'unauthorized_client'],
  ['as an implicit grant', () => ({ grant_type: 'token', response_type: 'token' }), 'unsupported_grant_type'],
]

test('a stolen code can’t be redeemed, and trying costs its owner nothing', async () => {
  const inHand = await target.code(honest)
  for (const [name, changes, error] of injections) {
    const answer = await target.redeem(inHand, changes())
    expect([name, answer.status, answer.body.error]).toEqual([name, error === 'invalid_client' ? 401 : 400, error])
    expect(tokensIn(answer), name).toEqual([])
  }
  expect((await target.redeem(inHand)).status).toBe(200)
})

test('codes of one spelling: bits, padding and case of each part', async () => {
  const inHand = await target.code(honest)
  const { code } = inHand
  const flipped = [...code].map((char, at) => code.slice(0, at) + (char === 'A' ? 'B' : 'A') + code.slice(at + 1))
  const spelled = [
    `${code}=`,
    ` ${code}`,
    `${code} `,
    code.toUpperCase(),
    code.replace('.', ''),
    `${code}\0`,
    `${code}.x`,
  ]
  // The last character holds spare bits: another one with the same bytes is another spelling of the same code.
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  const last = alphabet.indexOf(code.at(-1) ?? '')
  const spare = [1, 2, 3].map((bits) => code.slice(0, -1) + alphabet[last ^ bits])
  for (const forged of [...flipped, ...spelled, ...spare]) {
    if (forged === code) continue
    const answer = await target.redeem({ ...inHand, code: forged })
    expect([400, forged], forged).toEqual([answer.status, forged])
  }
  expect((await target.redeem(inHand)).status).toBe(200)
})

test('PKCE downgrade: a request without S256 gets no code, whatever it says', async () => {
  const loopback = await target.register({ redirect_uris: [LOOPBACK] })
  for (const parameters of [
    { code_challenge: undefined, code_challenge_method: undefined },
    { code_challenge: undefined },
    { code_challenge_method: undefined },
    { code_challenge_method: 'plain' },
    { code_challenge_method: 's256' },
    { code_challenge_method: ['S256', 'plain'] },
    { code_challenge: '' },
    { code_challenge: 'short' },
    { code_challenge: `${challengeOf(verifier)}=` },
    { code_challenge: verifier },
  ]) {
    const visit = await target.browser().open(target.authorizeUrl(loopback, parameters))
    expect(visit.left?.searchParams.get('error'), JSON.stringify(parameters)).toBe('invalid_request')
    expect(visit.left?.searchParams.has('code')).toBe(false)
  }
})

test('no response but the code in the query: no implicit, hybrid, fragment, form or web message', async () => {
  const loopback = await target.register({ redirect_uris: [LOOPBACK] })
  for (const parameters of [
    { response_type: 'token' },
    { response_type: 'code token' },
    { response_type: 'code id_token' },
    { response_type: 'none' },
    { response_type: ['code', 'token'] },
    { response_mode: 'fragment' },
    { response_mode: 'form_post' },
    { response_mode: 'web_message' },
    { response_mode: 'query.jwt' },
    { request: 'eyJhbGciOiJub25lIn0.e30.' },
    { request_uri: 'https://evil.example/request' },
  ]) {
    const visit = await target.browser().open(target.authorizeUrl(loopback, parameters))
    expect(visit.left?.origin, JSON.stringify(parameters)).toBe('http://127.0.0.1')
    expect(visit.left?.searchParams.has('code')).toBe(false)
    expect(visit.left?.searchParams.get('error')).toBeTruthy()
    expect(visit.left?.hash).toBe('')
  }
})

test('confused deputy: the id that this server has at its provider is no client here', async () => {
  for (const id of ['countersign', 'upstream-client-id.apps.example', ISSUER]) {
    const visit = await target.browser().open(target.authorizeUrl({ id, redirectUri: WEB }))
    expect([visit.status, visit.left]).toEqual([400, undefined])
  }
})

test('a code that was used is of no use: at once refused, and later it ends what it gave', async () => {
  const inHand = await target.code(honest)
  const { body } = await target.redeem(inHand)
  const again = await target.redeem(inHand)
  expect([again.status, again.body.error, tokensIn(again)]).toEqual([400, 'invalid_grant', []])
  expect((await target.call(body.access_token)).status).toBe(200)
  await target.clock.pass(11_000)
  // An attacker without the verifier can't end the session by a replay.
  expect((await target.redeem(inHand, { code_verifier: 'y'.repeat(43) })).status).toBe(400)
  expect((await target.redeem(inHand, { client_id: attacker.id })).status).toBe(400)
  expect((await target.call(body.access_token)).status).toBe(200)
  expect((await target.redeem(inHand)).status).toBe(400)
  expect((await target.call(body.access_token)).status).toBe(401)
  expect((await target.refresh(honest, body.refresh_token ?? '')).status).toBe(400)
})
