import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { clientInformationResponse, parseClientMetadata } from '../../src/oauth/client-metadata.ts'
import { OAuthError } from '../../src/oauth/errors.ts'

const redirect_uris = ['https://app.example.com/cb']

const read = (members: Record<string, unknown>) => parseClientMetadata({ redirect_uris, ...members })

const refusal = (body: unknown): OAuthError => {
  try {
    parseClientMetadata(body)
  } catch (error) {
    if (error instanceof OAuthError) return error
    throw error
  }
  throw new Error('it was not refused')
}

test('what is left out has the defaults of RFC 7591 §2, and refresh tokens besides', () => {
  expect(read({})).toMatchObject({
    redirectUris: [{ text: 'https://app.example.com/cb' }],
    applicationType: 'web',
    tokenEndpointAuthMethod: 'client_secret_basic',
    grantTypes: ['authorization_code', 'refresh_token'],
  })
  expect(Object.keys(read({}))).not.toContain('clientName')
})

test('the registrations of clients that people use are accepted', () => {
  const editor = {
    client_name: 'Cursor',
    redirect_uris: [
      'cursor://anysphere.cursor-mcp/oauth/callback',
      'https://www.cursor.com/agents/mcp/oauth/callback',
      'http://localhost:8787/callback',
    ],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: 'none',
  }
  expect(parseClientMetadata(editor)).toMatchObject({
    applicationType: 'native',
    tokenEndpointAuthMethod: 'none',
    clientName: 'Cursor',
  })
  const inspector = {
    redirect_uris: ['http://localhost:6274/oauth/callback'],
    token_endpoint_auth_method: 'none',
    application_type: 'native',
    client_name: 'MCP Inspector',
    client_uri: 'https://github.com/modelcontextprotocol/inspector',
    scope: '',
  }
  expect(parseClientMetadata(inspector)).toMatchObject({ applicationType: 'native', clientName: 'MCP Inspector' })
  const remote = {
    redirect_uris: ['http://127.0.0.1/', 'http://127.0.0.1:33418/', 'https://vscode.dev/redirect'],
    scope: 'claudeai',
    logo_uri: null,
    x: { y: 1 },
  }
  expect(parseClientMetadata(remote).applicationType).toBe('native')
})

test('the application type is as said, or told from the redirect URIs', () => {
  const type = (members: Record<string, unknown>) => read(members).applicationType
  expect(type({ application_type: 'native' })).toBe('native')
  expect(type({ application_type: 'web', redirect_uris: ['http://localhost/cb'] })).toBe('web')
  expect(type({ application_type: 'other' })).toBe('web')
  expect(type({ redirect_uris: ['https://a.example/cb', 'http://localhost/cb'] })).toBe('native')
  expect(type({ redirect_uris: ['com.example.app:/cb'] })).toBe('native')
})

test('a client that prefers a method we don’t have gets one that it lists', () => {
  const method = (members: Record<string, unknown>) => read(members).tokenEndpointAuthMethod
  for (const known of ['none', 'client_secret_basic', 'client_secret_post'])
    expect(method({ token_endpoint_auth_method: known })).toBe(known)
  expect(
    method({
      token_endpoint_auth_method: 'private_key_jwt',
      token_endpoint_auth_methods_supported: ['none', 'private_key_jwt'],
    }),
  ).toBe('none')
  expect(refusal({ redirect_uris, token_endpoint_auth_method: 'private_key_jwt' })).toMatchObject({
    code: 'invalid_client_metadata',
    description: 'jwks or jwks_uri: expected, for private_key_jwt',
  })
  expect(refusal({ redirect_uris, token_endpoint_auth_method: 'magic' })).toMatchObject({
    code: 'invalid_client_metadata',
    description: expect.stringContaining('none, client_secret_basic, client_secret_post, private_key_jwt'),
  })
})

