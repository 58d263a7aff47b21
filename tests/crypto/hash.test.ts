import fc from 'fast-check'
import { expect, test } from 'vitest'
import { base64url, equalBytes, fromBase64url, fromUtf8, utf8 } from '../../src/crypto/bytes.ts'
import { deriveKey, hashSecret, hashStrings, hmacSha256, matchesSecret } from '../../src/crypto/hash.ts'
import { decoyHash, hashPassword, verifyPassword } from '../../src/crypto/password.ts'

test('base64url: one value has one spelling', () => {
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      expect([...(fromBase64url(base64url(bytes)) ?? [])]).toEqual([...bytes])
    }),
  )
  // Padding, the other alphabet, bits that are thrown away, other characters.
  for (const text of ['YQ==', '+/+/', 'YR', 'Y', 'Y Q', 'YQ\n', 'Y*']) expect(fromBase64url(text), text).toBeUndefined()
  expect(fromBase64url('')).toHaveLength(0)
})

test('bytes that are no UTF-8 are no text', () => {
  expect(fromUtf8(utf8('ä🗝'))).toBe('ä🗝')
  expect(() => fromUtf8(Uint8Array.of(0x61, 0xff))).toThrow(TypeError)
})

test('a key that was derived once is derived again: what was sealed with it can’t be opened with another', () => {
  expect(base64url(deriveKey(utf8('secret'), 'a'))).toBe('GuTyUa6Mq8VlOQlUn4CkFUoiCNGAXfeJpXht7szezJs')
})

test('SHA-256, HMAC and HKDF are those of the standards', () => {
  expect(fromBase64url(hashSecret('abc'))).toEqual(
    Buffer.from('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad', 'hex'),
  )
  // RFC 4231, case 2
  expect(Buffer.from(hmacSha256(utf8('Jefe'), 'what do ya want for nothing?')).toString('hex')).toBe(
    '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843',
  )
  expect(base64url(deriveKey(utf8('secret'), 'a'))).not.toBe(base64url(deriveKey(utf8('secret'), 'b')))
  expect(deriveKey(utf8('secret'), 'a', 9)).toHaveLength(9)
})

test('lists of strings hash alike only if they are alike', () => {
  const lists = fc.array(fc.string({ unit: 'binary' }), { maxLength: 4 })
  fc.assert(
    fc.property(lists, lists, (a, b) => {
      expect(hashStrings(...a) === hashStrings(...b)).toBe(JSON.stringify(a) === JSON.stringify(b))
    }),
  )
  expect(hashStrings('a', 'b')).not.toBe(hashStrings('ab'))
  expect(hashStrings('a,b')).not.toBe(hashStrings('a', 'b'))
  expect(hashStrings('https://a', '/b')).not.toBe(hashStrings('https://a/', 'b'))
})

test('a secret matches its own hash only', () => {
  const stored = hashSecret('the secret')
  expect(matchesSecret('the secret', stored)).toBe(true)
  for (const other of ['', 'the secre', 'the secret ', stored]) expect(matchesSecret(other, stored)).toBe(false)
  expect(matchesSecret('the secret', 'no hash')).toBe(false)
  expect(matchesSecret('', '')).toBe(false)
  expect(equalBytes(utf8('a'), utf8('ab'))).toBe(false)
})

test('passwords: the right one, however it is written, and no other', async () => {
  const stored = await hashPassword('pässword')
  expect(stored).toMatch(/^scrypt\$131072\$8\$1\$[\w-]{22}\$[\w-]{43}$/)
  expect(await hashPassword('pässword')).not.toBe(stored)
  expect(await verifyPassword('pa\u0308ssword', stored)).toBe(true)
  expect(await verifyPassword('password', stored)).toBe(false)
  expect(await verifyPassword('', decoyHash)).toBe(false)
})

test('a stored hash that can’t be read is no password’s, and can’t ask for all the memory', async () => {
  const salt = 'A'.repeat(22)
  const hash = 'A'.repeat(43)
  const broken = [
    '',
    'scrypt',
    'bcrypt$131072$8$1$YQ$YQ',
    `scrypt$131072$8$1$$${hash}`,
    `scrypt$131072$8$1$${salt}$`,
    `scrypt$131072$8$1$${salt}$AA`,
    `scrypt$NaN$8$1$${salt}$${hash}`,
    `scrypt$0$8$1$${salt}$${hash}`,
    `scrypt$1000$8$1$${salt}$${hash}`,
    `scrypt$-2$8$1$${salt}$${hash}`,
    `scrypt$1073741824$8$1$${salt}$${hash}`,
    `scrypt$2$8$1000000$${salt}$${hash}`,
  ]
  for (const stored of broken) expect(await verifyPassword('password', stored), stored).toBe(false)
})
