import { generateKeyPairSync, verify } from 'node:crypto'
import { jwtVerify } from 'jose'
import { describe, expect, test } from 'vitest'
import { signJwt } from '../../src/crypto/jws.ts'

const pairs = {
  ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  EdDSA: generateKeyPairSync('ed25519'),
  RS256: generateKeyPairSync('rsa', { modulusLength: 2048 }),
}

describe('signing a JWT', () => {
  test.each(['ES256', 'EdDSA', 'RS256'] as const)('%s: another library verifies it', async (algorithm) => {
    const { privateKey, publicKey } = pairs[algorithm]
    const token = await signJwt({ id: 'one', algorithm, key: privateKey }, 'at+jwt', { sub: 'alice', n: 1 })
    const { payload, protectedHeader } = await jwtVerify(token, publicKey, { algorithms: [algorithm] })
    expect([payload, protectedHeader]).toEqual([
      { sub: 'alice', n: 1 },
      { alg: algorithm, kid: 'one', typ: 'at+jwt' },
    ])
  })

  test('ES256: always 64 bytes, also where a number of the signature is short', async () => {
    const { privateKey: key, publicKey } = pairs.ES256
    let short = 0
    for (let count = 0; count < 3_000; count++) {
      const token = await signJwt({ id: 'one', algorithm: 'ES256', key }, 'at+jwt', { count })
      const signature = Buffer.from(token.slice(token.lastIndexOf('.') + 1), 'base64url')
      const input = Buffer.from(token.slice(0, token.lastIndexOf('.')))
      expect(signature).toHaveLength(64)
      expect(verify('sha256', input, { key: publicKey, dsaEncoding: 'ieee-p1363' }, signature)).toBe(true)
      // One number in 256 begins with a byte of zeros, which the DER form leaves out.
      if (signature[0] === 0 || signature[32] === 0) short += 1
    }
    expect(short).toBeGreaterThan(0)
  })
})
