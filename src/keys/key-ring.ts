import type { JWK } from 'jose'
import { base64url } from '../crypto/bytes.ts'
import type { SigningKey } from '../crypto/jws.ts'
import { seal, unseal } from '../crypto/sealing.ts'
import type { SigningAlgorithm } from '../crypto/signing-algorithm.ts'
import type { Audit, AuditFacts } from '../events/audit.ts'
import type { Clock } from '../events/clock.ts'
import { type Logger, silentLogger } from '../events/logger.ts'
import type { Random } from '../events/random.ts'
import type { Sealer } from '../records/records.ts'
import type { Store } from '../store/store.ts'
import { coalesced } from './coalesced.ts'
import { type KeyInformation, keyInformation, type RotateOptions } from './key-information.ts'
import { type Loaded, loadRing } from './loaded.ts'
import {
  algorithmOf,
  defaultRotation,
  type Missing,
  pendingKey,
  planFor,
  type RotationPolicy,
  type Wanted,
  withoutOlder,
  withSuccessor,
} from './plan.ts'
import { createResealing } from './resealing.ts'
import { currentKey, type KeyUse, keyUses, type MacKey, newestKey, type Ring, type RingKey } from './ring.ts'
import { createRingStore, KeyRingMissing, KeyRingUnreadable, ringMessage } from './ring-store.ts'
import { generateSigningKey, type SigningKeyPair } from './signing-key.ts'

/** The server's keys, each with an id that is in whatever it made. */
export interface KeyRing extends Sealer {
  /** The key that signs now. */
  signingKey(): SigningKey
  /** The public key of an id; the ring is read again for one that is not known. Undefined: there is no such key. */
  verificationKey(id: string): Promise<SigningKey | undefined>
  macKey(): MacKey
  /** As `verificationKey`. */
  macKeyById(id: string): Promise<MacKey | undefined>
  /** The public keys, for the JWKS document. @see RFC 7517 §5 */
  jwks(): { readonly keys: readonly JWK[] }
  /** How long a JWKS document may be kept by others, in seconds: they must see a new key before it signs. */
  readonly jwksMaxAge: number
  /**
   * To be called before anything is made with a key: waits only where the ring was not read for minutes. What is due by schedule is done beside.
   * @throws StoreUnavailable, KeyRingUnreadable
   */
  catchUp(): Promise<void>
  list(): Promise<readonly KeyInformation[]>
  /** @throws StoreUnavailable, KeyRingUnreadable, SigningKeysConfigured */
  rotate(options?: RotateOptions): Promise<KeyInformation>
  /** Seals the ring for exactly the configured secrets. Answers whether that was to do. */
  sealAgain(): Promise<boolean>
  /** The listener is called when a signing key was taken away before its time: what was verified with it is to be looked at again. */
  whenDropped(listener: () => void): () => void
  close(): void
}

export interface KeyRingOptions {
  readonly store: Store
  readonly secrets: readonly [string, ...string[]]
  readonly algorithm: SigningAlgorithm
  readonly clock: Clock
  readonly random: Random
  readonly audit: Audit
  readonly logger?: Logger
  readonly rotation?: RotationPolicy
  /** The operator's own keys: the first that is private signs. */
  readonly external?: readonly ExternalKey[]
  /** `administrator`: does nothing to the ring unasked, and makes none. Default: `server`. */
  readonly role?: 'server' | 'administrator'
}

export type ExternalKey = Pick<SigningKeyPair, 'jwk' | 'public'> & Partial<Pick<SigningKeyPair, 'private'>>

/** How old what is known of the ring may be, in milliseconds: then it is read again beside the requests, and then before them. */
const refreshAfter = 60_000
const bound = 5 * 60_000
const retryAfter = 5_000

/**
 * Reads the ring, or makes it at the first start: of several nodes that start at once, one writes and the others read.
 * @throws KeyRingUnreadable where none of the secrets opens it; KeyRingMissing for an administrator; StoreUnavailable
 */