describe('keys of a client', () => {
  const jwks = { keys: [{ kty: 'EC', crv: 'P-256', x: 'x', y: 'y' }] }
  const uri = 'https://app.example.com/jwks.json'
  const keyed = { token_endpoint_auth_method: 'private_key_jwt' }

  test('are kept where it may sign with them, and there alone', () => {
    const keys = (members: Record<string, unknown>) => [
      read(members).tokenEndpointAuthMethod,
      read(members).keys !== undefined,
    ]
    expect(read({ ...keyed, jwks })).toMatchObject({ tokenEndpointAuthMethod: 'private_key_jwt', keys: { jwks } })
    expect(read({ ...keyed, jwks_uri: uri }).keys).toEqual({ jwksUri: uri })
    expect(keys({ ...keyed, jwks, token_endpoint_auth_signing_alg: 'ES256' })).toEqual(['private_key_jwt', true])
    const both = { token_endpoint_auth_methods_supported: ['private_key_jwt'], jwks }
    expect(keys({ token_endpoint_auth_method: 'none', ...both })).toEqual(['none', true])
    expect(keys({ token_endpoint_auth_method: 'client_secret_post', ...both })).toEqual(['client_secret_post', false])
    expect(keys({ token_endpoint_auth_method: 'none', jwks })).toEqual(['none', false])
    expect(keys({ ...keyed, token_endpoint_auth_methods_supported: ['client_secret_basic'] })).toEqual([
      'client_secret_basic',
      false,
    ])
  })

  test.each([
    [{ jwks, jwks_uri: uri }, 'jwks and jwks_uri'],
    [{ jwks: { keys: [{ ...jwks.keys[0], d: 'private' }] } }, 'private key'],
    [{ jwks: { keys: [{ kty: 'oct', k: 'shared' }] } }, 'private key'],
    [{ jwks: { keys: [] } }, 'expected a key'],
    [{ jwks: 'x' }, 'JWK Set'],
    [{ jwks_uri: 'file:///etc/passwd' }, 'jwks_uri'],
    [{ jwks_uri: 5 }, 'jwks_uri'],
    [{ jwks, token_endpoint_auth_signing_alg: 'HS256' }, 'signing_alg'],
    [{ jwks, token_endpoint_auth_signing_alg: 'none' }, 'signing_alg'],
  ])('what can’t be right is refused: %j', (members, what) => {
    expect(refusal({ redirect_uris, ...keyed, ...members })).toMatchObject({
      code: 'invalid_client_metadata',
      description: expect.stringContaining(what),
    })
  })
})

test('grant types are those that we have of those asked for; without the code grant there is nothing to register', () => {
  expect(read({ grant_types: ['authorization_code'] }).grantTypes).toEqual(['authorization_code'])
  expect(read({ grant_types: ['refresh_token', 'authorization_code', 'implicit'] }).grantTypes).toEqual([
    'authorization_code',
    'refresh_token',
  ])
  expect(read({ response_types: ['code', 'code id_token'] }).grantTypes).toContain('authorization_code')
  expect(refusal({ redirect_uris, grant_types: ['implicit'] }).code).toBe('invalid_client_metadata')
  expect(refusal({ redirect_uris, grant_types: [] }).code).toBe('invalid_client_metadata')
  expect(refusal({ redirect_uris, response_types: ['token'] }).code).toBe('invalid_client_metadata')
})

test('a wrong body is refused with the member and what was expected', () => {
  for (const body of [null, [], 'x', 7, undefined]) expect(refusal(body).code).toBe('invalid_client_metadata')
  expect(refusal({})).toMatchObject({
    code: 'invalid_redirect_uri',
    description: expect.stringMatching(/^redirect_uris: .*array/),
  })
  expect(refusal({ redirect_uris: 'https://a.example' }).code).toBe('invalid_redirect_uri')
  expect(refusal({ redirect_uris: [7] })).toMatchObject({
    code: 'invalid_redirect_uri',
    description: expect.stringMatching(/^redirect_uris.0: /),
  })
  expect(refusal({ redirect_uris: ['http://a.example'] }).code).toBe('invalid_redirect_uri')
  expect(refusal({ redirect_uris, client_name: { evil: 1 } })).toMatchObject({
    code: 'invalid_client_metadata',
    description: expect.stringMatching(/^client_name: /),
  })
  expect(refusal({ redirect_uris, grant_types: 'authorization_code' }).description).toMatch(/^grant_types: /)
})

test('software statements are not accepted, and not silently ignored', () => {
  expect(refusal({ redirect_uris, software_statement: 'eyJ.e30.x' }).code).toBe('unapproved_software_statement')
  expect(refusal({ redirect_uris, software_statement: { iss: 'x' } }).code).toBe('invalid_software_statement')
  expect(read({ software_statement: null }).applicationType).toBe('web')
})

