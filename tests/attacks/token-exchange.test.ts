import { createHmac, createPublicKey, generateKeyPairSync, sign } from 'node:crypto'
import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import { type Countersign, countersign } from '../../src/countersign.ts'
import { mostExchanges } from '../../src/policy/exchange.ts'
import { memory } from '../../src/store/memory.ts'
import {
  type Answer,
  type AttackedClient,
  createTarget,
  credentials,
  type Form,
  ISSUER,
  OTHER_RESOURCE,
  RESOURCE,
  type Target,
  type TokensInHand,
  tokensIn,
  WEB,
} from './support/target.ts'

// RFC 8693 §5 and §2.1, RFC 9700 §4.10 (misuse of tokens), MCP security best practices (token passthrough, confused deputy).

const secret = 'a client secret of more than 32 characters'
const accessToken = 'urn:ietf:params:oauth:token-type:access_token'
const configured = (id: string): AttackedClient => ({ id, secret, redirectUri: WEB })
const [app, agent, notes, other, mallory] = ['app', 'agent', 'notes', 'other', 'mallory'].map(configured) as [
  AttackedClient,
  AttackedClient,
  AttackedClient,
  AttackedClient,
  AttackedClient,
]

let target: Target
let tokens: TokensInHand

beforeEach(async () => {
  target = await createTarget({
    clients: [
      { id: 'app', secret, redirectUris: [WEB], mayAct: 'agent' },
      { id: 'agent', secret, scopes: { '/mcp': ['notes:read'] }, exchange: {} },
      { id: 'notes', secret, exchange: { serves: ['/mcp'], to: { '/other': ['other:read'] } } },
      {
        id: 'other',
        secret,
        scopes: { '/other': ['other:read'] },
        exchange: { serves: ['/other'], to: { '/mcp': ['notes:read', 'notes:write'] }, from: ['other'] },
      },
      // May do much, but nothing with tokens that are not addressed to it.
      { id: 'mallory', secret, scopes: { '/mcp': ['notes:read'] }, exchange: { to: { '/other': ['other:read'] } } },
    ],
  })
  tokens = await target.tokens(app, { parameters: { scope: 'notes:read notes:write' } })
})

const exchange = (
  client: AttackedClient,
  token: string,
  more: Form = {},
  headers: Record<string, string> = {},
): Promise<Answer> =>
  target.post(
    '/token',
    {
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token: token,
      subject_token_type: accessToken,
      ...credentials(client),
      ...more,
    },
    headers,
  )

const exchanged = async (client: AttackedClient, token: string, more: Form = {}): Promise<string> => {
  const { status, body } = await exchange(client, token, more)
  if (status !== 200) throw new Error(`not exchanged: ${JSON.stringify(body)}`)
  return body.access_token ?? ''
}

const own = async (client: AttackedClient): Promise<string> => {
  const { body } = await target.post('/token', { grant_type: 'client_credentials', ...credentials(client) })
  return body.access_token ?? ''
}

const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
const read = (token: string, at = 1): Record<string, unknown> =>
  JSON.parse(Buffer.from(token.split('.')[at] ?? '', 'base64url').toString())

const refused = (answer: Answer, error: string | readonly string[] = 'invalid_request'): void => {
  expect(answer.status).toBeGreaterThanOrEqual(400)
  expect(answer.status).toBeLessThan(500)
  expect([error].flat()).toContain(answer.body.error)
  expect(tokensIn(answer)).toEqual([])
}

describe('with a token that is not for me', () => {
  test('one that I stole, as a client that has nothing to do with it', async () => {
    refused(await exchange(mallory, tokens.access_token))
    refused(await exchange(mallory, tokens.access_token, { resource: OTHER_RESOURCE }))
    refused(await exchange(other, tokens.access_token))
    expect(target.events.at(-1)).toMatchObject({ type: 'exchange.refused', reason: 'not_permitted', clientId: 'other' })
  })

  test('as a client that registered itself, whatever it asked to be allowed', async () => {
    const mine = await target.register({
      token_endpoint_auth_method: 'client_secret_basic',
      grant_types: ['authorization_code', 'urn:ietf:params:oauth:grant-type:token-exchange'],
      exchange: { from: ['*'], impersonates: true },
      mayAct: 'mallory',
    })
    refused(await exchange(mine, tokens.access_token), 'unauthorized_client')
    refused(await exchange(mallory, (await target.tokens(mine)).access_token))
  })

  test('with the id of a client that may, and no secret or a wrong one', async () => {
    for (const pose of [
      { id: 'notes', redirectUri: WEB },
      { ...notes, secret: `${secret}x` },
    ]) {
      refused(await exchange(pose, tokens.access_token), 'invalid_client')
    }
  })

  test('nobody can be let exchange without proving who they are', () => {
    const attempt = (client: object): Countersign =>
      countersign({
        url: 'http://localhost:1',
        store: memory(),
        resources: { '/mcp': {} },
        clients: [{ id: 'open', ...client }],
      })
    expect(() => attempt({ exchange: { from: ['*'] } })).toThrow(/clients\[0\]/)
    expect(() => attempt({ exchange: { from: ['*'] }, redirectUris: [WEB] })).toThrow(/a secret or keys/)
    expect(() => attempt({ secret, exchange: { serves: ['/none'] } })).toThrow(/exchange\.serves\[0\]/)
    expect(() => attempt({ secret, exchange: { to: { '/mcp': ['x'] } } })).toThrow(/exchange\.to/)
  })
})

