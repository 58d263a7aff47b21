import { inspect } from 'node:util'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { invalidClient, readClientCredentials } from '../../src/oauth/client-authentication.ts'
import { OAuthError } from '../../src/oauth/errors.ts'

const form = (fields: Record<string, string> = {}): URLSearchParams => new URLSearchParams(fields)
const basic = (text: string): string => `Basic ${Buffer.from(text).toString('base64')}`

/** The secret is not enumerable, so pairs are compared. */
const pairs = (authorization: string | null, fields: Record<string, string> = {}) => {
  const { method, candidates } = readClientCredentials(authorization, form(fields))
  return { method, pairs: candidates.map(({ clientId, secret }) => [clientId, secret]) }
}

const refusal = (authorization: string | null, fields: URLSearchParams | Record<string, string> = {}): OAuthError => {
  try {
    readClientCredentials(authorization, new URLSearchParams(fields))
  } catch (error) {
    if (error instanceof OAuthError) return error
    throw error
  }
  throw new Error('it was not refused')
}

test('in the body: none, or client_secret_post', () => {
  expect(pairs(null, { client_id: 'a' })).toEqual({ method: 'none', pairs: [['a', undefined]] })
  expect(pairs(null, { client_id: 'a', client_secret: '' })).toEqual({ method: 'none', pairs: [['a', undefined]] })
  expect(pairs(null, { client_id: 'a', client_secret: 's' })).toEqual({
    method: 'client_secret_post',
    pairs: [['a', 's']],
  })
})

test('Basic as it is: id and secret, parted by the first colon', () => {
  expect(pairs(basic('a:s'))).toEqual({ method: 'client_secret_basic', pairs: [['a', 's']] })
  expect(pairs(basic('a:s').replace('Basic', 'bAsIc'))).toEqual({ method: 'client_secret_basic', pairs: [['a', 's']] })
  expect(pairs(basic('a:s'), { client_id: 'a' })).toEqual({ method: 'client_secret_basic', pairs: [['a', 's']] })
})

test('Basic is read both percent-encoded, as RFC 6749 §2.3.1 has it, and not, as many clients send it', () => {
  expect(pairs(basic('a%3Ab:s%2Ft%25+u')).pairs).toEqual([
    ['a:b', 's/t% u'],
    ['a%3Ab', 's%2Ft%25+u'],
  ])
  expect(pairs(basic('a:100%')).pairs).toEqual([['a', '100%']])
})

test('Basic is read as UTF-8', () => {
  expect(pairs(basic('zoë:naïveté ✓')).pairs).toEqual([['zoë', 'naïveté ✓']])
  expect(pairs(basic('zoë:')).pairs).toEqual([['zoë', undefined]])
})

test('a client id that is a URL is found, sent raw or encoded, with the id in the body or without', () => {
  const id = 'https://app.example.com:8443/client.json'
  expect(pairs(basic(`${id}:s`)).pairs).toContainEqual([id, 's'])
  expect(pairs(basic(`${id}:s`), { client_id: id })).toEqual({ method: 'client_secret_basic', pairs: [[id, 's']] })
  expect(pairs(basic(`${encodeURIComponent(id)}:s`)).pairs[0]).toEqual([id, 's'])
  expect(pairs(basic(`${encodeURIComponent(id)}:s`), { client_id: id }).pairs).toEqual([[id, 's']])
})

test('what a client meant is among the readings, for any id and secret', () => {
  const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 60 }).filter((each) => !/[\p{Cc}]/u.test(each))
  const raw = fc.string({ minLength: 1, maxLength: 60 }).filter((each) => !each.endsWith(':'))
  const id = fc.oneof(
    raw.filter((each) => !each.includes(':')),
    fc.webUrl(),
  )
  fc.assert(
    fc.property(text, text, (clientId, secret) => {
      expect(pairs(basic(`${encodeURIComponent(clientId)}:${encodeURIComponent(secret)}`)).pairs[0]).toEqual([
        clientId,
        secret,
      ])
    }),
  )
  fc.assert(
    fc.property(
      id,
      raw.filter((each) => !each.includes(':')),
      (clientId, secret) => {
        const { pairs: readings } = pairs(basic(`${clientId}:${secret}`))
        expect(readings).toContainEqual([clientId, secret])
        expect(readings.length).toBeLessThanOrEqual(8)
      },
    ),
  )
})

