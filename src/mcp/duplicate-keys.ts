/**
 * Whether the messages of a JSON text, their `params` or an object in these name a member twice. Parsers differ in which one they take, so a text that
 * is decided on here and read again elsewhere could mean two things. Deeper levels decide nothing.
 * @param json text that `JSON.parse` accepts
 */
export const hasDuplicateKeys = (json: string): boolean => {
  // One set of names for each open object that matters; undefined for arrays and for deeper objects.
  const open: (Set<string> | undefined)[] = []
  let objects = 0
  let keyNext = false
  for (let at = 0; at < json.length; at += 1) {
    switch (json.charCodeAt(at)) {
      case quote: {
        const end = endOfString(json, at)
        const names = open.at(-1)
        if (keyNext && names) {
          const name = nameAt(json, at, end)
          if (names.has(name)) return true
          names.add(name)
        }
        keyNext = false
        at = end
        break
      }
      case openBrace:
        open.push(objects < decidingLevels ? new Set() : undefined)
        objects += 1
        keyNext = true
        break
      case openBracket:
        open.push(undefined)
        break
      case closeBrace:
        objects -= 1
        open.pop()
        break
      case closeBracket:
        open.pop()
        break
      case comma:
        keyNext = open.at(-1) !== undefined
        break
    }
  }
  return false
}

/** The position of the quote that ends the string that begins at `start`. */
const endOfString = (json: string, start: number): number => {
  let end = json.indexOf('"', start + 1)
  while (end > 0) {
    let backslashes = 0
    while (json.charCodeAt(end - 1 - backslashes) === backslash) backslashes += 1
    if (backslashes % 2 === 0) return end
    end = json.indexOf('"', end + 1)
  }
  return json.length
}

const nameAt = (json: string, start: number, end: number): string => {
  const raw = json.slice(start + 1, end)
  return raw.includes('\\') ? (JSON.parse(`"${raw}"`) as string) : raw
}

/** A message, its `params`, and in these a tool's arguments, a completion's `ref` or a subscription. */
const decidingLevels = 3

const quote = 0x22
const comma = 0x2c
const backslash = 0x5c
const openBracket = 0x5b
const closeBracket = 0x5d
const openBrace = 0x7b
const closeBrace = 0x7d
