import { hashSecret } from '../crypto/hash.ts'
import type { ClientKeys } from '../oauth/client-keys.ts'
import type { ExchangePolicy } from '../policy/exchange.ts'
import { recordType, refTo } from './records.ts'

/** A client: registered, or described by the metadata document that its id is the URL of. @see RFC 7591 §2 */
export interface Client {
  readonly id: string
  /** `configured`: by the operator. `dynamic`: by anyone. `document`: a copy of the client's own document. */
  readonly source: 'dynamic' | 'configured' | 'document'
  readonly name?: string
  readonly uri?: string
  readonly redirectUris: readonly string[]
  readonly applicationType: 'native' | 'web'
  readonly authentication: 'none' | 'client_secret_basic' | 'client_secret_post' | 'private_key_jwt'
  /** SHA-256 of the secret, base64url; present exactly where `authentication` is by secret. */
  readonly secretHash?: string
  /** Other pages of its own, as it registered them: `logo_uri`, `tos_uri`, `policy_uri`. */
  readonly pages?: { readonly logoUri?: string; readonly tosUri?: string; readonly policyUri?: string }
  /** What its assertions are verified with. Also where `authentication` is `none`, of a client that can do both. */
  readonly keys?: ClientKeys
  readonly grantTypes: readonly string[]
  /** Whether it wants access tokens that are bound to a key of its own, and no others. @see RFC 9449 §5.2 */
  readonly dpopBoundAccessTokens?: boolean
  /** Whether it always sends its authorization requests ahead: then none is taken that a browser brings. @see RFC 9126 §6 */
  readonly requirePushedRequests?: boolean
  /** What it may have for itself: resource to scopes. Present exactly where it has `client_credentials`. */
  readonly scopes?: Readonly<Record<string, readonly string[]>>
  /** The resources that it serves, and whose tokens it may ask about. */
  readonly introspects?: readonly string[]
  /** What it may exchange. Present exactly where it has token exchange. */
  readonly exchange?: ExchangePolicy
  /** The client that may act for the people who granted something to this one. @see RFC 8693 §4.4 */
  readonly mayAct?: string
  /**
   * SHA-256 of the token that it manages its registration with, base64url; and of the one before, as long as the newer was never used. Present
   * exactly where it registered itself. @see RFC 7592 §3
   */
  readonly management?: { readonly hash: string; readonly previous?: string }
  /** Milliseconds since the epoch. */
  readonly createdAt: number
  /** When the registration is forgotten: soon for one never used, later than any grant for one that was. Milliseconds since the epoch. */
  readonly expiresAt?: number
  /** Present exactly where the source is a document. */
  readonly document?: DocumentCopy
}

/** How old a copy is. Times are in milliseconds since the epoch. */
export interface DocumentCopy {
  /** When it was last fetched, or found unchanged. */
  readonly checkedAt: number
  /** Until then nobody asks for it again. */
  readonly freshUntil: number
  /** Until then it stands in for a document that can't be reached. */
  readonly usableUntil: number
  readonly etag?: string
  readonly lastModified?: string
}

export const clients = recordType<Client>({ name: 'client', schema: 1, sealed: false, shared: true })

/** A client id may be any text that a client sends, so it is hashed into the key. */
export const clientRef = (id: string) => refTo(clients, hashSecret(id))
