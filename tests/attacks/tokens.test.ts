import { createHmac, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { beforeAll, describe, expect, test } from 'vitest'
import {
  type AttackedClient,
  createTarget,
  ISSUER,
  OTHER_RESOURCE,
  RESOURCE,
  type Target,
  type TokensInHand,
  tokensIn,
} from './support/target.ts'

// RFC 8725 (JWT best practices), RFC 9068 §5, RFC 9700 §4.9 and §4.14 (replay of access and refresh tokens).

let target: Target
let client: AttackedClient
let other: AttackedClient
let tokens: TokensInHand

beforeAll(async () => {
  target = await createTarget()
  client = await target.register()
  other = await target.register({ token_endpoint_auth_method: 'client_secret_basic' })
  tokens = await target.tokens(client)
})

const part = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')
const read = (token: string, at: number): Record<string, unknown> =>
  JSON.parse(Buffer.from(token.split('.')[at] ?? '', 'base64url').toString())

describe('an access token that this server did not sign as it is', () => {
  const foreign = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const es256 = (signed: string, key: KeyObject) =>
    sign('sha256', Buffer.from(signed), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')

  const signedBy = (header: object, payload: object, signature: (signed: string) => string): string => {
    const signed = `${part(header)}.${part(payload)}`
    return `${signed}.${signature(signed)}`
  }

  test('none is let in', async () => {
    const jwks = (await (await target.send(new Request(`${ISSUER}/jwks`))).json()) as { keys: Record<string, string>[] }
    const jwk = jwks.keys[0] ?? {}
    const pem = createPublicKey({ key: jwk, format: 'jwk' }).export({ type: 'spki', format: 'pem' }).toString()
    const spki = createPublicKey({ key: jwk, format: 'jwk' }).export({ type: 'spki', format: 'der' })
    const raw = Buffer.from(`${jwk.x}${jwk.y}`, 'base64url')
    const [header, payload] = [read(tokens.access_token, 0), read(tokens.access_token, 1)]
    const [signedHeader = '', signedPayload = '', signature = ''] = tokens.access_token.split('.')
    const evil = { ...payload, sub: 'somebody-else' }
    const own = { ...(foreign.publicKey.export({ format: 'jwk' }) as object), kid: header.kid }
    const hs =
      (key: string | Buffer, alg = 'HS256') =>
      (signed: string) =>
        createHmac(`sha${alg.slice(2)}`, key)
          .update(signed)
          .digest('base64url')
    const byForeign = (signed: string) => es256(signed, foreign.privateKey)
    const forged: Record<string, string> = {
      'alg none, no signature': signedBy({ ...header, alg: 'none' }, payload, () => ''),
      'alg none, two parts': `${part({ ...header, alg: 'none' })}.${part(payload)}`,
      'alg None': signedBy({ ...header, alg: 'None' }, payload, () => ''),
      'alg none, old signature': `${part({ ...header, alg: 'none' })}.${signedPayload}.${signature}`,
      'HS256 with the public key as PEM': signedBy({ ...header, alg: 'HS256' }, evil, hs(pem)),
      'HS256 with the public key as PEM, no end of line': signedBy({ ...header, alg: 'HS256' }, evil, hs(pem.trim())),
      'HS256 with the public key as DER': signedBy({ ...header, alg: 'HS256' }, evil, hs(spki)),
      'HS256 with the public key as JWK': signedBy({ ...header, alg: 'HS256' }, evil, hs(JSON.stringify(jwk))),
      'HS512 with the coordinates': signedBy({ ...header, alg: 'HS512' }, evil, hs(raw, 'HS512')),
      'HS256 with an empty key': signedBy({ ...header, alg: 'HS256' }, evil, hs('')),
      'a foreign key under our kid': signedBy(header, evil, byForeign),
      'a foreign key with its jwk': signedBy({ ...header, jwk: own }, evil, byForeign),
      'a foreign key with jku': signedBy({ ...header, jku: 'https://evil.example/jwks' }, evil, byForeign),
      'a foreign key with x5u': signedBy({ ...header, x5u: 'https://evil.example/cert' }, evil, byForeign),
      'a foreign key with x5c': signedBy({ ...header, x5c: [spki.toString('base64')] }, evil, byForeign),
      'an unknown kid': signedBy({ ...header, kid: 'unknown' }, evil, byForeign),
      'a kid of the prototype': signedBy({ ...header, kid: '__proto__' }, evil, byForeign),
      'a kid that is a path': signedBy({ ...header, kid: '../../../../dev/null' }, evil, hs('')),
      'a kid that is SQL': signedBy({ ...header, kid: "' OR 1=1 --" }, evil, byForeign),
      'a kid that is no text': signedBy({ ...header, kid: { toString: 'x' } }, evil, byForeign),
      'no kid': signedBy({ alg: 'ES256', typ: 'at+jwt' }, evil, byForeign),
      'a signature of zeros': `${signedHeader}.${signedPayload}.${Buffer.alloc(64).toString('base64url')}`,
      'an empty signature': `${signedHeader}.${signedPayload}.`,
      'a DER signature': signedBy(header, evil, (signed) =>
        sign('sha256', Buffer.from(signed), foreign.privateKey).toString('base64url'),
      ),
      'RS256 under our kid': signedBy({ ...header, alg: 'RS256' }, evil, (signed) =>
        sign('sha256', Buffer.from(signed), rsa.privateKey).toString('base64url'),
      ),
      'another payload': `${signedHeader}.${part(evil)}.${signature}`,
      'another typ': `${part({ ...header, typ: 'JWT' })}.${signedPayload}.${signature}`,
      crit: `${part({ ...header, crit: ['exp'], exp: 1 })}.${signedPayload}.${signature}`,
      'unencoded payload': `${part({ ...header, b64: false, crit: ['b64'] })}.${signedPayload}.${signature}`,
      encrypted: `${part({ alg: 'dir', enc: 'A256GCM' })}..AAAA.AAAA.AAAA`,
      'JSON serialisation': JSON.stringify({
        payload: signedPayload,
        signatures: [{ protected: signedHeader, signature }],
      }),
      padding: `${tokens.access_token}=`,
      'four parts': `${tokens.access_token}.x`,
      'a null': `${signedHeader}.${part('null')}.${signature}`,
      garbage: 'a.b.c',
      'too long': `${signedHeader}.${'A'.repeat(20_000)}.${signature}`,
    }
    for (const [name, token] of Object.entries(forged)) {
      const response = await target.call(undefined, { headers: { authorization: `Bearer ${token}` } })
      expect([name, [400, 401].includes(response.status), target.reached.length]).toEqual([name, true, 0])
      expect(response.headers.get('www-authenticate')).toMatch(/^Bearer error="invalid_(token|request)"/)
      const revocation = await target.post('/revoke', { token, client_id: client.id })
      expect([name, revocation.status < 500]).toEqual([name, true])
    }
    expect((await target.call(tokens.access_token)).status).toBe(200)
  })
})

describe('token substitution', () => {
  test('each kind is taken for no other, anywhere', async () => {
    const inHand = await target.code(client)
    const kinds = { access: tokens.access_token, refresh: tokens.refresh_token, code: inHand.code }
    for (const name of ['refresh', 'code'] as const)
      expect([name, (await target.call(kinds[name])).status]).toEqual([name, 401])
    for (const name of ['access', 'code'] as const) {
      const answer = await target.refresh(client, kinds[name])
      expect([name, answer.status, answer.body.error, tokensIn(answer)]).toEqual([name, 400, 'invalid_grant', []])
    }
    for (const name of ['access', 'refresh'] as const) {
      const answer = await target.redeem({ ...inHand, code: kinds[name] })
      expect([name, answer.status, answer.body.error, tokensIn(answer)]).toEqual([name, 400, 'invalid_grant', []])
    }
    // In each other's clothes.
    for (const [from, to] of [
      ['cs_ac_', 'cs_rt_'],
      ['cs_rt_', 'cs_ac_'],
    ] as const) {
      const dressed = (from === 'cs_ac_' ? kinds.code : kinds.refresh).replace(from, to)
      expect((await target.refresh(client, dressed)).status).toBe(400)
      expect((await target.redeem({ ...inHand, code: dressed })).status).toBe(400)
    }
    expect((await target.redeem(inHand)).status).toBe(200)
  })

  test('a code that names another’s sign-in is none, and its own is not spent by it', async () => {
    const [mine, theirs] = [await target.code(client), await target.code(client)]
    const [, , session] = theirs.code.split(/_ac_|\./)
    const parts = mine.code.split('.')
    const strange = [parts[0], session, parts[2]].join('.')
    expect(strange).not.toBe(mine.code)
    const answer = await target.redeem({ ...mine, code: strange })
    expect([answer.status, answer.body.error, tokensIn(answer)]).toEqual([400, 'invalid_grant', []])
    expect((await target.redeem(mine)).status).toBe(200)
  })

  test('another resource’s', async () => {
    expect((await target.call(tokens.access_token, {}, '/other')).status).toBe(401)
    const both = await target.tokens(client, { parameters: { resource: OTHER_RESOURCE, scope: 'other:read' } })
    expect((await target.call(both.access_token)).status).toBe(401)
    expect((await target.call(both.access_token, {}, '/other')).status).toBe(200)
    for (const resource of [
      OTHER_RESOURCE,
      `${RESOURCE}/x`,
      `${RESOURCE}?x`,
      `${RESOURCE}#x`,
      'https://evil.example/mcp',
      [RESOURCE, OTHER_RESOURCE],
    ]) {
      const answer = await target.refresh(client, tokens.refresh_token, { resource })
      expect([resource, answer.status, answer.body.error]).toEqual([resource, 400, 'invalid_target'])
    }
  })

  test('another issuer’s', async () => {
    const elsewhere = await createTarget({ url: 'https://auth.example.com' })
    const there = await elsewhere.tokens(await elsewhere.register())
    expect((await target.call(there.access_token)).status).toBe(401)
    expect((await target.refresh(client, there.refresh_token)).body.error).toBe('invalid_grant')
  })

  test('another client’s refresh token, and one that lost its way of authentication', async () => {
    const theirs = await target.tokens(other)
    for (const [who, token, error] of [
      [client, theirs.refresh_token, 'invalid_grant'],
      [other, tokens.refresh_token, 'invalid_grant'],
      [{ id: other.id, redirectUri: '' }, theirs.refresh_token, 'invalid_client'],
      [{ ...other, secret: 'wrong' }, theirs.refresh_token, 'invalid_client'],
      [{ ...client, secret: 'any' }, tokens.refresh_token, 'invalid_client'],
    ] as const) {
      const answer = await target.refresh(who, token)
      expect([answer.body.error, tokensIn(answer)]).toEqual([error, []])
      const revocation = await target.post('/revoke', { token, client_id: who.id, client_secret: who.secret })
      expect(revocation.status).toBeGreaterThanOrEqual(400)
    }
    expect((await target.call(theirs.access_token)).status).toBe(200)
    expect((await target.refresh(other, theirs.refresh_token)).status).toBe(200)
  })
})

describe('forging refresh tokens', () => {
  test('a change anywhere, padding, another spelling, another grant’s parts: none is good, and none ends the session', async () => {
    const mine = await target.tokens(client)
    const foreign = await target.tokens(client, { who: 'Mallory' })
    const token = mine.refresh_token
    const [grant = '', session = '', generation = '', keyId = '', mac = ''] = token.split('.')
    const [foreignGrant = '', foreignSession = '', , , foreignMac = ''] = foreign.refresh_token.split('.')
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    const spare = [1, 2, 3].map((bits) => token.slice(0, -1) + alphabet[alphabet.indexOf(token.at(-1) ?? '') ^ bits])
    const forged = new Set([
      ...[...token].map((char, at) => token.slice(0, at) + (char === 'A' ? 'B' : 'A') + token.slice(at + 1)),
      ...spare,
      ...['0', '2', '3', '4', '01', '1.0', '1e0', '+1', '-1', ' 1', '999999999999999', '9'.repeat(30)].map((each) =>
        [grant, session, each, keyId, mac].join('.'),
      ),
      [foreignGrant, session, generation, keyId, mac].join('.'),
      [grant, foreignSession, generation, keyId, mac].join('.'),
      [foreignGrant, foreignSession, generation, keyId, mac].join('.'),
      [grant, session, generation, keyId, foreignMac].join('.'),
      [grant, session, generation, 'unknown', mac].join('.'),
      [grant, session, generation, '', mac].join('.'),
      [grant, session, generation, keyId, ''].join('.'),
      [grant, session, generation, keyId, Buffer.alloc(32).toString('base64url')].join('.'),
      `${token}=`,
      `${token}==`,
      ` ${token}`,
      `${token} `,
      `${token}.`,
      `${token}.x`,
      token.toUpperCase(),
      token.replaceAll('_', '/'),
      token.slice(0, -1),
      `x${token}`,
    ])
    forged.delete(token)
    for (const each of forged) {
      const answer = await target.refresh(client, each)
      expect([each, answer.status, answer.body.error, tokensIn(answer)]).toEqual([each, 400, 'invalid_grant', []])
      expect((await target.post('/revoke', { token: each, client_id: client.id })).status).toBeLessThan(500)
    }
    expect((await target.refresh(client, token)).status).toBe(200)
  })

  test('a stolen token that was used after its owner: within the window nobody is thrown out, after it both are', async () => {
    const { refresh_token: stolen } = await target.tokens(client)
    const owner = await target.refresh(client, stolen)
    const again = await target.refresh(client, stolen)
    expect(again.body.refresh_token).toBe(owner.body.refresh_token)
    await target.refresh(client, owner.body.refresh_token ?? '')
    await target.clock.pass(301_000)
    const thief = await target.refresh(client, stolen)
    expect([thief.status, thief.body.error, tokensIn(thief)]).toEqual([400, 'invalid_grant', []])
    expect((await target.refresh(client, owner.body.refresh_token ?? '')).status).toBe(400)
    expect((await target.call(owner.body.access_token)).status).toBe(401)
    expect(target.events.some(({ type }) => type === 'refresh.replayed')).toBe(true)
  })
})