test('a name is one short line of what people can see', () => {
  const name = (text: string) => read({ client_name: text }).clientName
  expect(name('  Notes\tfor\r\nmacOS  ')).toBe('Notes for macOS')
  expect(name('Claude\u202e\u200b\u2066 Code\u0000')).toBe('Claude Code')
  expect(name('\u200b\u202e ')).toBeUndefined()
  expect(name('')).toBeUndefined()
  expect(name('日本語のアプリ 🗝')).toBe('日本語のアプリ 🗝')
  expect(name('x'.repeat(101))).toBe(`${'x'.repeat(99)}…`)
  expect(name('x'.repeat(1_000_000))).toHaveLength(100)
  expect(name(`a${'\u0334'.repeat(50)}b`)).toBe(`a${'\u0334'.repeat(3)}b`)
  // No more than its beginning is looked at.
  expect(name(`${'\u200b'.repeat(2047)}xy`)).toBe('x')
})

test('for any name, what is shown has nothing invisible and nothing that changes the direction of writing', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const shown = read({ client_name: text }).clientName ?? ''
      expect(shown).not.toMatch(/[\p{C}\p{Zl}\p{Zp}]/u)
      expect(shown).toBe(shown.trim())
      expect([...shown].length).toBeLessThanOrEqual(100)
    }),
    { numRuns: 1000 },
  )
})

test('addresses for display are https, or left out', () => {
  const uriOf = (text: unknown) => read({ client_uri: text, logo_uri: text, tos_uri: text, policy_uri: text })
  expect(uriOf('https://app.example.com')).toMatchObject({
    clientUri: 'https://app.example.com/',
    logoUri: 'https://app.example.com/',
    tosUri: 'https://app.example.com/',
    policyUri: 'https://app.example.com/',
  })
  const bad = [
    'http://localhost:3000',
    'javascript:alert(1)',
    'data:image/svg+xml,x',
    'https://user:pass@a.example',
    'x',
    '',
    7,
    `https://a.example/${'x'.repeat(3000)}`,
  ]
  for (const text of bad) {
    expect(Object.keys(uriOf(text))).toEqual([
      'redirectUris',
      'applicationType',
      'tokenEndpointAuthMethod',
      'grantTypes',
    ])
  }
})

test('members are never taken from a prototype', () => {
  const body = JSON.parse(
    `{"redirect_uris":["https://a.example/cb"],"__proto__":{"client_name":"Evil","token_endpoint_auth_method":"none"}}`,
  )
  expect(parseClientMetadata(body)).toMatchObject({ tokenEndpointAuthMethod: 'client_secret_basic' })
  expect(parseClientMetadata(body).clientName).toBeUndefined()
})

test('the answer says what was registered; a secret never expires', () => {
  const metadata = parseClientMetadata({
    redirect_uris: ['https://a.example/cb', 'javascript:alert(1)'],
    grant_types: ['authorization_code', 'implicit'],
    client_name: 'A',
    client_uri: 'https://a.example',
    scope: 'everything',
    token_endpoint_auth_method: 'client_secret_post',
  })
  expect(clientInformationResponse({ clientId: 'cs_1', clientSecret: 's', issuedAt: 1_800_000_000, metadata })).toEqual(
    {
      client_id: 'cs_1',
      client_id_issued_at: 1_800_000_000,
      client_secret: 's',
      client_secret_expires_at: 0,
      redirect_uris: ['https://a.example/cb'],
      token_endpoint_auth_method: 'client_secret_post',
      grant_types: ['authorization_code'],
      response_types: ['code'],
      application_type: 'web',
      client_name: 'A',
      client_uri: 'https://a.example/',
    },
  )
  const open = clientInformationResponse({
    clientId: 'cs_2',
    issuedAt: 1,
    metadata: read({ token_endpoint_auth_method: 'none' }),
  })
  expect(Object.keys(open)).not.toContain('client_secret')
  expect(Object.keys(open)).not.toContain('client_secret_expires_at')
})

test('a client may say that it wants bound tokens alone (RFC 9449 §5.2); anything but a boolean is a mistake', () => {
  expect(read({ dpop_bound_access_tokens: true })).toMatchObject({ dpopBoundAccessTokens: true })
  for (const unbound of [{}, { dpop_bound_access_tokens: false }, { dpop_bound_access_tokens: null }]) {
    expect(read(unbound)).not.toHaveProperty('dpopBoundAccessTokens')
  }
  expect(refusal({ redirect_uris, dpop_bound_access_tokens: 'true' }).code).toBe('invalid_client_metadata')
})

const es256 = { kty: 'EC', crv: 'P-256', x: 'x', y: 'y' }
const jwtBearer = 'urn:ietf:params:oauth:grant-type:jwt-bearer'

