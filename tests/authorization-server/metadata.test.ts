import { expect, test } from 'vitest'
import { jwksEndpoint, metadataEndpoint } from '../../src/authorization-server/metadata.ts'
import { revokeEndpoint } from '../../src/authorization-server/revoke.ts'
import { tokenEndpoint } from '../../src/authorization-server/token.ts'
import { answered, issuer, testServer } from '../support/authorization-server.ts'

test('the metadata document: issuer byte for byte, endpoints, S256 alone, iss on the way back', async () => {
  const { server } = await testServer({ issuer: 'https://auth.example.com/tenant' })
  const { status, headers, body } = await answered(await metadataEndpoint(server, new Request(issuer)))
  expect(status).toBe(200)
  expect(headers.get('cache-control')).toMatch(/^public, max-age=\d+$/)
  expect(headers.get('access-control-allow-origin')).toBe('*')
  expect(body).toMatchObject({
    issuer: 'https://auth.example.com/tenant',
    authorization_endpoint: 'https://auth.example.com/tenant/authorize',
    token_endpoint: 'https://auth.example.com/tenant/token',
    registration_endpoint: 'https://auth.example.com/tenant/register',
    revocation_endpoint: 'https://auth.example.com/tenant/revoke',
    jwks_uri: 'https://auth.example.com/tenant/jwks',
    response_types_supported: ['code'],
    code_challenge_methods_supported: ['S256'],
    authorization_response_iss_parameter_supported: true,
  })
})

test('fault 17: the JWKS has public ES256 keys with ids, and nothing private', async () => {
  const { server } = await testServer()
  const response = await jwksEndpoint(server, new Request(issuer))
  const { keys } = (await response.json()) as { keys: Record<string, string>[] }
  expect(keys).toHaveLength(1)
  expect(keys[0]).toMatchObject({ kty: 'EC', crv: 'P-256', alg: 'ES256', use: 'sig', kid: expect.any(String) })
  expect(keys[0]).not.toHaveProperty('d')
  expect(response.headers.get('cache-control')).toMatch(/^public, max-age=\d+$/)
})

test('HEAD, OPTIONS and wrong methods', async () => {
  const { server } = await testServer()
  for (const endpoint of [metadataEndpoint, jwksEndpoint]) {
    const head = await endpoint(server, new Request(issuer, { method: 'HEAD' }))
    expect([head.status, await head.text()]).toEqual([200, ''])
    expect((await endpoint(server, new Request(issuer, { method: 'DELETE' }))).status).toBe(405)
    expect((await endpoint(server, new Request(issuer, { method: 'OPTIONS' }))).status).toBe(204)
  }
  for (const endpoint of [tokenEndpoint, revokeEndpoint]) {
    const preflight = await endpoint(server, new Request(issuer, { method: 'OPTIONS' }))
    expect(preflight.headers.get('access-control-allow-headers')).toContain('Authorization')
    const { status, headers, body } = await answered(await endpoint(server, new Request(issuer)))
    expect([status, headers.get('allow'), headers.get('cache-control'), body.error]).toEqual([
      405,
      'POST, OPTIONS',
      'no-store',
      'invalid_request',
    ])
  }
})
