import { constants, createPublicKey, generateKeyPairSync, type KeyObject, type SigningOptions, sign } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { type HostProcess, nativeSignatures } from '../../src/oauth/native-signature.ts'

const node: HostProcess = {
  versions: { node: '20.19.0', openssl: '3.0.0' },
  getBuiltinModule: (name) => process.getBuiltinModule(name),
}
const only = (module: string) => (name: string) => (name === module ? process.getBuiltinModule(name) : undefined)

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
    ['one with nothing but the module', { ...node, getBuiltinModule: only('node:crypto') }],
    ['one with nothing but its bytes', { ...node, getBuiltinModule: only('node:buffer') }],
  ])('is not %s', (_, host) => {
    expect(nativeSignatures(host)).toBeUndefined()
  })
})

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const ed25519 = generateKeyPairSync('ed25519')
const pss = { padding: constants.RSA_PKCS1_PSS_PADDING }

interface Case {
  readonly keys: { readonly privateKey: KeyObject; readonly publicKey: KeyObject }
  /** Of the Web Cryptography API. */
  readonly parameters: AlgorithmIdentifier | RsaHashedImportParams | EcKeyImportParams
  readonly digest: string | null
  readonly options: SigningOptions
}
/** As the RFCs have it. @see RFC 7518 §3.3 to §3.5, RFC 8037 §3.1, RFC 9864 §2 */
const cases: Readonly<Record<string, Case>> = {
  ES256: {
    keys: p256,
    parameters: { name: 'ECDSA', namedCurve: 'P-256' },
    digest: 'sha256',
    options: { dsaEncoding: 'ieee-p1363' },
  },
  EdDSA: { keys: ed25519, parameters: { name: 'Ed25519' }, digest: null, options: {} },
  Ed25519: { keys: ed25519, parameters: { name: 'Ed25519' }, digest: null, options: {} },
  ...Object.fromEntries(
    [256, 384, 512].flatMap((bits): [string, Case][] => {
      const [hash, digest] = [`SHA-${bits}`, `sha${bits}`]
      return [
        [`RS${bits}`, { keys: rsa, parameters: { name: 'RSASSA-PKCS1-v1_5', hash }, digest, options: {} }],
        [
          `PS${bits}`,
          { keys: rsa, parameters: { name: 'RSA-PSS', hash }, digest, options: { ...pss, saltLength: bits / 8 } },
        ],
      ]
    }),
  ),
}
const webKey = ({ keys, parameters }: Case): Promise<CryptoKey> =>
  crypto.subtle.importKey('jwk', keys.publicKey.export({ format: 'jwk' }), parameters, true, ['verify'])
const signature = ({ keys, digest, options }: Case, input: string): Uint8Array =>
  sign(digest, Buffer.from(input), { key: keys.privateKey, ...options })

test.each(Object.entries(cases))('%s: what the key signed, and nothing else', async (algorithm, each) => {
  const native = nativeSignatures(process)
  const made = signature(each, 'input')
  const changed = made.map((byte, at) => (at === 20 ? byte ^ 1 : byte))
  expect(native?.knows(algorithm)).toBe(true)
  for (const key of [each.keys.publicKey, await webKey(each)]) {
    // Of a key that it saw before it says the same.
    for (let turn = 0; turn < 2; turn++) {
      expect(native?.verify(algorithm, key, 'input', made)).toBe(true)
      expect(native?.verify(algorithm, key, 'other', made)).toBe(false)
      expect(native?.verify(algorithm, key, 'input', changed)).toBe(false)
    }
  }
})

test('another algorithm’s key is not for it to judge, even where the numbers of the key are the same', async () => {
  const native = nativeSignatures(process)
  const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' })
  const webKeys = new Map<string, CryptoKey>()
  for (const [name, each] of Object.entries(cases)) webKeys.set(name, await webKey(each))
  const parameters = { name: 'ECDSA', namedCurve: 'P-384' }
  webKeys.set('ES384', await webKey({ keys: p384, parameters, digest: 'sha384', options: {} }))
  for (const [algorithm, each] of Object.entries(cases)) {
    const made = signature(each, 'input')
    for (const [name, key] of webKeys) {
      const same = name === algorithm || (each.keys === ed25519 && cases[name]?.keys === ed25519)
      const said = native?.verify(algorithm, key, 'input', made)
      expect([algorithm, name, said]).toEqual([algorithm, name, same ? true : undefined])
    }
    for (const keys of [rsa, p256, ed25519, p384]) {
      const said = native?.verify(algorithm, keys.publicKey, 'input', made)
      expect([algorithm, said]).toEqual([algorithm, keys === each.keys ? true : undefined])
    }
  }
})

/** A key that nobody has the other half of. */
const rsaOfLength = (bits: number): KeyObject => {
  const modulus = Buffer.alloc(Math.ceil(bits / 8), 0xff)
  modulus[0] = 0xff >> (modulus.length * 8 - bits)
  return createPublicKey({ key: { kty: 'RSA', n: modulus.toString('base64url'), e: 'AQAB' }, format: 'jwk' })
}

test.each([
  [2047, undefined],
  [2048, false],
  [4096, false],
  [4097, undefined],
])('of an RSA key of %i bits it says %s', async (bits, expected) => {
  const native = nativeSignatures(process)
  const publicKey = rsaOfLength(bits)
  const keys = { ...rsa, publicKey }
  const made = new Uint8Array(Math.ceil(bits / 8))
  for (const name of ['RS256', 'PS512']) {
    const each = cases[name]
    if (!each) throw new Error(name)
    expect(native?.verify(name, publicKey, 'input', made)).toBe(expected)
    expect(native?.verify(name, await webKey({ ...each, keys }), 'input', made)).toBe(expected)
  }
})

test('bytes are those of base64url', () => {
  const native = nativeSignatures(process)
  expect([...(native?.decode('-_8') ?? [])]).toEqual([0xfb, 0xff])
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
