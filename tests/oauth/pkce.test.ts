import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { isCodeChallenge, isCodeVerifier, verifyS256 } from '../../src/oauth/pkce.ts'

const challengeOf = (verifier: string): string => createHash('sha256').update(verifier).digest('base64url')

const unreserved = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~']
const verifiers = fc.string({ unit: fc.constantFrom(...unreserved), minLength: 43, maxLength: 128 })

test('the example of RFC 7636, appendix B', () => {
  const verifier = 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk'
  expect(verifyS256(verifier, 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM', challengeOf)).toBe(true)
  expect(verifyS256(`${verifier}.`, 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM', challengeOf)).toBe(false)
})

test('a verifier fits its own challenge and no other', () => {
  fc.assert(
    fc.property(verifiers, verifiers, (a, b) => {
      expect(isCodeVerifier(a)).toBe(true)
      expect(isCodeChallenge(challengeOf(a))).toBe(true)
      expect(verifyS256(a, challengeOf(a), challengeOf)).toBe(true)
      expect(verifyS256(b, challengeOf(a), challengeOf)).toBe(a === b)
    }),
  )
})

test('fault 20: the plain method is no way in: a verifier that equals its challenge fails', () => {
  const challenge = challengeOf('x'.repeat(43))
  expect(isCodeVerifier(challenge)).toBe(true)
  expect(verifyS256(challenge, challenge, challengeOf)).toBe(false)
})

test('a challenge is 32 bytes in base64url, in one spelling; a verifier has 43 to 128 unreserved characters', () => {
  const challenge = challengeOf('x'.repeat(43))
  expect(isCodeChallenge('')).toBe(false)
  expect(isCodeChallenge(`${challenge}=`)).toBe(false)
  expect(isCodeChallenge(challenge.slice(1))).toBe(false)
  expect(isCodeChallenge(`${challenge}A`)).toBe(false)
  expect(isCodeChallenge(`${challenge}\n`)).toBe(false)
  expect(isCodeChallenge(`${'A'.repeat(42)}B`)).toBe(false)
  expect(isCodeChallenge(`${'A'.repeat(42)}A`)).toBe(true)
  expect(isCodeChallenge(`${'+'.repeat(42)}A`)).toBe(false)
  expect(isCodeVerifier('x'.repeat(42))).toBe(false)
  expect(isCodeVerifier('x'.repeat(129))).toBe(false)
  expect(isCodeVerifier(`${'x'.repeat(42)} `)).toBe(false)
  expect(isCodeVerifier(`${'x'.repeat(43)}\n`)).toBe(false)
  expect(verifyS256('x', challengeOf('x'), challengeOf)).toBe(false)
})

test('every challenge that 32 bytes can have is one', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (bytes) => {
      expect(isCodeChallenge(Buffer.from(bytes).toString('base64url'))).toBe(true)
    }),
  )
})
