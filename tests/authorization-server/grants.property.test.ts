import fc from 'fast-check'
import { decodeJwt } from 'jose'
import { expect, test } from 'vitest'
import type { OwnVerifier } from '../../src/authorization-server/context.ts'
import { createOwnVerifier } from '../../src/authorization-server/own-verifier.ts'
import { actorChain } from '../../src/identity/actor.ts'
import { mostExchanges } from '../../src/policy/exchange.ts'
import { memory } from '../../src/store/memory.ts'
import { movable } from '../store/movable-clock.ts'
import {
  mcp,
  postToken,
  refresh,
  registered,
  revoke,
  signedIn,
  type TestClient,
  type TestServer,
  type Tokens,
  testServer,
} from '../support/authorization-server.ts'
import { unreliable } from '../support/unreliable-store.ts'

/** What the person approved, and what the client should know since. */
interface Device {
  readonly person: string
  readonly client: TestClient
  readonly scopes: readonly string[]
  readonly subject: string
  tokens: Tokens
  revoked: boolean
  /** What was made of its tokens by exchanging them. */
  readonly children: Child[]
}

interface Child {
  readonly token: string
  readonly scopes: readonly string[]
  /** The current actor first. */
  readonly actors: readonly string[]
  readonly parent: Child | undefined
  revoked: boolean
}

interface World {
  to: TestServer
  readonly restart: () => Promise<void>
  readonly clients: readonly TestClient[]
  readonly devices: Device[]
  readonly mishap: (kind: 'applied, answer lost' | 'lost') => void
}

const allScopes = ['notes:read', 'notes:write']

const exchangers = ['worker', 'agent'] as const
const secret = 'a client secret of more than 32 characters'
const clients = exchangers.map((id) => ({ id, secret, exchange: { from: ['*'] } }))

// Longer than the revocation log reaches back: what ended must be seen to have ended without it, too.
const lifetimes = { accessToken: 1_200 }

const steps = {
  signIn: fc.record({ person: fc.constantFrom('alice', 'bob'), client: fc.nat({ max: 1 }), wide: fc.boolean() }),
  refresh: fc.record({ device: fc.nat(), narrow: fc.boolean(), parallel: fc.integer({ min: 1, max: 3 }) }),
  revoke: fc.record({ device: fc.nat(), which: fc.constantFrom('access_token' as const, 'refresh_token' as const) }),
  exchange: fc.record({
    device: fc.nat(),
    of: fc.nat({ max: 5 }),
    by: fc.constantFrom(...exchangers),
    narrow: fc.boolean(),
  }),
  revokeChild: fc.record({ device: fc.nat(), child: fc.nat() }),
  foreign: fc.record({ device: fc.nat() }),
  restart: fc.constant({}),
  pass: fc.record({ seconds: fc.integer({ min: 1, max: 200 }) }),
  mishap: fc.record({ kind: fc.constantFrom('applied, answer lost' as const, 'lost' as const) }),
}
type Steps = { [Name in keyof typeof steps]: (typeof steps)[Name] extends fc.Arbitrary<infer Step> ? Step : never }

