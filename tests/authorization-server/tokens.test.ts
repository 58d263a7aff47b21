import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  deriveRefreshToken,
  formatCode,
  isGenuine,
  newGrantId,
  newSecret,
  parseCode,
  parseRefreshToken,
} from '../../src/authorization-server/tokens.ts'
import { systemRandom } from '../../src/events/random.ts'

const key = { id: 'key-1', key: new Uint8Array(32).fill(7) }
const salt = newSecret(systemRandom)
const id = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes).toString('base64url'))
const generation = fc.nat({ max: Number.MAX_SAFE_INTEGER % 10 ** 15 })

test('a code is read as it was made', () => {
  const code = { grant: newGrantId(systemRandom), secret: newSecret(systemRandom) }
  expect(parseCode(formatCode(code))).toEqual(code)
})

test('a refresh token is read as it was made, and is genuine', () => {
  fc.assert(
    fc.property(id, id, generation, (grant, session, generation) => {
      const token = parseRefreshToken(deriveRefreshToken({ grant, session }, generation, salt, key))
      expect(token).toMatchObject({ grant, session, generation, keyId: 'key-1' })
      expect(token && isGenuine(token, salt, key)).toBe(true)
    }),
  )
})

test('one spelling: whatever is changed in a refresh token, it is another token or none, and never genuine', () => {
  const characters = fc.string({ unit: fc.constantFrom(...'ABab01-_.=+/ \n'), minLength: 0, maxLength: 2 })
  fc.assert(
    fc.property(
      id,
      id,
      fc.nat({ max: 1000 }),
      fc.nat(),
      fc.nat({ max: 2 }),
      characters,
      (grant, session, turn, at, length, put) => {
        const text = deriveRefreshToken({ grant, session }, turn, salt, key)
        const from = at % (text.length + 1)
        const changed = text.slice(0, from) + put + text.slice(from + length)
        fc.pre(changed !== text)
        const token = parseRefreshToken(changed)
        expect(token && isGenuine(token, salt, key)).not.toBe(true)
      },
    ),
    { numRuns: 3000 },
  )
})

test('another grant, session, generation, salt, key or key id makes another MAC', () => {
  const [grant, session] = [newGrantId(systemRandom), newGrantId(systemRandom)]
  const other = newGrantId(systemRandom)
  const tokens = [
    deriveRefreshToken({ grant, session }, 1, salt, key),
    deriveRefreshToken({ grant, session }, 2, salt, key),
    deriveRefreshToken({ grant: other, session }, 1, salt, key),
    deriveRefreshToken({ grant, session: other }, 1, salt, key),
    deriveRefreshToken({ grant, session }, 1, newSecret(systemRandom), key),
    deriveRefreshToken({ grant, session }, 1, salt, { ...key, key: new Uint8Array(32) }),
    deriveRefreshToken({ grant, session }, 1, salt, { ...key, id: 'key-2' }),
  ]
  expect(new Set(tokens.map((token) => token.slice(-43))).size).toBe(tokens.length)
})

test('a MAC is checked only with the key that the token names', () => {
  const [grant, session] = [newGrantId(systemRandom), newGrantId(systemRandom)]
  const token = parseRefreshToken(deriveRefreshToken({ grant, session }, 1, salt, key))
  expect(token && isGenuine(token, salt, { ...key, id: 'key-2' })).toBe(false)
})
