import { hashStrings } from '../crypto/hash.ts'
import { recordType, refTo } from './records.ts'

/** Replay mark: a DPoP proof that was accepted. It lives as long as the proof could be used. */
const dpopProofs = recordType<Record<string, never>>({ name: 'dpop-proof', schema: 1, sealed: false })

/** @param jti unique only among the proofs of its key */
export const dpopProofRef = (jkt: string, jti: string) => refTo(dpopProofs, hashStrings(jkt, jti))
