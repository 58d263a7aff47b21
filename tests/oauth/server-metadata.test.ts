import { expect, test } from 'vitest'
import { ConfigurationError } from '../../src/oauth/configuration-error.ts'
import { resolveResources } from '../../src/oauth/resource.ts'
import { authorizationServerMetadata, checkIssuer, metadataPath } from '../../src/oauth/server-metadata.ts'

const issuer = 'https://as.example.com'
const resources = resolveResources(issuer, {
  '/a': { scopes: { read: 'Read', write: 'Write' }, defaultScopes: ['read'] },
  '/b': { scopes: { read: 'Read', list: 'List' } },
})
const endpoints = { authorize: `${issuer}/authorize`, token: `${issuer}/token`, jwks: `${issuer}/jwks` }

test('the metadata that clients need, and nothing that we don’t have', () => {
  expect(authorizationServerMetadata({ issuer, endpoints, resources })).toEqual({
    issuer,
    authorization_endpoint: 'https://as.example.com/authorize',
    token_endpoint: 'https://as.example.com/token',
    jwks_uri: 'https://as.example.com/jwks',
    request_parameter_supported: false,
    request_uri_parameter_supported: false,
    scopes_supported: ['read', 'list', 'offline_access'],
    response_types_supported: ['code'],
    response_modes_supported: ['query'],
    grant_types_supported: [
      'authorization_code',
      'refresh_token',
      'client_credentials',
      'urn:ietf:params:oauth:grant-type:token-exchange',
    ],
    token_endpoint_auth_methods_supported: ['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'],
    token_endpoint_auth_signing_alg_values_supported: ['RS256', 'ES256', 'EdDSA'],
    code_challenge_methods_supported: ['S256'],
    dpop_signing_alg_values_supported: ['ES256', 'ES384', 'EdDSA', 'Ed25519', 'PS256', 'RS256'],
    authorization_response_iss_parameter_supported: true,
  })
})

test('what is optional is there when it is told', () => {
  const metadata = authorizationServerMetadata({
    issuer,
    endpoints: {
      ...endpoints,
      register: `${issuer}/register`,
      revoke: `${issuer}/revoke`,
      introspect: `${issuer}/introspect`,
    },
    resources,
    clientIdMetadataDocuments: true,
    listResources: true,
  })
  expect(metadata).toMatchObject({
    registration_endpoint: 'https://as.example.com/register',
    revocation_endpoint: 'https://as.example.com/revoke',
    revocation_endpoint_auth_methods_supported: [
      'none',
      'client_secret_basic',
      'client_secret_post',
      'private_key_jwt',
    ],
    introspection_endpoint: 'https://as.example.com/introspect',
    client_id_metadata_document_supported: true,
    protected_resources: ['https://as.example.com/a', 'https://as.example.com/b'],
  })
})

test('the issuer is the configured string, byte for byte', () => {
  for (const text of [
    'https://as.example.com',
    'https://as.example.com/',
    'https://as.example.com/tenant',
    'https://as.example.com/tenant/',
    'https://as.example.com:8443',
    'http://localhost:8787',
    'http://127.0.0.1:8787',
    'http://[::1]:8787',
  ]) {
    expect(checkIssuer(text)).toBe(text)
    expect(authorizationServerMetadata({ issuer: checkIssuer(text), endpoints, resources }).issuer).toBe(text)
  }
})

test('the metadata of an issuer with a path is found with the well-known part before the path', () => {
  expect(metadataPath('https://as.example.com')).toBe('/.well-known/oauth-authorization-server')
  expect(metadataPath('https://as.example.com/')).toBe('/.well-known/oauth-authorization-server')
  expect(metadataPath('https://as.example.com/tenant')).toBe('/.well-known/oauth-authorization-server/tenant')
  expect(metadataPath('https://as.example.com/a/b/')).toBe('/.well-known/oauth-authorization-server/a/b')
})

