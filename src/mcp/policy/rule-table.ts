import { maximumName, namePattern, type Pattern, uriPattern } from './pattern.ts'
import { bareOf, decodedOf, hrefOf, isPlain, spellingsOf } from './resource-uri.ts'
import { type PolicyRule, type Requirement, ruleOf } from './rule.ts'

/** What the policy says of one name. */
export interface Applicable {
  /** All of them count. */
  readonly rules: readonly PolicyRule[]
  /** Whether it is named: by a rule for it, whichever way it is written. */
  readonly listed: boolean
}

/** Finds the rules for a name. */
export type RuleTable = (name: string) => Applicable

/** Tools and prompts. */
export const nameTable = (requirements: Readonly<Record<string, Requirement>>): RuleTable => {
  const find = finder(entriesOf(requirements, namePattern))
  return (name) => named(name.length > maximumName ? [] : find(name))
}

/** Resources: whichever way a URI is written, the rules for what it may mean count. */
export const resourceTable = (requirements: Readonly<Record<string, Requirement>>): RuleTable => {
  const entries = entriesOf(requirements, (key) => uriPattern(key, [hrefOf, decodedOf]))
  const bare = entriesOf(requirements, (key) => uriPattern(key, [hrefOf, decodedOf, bareOf]))
  const findWritten = finder(entries)
  const findReduced = finder(entries, bare)
  const [near, nearBare] = [byPrefix(entries), byPrefix(bare)]
  const ofSpelled = remembering((uri): Applicable => {
    const spellings = spellingsOf(uri)
    if (!spellings) return { rules: [never], listed: false }
    const { written, reduced } = spellings
    const others = reduced.filter((text) => !written.includes(text))
    const rules = new Set([...written.flatMap(findWritten), ...others.flatMap(findReduced)])
    const listed =
      rules.size > 0 &&
      written.every((text) => near(text).some(({ pattern }) => pattern.matches(text))) &&
      others.every((text) => nearBare(text).some(({ pattern }) => pattern.matchesDecoded(text)))
    return { rules: [...rules], listed }
  })
  // Written in one way alone, as most are, it is named by what was found.
  return (uri) => (isPlain(uri) ? named(findWritten(uri)) : ofSpelled(uri))
}

const named = (rules: readonly PolicyRule[]): Applicable => ({ rules, listed: rules.length > 0 })

interface Entry {
  readonly pattern: Pattern
  /** One alone, in the form in which it is found. */
  readonly rules: readonly PolicyRule[]
}

const entriesOf = (
  requirements: Readonly<Record<string, Requirement>>,
  patternOf: (key: string) => Pattern,
): readonly Entry[] =>
  Object.entries(requirements).map(([key, requirement]) => ({ pattern: patternOf(key), rules: [ruleOf(requirement)] }))

/**
 * An exact name's rule stands alone; otherwise every pattern that matches counts.
 * @param looser entries whose exact names count where those of `entries` have none
 */
const finder = (
  entries: readonly Entry[],
  looser: readonly Entry[] = [],
): ((text: string) => readonly PolicyRule[]) => {
  const exact = new Map(
    [...looser, ...entries].flatMap(({ pattern, rules }) => pattern.exact.map((name) => [name, rules])),
  )
  const near = byPrefix(entries)
  const matching = (candidates: readonly Entry[], text: string): readonly PolicyRule[] => {
    const [only] = candidates
    // Most often there is one at most.
    if (only && candidates.length === 1) return only.pattern.matches(text) ? only.rules : none
    return candidates.flatMap(({ pattern, rules }) => (pattern.matches(text) ? rules : none))
  }
  const matchingAny = remembering((text) => matching(near(text), text))
  return (text) => {
    const own = exact.size > 0 ? exact.get(text) : undefined
    if (own) return own
    const candidates = near(text)
    return candidates.length > few ? matchingAny(text) : matching(candidates, text)
  }
}

/** The entries that could match a text, found by how it begins: there may be hundreds of others. */
const byPrefix = (entries: readonly Entry[]): ((text: string) => readonly Entry[]) => {
  const byEnd = new Map<string, { length: number; last: string; same: Map<string, readonly Entry[]> }>()
  for (const entry of entries) {
    for (const prefix of new Set(entry.pattern.prefixes)) {
      const { length } = prefix
      const last = prefix.slice(-1)
      const group = byEnd.get(`${length} ${last}`) ?? { length, last, same: new Map() }
      group.same.set(prefix, [...(group.same.get(prefix) ?? []), entry])
      byEnd.set(`${length} ${last}`, group)
    }
  }
  const groups = [...byEnd.values()]
  return (text) => {
    let found: readonly Entry[] = []
    for (const { length, last, same } of groups) {
      // Most are ruled out by one character, before a text is made and looked up.
      if (!text.startsWith(last, length - last.length)) continue
      const more = same.get(text.slice(0, length))
      if (more) found = found.length === 0 ? more : [...new Set([...found, ...more])]
    }
    return found
  }
}

/** The same answer each time, so what takes long is found once. Names are the caller's choice: what is remembered of them is bounded. */
const remembering = <T extends object>(find: (name: string) => T): ((name: string) => T) => {
  const known = new Map<string, T>()
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

const none: readonly PolicyRule[] = []
const never: PolicyRule = { allow: () => false }
const capacity = 2_000
/** So many patterns are tried faster than what was found is looked up, and kept. */
const few = 8
const longestRemembered = 256
