import { base64url } from '../crypto/bytes.ts'
import { hmacSha256 } from '../crypto/hash.ts'
import type { Clock } from '../events/clock.ts'
import type { KeyRing } from '../keys/key-ring.ts'
import { type DpopMarks, dpopMarkLife } from '../oauth/dpop-marks.ts'
import { createDpopNonces, type DpopNonces } from '../oauth/dpop-nonce.ts'
import { createDpopProofReader, type DpopProofReader } from '../oauth/dpop-proof.ts'
import { dpopProofRef } from '../records/dpop-proof.ts'
import { put, type Records } from '../records/records.ts'

/** What checks DPoP proofs, here and at the gate. */
export interface ServerDpop {
  readonly read: DpopProofReader
  /** In the store: a proof is good once, on whichever node. */
  readonly marks: DpopMarks
  /** Present where proofs must bring a nonce. */
  readonly nonces?: DpopNonces
}

export const createServerDpop = (
  { records, keys, clock }: { readonly records: Records; readonly keys: KeyRing; readonly clock: Clock },
  withNonces = false,
): ServerDpop => {
  const mac = async (text: string) => base64url(hmacSha256(keys.macKey().key, text))
  return {
    read: createDpopProofReader(),
    marks: {
      async use(proof, now) {
        const ref = dpopProofRef(proof.jkt, proof.jti)
        return (await records.commit({ unchanged: [ref], puts: [put(ref, {}, dpopMarkLife(proof, now))] })).committed
      },
    },
    ...(withNonces ? { nonces: createDpopNonces(mac, clock) } : {}),
  }
}
