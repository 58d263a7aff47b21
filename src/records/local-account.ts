import type { JsonObject } from '../identity/json.ts'
import { recordType, refTo } from './records.ts'

/** Somebody with a name and a password here. */
export interface LocalAccount {
  /** Random and stable: the name may change, this may not. */
  readonly id: string
  /** As it was typed when the account was made. */
  readonly username: string
  /** `scrypt$…` */
  readonly passwordHash: string
  /** `name`, `email` and whatever else the host knows of the person. */
  readonly claims: JsonObject
  /** Milliseconds since the epoch. */
  readonly createdAt: number
}

const localAccounts = recordType<LocalAccount>({ name: 'local-account', schema: 1, sealed: true })
export const localUsernames = recordType<{ readonly id: string }>({ name: 'local-username', schema: 1, sealed: false })

export const localAccountRef = (id: string) => refTo(localAccounts, id)

/** Where the name of an account is written now, and where else it may be. @param hashes `LookupHashes` of its canonical form */
export const localUsernameRefs = ([written, other]: readonly [string, string]) =>
  [refTo(localUsernames, written), refTo(localUsernames, other)] as const
