import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createDecodedMemory } from '../../src/records/decoded-memory.ts'

const bytesOf = (value: unknown) => new TextEncoder().encode(JSON.stringify(value))

/** Decodes as a memory without room would, and counts how often. */
const reading = (capacity?: number) => {
  const memory = createDecodedMemory(capacity)
  const state = { decoded: 0 }
  const read = (key: string, value: unknown): unknown => {
    const bytes = bytesOf(value)
    return memory(key, bytes, () => {
      state.decoded += 1
      return JSON.parse(new TextDecoder().decode(bytes)) as unknown
    })
  }
  return Object.assign(state, { read, memory })
}

test('whatever is read, in whatever order, it is what the bytes say', () => {
  const steps = fc.array(fc.record({ key: fc.constantFrom('a', 'b', 'c', 'd'), value: fc.jsonValue() }))
  fc.assert(
    fc.property(steps, fc.integer({ min: 1, max: 5 }), (all, capacity) => {
      const { read } = reading(capacity)
      for (const { key, value } of all) expect(read(key, value)).toEqual(JSON.parse(JSON.stringify(value)))
    }),
  )
})

test('the same bytes are decoded once, others anew, and who came first goes first', () => {
  const self = reading(2)
  const first = self.read('a', { id: 1 })
  expect(self.read('a', { id: 1 })).toBe(first)
  expect(self.decoded).toBe(1)
  expect(self.read('a', { id: 2 })).toEqual({ id: 2 })
  expect(self.decoded).toBe(2)
  self.read('b', { id: 1 })
  self.read('c', { id: 1 })
  expect(self.decoded).toBe(4)
  self.read('b', { id: 1 })
  self.read('c', { id: 1 })
  expect(self.decoded).toBe(4)
  self.read('a', { id: 2 })
  expect(self.decoded).toBe(5)
})

test('nobody changes what others read: neither the value, however deep, nor the bytes that it was made of', () => {
  const { memory } = reading()
  const bytes = bytesOf({ redirectUris: ['https://client.example/'], keys: { jwks: [{ kty: 'EC' }] } })
  const decode = () => JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown>
  const value = memory('a', bytes, decode) as { redirectUris: string[]; keys: { jwks: { kty: string }[] } }
  expect(() => value.redirectUris.push('https://evil.example/')).toThrow(TypeError)
  expect(() => Object.assign(value.keys.jwks[0] ?? {}, { kty: 'oct' })).toThrow(TypeError)
  const before = bytes.slice()
  bytes.fill(0x20)
  expect(memory('a', before, () => expect.fail('decoded again'))).toBe(value)
})

test('what can not be decoded is not remembered', () => {
  const { memory } = reading()
  const bytes = bytesOf(1)
  const fails = () => {
    throw new Error('damaged')
  }
  expect(() => memory('a', bytes, fails)).toThrow('damaged')
  expect(memory('a', bytes, () => 'whole')).toBe('whole')
})
