import { expect, test } from 'vitest'
import { boundKeyOf, checkBoundKey } from '../../src/identity/confirmation.ts'
import type { JsonObject } from '../../src/identity/json.ts'
import { TokenInvalid, VerifierUnavailable } from '../../src/identity/verifier.ts'

const jkt = '0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I'

const refusal = (check: () => unknown): string => {
  try {
    check()
  } catch (error) {
    if (error instanceof TokenInvalid) return error.reason
    throw error
  }
  return 'taken'
}

test('a token is bound to the key that it names, or to none', () => {
  expect(boundKeyOf({ cnf: { jkt } })).toBe(jkt)
  expect(boundKeyOf({})).toBeUndefined()
  expect(boundKeyOf({ cnf: undefined })).toBeUndefined()
})

test.each<[string, JsonObject['cnf']]>([
  ['to a certificate', { 'x5t#S256': 'bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2' }],
  ['to a certificate beside a key', { jkt, 'x5t#S256': 'bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2' }],
  ['to nothing', {}],
  ['to an empty thumbprint', { jkt: '' }],
  ['to a thumbprint that is no text', { jkt: 7 }],
  ['to several', { jkt: [jkt] }],
  ['by a list', [jkt]],
  ['by a text', jkt],
  ['by a number', 1],
  ['by null', null],
])('a token that is bound %s is good for nobody, with a proof or without', (_, cnf) => {
  expect(refusal(() => boundKeyOf({ cnf }))).toBe('binding')
  expect(refusal(() => checkBoundKey({ cnf }, undefined))).toBe('binding')
  expect(refusal(() => checkBoundKey({ cnf }, jkt))).toBe('binding')
})

test('a list that has the member of a binding is none', () => {
  const cnf = Object.assign([], { jkt }) as unknown as JsonObject
  expect(refusal(() => boundKeyOf({ cnf }))).toBe('binding')
})

test('a bound token needs the proof of its own key, and a bearer token none', () => {
  expect(refusal(() => checkBoundKey({ cnf: { jkt } }, jkt))).toBe('taken')
  expect(refusal(() => checkBoundKey({}, undefined))).toBe('taken')
  expect(refusal(() => checkBoundKey({ cnf: { jkt } }, undefined))).toBe('binding')
  expect(refusal(() => checkBoundKey({ cnf: { jkt } }, `${jkt.slice(0, -1)}A`))).toBe('binding')
  expect(refusal(() => checkBoundKey({}, jkt))).toBe('binding')
})

test('what refuses a token, and what says nothing about it, are told apart by name', () => {
  expect(new TokenInvalid('audience')).toMatchObject({ name: 'TokenInvalid', reason: 'audience' })
  expect(new TokenInvalid('audience').message).toContain('audience')
  expect(new VerifierUnavailable('x').name).toBe('VerifierUnavailable')
})
