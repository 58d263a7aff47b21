import { generateKeyPairSync, sign } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { type HostProcess, nativeSignatures } from '../../src/oauth/native-signature.ts'

const node: HostProcess = {
  versions: { node: '20.19.0', openssl: '3.0.0' },
  getBuiltinModule: (name) => process.getBuiltinModule(name),
}

describe('a host whose module verifies', () => {
  test('is Node', () => {
    expect(nativeSignatures(process)).toBeDefined()
    expect(nativeSignatures(node)).toBeDefined()
  })

  test.each<[string, HostProcess | undefined]>([
    ['one without a process', undefined],
    ['one whose process says nothing', {}],
    ['Bun', { ...node, versions: { ...node.versions, bun: '1.4.5' } }],
    ['Deno', { ...node, versions: { ...node.versions, deno: '2.9.6' } }],
    ['one that calls itself Node, and has other cryptography', { ...node, versions: { node: '22.19.0' } }],
    ['one that says of none which it has', { ...node, versions: { node: '22.19.0', openssl: '' } }],
    ['a Node that is older', { versions: { node: '20.10.0', openssl: '3.0.0' } }],
    ['one without the module', { ...node, getBuiltinModule: () => undefined }],
  ])('is not %s', (_, host) => {
    expect(nativeSignatures(host)).toBeUndefined()
  })
})

test('what it does not know it says nothing about', () => {
  const native = nativeSignatures(process)
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const signature = sign('sha256', Buffer.from('input'), { key: privateKey, dsaEncoding: 'ieee-p1363' })
  expect(native?.verify('ES256', publicKey, 'input', signature)).toBe(true)
  expect(native?.verify('ES256', publicKey, 'other', signature)).toBe(false)
  for (const algorithm of ['ES384', 'RS256', 'EdDSA', 'none', 'HS256', '', 'toString']) {
    expect(native?.verify(algorithm, publicKey, 'input', signature)).toBeUndefined()
  }
  // What it was asked about before makes no difference.
  expect(native?.verify('ES256', publicKey, 'input', signature)).toBe(true)
  expect(native?.verify('ES256', privateKey, 'input', signature)).toBeUndefined()
  expect(native?.knows('ES256')).toBe(true)
  expect(native?.knows('ES384')).toBe(false)
})

test('a module that fails says nothing about the signature', () => {
  const verify = () => {
    throw new TypeError('a key of this kind can’t be used')
  }
  const getBuiltinModule = (name: string) => ({
    ...process.getBuiltinModule(name),
    ...(name === 'node:crypto' && { verify }),
  })
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  expect(nativeSignatures({ ...node, getBuiltinModule })?.verify('ES256', publicKey, 'input', new Uint8Array(64))).toBe(
    undefined,
  )
})
