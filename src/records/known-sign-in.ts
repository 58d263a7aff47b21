import { hashStrings } from '../crypto/hash.ts'
import { recordType, refTo } from './records.ts'

const knownSignIns = recordType<Record<string, never>>({ name: 'known-sign-in', schema: 1, sealed: false })

/** An account was signed in from this address (as `addressBlock` has it) not long ago. Only hashes are kept. */
export const knownSignInRef = (account: string, block: string) => refTo(knownSignIns, hashStrings(account, block))