describe('with what is no living access token of a person', () => {
  test.each<[string, () => string | Promise<string>]>([
    ['a refresh token', () => tokens.refresh_token],
    ['a code', async () => (await target.code(app)).code],
    ['the token of a client itself', () => own(agent)],
    ['nothing but dots', () => '..'],
    ['a list', () => '[]'],
    ['a token that is far too long', () => `${tokens.access_token}${'A'.repeat(20_000)}`],
    ['a control character in it', () => `${tokens.access_token}\u0000`],
  ])('%s', async (_name, make) => {
    refused(await exchange(notes, await make()))
  })

  test('a refresh token or an id_token that says what it is', async () => {
    for (const kind of ['refresh_token', 'id_token', 'saml2', 'jwt']) {
      const type = `urn:ietf:params:oauth:token-type:${kind}`
      refused(await exchange(notes, tokens.refresh_token, { subject_token_type: type }))
      refused(await exchange(notes, tokens.access_token, { subject_token_type: type }))
      refused(await exchange(notes, tokens.access_token, { requested_token_type: type }))
    }
  })

  test('what was not signed by this server, or not as it is', async () => {
    const jwks = (await (await target.send(new Request(`${ISSUER}/jwks`))).json()) as { keys: Record<string, string>[] }
    const pem = createPublicKey({ key: jwks.keys[0] ?? {}, format: 'jwk' }).export({ type: 'spki', format: 'pem' })
    const foreign = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
    const [header, payload] = [read(tokens.access_token, 0), read(tokens.access_token)]
    const [signedHeader = '', , signature = ''] = tokens.access_token.split('.')
    const forge = (head: object, body: object, make: (text: string) => string) => {
      const text = `${part(head)}.${part(body)}`
      return `${text}.${make(text)}`
    }
    const es256 = (text: string) =>
      sign('sha256', Buffer.from(text), { key: foreign, dsaEncoding: 'ieee-p1363' }).toString('base64url')
    const hs256 = (text: string) => createHmac('sha256', pem).update(text).digest('base64url')
    const wider = { ...payload, aud: OTHER_RESOURCE, scope: 'other:read' }
    for (const token of [
      forge({ ...header, alg: 'none' }, payload, () => ''),
      `${part({ ...header, alg: 'none' })}.${part(payload)}`,
      forge({ ...header, alg: 'HS256' }, payload, hs256),
      forge(header, payload, es256),
      forge({ ...header, jwk: createPublicKey(foreign).export({ format: 'jwk' }) }, payload, es256),
      `${signedHeader}.${part(wider)}.${signature}`,
      `${signedHeader}.${part({ ...payload, may_act: { sub: 'notes' } })}.${signature}`,
    ]) {
      for (const client of [notes, other, agent]) refused(await exchange(client, token))
    }
  })

  test('one that has expired, or whose grant has ended; and what was made of it before', async () => {
    const child = await exchanged(notes, tokens.access_token)
    expect((await target.call(child)).status).toBe(200)
    expect((await target.post('/revoke', { token: tokens.refresh_token, ...credentials(app) })).status).toBe(200)
    await target.clock.pass(1_000)
    expect((await target.call(child)).status).toBe(401)
    for (const token of [tokens.access_token, child]) refused(await exchange(notes, token))
    const again = await target.tokens(app)
    const late = await exchanged(notes, again.access_token)
    await target.clock.pass(601_000)
    for (const token of [again.access_token, late]) refused(await exchange(notes, token))
    expect((await target.call(late)).status).toBe(401)
  })
})

