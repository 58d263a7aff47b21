import { type DpopMarks, dpopMarkLife } from '../oauth/dpop-marks.ts'

export interface ProofMemoryOptions {
  /** How many used proofs are known at most. Default 100,000: what one node takes at 250 calls a second. */
  readonly capacity?: number
}

interface KeyMarks {
  /** `jti` to the time from which on it needs not be known, milliseconds since the epoch; oldest first. */
  readonly used: Map<string, { readonly until: number; readonly issuedAt: number }>
  /** Proofs as old as this, or older, are refused: some of them were forgotten. Seconds since the epoch. */
  floor: number
  floorUntil: number
}

/**
 * Used proofs, known to this process alone: where several processes serve one resource, a proof can be used once at each. Bounded: the key that
 * used most loses its oldest, and from then on older proofs of that key are refused; nothing that was forgotten is good again.
 */
export const createProofMemory = ({
  capacity = 100_000,
}: ProofMemoryOptions = {}): DpopMarks & {
  readonly size: number
} => {
  const keys = new Map<string, KeyMarks>()
  let size = 0
  let swept = 0

  const sweep = (now: number): void => {
    if (now - swept < sweepEvery && now >= swept) return
    swept = now
    for (const [jkt, marks] of keys) {
      for (const [jti, { until }] of marks.used) {
        if (until > now) continue
        marks.used.delete(jti)
        size -= 1
      }
      if (marks.used.size === 0 && marks.floorUntil <= now) keys.delete(jkt)
    }
  }

  /** Several at a time, since whose they are is looked for among all. */
  const forgetOldest = (): void => {
    let largest: KeyMarks | undefined
    for (const marks of keys.values()) if (!largest || marks.used.size > largest.used.size) largest = marks
    if (!largest) return
    let left = Math.ceil(largest.used.size / 8)
    for (const [jti, { until, issuedAt }] of largest.used) {
      largest.used.delete(jti)
      size -= 1
      largest.floor = Math.max(largest.floor, issuedAt)
      largest.floorUntil = Math.max(largest.floorUntil, until)
      left -= 1
      if (left === 0) return
    }
  }

  return {
    async use(proof, now) {
      sweep(now)
      const { jkt, jti, issuedAt } = proof
      const marks = keys.get(jkt) ?? { used: new Map(), floor: Number.NEGATIVE_INFINITY, floorUntil: 0 }
      if (marks.used.has(jti) || issuedAt <= marks.floor) return false
      keys.set(jkt, marks)
      marks.used.set(jti, { until: now + dpopMarkLife(proof, now), issuedAt })
      size += 1
      if (size > capacity) forgetOldest()
      return true
    },
    get size() {
      return size
    },
  }
}

/** Milliseconds. */
const sweepEvery = 30_000
