import type { AccessToken } from './access-token.ts'

/**
 * Verified tokens, remembered so that the next call with the same one costs no signature check. Bounded; what was used longest ago goes
 * first; nothing outlives its token.
 */
export interface TokenMemory {
  /** The token that was verified for this resource, if it is remembered and still good at `now` (milliseconds since the epoch). */
  recall(token: string, resource: string, now: number): AccessToken | undefined
  /** The state of what verification reads. Take it before reading; `remember` with it afterwards. */
  epoch(): number
  /**
   * Remembers a verified token, unless something was forgotten since `epoch` was taken: what was read then may be out of date.
   * @param group what is forgotten together, for instance a grant's id
   */
  remember(token: AccessToken, epoch: number, group?: string): void
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
  readonly group: string | undefined
}

export const createTokenMemory = ({ capacity = 16_384 }: TokenMemoryOptions = {}): TokenMemory => {
  // A Map keeps the order of insertion: the first key is the one that was used longest ago.
  const tokens = new Map<string, Remembered>()
  const groups = new Map<string, Set<string>>()
  let epoch = 0

  const drop = (token: string, group: string | undefined): void => {
    tokens.delete(token)
    if (group === undefined) return
    const members = groups.get(group)
    members?.delete(token)
    if (members?.size === 0) groups.delete(group)
  }

  return {
    recall(token, resource, now) {
      const found = tokens.get(token)
      if (!found) return undefined
      if (found.accessToken.expiresAt * 1000 <= now) {
        drop(token, found.group)
        return undefined
      }
      if (found.accessToken.resource !== resource) return undefined
      tokens.delete(token)
      tokens.set(token, found)
      return found.accessToken
    },

    epoch: () => epoch,

    remember(accessToken, since, group) {
      if (since !== epoch || capacity === 0) return
      const { token } = accessToken
      const before = tokens.get(token)
      if (before) drop(token, before.group)
      tokens.set(token, { accessToken, group })
      if (group !== undefined) {
        const members = groups.get(group)
        if (members) members.add(token)
        else groups.set(group, new Set([token]))
      }
      if (tokens.size <= capacity) return
      for (const [oldest, remembered] of tokens) {
        drop(oldest, remembered.group)
        break
      }
    },

    forget(group) {
      epoch += 1
      for (const token of groups.get(group) ?? []) tokens.delete(token)
      groups.delete(group)
    },

    forgetAll() {
      epoch += 1
      tokens.clear()
      groups.clear()
    },

    get size() {
      return tokens.size
    },
  }
}
