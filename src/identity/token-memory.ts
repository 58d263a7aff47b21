import type { AccessToken } from './access-token.ts'

/**
 * Verified tokens, remembered so that the next call with the same one costs no signature check. Bounded; what was not used of late goes first;
 * nothing outlives its token.
 */
export interface TokenMemory {
  /**
   * The token that was verified for this resource, if it is remembered and still good at `now` (milliseconds since the epoch).
   * @param resource undefined: whichever it was verified for
   */
  recall(token: string, resource: string | undefined, now: number): AccessToken | undefined
  /** The state of what verification reads. Take it before reading; `remember` with it afterwards. */
  epoch(): number
  /**
   * Remembers a verified token, unless something was forgotten since `epoch` was taken: what was read then may be out of date.
   * @param groups what it is forgotten with, for instance the ids of the grants that it stands on
   */
  remember(token: AccessToken, epoch: number, ...groups: readonly string[]): void
  /** Forgets all tokens of a group, for instance of a revoked grant. */
  forget(group: string): void
  forgetAll(): void
  readonly size: number
}

export interface TokenMemoryOptions {
  /** How many tokens at most; 0 remembers none. */
  readonly capacity?: number
}

interface Remembered {
  readonly accessToken: AccessToken
  /** Since it was last passed over. */
  used: boolean
  readonly groups: readonly string[]
}

export const createTokenMemory = ({ capacity = 16_384 }: TokenMemoryOptions = {}): TokenMemory => {
  // A Map keeps the order of insertion: the first key is looked at first when one must go.
  const tokens = new Map<string, Remembered>()
  const members = new Map<string, Set<string>>()
  let epoch = 0

  const drop = (token: string, { groups }: Remembered): void => {
    tokens.delete(token)
    for (const group of groups) {
      const together = members.get(group)
      together?.delete(token)
      if (together?.size === 0) members.delete(group)
    }
  }

  /** What was used since it was last passed over is passed over once more: cheaper for each call than to keep all in the order of their use. */
  const makeRoom = (): void => {
    for (const [oldest, remembered] of tokens) {
      if (!remembered.used) {
        drop(oldest, remembered)
        return
      }
      remembered.used = false
      tokens.delete(oldest)
      tokens.set(oldest, remembered)
    }
  }

  let looking = tokens.entries()

  /**
   * Two are looked at for each one that is new, in turn: so memory follows the tokens that live, and not those that were ever seen, and none that
   * lives long hides those that came after it.
   */
  const dropExpired = (now: number): void => {
    for (let looked = 0; looked < 2; looked++) {
      const { value, done } = looking.next()
      if (done) {
        looking = tokens.entries()
        return
      }
      const [token, remembered] = value
      if (remembered.accessToken.expiresAt * 1000 <= now) drop(token, remembered)
    }
  }

  return {
    recall(token, resource, now) {
      const found = tokens.get(token)
      if (!found) {
        dropExpired(now)
        return undefined
      }
      if (found.accessToken.expiresAt * 1000 <= now) {
        drop(token, found)
        return undefined
      }
      if (resource !== undefined && found.accessToken.resource !== resource) return undefined
      found.used = true
      return found.accessToken
    },

    epoch: () => epoch,

    remember(accessToken, since, ...groups) {
      if (since !== epoch || capacity === 0) return
      const { token } = accessToken
      const before = tokens.get(token)
      if (before) drop(token, before)
      if (tokens.size >= capacity) makeRoom()
      tokens.set(token, { accessToken, groups, used: false })
      for (const group of groups) {
        const together = members.get(group)
        if (together) together.add(token)
        else members.set(group, new Set([token]))
      }
    },

    forget(group) {
      epoch += 1
      for (const token of [...(members.get(group) ?? [])]) {
        const remembered = tokens.get(token)
        if (remembered) drop(token, remembered)
      }
    },

    forgetAll() {
      epoch += 1
      tokens.clear()
      members.clear()
    },

    get size() {
      return tokens.size
    },
  }
}
