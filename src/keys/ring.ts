import type { JWK } from 'jose'
import { recordType, refTo } from '../records/records.ts'

/** All keys of a server: one record, sealed with the operator's secret. */
export interface Ring {
  readonly keys: readonly RingKey[]
}

/** A key comes into use after every node has had time to read it, and stays readable as long as anything that it made may live. */
export interface RingKey {
  readonly id: string
  readonly use: 'sign' | 'seal' | 'mac'
  /** Milliseconds since the epoch. */
  readonly createdAt: number
  readonly activeFrom: number
  /** Private JWK for `sign`; base64url of 32 bytes for the others. */
  readonly material: JWK | string
}

export type SigningAlgorithm = 'ES256' | 'EdDSA' | 'RS256'

export const ringRef = refTo(recordType<Ring>({ name: 'key-ring', schema: 1, sealed: true }), 'current')

/** The newest key of a use that has come into use. */
export const currentKey = (ring: Ring, use: RingKey['use'], now: number): RingKey | undefined =>
  ring.keys
    .filter((key) => key.use === use && key.activeFrom <= now)
    .reduce<RingKey | undefined>(
      (newest, key) => (newest && newest.activeFrom >= key.activeFrom ? newest : key),
      undefined,
    )
