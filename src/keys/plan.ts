import type { SigningAlgorithm } from '../crypto/signing-algorithm.ts'
import { type KeyUse, keyUses, newestKey, ownKeys, type Ring, type RingKey } from './ring.ts'

/** When keys are made anew. All times in milliseconds. */
export interface RotationPolicy {
  /** How long a key is in use; undefined: until somebody says so. */
  readonly every: Readonly<Record<KeyUse, number | undefined>>
  /** How long a new key is known to all before it is used. */
  readonly lead: number
  /** The longest life of what a key makes; what is sealed is sealed anew instead. */
  readonly life: Readonly<Record<Exclude<KeyUse, 'seal'>, number>>
}

/** How long somebody may still use a key that has a successor: who has not read the ring of late, and whose clock is behind. */
export const straggling = 15 * 60_000

const day = 86_400_000

export const defaultRotation: RotationPolicy = {
  every: { sign: 90 * day, seal: 365 * day, mac: 365 * day },
  lead: 3_600_000,
  life: { sign: 3_600_000, mac: 365 * day },
}

/** What a node wants of the ring. */
export interface Wanted {
  readonly policy: RotationPolicy
  /** Undefined: what there is stays, until it is rotated. */
  readonly algorithm: SigningAlgorithm | undefined
  /** The operator's own signing keys, as they are in the ring; with them, the ring needs none. */
  readonly external: readonly Omit<RingKey, 'until'>[]
}

/** A key that must be made. */
export interface Missing {
  readonly use: KeyUse
  readonly activeFrom: number
}

export interface Plan {
  /** Without the keys of which nothing lives, and with what each node adds to those that stay. */
  readonly ring: Ring
  readonly missing: readonly Missing[]
}

/** What must be done to the ring by now. It is the same for whoever asks: of several nodes one does it, and the others find it done. */
export const planFor = (ring: Ring, now: number, wanted: Wanted): Plan => {
  const living = withExternal(withoutDead(withLife(ring, wanted.policy), now), now, wanted)
  return { ring: living, missing: keyUses.flatMap((use) => missingOf(living, use, now, wanted)) }
}

const missingOf = (ring: Ring, use: KeyUse, now: number, { policy, algorithm, external }: Wanted): Missing[] => {
  if (use === 'sign' && external.length > 0) return []
  const key = newestKey(ring, use)
  if (!key || mayOutlive(key, now, policy)) return [{ use, activeFrom: now }]
  const period = policy.every[use]
  const isOld = period !== undefined && inUseFrom(key) + period - policy.lead <= now
  const isOther = use === 'sign' && algorithm !== undefined && algorithmOf(key) !== algorithm
  return isOld || isOther ? [{ use, activeFrom: now + policy.lead }] : []
}

/** It was retired, since some node has keys of the operator's own; who has none can sign with it for a while. */
const mayOutlive = ({ use, until, life = 0 }: RingKey, now: number, policy: RotationPolicy): boolean =>
  until !== undefined && use !== 'seal' && until - Math.max(life, policy.life[use]) <= now

// The first keys are in use from the beginning of time.
const inUseFrom = ({ activeFrom, createdAt }: RingKey): number => Math.max(activeFrom, createdAt)

/** Of a key that signs. */
export const algorithmOf = ({ material }: RingKey): SigningAlgorithm | undefined =>
  typeof material === 'string' ? undefined : ((material.alg ?? 'ES256') as SigningAlgorithm)

/** The next key of a use, where one was made and is not in use yet. */
export const pendingKey = (ring: Ring, use: KeyUse, now: number): RingKey | undefined => {
  const key = newestKey(ring, use)
  return key && key.activeFrom > now ? key : undefined
}

/** The ring with a new key. The others of its use are kept until nothing lives that they made. */
export const withSuccessor = (ring: Ring, successor: RingKey, policy: RotationPolicy): Ring => ({
  keys: [
    ...ring.keys.map((key) => (key.use === successor.use ? retired(key, successor.activeFrom, policy) : key)),
    successor,
  ],
})

const retired = (key: RingKey, at: number, { life }: RotationPolicy): RingKey =>
  key.external || key.until !== undefined || key.use === 'seal'
    ? key
    : { ...key, until: at + Math.max(key.life ?? 0, life[key.use]) + straggling }

/** The ring without any older key of the same use: what they made is no good any more. Those that seal stay: what they sealed must be read. */
export const withoutOlder = (ring: Ring, { use, id }: RingKey): Ring =>
  use === 'seal' ? ring : { keys: ring.keys.filter((key) => key.use !== use || key.external || key.id === id) }

const withoutDead = (ring: Ring, now: number): Ring => {
  const keys = ring.keys.filter(({ use, until }) => use === 'seal' || until === undefined || until > now)
  return keys.length === ring.keys.length ? ring : { keys }
}

/** Each key knows how long its works may live at most, since what is configured may become shorter. */
const withLife = (ring: Ring, { life }: RotationPolicy): Ring => {
  const longer = (key: RingKey): RingKey =>
    key.use === 'seal' || key.external || key.until !== undefined || (key.life ?? 0) >= life[key.use]
      ? key
      : { ...key, life: life[key.use] }
  return changed(ring, longer)
}

const changed = (ring: Ring, change: (key: RingKey) => RingKey): Ring => {
  const keys = ring.keys.map(change)
  return keys.every((key, index) => key === ring.keys[index]) ? ring : { keys }
}

/**
 * The operator's own keys are told to the nodes that don't have them, for as long as somebody has them and then for the life of what they made.
 * The ring's own are no longer used.
 */
const withExternal = (ring: Ring, now: number, { external, policy }: Wanted): Ring => {
  if (external.length === 0) return ring
  const until = now + policy.life.sign + straggling + 7 * day
  const isTold = ({ id, material }: Wanted['external'][number]) =>
    ring.keys.some(
      (key) =>
        key.external &&
        key.id === id &&
        (key.until ?? 0) > until - day &&
        JSON.stringify(key.material) === JSON.stringify(material),
    )
  const untold = external.filter((key) => !isTold(key))
  const others = changed(ring, (key) => (key.use === 'sign' ? retired(key, now, policy) : key))
  if (untold.length === 0) return others
  const ids = untold.map(({ id }) => id)
  return {
    keys: [
      ...others.keys.filter((key) => !(key.external && ids.includes(key.id))),
      ...untold.map((key) => ({ ...key, until })),
    ],
  }
}

/** Keys that seal nothing any more: what they sealed must be sealed anew before they go. */
export const supersededSeals = (ring: Ring, now: number): readonly RingKey[] => {
  const settled = ownKeys(ring, 'seal').filter(({ activeFrom }) => activeFrom + straggling <= now)
  const latest = newestKey({ keys: settled }, 'seal')
  return settled.filter((key) => key !== latest)
}
