import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { fromUtf8, utf8 } from '../../src/crypto/bytes.ts'
import { seal, UnsealError, unseal } from '../../src/crypto/sealing.ts'

const key = { id: 'key-1', key: randomBytes(32) }
const find = (id: string) => (id === key.id ? key.key : undefined)
const reason = (open: () => unknown): string => {
  try {
    open()
  } catch (error) {
    if (error instanceof UnsealError) return error.reason
    throw error
  }
  return 'opened'
}

test('what was sealed opens in its place', () => {
  fc.assert(
    fc.property(fc.uint8Array(), fc.string({ unit: 'binary' }), (plain, context) => {
      expect([...unseal(seal(plain, key, context), find, context)]).toEqual([...plain])
    }),
  )
})

test('the same is never sealed alike, and shows nothing of what it holds', () => {
  const [first, second] = [1, 2].map(() => Buffer.from(seal(utf8('a refresh token'), key, 'a')))
  expect(first?.equals(second ?? Buffer.of())).toBe(false)
  expect(first?.toString('latin1')).not.toContain('refresh')
})

test('design 4, sealing: an envelope that was moved to another place does not open', () => {
  const envelope = seal(utf8('alice’s session'), key, 'upstream-session/a#1')
  expect(reason(() => unseal(envelope, find, 'upstream-session/b#1'))).toBe('forged')
  expect(reason(() => unseal(envelope, find, 'upstream-session/a#2'))).toBe('forged')
  expect(reason(() => unseal(envelope, find, 'upstream-session/a#1'))).toBe('opened')
})

test('an envelope with any one bit changed does not open', () => {
  const envelope = seal(utf8('text'), key, 'a')
  for (let bit = 0; bit < envelope.length * 8; bit++) {
    const changed = Uint8Array.from(envelope)
    changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    expect(
      reason(() => unseal(changed, find, 'a')),
      `bit ${bit}`,
    ).not.toBe('opened')
  }
})

test('a key id is not only a hint: the envelope opens under no other id, and with no other key of that id', () => {
  const envelope = seal(utf8('text'), key, 'a')
  const renamed = Uint8Array.from(envelope)
  renamed[2 + key.id.length - 1] = '2'.charCodeAt(0)
  expect(reason(() => unseal(renamed, () => key.key, 'a'))).toBe('forged')
  expect(reason(() => unseal(envelope, () => randomBytes(32), 'a'))).toBe('forged')
})

test('an unknown key is told apart, with its id: there may be a newer ring', () => {
  const envelope = seal(utf8('text'), { id: 'key-2', key: key.key }, 'a')
  try {
    unseal(envelope, find, 'a')
    expect.unreachable()
  } catch (error) {
    expect(error).toMatchObject({ reason: 'unknown_key', keyId: 'key-2' })
  }
})

test('what is no envelope is malformed, whatever it is', () => {
  expect(reason(() => unseal(new Uint8Array(), find, 'a'))).toBe('malformed')
  expect(reason(() => unseal(utf8('{"plain":"json"}'), find, 'a'))).toBe('malformed')
  const envelope = seal(utf8(''), key, 'a')
  expect(reason(() => unseal(envelope.subarray(0, -1), find, 'a'))).toBe('malformed')
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
      expect(['malformed', 'unknown_key']).toContain(reason(() => unseal(bytes, find, 'a')))
    }),
  )
})

test('a message never holds what was sealed, or a key', () => {
  const envelope = seal(utf8('a refresh token'), key, 'a')
  try {
    unseal(envelope, find, 'b')
    expect.unreachable()
  } catch (error) {
    expect(String((error as Error).stack)).not.toMatch(/refresh/)
  }
  expect(fromUtf8(unseal(envelope, find, 'a'))).toBe('a refresh token')
})
