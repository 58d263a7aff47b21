/** Values that a server gives to its clients, to be sent back in DPoP proofs: so nobody makes proofs long before they are used. */
export interface DpopNonces {
  /** What a client is told to use from now on. */
  current(): Promise<string>
  /** Whether it is the current one, or was until a short while ago. */
  isGood(nonce: string): Promise<boolean>
}

/** Milliseconds that one is the current one; it stays good for as long again. */
const period = 60_000

/**
 * Nonces that nobody keeps: each is a MAC of its time, so all who have the key make and know the same ones.
 * @param mac keyed; base64url
 * @param clock milliseconds since the epoch
 * @see RFC 9449 §8
 */
export const createDpopNonces = (mac: (text: string) => Promise<string>, clock: { now(): number }): DpopNonces => {
  const made = new Map<number, Promise<string>>()
  const nonceOf = (turn: number): Promise<string> => {
    const known = made.get(turn)
    if (known) return known
    const nonce = mac(`dpop nonce ${turn}`)
    made.set(turn, nonce)
    nonce.catch(() => made.delete(turn))
    for (const each of made.keys()) if (Math.abs(each - turn) > 2) made.delete(each)
    return nonce
  }
  const turnNow = () => Math.floor(clock.now() / period)
  return {
    current: () => nonceOf(turnNow()),
    async isGood(nonce) {
      const now = turnNow()
      // Also the next one, from a node whose clock is ahead. They are no secrets: anybody is told who asks.
      for (const turn of [now, now - 1, now + 1]) if ((await nonceOf(turn)) === nonce) return true
      return false
    },
  }
}