test('a wrong issuer is refused with its path and what was expected', () => {
  const refused: [string, RegExp][] = [
    ['as.example.com', /^url: expected an absolute URL/],
    ['/auth', /an absolute URL/],
    ['http://as.example.com', /https, or http on 127.0.0.1/],
    ['http://localhost.example.com', /https, or http/],
    ['ftp://as.example.com', /https, or http/],
    ['https://user@as.example.com', /without user name/],
    ['https://as.example.com/?x=1', /without query/],
    ['https://as.example.com?', /without query/],
    ['https://as.example.com#', /without query and fragment/],
    ['https://AS.example.com', /"https:\/\/as.example.com"/],
    ['https://as.example.com:443', /"https:\/\/as.example.com"/],
    ['https://as.example.com/a/../b', /"https:\/\/as.example.com\/b"/],
    ['https:as.example.com', /"https:\/\/as.example.com"/],
    [' https://as.example.com', /usual form/],
  ]
  for (const [text, message] of refused) {
    expect(() => checkIssuer(text), text).toThrow(message)
    expect(() => checkIssuer(text), text).toThrow(ConfigurationError)
  }
  expect(() => checkIssuer('x', 'issuers[0]')).toThrow(/^issuers\[0\]: /)
})

test('all that is optional, in the words of its RFC', () => {
  const methods = ['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt']
  const all = authorizationServerMetadata({
    issuer,
    endpoints: {
      ...endpoints,
      pushed: `${issuer}/par`,
      revoke: `${issuer}/revoke`,
      introspect: `${issuer}/introspect`,
    },
    resources,
    requirePushedRequests: true,
    signingAlgorithms: ['ES256'],
    upstreamClaims: ['iss', 'sub'],
    assertions: { enterprise: true },
    locales: ['en', 'de'],
  })
  expect(all).toMatchObject({
    pushed_authorization_request_endpoint: `${issuer}/par`,
    require_pushed_authorization_requests: true,
    revocation_endpoint_auth_methods_supported: methods,
    // Who asks what tokens say must prove who it is.
    introspection_endpoint_auth_methods_supported: methods.slice(1),
    introspection_endpoint_auth_signing_alg_values_supported: ['RS256', 'ES256', 'EdDSA'],
    introspection_signing_alg_values_supported: ['ES256'],
    upstream_claims_supported: ['iss', 'sub'],
    authorization_grant_profiles_supported: ['urn:ietf:params:oauth:grant-profile:id-jag'],
    ui_locales_supported: ['en', 'de'],
  })
  expect(all.grant_types_supported).toContain('urn:ietf:params:oauth:grant-type:jwt-bearer')
  expect(all).not.toHaveProperty('registration_endpoint')
})

test('what does not hold is not said', () => {
  const some = authorizationServerMetadata({
    issuer,
    endpoints,
    resources,
    signingAlgorithms: ['ES256'],
    assertions: { enterprise: false },
    locales: ['en'],
  })
  for (const name of [
    'introspection_signing_alg_values_supported',
    'authorization_grant_profiles_supported',
    'ui_locales_supported',
    'registration_endpoint',
    'introspection_endpoint',
    'revocation_endpoint',
    'revocation_endpoint_auth_methods_supported',
    'require_pushed_authorization_requests',
  ]) {
    expect(Object.keys(some)).not.toContain(name)
  }
  expect(some.grant_types_supported).toContain('urn:ietf:params:oauth:grant-type:jwt-bearer')
  const unsigned = authorizationServerMetadata({
    issuer,
    endpoints: { ...endpoints, introspect: `${issuer}/introspect` },
    resources,
  })
  expect(Object.keys(unsigned)).not.toContain('introspection_signing_alg_values_supported')
})

test('an issuer has no password, and no scheme but those of the web', () => {
  expect(() => checkIssuer('https://:secret@as.example.com')).toThrow(/without user name/)
  expect(() => checkIssuer('ftp://localhost')).toThrow(/https, or http/)
})