describe('more than there was', () => {
  test('scopes, here or by a way round through another resource and back', async () => {
    const narrow = await exchanged(notes, tokens.access_token, { scope: 'notes:read' })
    refused(await exchange(notes, narrow, { scope: 'notes:read notes:write' }), 'invalid_scope')
    const elsewhere = await exchanged(notes, narrow, { resource: OTHER_RESOURCE })
    const back = await exchange(other, elsewhere, { resource: RESOURCE })
    expect(back.body.scope).toBe('notes:read')
    refused(await exchange(other, elsewhere, { resource: RESOURCE, scope: 'notes:write' }), 'invalid_scope')
    const call = await target.call(back.body.access_token, {
      body: '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"notes_add"}}',
    })
    expect(call.status).toBe(403)
  })

  test('time: however often it is exchanged, the first token says when it ends', async () => {
    const ends = read(tokens.access_token).exp
    await target.clock.pass(100_000)
    const first = await exchanged(notes, tokens.access_token)
    const second = await exchanged(notes, first)
    expect([read(first).exp, read(second).exp]).toEqual([ends, ends])
    refused(await target.refresh(notes, first), ['invalid_grant', 'unauthorized_client'])
  })

  test('hops: a chain of ten ends before', async () => {
    let token = tokens.access_token
    for (let hop = 0; hop < mostExchanges; hop++) token = await exchanged(notes, token)
    expect((await target.call(token)).status).toBe(200)
    for (let hop = mostExchanges; hop < 10; hop++) refused(await exchange(notes, token))
    expect(target.events.at(-1)).toMatchObject({ type: 'exchange.refused', reason: 'too_many_exchanges' })
    let depth = 0
    for (let act = read(token).act; act; act = (act as { act?: unknown }).act) depth++
    expect(depth).toBe(mostExchanges)
  })

  test.each<[string, Form]>([
    ['another audience beside the right resource', { resource: RESOURCE, audience: OTHER_RESOURCE }],
    ['the same the other way round', { resource: OTHER_RESOURCE, audience: RESOURCE }],
    ['two audiences', { audience: [RESOURCE, OTHER_RESOURCE] }],
    ['the authorization server as audience', { audience: ISSUER }],
    ['the token endpoint as audience', { audience: `${ISSUER}/token` }],
    ['a prefix', { audience: `${ISSUER}/mc` }],
    ['a path below', { audience: `${RESOURCE}/x` }],
    ['another origin', { audience: 'https://auth.example.com.evil.example/mcp' }],
    ['user information in it', { audience: 'https://auth.example.com@evil.example/mcp' }],
    ['a fragment', { audience: `${RESOURCE}#x` }],
    ['a client id', { audience: 'other' }],
  ])('audience: %s', async (_name, more) => {
    refused(await exchange(notes, tokens.access_token, more), 'invalid_target')
  })

  test('a child is good where it is for, and nowhere else', async () => {
    const child = await exchanged(notes, tokens.access_token, { resource: OTHER_RESOURCE })
    expect((await target.call(child, {}, '/other')).status).toBe(200)
    expect((await target.call(child)).status).toBe(401)
    expect((await target.call(tokens.access_token, {}, '/other')).status).toBe(401)
  })
})

describe('as somebody else', () => {
  const acting = (token: string): Form => ({ actor_token: token, actor_token_type: accessToken })
  const seen = async (token: string): Promise<Record<string, unknown>> =>
    (await (await target.call(token)).json()) as Record<string, unknown>

  test('the actor is who proved to be it, whatever else is sent', async () => {
    const token = await exchanged(notes, tokens.access_token, {
      act: '{"sub":"agent"}',
      actor: 'agent',
      client_id: 'notes',
      subject: 'root',
      sub: 'root',
    })
    const before = await seen(tokens.access_token)
    expect(await seen(token)).toMatchObject({
      issuer: ISSUER,
      subject: before.subject,
      clientId: 'notes',
      actor: { issuer: ISSUER, subject: 'notes', clientId: 'notes' },
    })
  })

  test('the token of another client, or of a person, names no actor of mine', async () => {
    refused(await exchange(notes, tokens.access_token, acting(await own(agent))))
    refused(await exchange(notes, tokens.access_token, acting(tokens.access_token)))
    refused(await exchange(notes, tokens.access_token, acting(tokens.refresh_token)))
    refused(await exchange(notes, tokens.access_token, acting(await exchanged(notes, tokens.access_token))))
    // Not even of the client that `may_act` names: it must come itself.
    refused(await exchange(mallory, tokens.access_token, acting(await own(agent))))
  })

  test('the two tokens swapped: a client does not become a person, nor a person an agent', async () => {
    refused(await exchange(agent, await own(agent), acting(tokens.access_token)))
    refused(await exchange(agent, await own(agent)))
  })

  test('one’s own part in the chain can’t be hidden: not by going round, not by leaving the actor out', async () => {
    const first = await exchanged(agent, tokens.access_token)
    const second = await exchanged(notes, first)
    expect(await seen(second)).toMatchObject({ actor: { subject: 'notes', actor: { subject: 'agent' } } })
    refused(await exchange(notes, first, { actor_token: '', actor_token_type: accessToken }))
  })

  test('parameters sent twice', async () => {
    for (const name of ['subject_token', 'subject_token_type', 'scope', 'requested_token_type']) {
      const values: Readonly<Record<string, string>> = {
        subject_token: tokens.access_token,
        subject_token_type: accessToken,
        scope: 'notes:read',
        requested_token_type: accessToken,
      }
      refused(await exchange(notes, tokens.access_token, { [name]: [values[name] ?? '', values[name] ?? ''] }))
    }
  })

  test('the grant of a child has no code and no refresh token that could be made up', async () => {
    const child = await exchanged(notes, tokens.access_token)
    const grant = String(read(child).grant_id)
    const made = 'A'.repeat(43)
    const redeemed = await target.post('/token', {
      grant_type: 'authorization_code',
      code: `cs_ac_${grant}.${made}`,
      code_verifier: 'a-verifier-that-is-long-enough-for-the-rules-of-pkce-0987654321',
      redirect_uri: WEB,
      ...credentials(app),
    })
    refused(redeemed, 'invalid_grant')
    refused(await target.refresh(app, `cs_rt_${grant}.0.key.${made}`), 'invalid_grant')
    expect((await target.post('/revoke', { token: `cs_rt_${grant}.0.key.${made}`, ...credentials(app) })).status).toBe(
      200,
    )
    expect((await target.call(child)).status).toBe(200)
  })
})

