/** Randomness as the product sees it: cryptographically strong; tests may bring their own. */
export interface Random {
  bytes(length: number): Uint8Array
}

const poolSize = 4_096
let pool = new Uint8Array(0)
let used = 0

/** Of the platform, fetched for many at a time: asking it for a few bytes costs as much as for thousands. What was given out is wiped here. */
export const systemRandom: Random = {
  bytes(length) {
    if (length > poolSize / 8) return crypto.getRandomValues(new Uint8Array(length))
    if (used + length > pool.length) {
      pool = crypto.getRandomValues(new Uint8Array(poolSize))
      used = 0
    }
    const given = pool.slice(used, used + length)
    pool.fill(0, used, used + length)
    used += length
    return given
  },
}
