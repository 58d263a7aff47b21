import { createHmac } from 'node:crypto'
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
  const code = { grant: newGrantId(systemRandom), session: newGrantId(systemRandom), secret: newSecret(systemRandom) }
  expect(parseCode(formatCode(code))).toEqual(code)
})

test('a code is one from its first to its last character, in its one spelling', () => {
  const id = 'A'.repeat(22)
  const secret = 'A'.repeat(43)
  const read = (grant: string, session: string, end: string) => parseCode(`cs_ac_${grant}.${session}.${end}`)
  expect(read(id, id, secret)).toEqual({ grant: id, session: id, secret })
  const whole = `cs_ac_${id}.${id}.${secret}`
  const none = [
    ...['', 'nonsense', `x${whole}`, `${whole}x`, `${whole}\n`, whole.replace('.', ''), whole.replace('ac', 'rt')],
    ...[`cs_ac_${id}.${secret}`, `cs_ac_${id}..${secret}`, `cs_ac_${id}.${id}.${id}.${secret}`],
  ]
  for (const text of none) expect([text, parseCode(text)]).toEqual([text, undefined])
  const parts: readonly (readonly [string, string, string])[] = [
    [`${id}A`, id, secret],
    ['A', id, secret],
    [id, 'A', secret],
    [id, id, 'A'],
    ['!'.repeat(22), id, secret],
    [id, '!'.repeat(22), secret],
    [id, id, '!'.repeat(43)],
    // Bits that are thrown away.
    [`${'A'.repeat(21)}B`, id, secret],
    [id, `${'A'.repeat(21)}B`, secret],
    [id, id, `${'A'.repeat(42)}B`],
  ]
  for (const each of parts) expect([each, read(...each)]).toEqual([each, undefined])
})

test('a refresh token is one from its first to its last character', () => {
  const id = 'A'.repeat(22)
  const mac = 'A'.repeat(43)
  const read = (grant: string, session: string, generation: string, keyId: string, end: string) =>
    parseRefreshToken(`cs_rt_${grant}.${session}.${generation}.${keyId}.${end}`)
  const longest = '9'.repeat(15)
  for (const [generation, keyId] of [
    ['0', 'k'],
    ['10', 'key-1_2'],
    [longest, 'k'.repeat(64)],
  ] as const) {
    const signed = `cs_rt_${id}.${id}.${generation}.${keyId}`
    const expected = { grant: id, session: id, generation: Number(generation), keyId, signed }
    expect(read(id, id, generation, keyId, mac)).toMatchObject(expected)
  }
  const none: readonly (readonly [string, string, string, string, string])[] = [
    [`${id}A`, id, '1', 'k', mac],
    [id, `${id}A`, '1', 'k', mac],
    ['A', id, '1', 'k', mac],
    [id, 'A', '1', 'k', mac],
    [id, id, '01', 'k', mac],
    [id, id, '', 'k', mac],
    [id, id, 'x', 'k', mac],
    [id, id, '1x', 'k', mac],
    [id, id, `${longest}9`, 'k', mac],
    [id, id, '1', '', mac],
    [id, id, '1', '!', mac],
    [id, id, '1', 'k'.repeat(65), mac],
    [id, id, '1', 'k', ''],
    [id, id, '1', 'k', 'A'],
    [id, id, '1', 'k', `${mac}A`],
    [id, id, '1', 'k', '!'.repeat(43)],
    ['!'.repeat(22), id, '1', 'k', mac],
    [id, '!'.repeat(22), '1', 'k', mac],
  ]
  for (const parts of none) expect([parts, read(...parts)]).toEqual([parts, undefined])
  for (const text of ['', 'nonsense', `xcs_rt_${id}.${id}.1.k.${mac}`, `cs_rt_${id}.${id}.1.k.${mac} `]) {
    expect([text, parseRefreshToken(text)]).toEqual([text, undefined])
  }
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

test('how a MAC is made is written down: whoever changes it signs everybody out', () => {
  const [grant, session] = [newGrantId(systemRandom), newGrantId(systemRandom)]
  const signed = `cs_rt_${grant}.${session}.3.${key.id}`
  const mac = createHmac('sha256', key.key).update(`refresh token ${salt} ${signed}`).digest('base64url')
  expect(deriveRefreshToken({ grant, session }, 3, salt, key)).toBe(`${signed}.${mac}`)
})

test('a refresh token as they were made before the first release is genuine, and no other of its form', () => {
  const [grant, session] = [newGrantId(systemRandom), newGrantId(systemRandom)]
  const madeWith = (madeKey: Uint8Array, madeSalt: string) => {
    const ofGrant = createHmac('sha256', madeKey).update(`refresh token ${madeSalt}`).digest()
    const signed = `cs_rt_${grant}.${session}.3.${key.id}`
    const token = parseRefreshToken(`${signed}.${createHmac('sha256', ofGrant).update(signed).digest('base64url')}`)
    return token && isGenuine(token, salt, key)
  }
  expect(madeWith(key.key, salt)).toBe(true)
  expect(madeWith(key.key, newSecret(systemRandom))).toBe(false)
  expect(madeWith(new Uint8Array(32), salt)).toBe(false)
})

test('a MAC is checked only with the key that the token names', () => {
  const [grant, session] = [newGrantId(systemRandom), newGrantId(systemRandom)]
  const token = parseRefreshToken(deriveRefreshToken({ grant, session }, 1, salt, key))
  expect(token && isGenuine(token, salt, { ...key, id: 'key-2' })).toBe(false)
})
