import { createHash } from 'node:crypto'
import { type ServerType, serve } from '@hono/node-server'
import { introspection, jwks, requireUser, resourceServer } from 'countersign'
import { memory } from 'countersign/store/memory'
import { hostSession } from 'countersign/upstream/host'
import { allowInsecureRequests, discovery, genericGrantRequest } from 'openid-client'
import { afterAll, expect, test } from 'vitest'
import { TestBrowser } from '../support/browser.ts'
import { freePort } from '../support/free-port.ts'

// The example as its reader would run it: an issuer with a server, a calendar elsewhere, an agent, and a person's application.

const secrets = Object.fromEntries(
  ['notes', 'calendar', 'agent', 'desk'].map((name) => [name, `the secret of ${name}, which is long enough for it`]),
) as { notes: string; calendar: string; agent: string; desk: string }
const scopes = { 'calendar:read': 'See your calendar' }
const running: ServerType[] = []

const listen = async (origin: string, fetch: (request: Request) => Promise<Response>): Promise<void> => {
  await new Promise<void>((resolve) => {
    const { hostname, port } = new URL(origin)
    running.push(serve({ fetch, port: Number(port), hostname, overrideGlobalObjects: false }, () => resolve()))
  })
}

afterAll(async () => {
  for (const server of running) {
    if ('closeAllConnections' in server) server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
})

const world = async (verifierOf: (issuer: string) => Parameters<typeof resourceServer>[0]['issuers'][number]) => {
  const { authForAgenda, exchange, notesHandler } = await import('../../examples/token-exchange.ts')
  const issuer = `http://127.0.0.1:${await freePort()}`
  const elsewhere = `http://127.0.0.1:${await freePort()}`
  const calendar = `${elsewhere}/mcp`
  const auth = authForAgenda(
    {
      url: issuer,
      store: memory(),
      audit: () => {},
      tokenClaims: ['name', 'email'],
      upstream: hostSession(async () => ({ subject: 'u-1', claims: { name: 'Ada', email: 'ada@example.com' } })),
    },
    calendar,
    secrets,
  )
  const notes = notesHandler(auth, calendar, secrets.notes)
  await listen(issuer, async (request) => (await auth.respond(request)) ?? notes(request))
  const server = resourceServer({ resource: calendar, issuers: [verifierOf(issuer)], scopes })
  const handler = server.gate(calendar, () => Response.json({ ...requireUser(server) }))
  await listen(elsewhere, async (request) => (await server.respond(request)) ?? handler(request))
  return { auth, issuer, calendar, exchange }
}

/** From the application to its tokens. */
const signIn = async (issuer: string): Promise<string> => {
  const verifier = 'a-verifier-that-is-long-enough-for-the-rules-of-pkce-0987654321'
  const redirect = 'https://desk.example/callback'
  const browser = new TestBrowser((request) => fetch(request), issuer)
  const query = new URLSearchParams({
    response_type: 'code',
    client_id: 'desk',
    redirect_uri: redirect,
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
    scope: 'notes:read notes:write',
    resource: `${issuer}/notes`,
  })
  const { left } = await browser.submit(await browser.open(`${issuer}/authorize?${query}`), 'approve')
  const response = await fetch(`${issuer}/token`, {
    method: 'POST',
    body: new URLSearchParams({
      grant_type: 'authorization_code',
      code: left?.searchParams.get('code') ?? '',
      code_verifier: verifier,
      redirect_uri: redirect,
      client_id: 'desk',
      client_secret: secrets.desk,
    }),
  })
  return ((await response.json()) as { access_token: string }).access_token
}

test.each([
  [
    'by introspection',
    (issuer: string) => introspection(issuer, { clientId: 'calendar-server', clientSecret: secrets.calendar }),
  ],
  ['by its keys', (issuer: string) => jwks(issuer)],
])(
  'a person, an agent and two servers: the last one sees who it is for and all who act, verified %s',
  async (_name, verifierOf) => {
    const { auth, issuer, calendar, exchange } = await world(verifierOf)
    const person = await signIn(issuer)
    const agent = await exchange(issuer, { id: 'agent', secret: secrets.agent }, person, { scope: 'notes:read' })
    const call = (token: string) =>
      fetch(`${issuer}/notes`, { method: 'POST', headers: { Authorization: `Bearer ${token}` } })
    const [direct, through] = [await (await call(person)).json(), await (await call(agent)).json()]
    const acting = (id: string, before?: object) => ({
      issuer,
      subject: id,
      clientId: id,
      ...(before && { actor: before }),
    })
    for (const seen of [direct, through]) {
      expect(seen).toMatchObject({
        kind: 'user',
        issuer,
        clientId: 'notes-server',
        scopes: ['calendar:read'],
        resource: calendar,
        upstream: {
          issuer: `${issuer}/upstream/host`,
          subject: 'u-1',
          claims: { name: 'Ada', email: 'ada@example.com' },
        },
      })
      expect(seen.subject).toBe(direct.subject)
    }
    expect(direct.actor).toEqual(acting('notes-server'))
    expect(through.actor).toEqual(acting('notes-server', acting('agent')))

    // The person disconnects the application: all that was made of it ends with it.
    const { grants } = await auth.grants.list(direct.subject)
    const [own, ...others] = grants.filter(({ kind }) => kind === 'authorization')
    expect([own?.clientId, others]).toEqual(['desk', []])
    const exchanged = grants.filter(({ kind, parent }) => kind === 'exchange' && parent !== undefined)
    expect(new Set(exchanged.map(({ clientId }) => clientId))).toEqual(new Set(['agent', 'notes-server']))
    expect(await auth.grants.revoke(own?.id ?? '')).toBe(true)
    expect((await auth.grants.list(direct.subject)).grants).toEqual([])
    for (const token of [person, agent]) {
      await expect.poll(async () => (await call(token)).status).toBe(401)
    }
    await expect(exchange(issuer, { id: 'agent', secret: secrets.agent }, person, {})).rejects.toThrow('400')
    await auth.close()
  },
)

test('an independent client exchanges', async () => {
  const { auth, issuer, calendar } = await world((url) => jwks(url))
  const person = await signIn(issuer)
  const config = await discovery(new URL(issuer), 'notes-server', secrets.notes, undefined, {
    algorithm: 'oauth2',
    execute: [allowInsecureRequests],
  })
  const type = 'urn:ietf:params:oauth:token-type:access_token'
  const grant = 'urn:ietf:params:oauth:grant-type:token-exchange'
  expect(config.serverMetadata().grant_types_supported).toContain(grant)
  const wanted = { subject_token: person, subject_token_type: type, resource: calendar }
  const answer = await genericGrantRequest(config, grant, wanted)
  expect(answer).toMatchObject({ token_type: 'bearer', issued_token_type: type, scope: 'calendar:read' })
  // The calendar's tokens live shorter.
  expect(answer.expires_in).toBe(120)
  const response = await fetch(calendar, {
    method: 'POST',
    headers: { Authorization: `Bearer ${answer.access_token}` },
  })
  expect(await response.json()).toMatchObject({ actor: { subject: 'notes-server' }, upstream: { subject: 'u-1' } })
  await expect(
    genericGrantRequest(config, grant, { ...wanted, resource: `${issuer}/elsewhere` }),
  ).rejects.toMatchObject({
    error: 'invalid_target',
  })
  await auth.close()
})