test('an id without a secret in the header is a public client', () => {
  expect(pairs(basic('a:'))).toEqual({ method: 'none', pairs: [['a', undefined]] })
  expect(pairs(basic('https://a.example/c:'))).toEqual({ method: 'none', pairs: [['https://a.example/c', undefined]] })
  expect(pairs(basic('a:'), { client_secret: 's' })).toEqual({ method: 'client_secret_post', pairs: [['a', 's']] })
})

test('two ways at once, or two ids, are refused', () => {
  expect(refusal(basic('a:s'), { client_secret: 's' })).toMatchObject({ code: 'invalid_request', status: 400 })
  expect(refusal(basic('a:s'), { client_id: 'b' })).toMatchObject({ code: 'invalid_request', status: 400 })
  expect(refusal(basic('a:'), { client_id: 'b' }).code).toBe('invalid_request')
  expect(refusal(null, new URLSearchParams('client_id=a&client_id=a')).code).toBe('invalid_request')
})

test('what can’t be read is refused, without repeating it', () => {
  expect(refusal(null).description).toBe('client_id is missing')
  const headers = [
    'Basic',
    'Basic ',
    'Basic !',
    'Basic YQ',
    basic('a'),
    basic(''),
    basic(':'),
    basic(':s'),
    'Bearer hunter2',
    'hunter2',
    `Basic ${'QUFB'.repeat(4000)}`,
  ]
  for (const header of [...headers, `Basic ${Buffer.from([0xff, 58, 97]).toString('base64')}`]) {
    const error = refusal(header, { client_id: 'a' })
    expect([header, error.code]).toEqual([header, 'invalid_request'])
    expect(error.message + error.reason).not.toContain('hunter2')
  }
})

test('many colons don’t make many readings', () => {
  expect(pairs(basic(`a${':b'.repeat(3000)}`)).pairs).toHaveLength(8)
})

test('a secret is not in what is printed or serialised', () => {
  const credentials = readClientCredentials(basic('a:hunter2'), form())
  expect(credentials.candidates[0].secret).toBe('hunter2')
  expect(inspect(credentials, { depth: 9 }) + JSON.stringify(credentials)).not.toContain('hunter2')
})

