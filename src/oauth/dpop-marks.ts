import { type DpopProof, dpopWindow } from './dpop-proof.ts'

/** Which proofs were used: each is good once. */
export interface DpopMarks {
  /**
   * Uses a proof up; false where it was used before.
   * @param now milliseconds since the epoch, of the clock by which the proof was checked
   * @throws whatever says that nobody knows now
   */
  use(proof: DpopProof, now: number): Promise<boolean>
}

/** How long a used proof must be known as such: until its time alone refuses it. Milliseconds. */
export const dpopMarkLife = ({ issuedAt }: DpopProof, now: number): number =>
  Math.max(1, Math.ceil((issuedAt + dpopWindow) * 1000 - now) + margin)

/** Clocks of nodes differ. */
const margin = 60_000
