/** The state of a grant's one refresh token. */
export interface RefreshState {
  /** Of the current token. */
  readonly generation: number
  /**
   * Superseded generations with the time of it, in milliseconds since the epoch, oldest first. An entry speaks for its own generation and for
   * those between it and the entry before. The first one may be older than the grace window: it bounds the next one from below.
   */
  readonly superseded: readonly Superseded[]
}

export type Superseded = readonly [generation: number, at: number]

export interface RefreshFacts extends RefreshState {
  /** Milliseconds since the epoch. */
  readonly now: number
  /** The generation of the token that was presented. Its MAC, client and authentication were found right: failing those changes nothing. */
  readonly presented: number
  /** How long a superseded token is still answered, in milliseconds. */
  readonly graceMs: number
  /** Opened by an operator who restored a backup: how many generations ahead a token may be, and until when. */
  readonly restore?: { readonly ahead: number; readonly until: number } | undefined
}

/**
 * - `rotate`: commit `next`, answer its token
 * - `repeat`: answer the current token again; nothing changes
 * - `catchUp`: the store lost writes: commit `next`, answer its token, audit
 * - `replay`: revoke the grant
 * - `ahead`: refuse; nothing changes
 *
 * Who loses the compare-and-swap of a commit reads again and decides again: losing never means replay.
 */
export type RefreshDecision =
  | { readonly kind: 'rotate' | 'catchUp'; readonly next: RefreshState }
  | { readonly kind: 'repeat' | 'replay' | 'ahead' }

export const initialRefreshState: RefreshState = { generation: 1, superseded: [] }

/** A store may lose its last writes, in a failover for example. More than this is not an accident of that kind. */
const usualAhead = 2

/** At this many entries a refresh repeats instead of rotating, so that the record stays small and nothing within the window is forgotten. */
const maximumSuperseded = 256

/** What to do with a refresh token. */
export const decideRefresh = (facts: RefreshFacts): RefreshDecision => {
  const { generation, superseded, now, presented, graceMs, restore } = facts
  if (presented > generation) {
    const ahead = restore && now < restore.until ? Math.max(usualAhead, restore.ahead) : usualAhead
    return presented - generation > ahead
      ? { kind: 'ahead' }
      : { kind: 'catchUp', next: after(facts, presented, now, graceMs) }
  }
  if (presented === generation) {
    const full = pruned(superseded, now, graceMs).length >= maximumSuperseded
    return full ? { kind: 'repeat' } : { kind: 'rotate', next: rotated(facts, now, graceMs) }
  }
  const entry = superseded.find(([through]) => through >= presented)
  return { kind: entry && !isOver(entry, now, graceMs) ? 'repeat' : 'replay' }
}

/** The state after the current token was superseded by the next. */
export const rotated = (state: RefreshState, now: number, graceMs: number): RefreshState =>
  after(state, state.generation, now, graceMs)

/** When the lost generations of a catch-up were superseded isn't known: they get the whole window, from now. */
const after = ({ superseded }: RefreshState, through: number, now: number, graceMs: number): RefreshState => ({
  generation: through + 1,
  superseded: [...pruned(superseded, now, graceMs), [through, now]],
})

/** Without the entries that no decision needs: one whose successor is over too, since that one then speaks for both. */
const pruned = (superseded: readonly Superseded[], now: number, graceMs: number): readonly Superseded[] => {
  const first = superseded.findIndex((entry, index) => {
    const next = superseded[index + 1]
    return next === undefined || !isOver(entry, now, graceMs) || !isOver(next, now, graceMs)
  })
  return superseded.slice(Math.max(first, 0))
}

const isOver = ([, at]: Superseded, now: number, graceMs: number): boolean => now - at > graceMs
