import { hashStrings } from '../crypto/hash.ts'
import type { LookupHash } from './lookup-hash.ts'
import { recordType, refTo } from './records.ts'

const knownSignIns = recordType<Record<string, never>>({ name: 'known-sign-in', schema: 1, sealed: false })

/**
 * An account was signed in from this address (as `addressBlock` has it) not long ago. Only hashes are kept. The second is where a release before wrote
 * it, with a hash that anybody can make.
 */
export const knownSignInRefs = (hash: LookupHash, account: string, block: string) =>
  [
    refTo(knownSignIns, hash('known-sign-in', account, block)),
    refTo(knownSignIns, hashStrings(account, block)),
  ] as const
