import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createOwnVerifier } from '../../src/authorization-server/own-verifier.ts'
import type { AccessToken } from '../../src/identity/access-token.ts'
import type { JsonObject } from '../../src/identity/json.ts'
import { principal } from '../../src/identity/principal.ts'
import { TokenInvalid } from '../../src/identity/verifier.ts'
import { apiKeys, createApiKey, type StoredApiKey } from '../../src/resource-server/api-keys.ts'
import type { HandIssued } from '../../src/resource-server/hand-issued.ts'
import { introspection } from '../../src/resource-server/introspection-verifier.ts'
import type { IssuerVerifier } from '../../src/resource-server/issuer.ts'
import { jwks } from '../../src/resource-server/jwks-verifier.ts'
import { staticTokens } from '../../src/resource-server/static-tokens.ts'
import { testIssuer } from '../../src/testing.ts'
import { resourceServer } from '../../src/verify-only.ts'
import { mcp, issuer as ownIssuer, registered, signedIn, testServer } from '../support/authorization-server.ts'
import { type JwksIssuer, startJwksIssuer } from '../support/jwks-issuer.ts'

const resource = 'http://127.0.0.1:1/mcp'
/** What an issuer may call the resource that is no URL of it, as Entra does. */
const audience = 'api://6e74172b-be56-4843-9ff4-e66a39bb12e3'

interface Row extends HandIssued {
  readonly clientId: string
  readonly kind: 'user' | 'client'
}

const rows: Record<string, Row> = {
  'a person': { kind: 'user', subject: 'alice', clientId: 'editor', scopes: ['notes:read', 'notes:write'] },
  'a person with no scopes': { kind: 'user', subject: 'bob', clientId: 'editor' },
  'a person whose name looks like a client': { kind: 'user', subject: 'editor2', clientId: 'editor' },
  'a person for whom agents act': {
    ...{ kind: 'user', subject: 'alice', clientId: 'editor', scopes: ['notes:read'] },
    actor: {
      ...{ issuer: 'https://agents.example', subject: 'planner', clientId: 'agent-1' },
      actor: { issuer: 'https://agents.example', subject: 'helper' },
    },
  },
  'a person of an upstream provider': {
    ...{ kind: 'user', subject: 'u-1', clientId: 'https://client.example/id.json', scopes: ['notes:read'] },
    upstream: {
      ...{ provider: 'google', issuer: 'https://accounts.example', subject: '42' },
      claims: {
        iss: 'https://accounts.example',
        sub: '42',
        email: 'alice@example.com',
        groups: ['staff'],
        ü: { deep: [1, null] },
      },
    },
  },
  'a client by itself': { kind: 'client', subject: 'nightly', clientId: 'nightly', scopes: ['notes:read'] },
}

let issuer: JwksIssuer
beforeAll(async () => {
  issuer = await startJwksIssuer(resource)
})
afterAll(() => issuer.close())

const actorClaim = (actor: Row['actor']): object | undefined =>
  actor && { iss: actor.issuer, sub: actor.subject, client_id: actor.clientId, act: actorClaim(actor.actor) }

/** As an issuer says it. */
const claimsOf = ({ subject, clientId, scopes, actor, upstream }: Row, changes: object = {}) => ({
  ...{ sub: subject, client_id: clientId, scope: scopes?.join(' '), act: actorClaim(actor) },
  ...(upstream && { upstream_claims: upstream.claims, upstream_provider: upstream.provider }),
  ...changes,
})

type Made = { readonly verifier: IssuerVerifier; readonly token: string }

const asked = (answer: object, more: object = {}): Made => {
  const body = { active: true, iss: issuer.issuer, aud: resource, exp: Math.floor(Date.now() / 1000) + 600, ...answer }
  const fetch = async () => Response.json(JSON.parse(JSON.stringify(body)))
  const options = { clientId: 'rs', clientSecret: 's', endpoint: `${issuer.issuer}/introspect`, fetch, ...more }
  return { verifier: introspection(issuer.issuer, options), token: 'opaque' }
}

const verifiers: Record<string, (row: Row) => Promise<Made> | Made> = {
  'signed tokens': async (row) => ({ verifier: jwks(issuer.issuer), token: await issuer.sign(claimsOf(row)) }),
  'signed tokens for an audience that is no URL': async (row) => ({
    verifier: jwks(issuer.issuer, { audiences: [audience], types: ['jwt'], clientIdClaim: 'azp' }),
    token: await issuer.sign(
      claimsOf(row, {
        aud: audience,
        client_id: undefined,
        azp: row.clientId,
        scope: undefined,
        scp: row.scopes?.join(' '),
      }),
      { typ: 'JWT' },
    ),
  }),
  introspection: (row) => asked(claimsOf(row)),
  'introspection for an audience that is no URL': (row) =>
    asked(claimsOf(row, { aud: audience }), { audiences: [audience] }),
  'introspection by an issuer that does not name itself': (row) => asked(claimsOf(row, { iss: undefined })),
  'static tokens': (row) => ({
    verifier: staticTokens({ 'a-token': row }, { issuer: issuer.issuer }),
    token: 'a-token',
  }),
  async 'API keys'(row) {
    const { key, ...stored } = await createApiKey()
    const keys: StoredApiKey[] = [{ ...row, ...stored }]
    return { verifier: apiKeys({ issuer: issuer.issuer, keys }), token: key }
  },
  'the test issuer'(row) {
    const verifier = testIssuer(issuer.issuer)
    return { verifier, token: verifier.accessToken({ ...row, resource } as never).token }
  },
}

