import { randomBytes } from 'node:crypto'
import type { AuditEvent } from '../../src/events/audit.ts'
import { systemRandom } from '../../src/events/random.ts'
import { openKeyRing } from '../../src/keys/key-ring.ts'
import { createRecords } from '../../src/records/records.ts'
import { memory } from '../../src/store/memory.ts'
import type { Store } from '../../src/store/store.ts'
import type { UpstreamContext } from '../../src/upstream/context.ts'
import type { NamedProvider, OpenProvider, Provider, RedirectProvider } from '../../src/upstream/provider.ts'
import { movable } from '../store/movable-clock.ts'

export const redirectUri = 'http://127.0.0.1:41235/callback/openid'
const secret = randomBytes(32).toString('base64')

export interface TestContext extends UpstreamContext {
  readonly clock: ReturnType<typeof movable>
  readonly store: Store
  readonly events: AuditEvent[]
  /** All that was logged. */
  readonly log: string[]
}

/** One node of a server, of real parts. Several of one store and clock are a cluster. */
export const testContext = async (shared: Partial<Pick<TestContext, 'clock' | 'store' | 'fetch'>> = {}) => {
  const clock = shared.clock ?? movable()
  const store = shared.store ?? memory({ clock })
  const events: AuditEvent[] = []
  const log: string[] = []
  const note = (message: string, details?: object) => void log.push(`${message} ${JSON.stringify(details)}`)
  const random = systemRandom
  const audit: UpstreamContext['audit'] = (facts) => void events.push({ at: clock.now(), ...facts })
  const keys = await openKeyRing({ store, secrets: [secret], algorithm: 'ES256', clock, random, audit })
  const context: TestContext = {
    issuer: 'https://auth.example.com',
    records: createRecords(store, keys),
    clock,
    random,
    audit,
    logger: { debug: note, info: note, warn: note, error: note },
    fetch: shared.fetch ?? fetch,
    store,
    events,
    log,
  }
  return context
}

export const named = (provider: Provider<unknown>, context: UpstreamContext): NamedProvider => ({
  ...provider,
  open: provider.open(context),
})

export const redirecting = (open: OpenProvider): RedirectProvider => {
  if (open.kind !== 'redirect') throw new Error(`a ${open.kind} provider`)
  return open
}

export const plainRequest = { redirectUri, state: 'state-1', reauthenticate: false, selectAccount: false }

/** What a promise was rejected with; fails where it was not. */
export const rejection = async (promise: Promise<unknown>): Promise<unknown> => {
  let value: unknown
  try {
    value = await promise
  } catch (error) {
    return error
  }
  throw new Error(`it was not refused: ${JSON.stringify(value)}`)
}
