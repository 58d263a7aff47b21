import { beforeAll, describe, expect, test } from 'vitest'
import {
  type AttackedClient,
  type CodeInHand,
  createTarget,
  credentials,
  encode,
  ISSUER,
  LOOPBACK,
  type Target,
  tokensIn,
  verifier,
  WEB,
} from './support/target.ts'

// Parameter pollution, prototype pollution, and places where parameters must not be read from.

let target: Target
let client: AttackedClient
let secretive: AttackedClient

beforeAll(async () => {
  target = await createTarget({ registration: { perAddress: 10_000, total: 10_000 } })
  client = await target.register({ redirect_uris: [LOOPBACK] })
  secretive = await target.register({ token_endpoint_auth_method: 'client_secret_basic' })
})

describe('a parameter that is sent twice is never chosen from', () => {
  test.each([
    'response_type',
    'client_id',
    'redirect_uri',
    'code_challenge',
    'code_challenge_method',
    'scope',
    'state',
    'prompt',
    'max_age',
    'login_hint',
    'response_mode',
  ])('%s, at the authorization endpoint', async (name) => {
    const url = target.authorizeUrl(client, {
      prompt: 'login',
      max_age: '60',
      login_hint: 'Alice',
      response_mode: 'query',
    })
    const value = new URL(url).searchParams.get(name) ?? ''
    for (const second of ['other', value, '']) {
      for (const polluted of [
        `${url}&${name}=${encodeURIComponent(second)}`,
        url.replace('?', `?${name}=${encodeURIComponent(second)}&`),
      ]) {
        const { left, status } = await target.browser().open(polluted)
        expect([name, left?.searchParams.has('code') ?? false, left ? left.searchParams.get('error') : status]).toEqual(
          [name, false, left ? 'invalid_request' : 400],
        )
      }
    }
  })

  test.each(['grant_type', 'code', 'redirect_uri', 'code_verifier', 'client_id'])(
    '%s, at the token endpoint',
    async (name) => {
      const inHand = await target.code(client)
      const fields: Record<string, string> = {
        grant_type: 'authorization_code',
        code: inHand.code,
        redirect_uri: LOOPBACK,
        code_verifier: verifier,
        client_id: client.id,
      }
      for (const second of ['other', fields[name] ?? '', '']) {
        for (const value of [
          [fields[name] ?? '', second],
          [second, fields[name] ?? ''],
        ]) {
          const answer = await target.post('/token', { ...fields, [name]: value })
          expect([name, answer.status, answer.body.error]).toEqual([name, 400, 'invalid_request'])
        }
      }
      expect((await target.redeem(inHand)).status).toBe(200)
    },
  )

  test.each(['refresh_token', 'scope', 'client_secret'])('%s, at a refresh', async (name) => {
    const { refresh_token } = await target.tokens(secretive)
    const fields: Record<string, string> = {
      grant_type: 'refresh_token',
      refresh_token,
      scope: 'notes:read',
      client_id: secretive.id,
      client_secret: secretive.secret ?? '',
    }
    const answer = await target.post('/token', { ...fields, [name]: [fields[name] ?? '', 'other'] })
    expect([answer.status, answer.body.error, tokensIn(answer)]).toEqual([400, 'invalid_request', []])
    expect((await target.post('/token', fields)).status).toBe(200)
  })

  test.each(['token', 'token_type_hint', 'client_id'])('%s, at revocation', async (name) => {
    const { access_token } = await target.tokens(client)
    const fields: Record<string, string> = {
      token: access_token,
      token_type_hint: 'access_token',
      client_id: client.id,
    }
    const answer = await target.post('/revoke', { ...fields, [name]: [fields[name] ?? '', 'other'] })
    expect([answer.status, answer.body.error]).toEqual([400, 'invalid_request'])
    expect((await target.call(access_token)).status).toBe(200)
  })
})

