import type { LookupHashes } from './lookup-hash.ts'
import { recordType, refTo } from './records.ts'

const knownSignIns = recordType<Record<string, never>>({ name: 'known-sign-in', schema: 1, sealed: false })

/**
 * An account was signed in from this address (as `addressBlock` has it) not long ago. Only hashes are kept. Where it is written now, and where else it
 * may be.
 */
export const knownSignInRefs = (hashes: LookupHashes, account: string, block: string) => {
  const [written, other] = hashes('known-sign-in', account, block)
  return [refTo(knownSignIns, written), refTo(knownSignIns, other)] as const
}
