import { hashStrings } from '../crypto/hash.ts'
import { recordType, refTo } from './records.ts'

/** What a person allowed a client so far, for one redirect host and one resource. Accumulates. */
export interface Consent {
  readonly account: string
  readonly clientId: string
  readonly redirectHost: string
  readonly resource: string
  readonly scopes: readonly string[]
  /** Milliseconds since the epoch. */
  readonly createdAt: number
  readonly updatedAt: number
}

export const consents = recordType<Consent>({ name: 'consent', schema: 1, sealed: false })

export const consentRef = (account: string, clientId: string, redirectHost: string, resource: string) =>
  refTo(consents, account, hashStrings(clientId, redirectHost, resource))
