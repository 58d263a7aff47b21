import { hashSecret } from '../crypto/hash.ts'
import { recordType, refTo } from './records.ts'

/**
 * A client's metadata document is being fetched, by one node for all; or that failed a moment ago, and nobody asks again so soon. The copy itself
 * is the client's record.
 */
export interface DocumentFetch {
  readonly attempt: string
  readonly failed?: DocumentFailure
}

export interface DocumentFailure {
  /** `gone`: the client says that there is no such document. `invalid`: what is there is none. `unreachable`: nobody knows. */
  readonly kind: 'gone' | 'invalid' | 'unreachable'
  /** For the operator; may quote the document. */
  readonly reason: string
}

const documentFetches = recordType<DocumentFetch>({ name: 'client-document-fetch', schema: 1, sealed: false })

export const documentFetchRef = (clientId: string) => refTo(documentFetches, hashSecret(clientId))
