import type { JWK } from 'jose'
import { recordType, refTo } from '../records/records.ts'

/** All keys of a server: one record, sealed with the operator's secrets. */
export interface Ring {
  readonly keys: readonly RingKey[]
}

/** What a key is for: signing access tokens, sealing records, or the MACs of refresh tokens. */
export type KeyUse = 'sign' | 'seal' | 'mac'

export const keyUses: readonly KeyUse[] = ['sign', 'seal', 'mac']

/** A key comes into use after every node has had time to read it, and stays readable as long as anything that it made may live. */
export interface RingKey {
  readonly id: string
  readonly use: KeyUse
  /** Milliseconds since the epoch, as all times here. */
  readonly createdAt: number
  readonly activeFrom: number
  /** The longest life of what it makes, in milliseconds; unknown of keys that seal, whose works are sealed anew. */
  readonly life?: number
  /** It has a successor, or is the operator's own: after this nothing lives that it made. */
  readonly until?: number
  /** The operator's own: only the public part is here, for the nodes that don't have it. */
  readonly external?: boolean
  /** Private JWK for `sign` (public where it is external); base64url of 32 bytes for the others. */
  readonly material: JWK | string
}

export interface MacKey {
  readonly id: string
  readonly key: Uint8Array
}

export const ringRef = refTo(recordType<Ring>({ name: 'key-ring', schema: 1, sealed: true }), 'current')

/** The newest key of a use that has come into use. */
export const currentKey = (ring: Ring, use: KeyUse, now: number): RingKey | undefined =>
  newest(ownKeys(ring, use).filter(({ activeFrom }) => activeFrom <= now))

/** The newest of a use, whether it has come into use or will. */
export const newestKey = (ring: Ring, use: KeyUse): RingKey | undefined => newest(ownKeys(ring, use))

export const ownKeys = (ring: Ring, use: KeyUse): readonly RingKey[] =>
  ring.keys.filter((key) => key.use === use && !key.external)

const newest = (keys: readonly RingKey[]): RingKey | undefined =>
  keys.reduce<RingKey | undefined>(
    (latest, key) => (latest && latest.activeFrom >= key.activeFrom ? latest : key),
    undefined,
  )
