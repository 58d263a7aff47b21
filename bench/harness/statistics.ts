/** The `share` quantile (0 to 1) of some figures, interpolated; NaN of none. */
export function quantile(figures: readonly number[], share: number): number {
  const sorted = [...figures].sort((a, b) => a - b)
  const position = (sorted.length - 1) * share
  const below = sorted[Math.floor(position)] ?? Number.NaN
  const above = sorted[Math.ceil(position)] ?? Number.NaN
  return below + (above - below) * (position - Math.floor(position))
}

export function median(figures: readonly number[]): number {
  return quantile(figures, 0.5)
}

/** The median of `base` over `other`, round by round: both figures of a round were taken within a second or two of each other. */
export function ratio(base: readonly number[], other: readonly number[]): number {
  return median(base.map((figure, round) => figure / (other[round] ?? Number.NaN)))
}