export const openKeyRing = async (options: KeyRingOptions): Promise<KeyRing> => {
  const { clock, store, audit, algorithm, logger = silentLogger, rotation: policy = defaultRotation } = options
  const { external = [], role = 'server' } = options
  const serves = role === 'server'
  const ringStore = createRingStore(store, options.secrets)
  const externalKey = external.find((key) => key.private)?.private
  const told = external.map(
    ({ jwk, public: { id } }): RingKey => ({
      id,
      use: 'sign',
      createdAt: 0,
      activeFrom: 0,
      external: true,
      material: jwk,
    }),
  )
  const wanted: Wanted = { policy, algorithm: undefined, external: told }
  const dropListeners = new Set<() => void>()

  const create = async () => {
    const { now } = await ringStore.read()
    // The first keys are in use at once: nobody has anything older.
    const missing = keyUses.map((use) => ({ use, activeFrom: 0 }))
    const uses = externalKey ? missing.filter(({ use }) => use !== 'sign') : missing
    const ring: Ring = { keys: await Promise.all(uses.map((each) => makeKey(options, each, now))) }
    const created = await ringStore.create(ring)
    if (created) audit({ type: 'keys.created', keys: ring.keys.map(({ id, use }) => `${use}:${id}`) })
    const stored = created ?? (await ringStore.read()).stored
    if (!stored) throw new KeyRingMissing()
    return stored
  }
  const first = async () => {
    const { stored } = await ringStore.read()
    if (stored) return stored
    if (!serves) throw new KeyRingMissing()
    return create()
  }

  let readAt = clock.now()
  let attemptedAt = Number.NEGATIVE_INFINITY
  let loaded: Loaded = loadRing(await first())

  const install = (next: Loaded): void => {
    const now = clock.now()
    const isLost = ({ id, use, until = Number.POSITIVE_INFINITY }: RingKey) =>
      use === 'sign' && until > now && !next.verifying.has(id)
    const lost = loaded.ring.keys.some(isLost)
    loaded = next
    if (lost) for (const listener of dropListeners) listener()
  }
  const reload = async (): Promise<void> => {
    const startedAt = clock.now()
    const { stored } = await ringStore.read()
    if (!stored) throw new KeyRingMissing()
    if (stored.version !== loaded.version) install(loadRing(stored))
    readAt = startedAt
  }
  const refresh = coalesced(reload)
  const withRefresh = async <T>(find: () => T | undefined): Promise<T | undefined> => {
    const found = find()
    if (found) return found
    await refresh()
    return find()
  }

  /** Does what is due, by one node. */
  const maintain = async (start: boolean): Promise<void> => {
    const now = { ...wanted, algorithm: start && !externalKey ? algorithm : undefined }
    const isToDo = (ring: Ring, plan = planFor(ring, clock.now(), now)) => plan.ring !== ring || plan.missing.length > 0
    if (!isToDo(loaded.ring)) return
    let events: AuditFacts[] = []
    const stored = await ringStore.update(async (ring, at) => {
      const plan = planFor(ring, at, now)
      events = removedFrom(ring, plan.ring)
      if (plan.ring === ring && plan.missing.length === 0) return undefined
      let next = plan.ring
      for (const missing of plan.missing) {
        const key = await makeKey(options, missing, at)
        next = withSuccessor(next, key, policy)
        events.push(rotated(key, 'schedule'))
      }
      return next
    })
    install(loadRing(stored))
    for (const event of events) audit(event)
  }
  const resealing = createResealing({
    ...{ store, clock, audit },
    ring: () => loaded.ring,
    seal: (plaintext, context) => ring.seal(plaintext, context),
    unseal: (envelope, context) => ring.unseal(envelope, context),
    async change(change) {
      install(loadRing(await ringStore.update(async (before) => change(before))))
    },
  })
  let busy = false
  const maintainBeside = async (): Promise<void> => {
    if (!serves || busy) return
    busy = true
    try {
      await maintain(false)
      await resealing.continue()
    } catch (error) {
      logger.warn('the keys could not be looked after', { error })
    } finally {
      busy = false
    }
  }
  const refreshBeside = (): void => {
    refresh().then(maintainBeside, (error: unknown) => logger.warn('the key ring could not be read', { error }))
  }

  const current = (use: KeyUse): RingKey => known(currentKey(loaded.ring, use, clock.now()))
  const secretOf = (id: string): MacKey | undefined => {
    const key = loaded.secrets.get(id)
    return key && { id, key }
  }
  const verifying = (id: string): SigningKey | undefined =>
    external.find((each) => each.public.id === id)?.public ?? loaded.verifying.get(id)?.public
  const informationOf = (now: number) => keyInformation(loaded.ring, now, externalKey?.id)

  const unwatch = store.watch((message) => {
    if (message === ringMessage) refreshBeside()
  })

  const ring: KeyRing = {
    signingKey: () => externalKey ?? known(loaded.signing.get(current('sign').id)).private,
    verificationKey: (id) => withRefresh(() => verifying(id)),
    macKey: () => known(secretOf(current('mac').id)),
    macKeyById: (id) => withRefresh(() => secretOf(id)),
    jwks() {
      const others = [...loaded.verifying].filter(([id]) => !external.some((each) => each.public.id === id))
      return { keys: [...external, ...others.map(([, key]) => key)].map(({ jwk }) => jwk) }
    },
    jwksMaxAge: Math.max(1, Math.min(300, Math.floor(policy.lead / 2_000))),
    seal: (plaintext, context) => seal(plaintext, known(secretOf(current('seal').id)), context),
    unseal: (envelope, context) => unseal(envelope, (id) => loaded.secrets.get(id), context),
    refresh,

    async catchUp() {
      const age = clock.now() - readAt
      // A clock that was set back says nothing.
      if (age < 0 || age >= bound) {
        await refresh()
        void maintainBeside()
      } else if (age >= refreshAfter && clock.now() - attemptedAt >= retryAfter) {
        attemptedAt = clock.now()
        refreshBeside()
      }
    },

    async list() {
      await refresh()
      return informationOf(clock.now())
    },

    async rotate({ use = 'sign', compromised = false } = {}) {
      if (use === 'sign' && externalKey) throw new SigningKeysConfigured()
      let before: readonly string[] | undefined
      let made: RingKey | undefined
      const stored = await ringStore.update(async (ring, now) => {
        made = undefined
        before ??= ring.keys.map(({ id }) => id)
        const done = compromised
          ? ring.keys.find((key) => key.use === use && !before?.includes(key.id))
          : pendingKey(ring, use, now)
        if (done) return undefined
        // Who only administers may not know what is configured: it stays as it is.
        const current = serves ? undefined : newestKey(ring, 'sign')
        const like = { ...options, algorithm: (current && algorithmOf(current)) ?? algorithm }
        made = await makeKey(like, { use, activeFrom: compromised ? now : now + policy.lead }, now)
        const next = withSuccessor(ring, made, policy)
        return compromised ? withoutOlder(next, made) : next
      })
      install(loadRing(stored))
      if (made) audit(rotated(made, compromised ? 'compromise' : 'operator'))
      if (compromised && use === 'seal') await resealing.all()
      const of = informationOf(clock.now()).filter((key) => key.use === use && !key.external)
      return known(of.reduce((latest, key) => (latest.activeFrom > key.activeFrom ? latest : key), known(of[0])))
    },

    async sealAgain() {
      const sealed = await ringStore.sealAgain()
      if (sealed) audit({ type: 'keys.sealed_again' })
      return sealed
    },

    whenDropped(listener) {
      dropListeners.add(listener)
      return () => void dropListeners.delete(listener)
    },

    close: unwatch,
  }
  if (serves) {
    await ring.sealAgain()
    await maintain(true)
  }
  return ring
}

