import { expect, test } from 'vitest'
import { hasPrivateKey, publicKeys, readClientKeys } from '../../src/oauth/client-keys.ts'

const key = { kty: 'EC', crv: 'P-256', x: 'x', y: 'y' }

test('of a key there stays what makes it a public key, and what it is for', () => {
  const described = { ...key, kid: 'k', alg: 'ES256', use: 'sig', key_ops: ['verify'], n: 'n', e: 'AQAB' }
  expect(publicKeys([{ ...described, x5c: ['certificate'], d: 'private', anything: { more: 1 } }])).toStrictEqual([
    described,
  ])
})

test.each([
  ['kty', 8],
  ['crv', 16],
  ['x', 88],
  ['y', 88],
  ['n', 1366],
  ['e', 12],
  ['kid', 512],
  ['alg', 32],
  ['use', 32],
])('%s may have %i characters; a key with a longer one is left out', (name, longest) => {
  expect(publicKeys([{ ...key, [name]: 'x'.repeat(longest) }])).toHaveLength(1)
  expect(publicKeys([{ ...key, [name]: 'x'.repeat(longest + 1) }, key])).toEqual([key])
  expect(publicKeys([{ ...key, [name]: 7 }, key])).toEqual([key])
})

test('operations are few and short, and a key has its kind', () => {
  expect(publicKeys([{ ...key, key_ops: Array.from({ length: 8 }, () => 'x'.repeat(32)) }])).toHaveLength(1)
  expect(publicKeys([{ ...key, key_ops: Array.from({ length: 9 }, () => 'x') }])).toEqual([])
  expect(publicKeys([{ ...key, key_ops: ['x'.repeat(33)] }])).toEqual([])
  for (const none of [{ crv: 'P-256' }, null, 'x', 7, []]) expect(publicKeys([none, key])).toEqual([key])
})

test('32 keys count, and no more are looked at', () => {
  const many = Array.from({ length: 33 }, (_, index) => ({ ...key, kid: `${index}` }))
  expect(publicKeys(many)).toEqual(many.slice(0, 32))
  expect(publicKeys([...Array.from({ length: 32 }, () => null), key])).toEqual([])
})

test('keys are in the metadata, or at an address of the web', () => {
  const address = 'https://app.example.com/jwks'
  expect(readClientKeys({ jwks: { keys: [key] }, jwks_uri: address })).toEqual({ jwks: { keys: [key] } })
  expect(readClientKeys({ jwks: { keys: 'x' }, jwks_uri: address })).toEqual({ jwksUri: address })
  expect(readClientKeys({ jwks_uri: 'http://localhost:8080/jwks' })).toEqual({ jwksUri: 'http://localhost:8080/jwks' })
  expect(readClientKeys({ jwks_uri: address.padEnd(2048, 'x') })).toHaveProperty('jwksUri')
  for (const jwks_uri of [
    address.padEnd(2049, 'x'),
    'file:///etc/passwd',
    'xhttps://app.example.com/jwks',
    'jwks',
    7,
    null,
  ]) {
    expect(readClientKeys({ jwks_uri })).toBeUndefined()
  }
  expect(readClientKeys({})).toBeUndefined()
})

test('a private key is known by its private member, a shared one by its secret', () => {
  expect(hasPrivateKey({ keys: [key, { ...key, d: 'x' }] })).toBe(true)
  expect(hasPrivateKey({ keys: [{ kty: 'oct', k: 'x' }] })).toBe(true)
  expect(hasPrivateKey({ keys: [key] })).toBe(false)
  for (const none of [undefined, 'x', {}, { keys: 'x' }]) expect(hasPrivateKey(none)).toBe(false)
})
