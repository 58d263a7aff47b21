import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createOwnVerifier } from '../../src/authorization-server/own-verifier.ts'
import { memory } from '../../src/store/memory.ts'
import { movable } from '../store/movable-clock.ts'
import {
  mcp,
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
}

interface World {
  to: TestServer
  readonly restart: () => Promise<void>
  readonly clients: readonly TestClient[]
  readonly devices: Device[]
  readonly mishap: (kind: 'applied, answer lost' | 'lost') => void
}

const allScopes = ['notes:read', 'notes:write']

const steps = {
  signIn: fc.record({ person: fc.constantFrom('alice', 'bob'), client: fc.nat({ max: 1 }), wide: fc.boolean() }),
  refresh: fc.record({ device: fc.nat(), narrow: fc.boolean(), parallel: fc.integer({ min: 1, max: 3 }) }),
  revoke: fc.record({ device: fc.nat(), which: fc.constantFrom('access_token' as const, 'refresh_token' as const) }),
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
    devices.push({ person, client, scopes, subject, tokens, revoked: false })
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

test('for any sequence of sign-ins, refreshes, restarts, revocations and lost answers, what is verified is what was granted', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (sequence) => {
      const clock = movable()
      const store = unreliable(memory({ clock }))
      const to = await testServer({ store, clock })
      const clients = [await registered(to), await registered(to)]
      const world: World = {
        to,
        clients,
        devices: [],
        mishap: (kind) => void (store.mishaps.length < 3 && store.mishaps.push(kind)),
        restart: async () => {
          world.to = await testServer({ store, clock })
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

async function check({ to, devices }: World): Promise<void> {
  const verifier = createOwnVerifier(to.server)
  for (const { person, client, scopes, subject, tokens, revoked } of devices) {
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
