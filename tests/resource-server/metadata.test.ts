import { createLocalJWKSet, type JWK, jwtVerify } from 'jose'
import { describe, expect, test } from 'vitest'
import { createOwnVerifier } from '../../src/authorization-server/own-verifier.ts'
import { createMetadataSigner } from '../../src/authorization-server/signed-metadata.ts'
import { systemClock } from '../../src/events/clock.ts'
import { silentLogger } from '../../src/events/logger.ts'
import { secretKeys } from '../../src/keys/secret-keys.ts'
import type { Resource } from '../../src/oauth/resource.ts'
import { createProtection } from '../../src/protection.ts'
import { createActivity } from '../../src/resource-server/activity.ts'
import { challengeHeader } from '../../src/resource-server/challenge.ts'
import { createMetadataRoutes, metadataUrl } from '../../src/resource-server/metadata.ts'
import { createProofMemory } from '../../src/resource-server/proof-memory.ts'
import { testIssuer } from '../../src/testing.ts'
import { testServer } from '../support/authorization-server.ts'

const resourceAt = (identifier: string, name?: string): Resource => ({
  identifier,
  name,
  scopes: { read: 'Read' },
  defaultScopes: ['read'],
})
const ask = async (
  routes: ReturnType<typeof createMetadataRoutes>,
  url: string,
  headers: Record<string, string> = {},
) => {
  const response = await routes.respond(new Request(url, { headers }))
  return response && ((await response.json()) as { resource: string; resource_name?: string }).resource
}

const wellKnown = '/.well-known/oauth-protected-resource'
const servers = ['https://a.example']

describe('where a resource’s metadata is', () => {
  test.each([
    ['https://a.example/mcp', `https://a.example${wellKnown}/mcp`],
    ['https://a.example/mcp/', `https://a.example${wellKnown}/mcp/`],
    ['https://a.example', `https://a.example${wellKnown}`],
    ['https://a.example/', `https://a.example${wellKnown}`],
    ['https://a.example:8443/x/y?tenant=1', `https://a.example:8443${wellKnown}/x/y?tenant=1`],
  ])('%s', (resource, expected) => {
    expect(metadataUrl(resource)).toBe(expected)
  })

  test('a resource without path keeps the form in which it was configured', async () => {
    const routes = createMetadataRoutes([resourceAt('https://a.example')], servers)
    expect(await ask(routes, `https://a.example${wellKnown}`)).toBe('https://a.example')
  })

  test('several resources have a document each, and the root is none of theirs', async () => {
    const routes = createMetadataRoutes(
      [resourceAt('https://a.example/one'), resourceAt('https://a.example/two')],
      servers,
    )
    expect(await ask(routes, `https://a.example${wellKnown}/one`)).toBe('https://a.example/one')
    expect(await ask(routes, `https://a.example${wellKnown}/two`)).toBe('https://a.example/two')
    expect(routes.handles(wellKnown)).toBe(false)
    expect(await ask(routes, `https://a.example${wellKnown}`)).toBeUndefined()
  })

  test('who asks by a name that no URL can have is told so, and may read it in a page', async () => {
    const routes = createMetadataRoutes([resourceAt('https://a.example')], servers)
    const request = { url: `http://[::${wellKnown}`, method: 'GET', headers: new Headers() }
    const response = await routes.respond(request as Request)
    expect([response?.status, response?.headers.get('access-control-allow-origin')]).toEqual([400, '*'])
  })

  test('the root is that of the resource without path, where there is one', async () => {
    const routes = createMetadataRoutes([resourceAt('https://a.example/one'), resourceAt('https://a.example')], servers)
    expect(await ask(routes, `https://a.example${wellKnown}`)).toBe('https://a.example')
  })

  test('fault 22, the same path on two hosts: Host chooses among what is configured, and adds nothing', async () => {
    const routes = createMetadataRoutes(
      [resourceAt('https://a.example/mcp'), resourceAt('https://b.example/mcp')],
      servers,
    )
    const at = (host: string) => ask(routes, `http://10.0.0.1${wellKnown}/mcp`, { Host: host })
    expect(await at('a.example')).toBe('https://a.example/mcp')
    expect(await at('b.example')).toBe('https://b.example/mcp')
    expect(await at('evil.example')).toBeUndefined()
  })

  test('a name for people', async () => {
    const routes = createMetadataRoutes([resourceAt('https://a.example/mcp', 'Notes')], servers)
    const response = await routes.respond(new Request(`https://a.example${wellKnown}/mcp`))
    expect(await response?.json()).toMatchObject({ resource_name: 'Notes', authorization_servers: servers })
  })
})

