import fc from 'fast-check'
import { expect, test } from 'vitest'
import { systemRandom } from '../../src/events/random.ts'

test('random bytes: as many as asked for, never the same, never wiped under their owner', () => {
  const seen = new Set<string>()
  fc.assert(
    fc.property(fc.integer({ min: 16, max: 1_000 }), (length) => {
      const bytes = systemRandom.bytes(length)
      const text = Buffer.from(bytes).toString('hex')
      systemRandom.bytes(length)
      expect(bytes.length).toBe(length)
      expect(Buffer.from(bytes).toString('hex')).toBe(text)
      expect(seen.has(text)).toBe(false)
      seen.add(text)
    }),
    { numRuns: 2_000 },
  )
})

test('random bytes: every value comes, about as often as every other', () => {
  const counts = new Uint32Array(256)
  for (let round = 0; round < 16_000; round++)
    for (const byte of systemRandom.bytes(16)) counts[byte] = (counts[byte] ?? 0) + 1
  // 1000 of each are expected; ten standard deviations to both sides.
  expect(Math.min(...counts)).toBeGreaterThan(680)
  expect(Math.max(...counts)).toBeLessThan(1_320)
})
