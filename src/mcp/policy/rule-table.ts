import { maximumName, namePattern, type Pattern, uriPattern } from './pattern.ts'
import { bareOf, decodedOf, hrefOf, spellingsOf } from './resource-uri.ts'
import { type PolicyRule, type Requirement, ruleOf } from './rule.ts'

/** What the policy says of one name. */
export interface Applicable {
  /** All of them count. */
  readonly rules: readonly PolicyRule[]
  /** Whether it is named: by a rule for it, whichever way it is written. */
  readonly listed: boolean
}

/** Finds the rules for a name. The same answer each time, so it is found once. */
export type RuleTable = (name: string) => Applicable

/** Tools and prompts. */
export const nameTable = (requirements: Readonly<Record<string, Requirement>>): RuleTable => {
  const find = finder(entriesOf(requirements, namePattern))
  return remembering((name) => {
    const rules = name.length > maximumName ? [] : find(name)
    return { rules, listed: rules.length > 0 }
  })
}

/** Resources: whichever way a URI is written, the rules for what it may mean count. */
export const resourceTable = (requirements: Readonly<Record<string, Requirement>>): RuleTable => {
  const entries = entriesOf(requirements, (key) => uriPattern(key, [hrefOf, decodedOf]))
  const bare = entriesOf(requirements, (key) => uriPattern(key, [hrefOf, decodedOf, bareOf]))
  const findWritten = finder(entries)
  const findReduced = finder(entries, bare)
  const [near, nearBare] = [byPrefix(entries), byPrefix(bare)]
  return remembering((uri) => {
    const spellings = spellingsOf(uri)
    if (!spellings) return { rules: [never], listed: false }
    const { written, reduced } = spellings
    const others = reduced.filter((text) => !written.includes(text))
    const [only, ...further] = written
    // Written in one way alone, as most are, it is named by what was found.
    if (only !== undefined && further.length + others.length === 0) {
      const found = findWritten(only)
      return { rules: found, listed: found.length > 0 }
    }
    const rules = new Set([...written.flatMap(findWritten), ...others.flatMap(findReduced)])
    const listed =
      rules.size > 0 &&
      written.every((text) => near(text).some(({ pattern }) => pattern.matches(text))) &&
      others.every((text) => nearBare(text).some(({ pattern }) => pattern.matchesDecoded(text)))
    return { rules: [...rules], listed }
  })
}

interface Entry {
  readonly pattern: Pattern
  readonly rule: PolicyRule
}

const entriesOf = (
  requirements: Readonly<Record<string, Requirement>>,
  patternOf: (key: string) => Pattern,
): readonly Entry[] =>
  Object.entries(requirements).map(([key, requirement]) => ({ pattern: patternOf(key), rule: ruleOf(requirement) }))

/**
 * An exact name's rule stands alone; otherwise every pattern that matches counts.
 * @param looser entries whose exact names count where those of `entries` have none
 */
const finder = (
  entries: readonly Entry[],
  looser: readonly Entry[] = [],
): ((text: string) => readonly PolicyRule[]) => {
  const exact = new Map(
    [...looser, ...entries].flatMap(({ pattern, rule }) => pattern.exact.map((name) => [name, rule])),
  )
  const near = byPrefix(entries)
  return (text) => {
    const own = exact.get(text)
    return own
      ? [own]
      : near(text)
          .filter(({ pattern }) => pattern.matches(text))
          .map(({ rule }) => rule)
  }
}

/** The entries that could match a text, found by how it begins: there may be hundreds of others. */
const byPrefix = (entries: readonly Entry[]): ((text: string) => readonly Entry[]) => {
  const byLength = new Map<number, Map<string, readonly Entry[]>>()
  for (const entry of entries) {
    for (const prefix of new Set(entry.pattern.prefixes)) {
      const same = byLength.get(prefix.length) ?? new Map<string, readonly Entry[]>()
      byLength.set(prefix.length, same.set(prefix, [...(same.get(prefix) ?? []), entry]))
    }
  }
  return (text) => {
    let found: readonly Entry[] = []
    for (const [length, same] of byLength) {
      const more = same.get(text.slice(0, length))
      if (more) found = found.length === 0 ? more : [...new Set([...found, ...more])]
    }
    return found
  }
}

/** Names are the caller's choice: what is remembered of them is bounded. */
const remembering = (find: RuleTable): RuleTable => {
  const known = new Map<string, Applicable>()
  return (name) => {
    const remembered = known.get(name)
    if (remembered) return remembered
    const found = find(name)
    if (name.length > longestRemembered) return found
    if (known.size >= capacity) known.clear()
    known.set(name, found)
    return found
  }
}

const never: PolicyRule = { allow: () => false }
const capacity = 2_000
const longestRemembered = 256