describe('signed metadata', () => {
  const document = async (routes: ReturnType<typeof createMetadataRoutes>) =>
    (await routes.respond(new Request(`https://a.example${wellKnown}/mcp`)))?.json() as Promise<{
      signed_metadata?: string
    }>
  const resources = [resourceAt('https://a.example/mcp', 'Notes')]

  test('says what the document says, by a key of the issuer, and is no token', async () => {
    const server = await testServer()
    const { keys, issuer } = server.server
    const routes = createMetadataRoutes(
      resources,
      servers,
      createMetadataSigner(async () => server.server, server.server.logger),
    )
    const { signed_metadata: signed = '', ...said } = await document(routes)
    const { payload, protectedHeader } = await jwtVerify(
      signed,
      createLocalJWKSet({ keys: [...keys.jwks().keys] as JWK[] }),
    )
    expect(payload).toEqual({ ...said, iss: issuer, iat: expect.any(Number) })
    expect(protectedHeader.typ).toBe('JWT')
    await expect(createOwnVerifier(server.server).verify(signed, 'https://a.example/mcp')).rejects.toMatchObject({
      name: 'TokenInvalid',
    })
    // Anybody may ask, and a signature may cost.
    expect((await document(routes)).signed_metadata).toBe(signed)
    await server.pass(3_600_001)
    expect((await document(routes)).signed_metadata).not.toBe(signed)
  })

  test('fault 5, without the store there is metadata still, and the operator reads why it is not signed', async () => {
    const { server, trouble } = await testServer()
    const away = () => Promise.reject(new Error('the store is away'))
    const routes = createMetadataRoutes(resources, servers, createMetadataSigner(away, server.logger))
    expect(await document(routes)).toMatchObject({ resource: 'https://a.example/mcp' })
    expect(await document(routes)).not.toHaveProperty('signed_metadata')
    expect(trouble.join()).toContain('could not be signed')
  })
})

describe('the header of a challenge', () => {
  const challenge = {
    error: 'invalid_token',
    description: 'x',
    scopes: ['a', 'b'],
    metadataUrl: 'https://a.example/m',
  } as const

  test('plain quoted values, in the order that clients expect', () => {
    expect(challengeHeader(challenge)).toBe(
      'Bearer error="invalid_token", error_description="x", scope="a b", resource_metadata="https://a.example/m"',
    )
  })

  test('no scopes, no empty scope', () => {
    expect(challengeHeader({ ...challenge, scopes: [] })).not.toContain('scope=')
  })

  test('nothing ends the quotes or the header', () => {
    const description = 'a"b\\c\r\nX-Evil: 1\u0000é…'
    const header = challengeHeader({ ...challenge, description, scopes: ['ok', 'a"b', 'c d', '\n', 'é'] })
    expect(header).toContain('error_description="a\'b\'cX-Evil: 1"')
    expect(header).toContain('scope="ok"')
    expect(() => new Headers({ 'WWW-Authenticate': header })).not.toThrow()
  })
})

describe('gates of several resources', () => {
  const issuer = testIssuer()
  const protectionOf = (...identifiers: string[]) =>
    createProtection({
      resources: identifiers.map((identifier) => ({ resource: resourceAt(identifier) })),
      authorizationServers: servers,
      verifier: issuer,
      bindingKeys: () => secretKeys(['x'.repeat(32)]),
      dpop: () => ({ marks: createProofMemory() }),
      activity: createActivity(),
      audit: () => {},
      logger: silentLogger,
      clock: systemClock,
    })

  test('fault 7, a token for one is none for the other', async () => {
    const protection = protectionOf('https://a.example/one', 'https://a.example/two')
    const { token } = issuer.accessToken({ resource: 'https://a.example/one' })
    const call = (path: string) =>
      protection.gate(
        path,
        () => new Response('in'),
      )(new Request(`https://a.example${path}`, { headers: { Authorization: `Bearer ${token}` } }))
    expect((await call('/one')).status).toBe(200)
    expect((await call('/two')).status).toBe(401)
  })

  test('a path that two hosts have is named by its URL', () => {
    const protection = protectionOf('https://a.example/mcp', 'https://b.example/mcp')
    expect(() => protection.gate('/mcp', () => new Response())).toThrow(/several/)
    expect(() => protection.gate('https://b.example/mcp', () => new Response())).not.toThrow()
  })
})
