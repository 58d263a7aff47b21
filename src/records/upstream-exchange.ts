import { hashStrings } from '../crypto/hash.ts'
import type { UpstreamTokenUnavailable } from '../identity/access-token.ts'
import type { UpstreamTarget } from '../identity/upstream-target.ts'
import { recordType, refTo } from './records.ts'

/** A token that a provider gave in exchange for a session's own, or that it gave none; and the request that is under way. */
export interface UpstreamExchange {
  readonly token?: string
  readonly failed?: UpstreamTokenUnavailable['reason']
  /** How long that is good, milliseconds since the epoch. */
  readonly until?: number
  readonly lease?: { readonly attempt: string; readonly until: number }
}

export const upstreamExchanges = recordType<UpstreamExchange>({ name: 'upstream-exchange', schema: 1, sealed: true })

export const upstreamExchangeRef = (
  session: string,
  { kind = 'access_token', audience = '', resource = '', scopes = [] }: UpstreamTarget,
) => refTo(upstreamExchanges, session, hashStrings(kind, audience, resource, [...scopes].sort().join(' ')))
