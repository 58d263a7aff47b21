import fc from 'fast-check'
import { expect, test } from 'vitest'
import { nameTable, resourceTable } from '../../src/mcp/policy/rule-table.ts'

const letter = fc.constantFrom('a', 'b', '_')
const word = (longest: number) => fc.array(letter, { maxLength: longest }).map((each) => each.join(''))
const glob = fc
  .array(fc.oneof({ arbitrary: letter, weight: 3 }, { arbitrary: fc.constant('*'), weight: 1 }), {
    minLength: 1,
    maxLength: 5,
  })
  .map((each) => each.join(''))

/** The rules that count for a name, found the long way: its own, or else those of all patterns that match. */
const expected = (patterns: readonly string[], name: string, wildcard: RegExp, stands: string): readonly string[] => {
  if (patterns.includes(name) && !name.includes('*')) return [name]
  return patterns.filter((each) => {
    if (!wildcard.test(each)) return false
    const literals = each.split(wildcard)
    return new RegExp(`^${literals.join(stands)}$`).test(name)
  })
}

const rulesFor = (patterns: readonly string[]) =>
  Object.fromEntries(patterns.map((pattern) => [pattern, { scopes: [pattern] }]))

const scopesOf = (rules: readonly { readonly scopes?: readonly string[] | undefined }[]) =>
  rules.flatMap(({ scopes = [] }) => scopes).sort()

test('however many patterns there are, those that match a name are found, the first time and again', () => {
  fc.assert(
    fc.property(
      // Few, so that all are tried; and many with one beginning, so that what was found is kept.
      fc.uniqueArray(glob, { maxLength: 60, size: 'max' }),
      fc.array(word(5), { minLength: 1, maxLength: 10 }),
      (patterns, names) => {
        const table = nameTable(rulesFor(patterns))
        for (const name of [...names, ...names]) {
          const { rules, listed } = table(name)
          const wanted = expected(patterns, name, /\*/, '.*')
          expect(scopesOf(rules)).toEqual([...wanted].sort())
          expect(listed).toBe(wanted.length > 0)
        }
      },
    ),
    { numRuns: 1_000 },
  )
})

test('the same for URIs that are written in one way alone', () => {
  const segment = fc.array(fc.constantFrom('a', 'b'), { minLength: 1, maxLength: 2 }).map((each) => each.join(''))
  const part = fc.oneof({ arbitrary: segment, weight: 2 }, { arbitrary: fc.constant('{id}'), weight: 1 })
  const uriOf = (parts: readonly string[]) => `notes://${parts.join('/')}`
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.array(part, { minLength: 2, maxLength: 3 }).map(uriOf), { maxLength: 40, size: 'max' }),
      fc.array(fc.array(segment, { minLength: 2, maxLength: 3 }).map(uriOf), { minLength: 1, maxLength: 10 }),
      (patterns, uris) => {
        const table = resourceTable(rulesFor(patterns))
        for (const uri of [...uris, ...uris]) {
          const { rules, listed } = table(uri)
          const wanted = expected(patterns, uri, /\{id\}/, '[^/]*')
          expect(scopesOf(rules)).toEqual([...wanted].sort())
          expect(listed).toBe(wanted.length > 0)
        }
      },
    ),
    { numRuns: 1_000 },
  )
})
