import fc from 'fast-check'
import { expect, test } from 'vitest'
import { namePattern, uriPattern } from '../../src/mcp/policy/pattern.ts'

const escaped = (text: string) => text.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&')
const letters = fc.constantFrom<string[]>('a', 'b', '/', 'ab', 'a/b', '')
const wildcards = fc.constantFrom('*', '{x}', '{+x}')

/** A pattern of literals with wildcards between them, and texts that look like it. */
const cases = fc.record({
  literals: fc.array(letters, { minLength: 1, maxLength: 4 }),
  between: fc.array(wildcards, { minLength: 3, maxLength: 3 }),
  text: fc.array(letters, { maxLength: 7 }).map((parts) => parts.join('')),
})

test('what stands for characters does so for as many as a regular expression would take', () => {
  fc.assert(
    fc.property(cases, ({ literals, between, text }) => {
      const [first = '', ...others] = literals
      const name = others.reduce((all, literal) => `${all}*${literal}`, first)
      const any = new RegExp(`^${literals.map(escaped).join('[^]*')}$`)
      expect([name, text, namePattern(name).matches(text)]).toEqual([name, text, any.test(text)])

      const uri = others.reduce((all, literal, at) => `${all}${between[at]}${literal}`, first)
      const parts = others.map((literal, at) => `${between[at] === '{x}' ? '[^/]*' : '[^]*'}${escaped(literal)}`)
      const expected = new RegExp(`^${escaped(first)}${parts.join('')}$`)
      const { matches, matchesDecoded } = uriPattern(uri, [])
      expect([uri, text, matches(text)]).toEqual([uri, text, expected.test(text)])
      expect([uri, text, matchesDecoded(text)]).toEqual([uri, text, any.test(text)])
    }),
    { numRuns: 5_000 },
  )
})