const known = <T>(value: T | undefined): T => {
  if (value === undefined) throw new KeyRingUnreadable()
  return value
}

const makeKey = async (
  { algorithm, random, rotation: policy = defaultRotation }: KeyRingOptions,
  { use, activeFrom }: Missing,
  createdAt: number,
): Promise<RingKey> => {
  const base = { id: base64url(random.bytes(9)), use, createdAt, activeFrom }
  if (use === 'seal') return { ...base, material: base64url(random.bytes(32)) }
  const material = use === 'sign' ? await generateSigningKey(algorithm) : base64url(random.bytes(32))
  return { ...base, life: policy.life[use], material }
}

const rotated = (key: RingKey, by: 'schedule' | 'operator' | 'compromise'): AuditFacts => {
  const algorithm = key.use === 'sign' ? algorithmOf(key) : undefined
  return {
    type: 'keys.rotated',
    use: key.use,
    key: key.id,
    activeFrom: key.activeFrom,
    by,
    ...(algorithm === undefined ? {} : { algorithm }),
  }
}

const removedFrom = (before: Ring, after: Ring): AuditFacts[] => {
  const removed = before.keys.filter(({ id }) => !after.keys.some((key) => key.id === id))
  return removed.length === 0 ? [] : [{ type: 'keys.retired', keys: removed.map(({ id, use }) => `${use}:${id}`) }]
}

/** The keys that sign are configured: who gave them changes them. */
export class SigningKeysConfigured extends Error {
  override readonly name = 'SigningKeysConfigured'
  constructor() {
    super('the signing keys are in the configuration: change them there')
  }
}
