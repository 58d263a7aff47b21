import { describe, expect, test } from 'vitest'
import type { AssertionIssuerOptions } from '../../src/authorization-server/assertion-options.ts'
import type { ClientOptions } from '../../src/authorization-server/client-options.ts'
import { countersign } from '../../src/countersign.ts'
import { ConfigurationError } from '../../src/oauth/configuration-error.ts'
import { memory } from '../../src/store/memory.ts'

const secret = 'a secret that is long enough to be one'
const idp: AssertionIssuerOptions = { kind: 'enterprise', issuer: 'https://idp.example', provider: 'acme' }
const cluster: AssertionIssuerOptions = {
  kind: 'workload',
  issuer: 'https://cluster.example',
  provider: 'cluster',
  audience: 'http://localhost:8787',
  workloads: [{ client: 'jobs', subject: 'ns/jobs/*' }],
}
const jobs: ClientOptions = { id: 'jobs', scopes: { '/mcp': ['notes:read'] } }

const start = (assertions: readonly unknown[], clients: readonly unknown[] = [jobs]) =>
  countersign({
    url: 'http://localhost:8787',
    secret,
    store: memory(),
    resources: { '/mcp': { scopes: { 'notes:read': 'Read' } } },
    assertions: assertions as AssertionIssuerOptions[],
    clients: clients as ClientOptions[],
  })

const refusal = (...args: Parameters<typeof start>): string => {
  try {
    start(...args)
  } catch (error) {
    if (error instanceof ConfigurationError) return error.path
    throw error
  }
  return 'nothing'
}

test('what can be right is taken', () => {
  expect(refusal([idp, cluster])).toBe('nothing')
  expect(refusal([{ ...idp, issuer: 'urn:acme', jwksUri: 'https://idp.example/keys' }], [])).toBe('nothing')
  expect(refusal([idp], [{ id: 'agent', secret }])).toBe('nothing')
  for (const subject of ['spiffe://example.org/ns/prod/*', 'repo:acme/app:*', 'exactly this']) {
    expect(refusal([{ ...cluster, workloads: [{ client: 'jobs', subject }] }]), subject).toBe('nothing')
  }
})

describe('what can’t is refused at start, with its path', () => {
  test.each([
    ['assertions[0].issuer', { ...idp, issuer: 'urn:acme' }],
    ['assertions[0].issuer', { ...idp, issuer: 'http://idp.example' }],
    ['assertions[0].issuer', { ...idp, issuer: 'http://localhost:8787' }],
    ['assertions[0].jwksUri', { ...idp, jwksUri: 'http://idp.example/keys' }],
    ['assertions[0]', { ...idp, jwksUri: 'https://idp.example/keys', jwks: { keys: [{ kty: 'EC' }] } }],
    ['assertions[0].provider', { ...idp, provider: 'Not a name' }],
    ['assertions[0].scopes["/mcp"]', { ...idp, scopes: { '/mcp': ['admin'] } }],
    ['assertions[0].scopes["/other"]', { ...idp, scopes: { '/other': [] } }],
    ['assertions[0].linkByEmail.provider', { ...idp, linkByEmail: { provider: 'nobody', domains: ['a.example'] } }],
    ['assertions[0].linkByEmail.domains[0]', { ...idp, linkByEmail: { provider: 'local', domains: ['*'] } }],
    ['assertions[0].linkByEmail.domains', { ...idp, linkByEmail: { provider: 'local', domains: [] } }],
    ['assertions[0].kind', { ...idp, kind: 'any' }],
    ['assertions[0].audience', { ...cluster, audience: undefined }],
    ['assertions[0].audience', { ...cluster, audience: [] }],
    ['assertions[0].workloads', { ...cluster, workloads: [] }],
    ['assertions[0].provider', { ...cluster, provider: 'local' }],
    ['assertions[0].workloads[0].client', { ...cluster, workloads: [{ client: 'nobody', subject: 'x' }] }],
  ])('%s', (path, given) => {
    expect(refusal([given])).toBe(path)
  })

  test.each(['*', 'ns*', '*/x', 'ns/*/x', '/*', ':*', '', 'ns/**'])('a subject for anybody: %j', (subject) => {
    expect(refusal([{ ...cluster, workloads: [{ client: 'jobs', subject }] }])).toBe(
      'assertions[0].workloads[0].subject',
    )
  })

  test('an issuer, or a name, twice', () => {
    expect(refusal([idp, { ...cluster, issuer: idp.issuer }])).toBe('assertions[1].issuer')
    expect(refusal([idp, { ...idp, issuer: 'https://other.example' }])).toBe('assertions[1].provider')
  })

  test('a client of a workload without scopes; assertions for a client that could not use them', () => {
    expect(refusal([cluster], [{ id: 'jobs', redirectUris: ['https://app.example/cb'] }])).toBe('clients[0].scopes')
    const bearer = 'urn:ietf:params:oauth:grant-type:jwt-bearer'
    expect(refusal([cluster], [{ ...jobs, grantTypes: ['client_credentials'] }])).toBe('clients[0].grantTypes')
    expect(refusal([], [{ id: 'agent', secret, grantTypes: [bearer] }])).toBe('clients[0].grantTypes')
    const open = { id: 'agent', redirectUris: ['https://app.example/cb'], grantTypes: ['authorization_code', bearer] }
    expect(refusal([idp], [open])).toBe('clients[0].grantTypes')
    expect(refusal([], [{ id: 'agent', secret }])).toBe('clients[0]')
  })
})
