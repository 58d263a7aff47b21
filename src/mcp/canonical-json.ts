/** A value's JSON, the same for any order of members; `undefined` for what is not there. */
export const canonicalJson = (value: unknown): string => JSON.stringify(value, sorted) ?? 'undefined'

const sorted = (_name: string, value: unknown): unknown =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
    : value
