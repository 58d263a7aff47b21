import { hashSecret } from '../crypto/hash.ts'
import { recordType, refTo } from './records.ts'

/** A registered client. @see RFC 7591 §2 */
export interface Client {
  readonly id: string
  readonly source: 'dynamic' | 'configured'
  readonly name?: string
  readonly uri?: string
  readonly redirectUris: readonly string[]
  readonly applicationType: 'native' | 'web'
  readonly authentication: 'none' | 'client_secret_basic' | 'client_secret_post'
  /** SHA-256 of the secret, base64url; present exactly where `authentication` is not `none`. */
  readonly secretHash?: string
  readonly grantTypes: readonly string[]
  /** Milliseconds since the epoch. */
  readonly createdAt: number
  /** When the registration is forgotten: soon for one never used, later than any grant for one that was. Milliseconds since the epoch. */
  readonly expiresAt?: number
}

const clients = recordType<Client>({ name: 'client', schema: 1, sealed: false })

/** A client id may be any text that a client sends, so it is hashed into the key. */
export const clientRef = (id: string) => refTo(clients, hashSecret(id))
