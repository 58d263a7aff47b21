import { expect, test } from 'vitest'
import { dpopMarkLife } from '../../src/oauth/dpop-marks.ts'
import { dpopWindow } from '../../src/oauth/dpop-proof.ts'

const proof = (issuedAt: number) => ({ jkt: 'key', jti: 'one', issuedAt })

test('a used proof is known as such until its time alone refuses it, and a minute longer', () => {
  const now = 1_800_000_000_000
  const seconds = now / 1000
  expect(dpopMarkLife(proof(seconds), now)).toBe((dpopWindow + 60) * 1000)
  expect(dpopMarkLife(proof(seconds - dpopWindow), now)).toBe(60_000)
  expect(dpopMarkLife(proof(seconds + dpopWindow), now)).toBe((2 * dpopWindow + 60) * 1000)
  // Whole milliseconds, and not one too few.
  expect(dpopMarkLife(proof(seconds + 0.0001), now)).toBe((dpopWindow + 60) * 1000 + 1)
})

test('what a clock that was moved makes of it is a life all the same', () => {
  expect(dpopMarkLife(proof(1), 1_800_000_000_000)).toBe(1)
})