/** What no verifier may see differently. */
const identityOf = (token: AccessToken) => ({
  ...{ kind: token.kind, issuer: token.issuer, subject: token.subject, clientId: token.clientId },
  ...{ actor: token.actor, scopes: token.scopes, resource: token.resource, principal: principal(token).key },
  upstream: token.kind === 'user' && token.upstream ? JSON.parse(JSON.stringify(token.upstream)) : undefined,
})

describe.each(Object.entries(rows))('the same identity by every verifier: %s', (_who, row) => {
  const expected = {
    ...{
      kind: row.kind,
      subject: row.subject,
      clientId: row.clientId,
      actor: row.actor,
      scopes: row.scopes ?? [],
      resource,
    },
    upstream: row.upstream && JSON.parse(JSON.stringify(row.upstream)),
  }

  test.each(Object.entries(verifiers))('%s', async (_verifier, make) => {
    const { verifier, token } = await make(row)
    const seen = await verifier.verify(token, resource)
    expect(identityOf(seen)).toEqual({ ...expected, issuer: issuer.issuer, principal: expect.any(String) })
    expect(seen.token).toBe(token)
    expect(JSON.stringify(seen)).not.toContain(token)
    expect(Object.isFrozen(seen.claims)).toBe(true)
    expect(seen.expiresAt).toBeGreaterThan(Date.now() / 1000)
  })

  test('and one principal', async () => {
    const keys = await Promise.all(
      Object.values(verifiers).map(async (make) => {
        const { verifier, token } = await make(row)
        return principal(await verifier.verify(token, resource)).key
      }),
    )
    expect(new Set(keys).size).toBe(1)
  })
})

describe('the same identity by every verifier: a client by itself whose issuer gives it a subject that is no client', () => {
  const machine = { sub: '7d3c-of-the-directory', client_id: 'nightly', scp: undefined, roles: ['Notes.Read'] }
  const isClient = ({ roles, scp }: JsonObject) => roles !== undefined && scp === undefined
  const kinds: Record<string, (claims: object, told?: typeof isClient) => Promise<Made> | Made> = {
    'signed tokens': async (claims, told) => ({
      verifier: jwks(issuer.issuer, told && { isClient: told }),
      token: await issuer.sign({ scope: undefined, ...claims }),
    }),
    introspection: (claims, told) => asked(claims, told && { isClient: told }),
  }

  test.each(Object.entries(kinds))('%s', async (_name, make) => {
    const kindOf = async (claims: object, told?: typeof isClient) => {
      const { verifier, token } = await make(claims, told)
      const { kind, subject, clientId } = await verifier.verify(token, resource)
      return [kind, subject, clientId]
    }
    expect(await kindOf(machine, isClient)).toEqual(['client', machine.sub, 'nightly'])
    expect(await kindOf({ ...machine, scp: 'Notes.Read' }, isClient)).toEqual(['user', machine.sub, 'nightly'])
    expect(await kindOf({ ...machine, sub: 'nightly', scp: 'Notes.Read' }, isClient)).toEqual([
      'client',
      'nightly',
      'nightly',
    ])
    expect(await kindOf(machine)).toEqual(['user', machine.sub, 'nightly'])
  })

  test.each(Object.entries(kinds))(
    '%s: where nobody can tell, nobody is let in, and it is no fault of the token',
    async (_name, make) => {
      const { verifier, token } = await make(machine, () => {
        throw new Error('broken')
      })
      const error = await verifier.verify(token, resource).catch((thrown: unknown) => thrown)
      expect(error).toBeInstanceOf(Error)
      expect(error).not.toBeInstanceOf(TokenInvalid)
    },
  )

  test('a rule for people does not let it in', async () => {
    const call = async (told?: typeof isClient) => {
      const auth = resourceServer({
        resource,
        issuers: [jwks(issuer.issuer, told && { isClient: told })],
        tools: { '*': { kind: 'user' } },
      })
      const headers = { Authorization: `Bearer ${await issuer.sign({ scope: undefined, ...machine })}` }
      const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'pay' } })
      const serve = auth.gate(resource, () => new Response('in'))
      return (await serve(new Request(resource, { method: 'POST', headers, body }))).status
    }
    expect([await call(isClient), await call()]).toEqual([403, 200])
  })
})

test('the same identity by every verifier: a token of our own, in process, by its signature and by asking', async () => {
  const to = await testServer({ tokenClaims: ['email', 'name', 'groups'] })
  const client = await registered(to)
  const { access_token: token } = await signedIn(to, client, { scopes: ['notes:read'], said: { groups: ['staff'] } })
  const own = await createOwnVerifier(to.server).verify(token, mcp)
  const serve = async (url: string) =>
    Response.json(url.endsWith('/jwks') ? to.server.keys.jwks() : { issuer: ownIssuer, jwks_uri: `${ownIssuer}/jwks` })
  const { clock } = to.server
  const bySignature = await jwks(ownIssuer, { fetch: serve, clock }).verify(token, mcp)
  const asking = { clientId: 'rs', clientSecret: 's', endpoint: `${ownIssuer}/introspect`, clock }
  const answer = { active: true, token_type: 'Bearer', ...own.claims }
  const byAsking = await introspection(ownIssuer, { ...asking, fetch: async () => Response.json(answer) }).verify(
    token,
    mcp,
  )
  for (const seen of [bySignature, byAsking]) {
    const { upstream, ...identity } = identityOf(seen)
    expect(identityOf(own)).toMatchObject(identity)
    // Handlers of our own server get all claims; others those that were named.
    expect(identityOf(own).upstream).toMatchObject(upstream)
    expect(upstream.claims).toMatchObject({ email: 'alice@example.org', groups: ['staff'] })
  }
})
