import { hashSecret } from '../crypto/hash.ts'
import { recordType, refTo } from './records.ts'

/** An authorization request that a client sent ahead of the person. Good once, and not for long. @see RFC 9126 */
export interface PushedRequest {
  readonly clientId: string
  /** As it would stand in the query of a request: so that `state` comes back byte for byte. */
  readonly query: string
}

const pushedRequests = recordType<PushedRequest>({ name: 'pushed-request', schema: 1, sealed: true })

export const pushedRequestRef = (secret: string) => refTo(pushedRequests, hashSecret(secret))
