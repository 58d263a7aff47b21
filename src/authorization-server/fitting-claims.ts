import type { JsonObject } from '../identity/json.ts'

// A header of more than 8 KB is refused by many a proxy, and a client whose token nobody takes would ask for another for ever.
export const longestAccessToken = 8_000

// Who vouched for whom is never left out.
const kept = new Set(['iss', 'sub'])

/**
 * Leaves out of `upstream_claims` what is largest, whole claims, until a token is shorter by so many characters; answers what that was. A list that
 * was cut would say that somebody is not in what was cut off.
 */
export const leaveOutLargest = (
  upstream: JsonObject,
  characters: number,
): { readonly left: JsonObject; readonly omitted: readonly string[] } => {
  const sizes = Object.entries(upstream)
    .filter(([name]) => !kept.has(name))
    .map(([name, value]): [string, number] => [name, Buffer.byteLength(JSON.stringify([name, value]))])
    .sort(([, a], [, b]) => b - a)
  const omitted: string[] = []
  // In base64url three bytes are four characters.
  for (let excess = (characters * 3) / 4; excess > 0; ) {
    const [name, size] = sizes.shift() ?? []
    if (name === undefined || size === undefined) break
    omitted.push(name)
    excess -= size
  }
  return { left: Object.fromEntries(Object.entries(upstream).filter(([name]) => !omitted.includes(name))), omitted }
}