describe('the client proves who it is in one way', () => {
  const basic = (id: string, secret: string) => ({
    authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`,
  })
  let inHand: CodeInHand

  test('two ways at once, or two clients at once, are none', async () => {
    inHand = await target.code(secretive)
    const { id, secret = '' } = secretive
    const attempts: [string, Record<string, string | undefined>, Record<string, string>][] = [
      ['both ways', { client_id: id, client_secret: secret }, basic(id, secret)],
      ['the header is right, the body wrong', { client_id: id, client_secret: 'wrong' }, basic(id, secret)],
      ['the body is right, the header wrong', { client_id: id, client_secret: secret }, basic(id, 'wrong')],
      ['another client in the body', { client_id: client.id, client_secret: undefined }, basic(id, secret)],
      ['another client in the header', { client_id: id, client_secret: undefined }, basic(client.id, '')],
      ['no secret', { client_id: id, client_secret: undefined }, {}],
      ['an empty secret', { client_id: id, client_secret: '' }, {}],
      ['an empty secret in the header', { client_id: undefined, client_secret: undefined }, basic(id, '')],
      ['a secret in the query only', { client_id: id, client_secret: undefined }, {}],
      ['a bearer token', { client_id: undefined, client_secret: undefined }, { authorization: `Bearer ${secret}` }],
      [
        'two headers in one',
        { client_id: undefined, client_secret: undefined },
        { authorization: `${basic(id, secret).authorization}, ${basic(id, secret).authorization}` },
      ],
      ['no id', { client_id: undefined, client_secret: secret }, {}],
      [
        'an assertion that nobody checks',
        {
          client_id: id,
          client_secret: undefined,
          client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
          client_assertion: 'eyJhbGciOiJub25lIn0.e30.',
        },
        {},
      ],
    ]
    for (const [name, changes, headers] of attempts) {
      const answer = await target.redeem(inHand, changes, headers)
      expect([name, [400, 401].includes(answer.status), tokensIn(answer)]).toEqual([name, true, []])
    }
    expect((await target.redeem(inHand)).status).toBe(200)
  })

  test('nothing is read from the query: a secret there is in logs already', async () => {
    const code = await target.code(secretive)
    const fields = {
      grant_type: 'authorization_code',
      code: code.code,
      redirect_uri: WEB,
      code_verifier: verifier,
      ...credentials(secretive),
    }
    const answer = await target.post(`/token?${encode(fields)}`, {})
    expect([answer.status, tokensIn(answer)]).toEqual([400, []])
    const tokens = await target.tokens(client)
    expect((await target.post(`/revoke?token=${tokens.access_token}&client_id=${client.id}`, {})).status).toBe(400)
    expect((await target.call(tokens.access_token)).status).toBe(200)
  })
})

describe('names that mean something to JavaScript or to other frameworks mean nothing', () => {
  const names = [
    '__proto__',
    'constructor',
    'prototype',
    '__proto__[client_id]',
    'constructor.prototype.x',
    'client_id[]',
    'client_id[0]',
    'code[]',
    'toString',
    'hasOwnProperty',
  ]

  test('in queries and forms', async () => {
    const polluted = Object.fromEntries(names.map((name) => [name, 'polluted']))
    expect((await target.tokens(client, { parameters: polluted })).access_token).toBeTruthy()
    expect((await target.redeem(await target.code(client), polluted)).status).toBe(200)
    const only = await target.redeem(await target.code(client), {
      client_id: undefined,
      'client_id[]': client.id,
      'client_id[0]': client.id,
    })
    expect(only.body.error).toBe('invalid_request')
  })

  test('in values', async () => {
    for (const value of names) {
      expect((await target.post('/token', { grant_type: value, client_id: client.id })).body.error).toBe(
        'unsupported_grant_type',
      )
      expect(
        (await target.post('/token', { grant_type: 'refresh_token', refresh_token: 'x', client_id: value })).body.error,
      ).toBe('invalid_client')
      expect((await target.browser().open(target.authorizeUrl({ ...client, id: value }))).status).toBe(400)
    }
  })

  test('in the JSON of a registration: nothing of Object.prototype changes, and nothing is inherited from it', async () => {
    const bodies = [
      `{"redirect_uris":["${WEB}"],"__proto__":{"polluted":"yes","token_endpoint_auth_method":"none"}}`,
      `{"redirect_uris":["${WEB}"],"constructor":{"prototype":{"polluted":"yes"}}}`,
      `{"__proto__":{"redirect_uris":["${WEB}"]}}`,
      `{"redirect_uris":{"__proto__":["${WEB}"],"length":1,"0":"${WEB}"}}`,
      `{"redirect_uris":["${WEB}"],"client_name":{"toString":"x"}}`,
      `{"redirect_uris":["${WEB}"],"token_endpoint_auth_method":"__proto__"}`,
      `{"redirect_uris":["${WEB}"],"grant_types":["__proto__","authorization_code"]}`,
      `[{"redirect_uris":["${WEB}"]}]`,
      `"${WEB}"`,
      'null',
      `{"redirect_uris":["${WEB}"],"redirect_uris":["https://evil.example/cb"]}`,
    ]
    for (const body of bodies) {
      const response = await target.send(
        new Request(`${ISSUER}/register`, { method: 'POST', body, headers: { 'content-type': 'application/json' } }),
      )
      expect([body, [201, 400].includes(response.status)]).toEqual([body, true])
      const answer = (await response.json()) as Record<string, unknown>
      expect(Object.keys(answer)).not.toContain('polluted')
      if (body.includes('"__proto__":{"polluted"'))
        expect(answer.token_endpoint_auth_method).toBe('client_secret_basic')
    }
    expect(({} as Record<string, unknown>).polluted).toBeUndefined()
  })

  test('a registration decides nothing that is not the client’s to decide', async () => {
    const response = await target.send(
      new Request(`${ISSUER}/register`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({
          redirect_uris: [WEB],
          token_endpoint_auth_method: 'none',
          client_id: 'chosen',
          client_secret: 'chosen',
          source: 'configured',
          scope: 'notes:read notes:write other:read',
          grant_types: [
            'authorization_code',
            'client_credentials',
            'password',
            'urn:ietf:params:oauth:grant-type:token-exchange',
          ],
          response_types: ['code', 'token'],
          expiresAt: 0,
          secretHash: 'x',
          logo_uri: 'javascript:alert(1)',
          client_uri: 'https://user@evil.example/',
          require_pkce: false,
        }),
      }),
    )
    const answer = (await response.json()) as Record<string, unknown>
    expect(answer.client_id).toMatch(/^cs_cl_/)
    expect(answer).toMatchObject({ grant_types: ['authorization_code'], response_types: ['code'] })
    for (const name of ['client_secret', 'source', 'scope', 'logo_uri', 'client_uri', 'require_pkce'])
      expect(answer).not.toHaveProperty(name)
    expect(
      (await target.browser().open(target.authorizeUrl({ id: String(answer.client_id), redirectUri: WEB }))).text,
    ).toContain('Unverified')
  })
})