const acts: { [Name in keyof Steps]: (world: World, step: Steps[Name]) => Promise<void> } = {
  async signIn({ to, clients, devices }, { person, client: index, wide }) {
    const client = clients[index]
    if (!client) return
    const scopes = wide ? allScopes : ['notes:read']
    const tokens = await signedIn(to, client, { person, scopes })
    const { subject } = await createOwnVerifier(to.server).verify(tokens.access_token, mcp)
    for (const other of devices) expect(other.subject === subject).toBe(other.person === person)
    devices.push({ person, client, scopes, subject, tokens, revoked: false, children: [] })
  },
  async refresh({ to, devices }, { device: index, narrow, parallel }) {
    const device = devices[index % devices.length]
    if (!device) return
    const scope = narrow ? { scope: 'notes:read' } : {}
    const { client, tokens } = device
    const answers = await Promise.all(
      Array.from({ length: parallel }, () => refresh(to, client, tokens.refresh_token, scope)),
    )
    for (const { status, body } of answers) {
      expect([status, body.error]).toEqual(device.revoked ? [400, 'invalid_grant'] : [200, undefined])
    }
    const [first] = answers
    if (!device.revoked && first) device.tokens = first.body
  },
  async revoke({ to, devices }, { device: index, which }) {
    const device = devices[index % devices.length]
    if (!device) return
    expect((await revoke(to, device.client, device.tokens[which])).status).toBe(200)
    device.revoked = true
  },
  async exchange({ to, devices }, { device: index, of, by, narrow }) {
    const device = devices[index % devices.length]
    if (!device) return
    // Often what was exchanged before, so that chains grow.
    const parent = device.children[device.children.length - 1 - of]
    const token = parent?.token ?? device.tokens.access_token
    const had = parent?.scopes ?? (device.tokens.scope ?? '').split(' ')
    const left = Number(decodeJwt(token).exp) * 1000 - to.clock.now()
    const { status, body } = await postToken(to, {
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token: token,
      subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      client_id: by,
      client_secret: secret,
      ...(narrow ? { scope: 'notes:read' } : {}),
    })
    const good = !isDead(device, parent) && left >= 1000 && (parent?.actors.length ?? 0) < mostExchanges
    expect([status, body.error]).toEqual(good ? [200, undefined] : [400, 'invalid_request'])
    if (!good) return
    const { exp = 0 } = decodeJwt(body.access_token)
    expect(exp).toBeLessThanOrEqual(Number(decodeJwt(token).exp))
    const scopes = narrow ? ['notes:read'] : had
    expect(body.scope).toBe(scopes.join(' '))
    const actors = [by, ...(parent?.actors ?? [])]
    device.children.push({ token: body.access_token, scopes, actors, parent, revoked: false })
  },
  async revokeChild({ to, devices }, { device: index, child: nth }) {
    const device = devices[index % devices.length]
    const child = device?.children[nth % device.children.length]
    if (!child) return
    const { status } = await revoke(to, { client_id: child.actors[0] ?? '', client_secret: secret }, child.token)
    expect(status).toBe(200)
    child.revoked = true
  },
  async foreign({ to, clients, devices }, { device: index }) {
    const device = devices[index % devices.length]
    if (!device) return
    const other = clients.find((client) => client !== device.client)
    if (!other) return
    expect((await refresh(to, other, device.tokens.refresh_token)).body.error).toBe('invalid_grant')
    const { status } = await revoke(to, other, device.tokens.refresh_token)
    expect(status).toBe(device.revoked ? 200 : 400)
  },
  restart: ({ restart }) => restart(),
  pass: ({ to }, { seconds }) => to.pass(seconds * 1000),
  async mishap({ mishap }, { kind }) {
    mishap(kind)
  },
}

const step = fc.oneof(
  ...(Object.keys(steps) as (keyof Steps)[]).map((name) => steps[name].map((value) => ({ name, value }))),
)

test('for any sequence of sign-ins, refreshes, exchanges, restarts, revocations and lost answers, what is verified is what was granted', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (sequence) => {
      const clock = movable()
      const store = unreliable(memory({ clock }))
      const to = await testServer({ store, clock, clients, lifetimes })
      const registeredClients = [await registered(to), await registered(to)]
      const world: World = {
        to,
        clients: registeredClients,
        devices: [],
        mishap: (kind) => void (store.mishaps.length < 3 && store.mishaps.push(kind)),
        restart: async () => {
          world.to = await testServer({ store, clock, clients, lifetimes })
        },
      }
      for (const { name, value } of sequence) {
        // Only what writes at the token endpoint has a mishap: elsewhere the answer may be 503.
        const mishaps = name === 'refresh' ? [] : store.mishaps.splice(0)
        await (acts[name] as (world: World, step: unknown) => Promise<void>)(world, value)
        store.mishaps.unshift(...mishaps)
        await check(world)
      }
    }),
    { numRuns: 60, endOnFailure: true },
  )
})

/** A child lives only while its whole chain does. */
const isDead = (device: Device, child: Child | undefined): boolean =>
  child === undefined ? device.revoked : child.revoked || isDead(device, child.parent)

async function checkChild(verifier: OwnVerifier, device: Device, child: Child): Promise<void> {
  const verified = await verifier.verify(child.token, mcp).catch(({ reason }: { reason: string }) => reason)
  const dead = isDead(device, child)
  if (dead || typeof verified === 'string') {
    expect(dead ? ['revoked', 'expired'] : ['expired']).toContain(verified)
    return
  }
  expect(verified).toMatchObject({
    kind: 'user',
    subject: device.subject,
    clientId: child.actors[0],
    scopes: child.scopes,
    resource: mcp,
    upstream: { subject: device.person },
  })
  expect(actorChain(verified.actor).map(({ subject }) => subject)).toEqual(child.actors)
}

async function check({ to, devices }: World): Promise<void> {
  const verifier = createOwnVerifier(to.server)
  for (const device of devices) {
    const { person, client, scopes, subject, tokens, revoked } = device
    for (const child of device.children) await checkChild(verifier, device, child)
    const verified = await verifier.verify(tokens.access_token, mcp).catch(({ reason }: { reason: string }) => reason)
    if (revoked || typeof verified === 'string') {
      // A token's own end is no loss: what may not be is a grant that ended.
      expect(revoked ? ['revoked', 'expired'] : ['expired']).toContain(verified)
      continue
    }
    expect(verified).toMatchObject({
      subject,
      clientId: client.client_id,
      resource: mcp,
      upstream: { subject: person },
    })
    for (const scope of verified.scopes) expect(scopes).toContain(scope)
  }
  verifier.close()
}
