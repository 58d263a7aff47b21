/**
 * Whether a value is nested deeper than any message has reason to be. A parser takes whatever depth; what writes it again, compares it or asks a
 * decision point about it does not.
 */
export const isTooDeep = (value: unknown): boolean => {
  let level: readonly object[] = isObject(value) ? [value] : []
  for (let depth = 1; level.length > 0; depth += 1) {
    if (depth > deepest) return true
    level = level.flatMap((each) => Object.values(each).filter(isObject))
  }
  return false
}

/** The text of what is too deep is longer. */
export const shortestTooDeep = 512
const deepest = shortestTooDeep / 2

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null