test('design 3, revocation: whatever was exchanged while the person revoked is dead afterwards', async () => {
  for (let turn = 0; turn < 12; turn++) {
    const mine = await target.tokens(app)
    const first = await exchanged(notes, mine.access_token)
    const [answers] = await Promise.all([
      Promise.all([mine.access_token, first, mine.access_token, first].map((token) => exchange(notes, token))),
      (async () => {
        for (let wait = 0; wait < turn; wait++) await new Promise((resolve) => setImmediate(resolve))
        await target.post('/revoke', { token: mine.refresh_token, ...credentials(app) })
      })(),
    ])
    await target.clock.pass(1_000)
    for (const { body } of answers)
      if (body.access_token) expect((await target.call(body.access_token)).status).toBe(401)
    expect((await target.call(first)).status).toBe(401)
  }
})

test('any request that is nearly right: no trouble, and never more than there was', async () => {
  const before = read(tokens.access_token)
  const names = ['subject_token', 'subject_token_type', 'requested_token_type', 'actor_token', 'actor_token_type']
  const text = () =>
    fc.oneof(
      fc.string({ unit: 'binary', maxLength: 60 }),
      fc.webUrl({ withQueryParameters: true, withFragments: true }),
      fc.constantFrom(RESOURCE, OTHER_RESOURCE, 'notes:read', 'notes:write', 'other:read', accessToken),
      // A good token, spoilt somewhere.
      fc.tuple(fc.nat(tokens.access_token.length), fc.constantFrom('', '.', 'A', '=', ' ')).map(([at, by]) => {
        const token = tokens.access_token
        return token.slice(0, at) + by + token.slice(at + 1)
      }),
    )
  const changes = fc.dictionary(fc.constantFrom(...names, 'resource', 'audience', 'scope'), text(), { maxKeys: 3 })
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(notes, agent, mallory), changes, async (client, change) => {
      const { status, body } = await exchange(client, tokens.access_token, change)
      expect(status).toBeLessThan(500)
      if (status !== 200) {
        expect(tokensIn({ body })).toEqual([])
        return
      }
      const made = read(body.access_token ?? '')
      expect(made).toMatchObject({ iss: ISSUER, sub: before.sub, client_id: client.id, act: { sub: client.id } })
      expect(Number(made.exp)).toBeLessThanOrEqual(Number(before.exp))
      const most = made.aud === RESOURCE ? ['notes:read', 'notes:write'] : ['other:read']
      expect([RESOURCE, OTHER_RESOURCE]).toContain(made.aud)
      expect(most).toEqual(expect.arrayContaining(String(made.scope).split(' ')))
    }),
    { numRuns: 400 },
  )
})

test('no token and no secret is in the audit log, the log or an error', async () => {
  const child = await exchanged(notes, tokens.access_token, { resource: OTHER_RESOURCE })
  const agents = await own(agent)
  const answers = [
    await exchange(mallory, tokens.access_token, { actor_token: agents, actor_token_type: accessToken }),
    await exchange(notes, `${tokens.access_token}x`),
    await exchange(notes, tokens.access_token, { scope: 'x' }),
  ]
  const said = JSON.stringify([target.events, target.log, answers.map(({ body }) => body)])
  for (const hidden of [child, agents, tokens.access_token, tokens.refresh_token, secret]) {
    expect(said).not.toContain(hidden)
    expect(said).not.toContain(hidden.slice(-43))
  }
})