test('a client that failed learns nothing of why; one that used the header gets a challenge for it', () => {
  const error = invalidClient(basic('a:s'), 'wrong secret')
  expect(error).toMatchObject({ code: 'invalid_client', status: 401, reason: 'wrong secret' })
  expect(error.headers['WWW-Authenticate']).toMatch(/^Basic realm="/)
  expect(error.description).toBe(invalidClient(null, 'no such client').description)
  expect(invalidClient(null, 'no such client').headers).toEqual({})
})

const jwt = (payload: object): string =>
  ['{"alg":"ES256"}', JSON.stringify(payload), 'signature']
    .map((each) => Buffer.from(each).toString('base64url'))
    .join('.')
const asserted = (more: Record<string, string> = {}) => ({
  client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
  client_assertion: jwt({ sub: 'a' }),
  ...more,
})

test('with a client_assertion: private_key_jwt, for the client that it speaks for', () => {
  const credentials = readClientCredentials(undefined, form(asserted()))
  expect(credentials).toStrictEqual({ method: 'private_key_jwt', candidates: [{ clientId: 'a' }] })
  expect(credentials.assertion).toBe(asserted().client_assertion)
  expect(inspect(credentials) + JSON.stringify(credentials)).not.toContain(asserted().client_assertion)
  expect(pairs('', asserted({ client_id: 'a' }))).toEqual({ method: 'private_key_jwt', pairs: [['a', undefined]] })
})

test('a client_assertion of another type, of another client or beside another way is refused', () => {
  const { client_assertion: _assertion, ...typed } = asserted()
  expect(refusal(null, { client_assertion: asserted().client_assertion }).code).toBe('invalid_request')
  expect(
    refusal(null, asserted({ client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:saml2-bearer' })).code,
  ).toBe('invalid_request')
  expect(refusal(null, asserted({ client_id: 'b' }))).toMatchObject({
    code: 'invalid_client',
    reason: 'assertion_of_other_client',
  })
  expect(refusal(basic('a:s'), asserted()).description).toContain('two ways')
  expect(refusal(null, asserted({ client_secret: 's' })).description).toContain('two ways')
  // The type alone says nothing.
  expect(pairs(null, { ...typed, client_id: 'a' })).toEqual({ method: 'none', pairs: [['a', undefined]] })
})

test.each([
  '',
  'x',
  'a.b',
  'a.b.c.d',
  'a.!.c',
  `a.${Buffer.from('{"sub":1}').toString('base64url')}.c`,
  jwt({ sub: '' }),
  jwt({ sub: ['a'] }),
  jwt({}),
])('a client_assertion that speaks for nobody is refused: %s', (assertion) => {
  const { code } = refusal(null, asserted({ client_assertion: assertion }))
  expect(code).toBe('invalid_request')
})

test('a client_assertion’s subject is bounded, and may have any characters', () => {
  const sub = `ä?>${'x'.repeat(2045)}`
  expect(pairs(null, asserted({ client_assertion: jwt({ sub }) })).pairs).toEqual([[sub, undefined]])
  expect(refusal(null, asserted({ client_assertion: jwt({ sub: `${sub}x` }) })).code).toBe('invalid_request')
  const latin = `a.${Buffer.from('{"sub":"\xe4"}', 'latin1').toString('base64url')}.c`
  expect(refusal(null, asserted({ client_assertion: latin })).code).toBe('invalid_request')
})

test('a client_assertion is a JWT: three parts, and a payload in base64url', () => {
  const [header, payload, signature] = jwt({ sub: '?????????', pad: '>>>>>>>>>' }).split('.')
  expect(payload).toMatch(/_.*-/)
  expect(pairs(null, asserted({ client_assertion: `${header}.${payload}.${signature}` })).pairs).toEqual([
    ['?????????', undefined],
  ])
  for (const odd of [
    `${header}.${payload}`,
    `${header}.${payload}.${signature}.x`,
    `${header}.${payload}=.${signature}`,
    // What base64 of other kinds may have around it.
    ...[1, 2, 3].flatMap((length) => {
      const [, text] = jwt({ sub: 'a', pad: 'x'.repeat(length) }).split('.')
      return [`${header}. ${text}.${signature}`, `${header}.${text} .${signature}`, `${header}.${text}=.${signature}`]
    }),
  ]) {
    expect([odd, refusal(null, asserted({ client_assertion: odd })).code]).toEqual([odd, 'invalid_request'])
  }
})

test('a header that is empty is none', () => {
  expect(pairs('', { client_id: 'a' })).toEqual({ method: 'none', pairs: [['a', undefined]] })
  expect(readClientCredentials(undefined, form({ client_id: 'a' })).method).toBe('none')
  expect(refusal('').code).toBe('invalid_request')
})

test('a header is Basic and nothing else', () => {
  expect(pairs(basic('a:s').replace(' ', '  ')).pairs).toEqual([['a', 's']])
  expect(pairs(` ${basic('a:s')} `).pairs).toEqual([['a', 's']])
  const headers = [
    basic('a:s').replace('Basic', 'Bearer'),
    `x, ${basic('a:s')}`,
    `${basic('a:s')}, ${basic('b:s')}`,
    basic(':s'),
    basic(':'),
    `Basic ${Buffer.from([0xff, 58, 97]).toString('base64')}`,
  ]
  for (const header of headers) expect([header, refusal(header).code]).toEqual([header, 'invalid_request'])
  expect(pairs(basic(':a:s')).pairs).toEqual([[':a', 's']])
})

test('a header of 8192 characters is read, a longer one is not', () => {
  const longest = basic(`a:${'s'.repeat(6136)}`)
  const padded = longest.replace(' ', ' '.repeat(1 + 8192 - longest.length))
  expect(padded).toHaveLength(8192)
  expect(pairs(padded).pairs).toHaveLength(1)
  expect(refusal(padded.replace(' ', '  ')).code).toBe('invalid_request')
})

test('there are eight readings at most, the encoded one among them', () => {
  const { pairs: readings } = pairs(basic(`a%41${':b'.repeat(9)}`))
  expect(readings).toHaveLength(8)
  expect(readings[0]).toEqual(['aA', `b${':b'.repeat(8)}`])
})