test('a client that can prove who it is may use assertions, where they are taken', () => {
  const grantTypes = (members: Record<string, unknown>, assertions?: boolean) =>
    parseClientMetadata({ redirect_uris, ...members }, assertions === undefined ? {} : { assertions }).grantTypes
  const both = { grant_types: ['authorization_code', jwtBearer] }
  expect(grantTypes(both, true)).toEqual(['authorization_code', jwtBearer])
  expect(grantTypes(both, false)).toEqual(['authorization_code'])
  expect(grantTypes(both)).toEqual(['authorization_code'])
  expect(grantTypes({ ...both, token_endpoint_auth_method: 'none' }, true)).toEqual(['authorization_code'])
  expect(grantTypes({}, true)).toEqual(['authorization_code', 'refresh_token'])
  // Who sends nobody here needs no way back.
  const alone = { grant_types: [jwtBearer], redirect_uris: undefined, response_types: [] }
  expect(parseClientMetadata(alone, { assertions: true })).toMatchObject({ grantTypes: [jwtBearer], redirectUris: [] })
  expect(parseClientMetadata({ ...alone, redirect_uris: [] }, { assertions: true }).redirectUris).toEqual([])
  const returning = parseClientMetadata({ ...alone, redirect_uris }, { assertions: true })
  expect(returning.redirectUris.map(({ text }) => text)).toEqual(redirect_uris)
  expect(refusal(alone).code).toBe('invalid_client_metadata')
  expect(refusal({ grant_types: ['authorization_code'] }).code).toBe('invalid_redirect_uri')
  expect(refusal({ redirect_uris: [] }).code).toBe('invalid_redirect_uri')
})

test('lists are bounded, at 32', () => {
  const many = (length: number) => Array.from({ length }, () => 'authorization_code')
  const codes = (length: number) => Array.from({ length }, () => 'code')
  expect(read({ grant_types: many(32), response_types: codes(32) }).grantTypes).toEqual(['authorization_code'])
  expect(refusal({ redirect_uris, grant_types: many(33) }).code).toBe('invalid_client_metadata')
  expect(refusal({ redirect_uris, response_types: codes(33) }).code).toBe('invalid_client_metadata')
})

test('a client may ask that its requests be pushed', () => {
  expect(read({ require_pushed_authorization_requests: true })).toMatchObject({ requirePushedRequests: true })
  expect(read({ require_pushed_authorization_requests: false })).not.toHaveProperty('requirePushedRequests')
})

test('texts and addresses that people see have their longest', () => {
  expect(read({ client_name: 'n'.repeat(100) }).clientName).toBe('n'.repeat(100))
  expect(read({ client_name: 'n'.repeat(101) }).clientName).toBe(`${'n'.repeat(99)}…`)
  const address = (length: number) => `https://app.example.com/`.padEnd(length, 'x')
  expect(read({ logo_uri: address(2048) }).logoUri).toBe(address(2048))
  expect(read({ logo_uri: address(2049) })).not.toHaveProperty('logoUri')
  for (const named of ['https://user@app.example.com/', 'https://:secret@app.example.com/']) {
    expect(read({ client_uri: named })).not.toHaveProperty('clientUri')
  }
})

test('the answer says all that was registered, and no more', () => {
  const management = { uri: 'https://as.example.com/register/cs_1', token: 'token' }
  const addresses = {
    client_uri: 'https://app.example.com/',
    logo_uri: 'https://app.example.com/logo.png',
    tos_uri: 'https://app.example.com/terms',
    policy_uri: 'https://app.example.com/privacy',
  }
  const members = {
    client_name: 'App',
    ...addresses,
    dpop_bound_access_tokens: true,
    require_pushed_authorization_requests: true,
    token_endpoint_auth_method: 'private_key_jwt',
  }
  const answer = (more: Record<string, unknown>) =>
    clientInformationResponse({ clientId: 'cs_1', issuedAt: 1, management, metadata: read({ ...members, ...more }) })
  const registered = {
    client_id: 'cs_1',
    client_id_issued_at: 1,
    registration_client_uri: management.uri,
    registration_access_token: management.token,
    redirect_uris,
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    application_type: 'web',
    ...members,
  }
  expect(answer({ jwks: { keys: [es256] } })).toStrictEqual({ ...registered, jwks: { keys: [es256] } })
  const jwks_uri = 'https://app.example.com/jwks.json'
  expect(answer({ jwks_uri })).toStrictEqual({ ...registered, jwks_uri })
  expect(clientInformationResponse({ clientId: 'cs_2', issuedAt: 2, metadata: read({}) })).toStrictEqual({
    client_id: 'cs_2',
    client_id_issued_at: 2,
    redirect_uris,
    token_endpoint_auth_method: 'client_secret_basic',
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    application_type: 'web',
  })
})
