import { algorithmOf } from './plan.ts'
import { currentKey, type KeyUse, type Ring, type RingKey } from './ring.ts'

/** A key as an operator may see it: all but the key. Times are in milliseconds since the epoch. */
export interface KeyInformation {
  readonly id: string
  readonly use: KeyUse
  /** Of keys that sign. */
  readonly algorithm?: string
  /** `next`: known to all nodes, not in use yet. `retired`: only what it made is still good. */
  readonly state: 'next' | 'active' | 'retired'
  readonly createdAt: number
  readonly activeFrom: number
  /** When nothing lives any more that it made, where that is known. */
  readonly until?: number
  /** The operator's own, which is not in the store. */
  readonly external: boolean
}

export interface RotateOptions {
  /** Default: the key that signs. */
  readonly use?: KeyUse | undefined
  /**
   * Somebody else has the keys of this use: the new one is in use at once and the older ones are no good any more. Access tokens (`sign`) are then
   * refused, and clients refresh them; refresh tokens (`mac`) too, and everybody signs in again; what was sealed (`seal`) is sealed anew.
   */
  readonly compromised?: boolean | undefined
}

/** @param externalId the operator's own key that signs */
export const keyInformation = (ring: Ring, now: number, externalId: string | undefined): readonly KeyInformation[] =>
  ring.keys.map((key): KeyInformation => {
    const { id, use, createdAt, activeFrom, until, external = false } = key
    const algorithm = use === 'sign' ? algorithmOf(key) : undefined
    return {
      ...{ id, use, createdAt, activeFrom, external, state: stateOf(ring, key, now, externalId) },
      ...(algorithm === undefined ? {} : { algorithm }),
      // An external key's is prolonged as long as somebody has it.
      ...(until === undefined || external ? {} : { until }),
    }
  })

const stateOf = (ring: Ring, key: RingKey, now: number, externalId: string | undefined): KeyInformation['state'] => {
  if (key.activeFrom > now) return 'next'
  const active = key.use === 'sign' && externalId !== undefined ? externalId : currentKey(ring, key.use, now)?.id
  return key.id === active ? 'active' : 'retired'
}
