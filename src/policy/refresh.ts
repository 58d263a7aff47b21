/** The state of a grant's one refresh token. */
export interface RefreshState {
  /** The generation of the current token; the first is 1. */
  readonly current: number
  /**
   * When the generations before were superseded: ascending by generation. An entry speaks for its own generation and for those between it
   * and the entry before. The first entry may be older than the grace window: it bounds the next one from below.
   */
  readonly superseded: readonly Superseded[]
}

export interface Superseded {
  readonly generation: number
  /** Milliseconds since the epoch, as all times here. */
  readonly at: number
}

export interface RefreshFacts extends RefreshState {
  readonly now: number
  /** The generation of the token that was presented. Its MAC, client and authentication were found right. */
  readonly presented: number
  readonly graceMs: number
  /** Opened by an operator who restored a backup: how far ahead a token may be, and until when. */
  readonly restore?: { readonly ahead: number; readonly until: number } | undefined
}

/**
 * - `rotate`: commit `next`, answer its current token
 * - `repeat`: answer the current token again; nothing changes
 * - `catchUp`: the store lost writes: commit `next`, answer its current token, audit
 * - `replay`: revoke the grant
 * - `ahead`: refuse; nothing changes
 */
export type RefreshDecision =
  | { readonly kind: 'rotate'; readonly next: RefreshState }
  | { readonly kind: 'repeat' }
  | { readonly kind: 'catchUp'; readonly next: RefreshState }
  | { readonly kind: 'replay' }
  | { readonly kind: 'ahead' }

export const initialRefreshState: RefreshState = { current: 1, superseded: [] }

/** A store that lost its last writes (a failover) may be this many generations behind. */
const usualAhead = 2
/** Above it a refresh repeats instead of rotating, so that nothing within the window is forgotten. */
const maximumSuperseded = 256

/** What to do with a refresh token. Who then loses the compare-and-swap reads again and decides again: losing is never replay. */
export const decideRefresh = (facts: RefreshFacts): RefreshDecision => {
  const { now, presented, current, superseded, graceMs, restore } = facts
  if (presented > current) {
    const ahead = restore && now < restore.until ? Math.max(usualAhead, restore.ahead) : usualAhead
    if (presented - current > ahead) return { kind: 'ahead' }
    return { kind: 'catchUp', next: supersede(facts, presented, now, graceMs) }
  }
  if (presented === current) {
    const full = pruned(superseded, now, graceMs).length >= maximumSuperseded
    return full ? { kind: 'repeat' } : { kind: 'rotate', next: rotated(facts, now, graceMs) }
  }
  const entry = superseded.find(({ generation }) => generation >= presented)
  return entry && !isOver(entry, now, graceMs) ? { kind: 'repeat' } : { kind: 'replay' }
}

/** The state after the current token was superseded by the next. */
export const rotated = (state: RefreshState, now: number, graceMs: number): RefreshState =>
  supersede(state, state.current, now, graceMs)

const supersede = (state: RefreshState, through: number, at: number, graceMs: number): RefreshState => ({
  current: through + 1,
  superseded: [...pruned(state.superseded, at, graceMs), { generation: through, at }],
})

/** Drops what no decision needs: an entry whose successor is over too, since that one then speaks for both. */
const pruned = (superseded: readonly Superseded[], now: number, graceMs: number): readonly Superseded[] => {
  const keep = superseded.findIndex((entry, index) => {
    const next = superseded[index + 1]
    return !isOver(entry, now, graceMs) || !next || !isOver(next, now, graceMs)
  })
  return keep > 0 ? superseded.slice(keep) : superseded
}

const isOver = ({ at }: Superseded, now: number, graceMs: number): boolean => now - at > graceMs
