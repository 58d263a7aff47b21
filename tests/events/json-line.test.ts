import fc from 'fast-check'
import { afterEach, expect, test, vi } from 'vitest'
import { jsonLine } from '../../src/events/json-line.ts'
import { silentLogger } from '../../src/events/logger.ts'
import type { Options } from '../../src/options.ts'
import { createAudit } from '../../src/server-context.ts'

afterEach(() => vi.restoreAllMocks())

/** What a terminal acts upon, or what makes a line look like another one. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const commands = /[\x00-\x1f\x7f-\x9f\u2028\u2029\p{Cf}]/u

test('whatever text is in it: one line that commands no terminal, and the same value when it is read', () => {
  const text = fc.oneof(
    fc.array(fc.integer({ min: 0, max: 0xffff })).map((units) => String.fromCharCode(...units)),
    fc
      .array(fc.constantFrom('\u001b[2J', '\u009b31m', '\u202e', '\u2028', '\u{e0041}', '\ufeff', '\n', '"', '\\'))
      .map((all) => all.join('')),
  )
  fc.assert(
    fc.property(fc.record({ reason: text, nested: fc.array(text) }), (value) => {
      const line = jsonLine(value)
      expect(line).not.toMatch(commands)
      expect(JSON.parse(line)).toEqual(value)
    }),
    { numRuns: 1_000 },
  )
})

test('attack: a client’s name in the audit log, where that is standard error, does nothing to who reads it', () => {
  const lines: string[] = []
  vi.spyOn(console, 'error').mockImplementation((line: string) => void lines.push(line))
  const name = 'Evil \u009b2J\u202e\u001b]0;title\u0007'
  createAudit({} as Options<unknown>, silentLogger)({ type: 'client.created', clientId: 'x', name })
  expect(lines).toHaveLength(1)
  expect(lines[0]).not.toMatch(commands)
  expect(JSON.parse(lines[0] ?? '')).toMatchObject({ name })
})
