import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK, jwtVerify } from 'jose'
import { afterAll, describe, expect, test } from 'vitest'
import { signJwt } from '../../src/crypto/jws.ts'
import { readSigningKeys } from '../../src/keys/external-keys.ts'

const folder = mkdtempSync(join(tmpdir(), 'countersign-signing-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const newKey = async (alg: string, options: Parameters<typeof generateKeyPair>[1] = {}): Promise<JWK> =>
  exportJWK((await generateKeyPair(alg, { extractable: true, ...options })).privateKey)
const publicOf = ({ d: _d, p: _p, q: _q, dp: _dp, dq: _dq, qi: _qi, ...jwk }: JWK): JWK => jwk

describe('keys of the operator’s own', () => {
  test('are a JWK, a set of them, the JSON of either, or a file; the id is theirs or the thumbprint', async () => {
    for (const alg of ['ES256', 'EdDSA', 'RS256'] as const) {
      const jwk = await newKey(alg)
      const file = join(folder, `${alg}.json`)
      writeFileSync(file, JSON.stringify({ keys: [jwk] }))
      const id = await calculateJwkThumbprint(jwk)
      for (const source of [
        { keys: jwk },
        { keys: { keys: [{ ...jwk, alg, use: 'sig' }] } },
        { keys: JSON.stringify(jwk) },
        { file },
      ]) {
        const [key] = readSigningKeys(source)
        if (!key?.private) throw new Error('no private key')
        expect(key.private).toMatchObject({ id, algorithm: alg })
        const token = await signJwt(key.private, 'at+jwt', { sub: 'someone' })
        expect((await jwtVerify(token, key.public.key)).protectedHeader).toMatchObject({ kid: id, alg })
        expect(Object.keys(key.jwk).sort()).toEqual(Object.keys({ ...publicOf(jwk), alg, use: '', kid: '' }).sort())
      }
      expect(readSigningKeys({ keys: { ...jwk, kid: 'mine' } })[0]?.public.id).toBe('mine')
    }
  })

  test('the first signs; others may be public, for a change of keys', async () => {
    const [one, other] = [await newKey('ES256'), await newKey('EdDSA')]
    const keys = readSigningKeys({ keys: { keys: [one, publicOf(other)] } })
    expect(keys.map((key) => key.private !== undefined)).toEqual([true, false])
    expect(() => readSigningKeys({ keys: { keys: [publicOf(one), other] } })).toThrow(/first place/)
  })

  test('what can’t sign is refused, and no word of it is repeated', async () => {
    const ec = await newKey('ES256')
    const rsa = await newKey('RS256')
    const bad: unknown[] = [
      'not JSON: hunter2hunter2',
      '[]',
      {},
      { keys: [] },
      { keys: 'hunter2hunter2' },
      { kty: 'oct', k: 'hunter2hunter2', alg: 'HS256' },
      { ...ec, alg: 'HS256' },
      { ...ec, alg: 'none' },
      await newKey('ES384'),
      { ...ec, d: 'hunter2hunter2' },
      { ...ec, x: undefined },
      { ...ec, kid: 'with a space' },
      { ...rsa, n: rsa.n?.slice(0, 300) },
      { keys: [ec, ec] },
    ]
    for (const keys of bad) {
      const error = (() => {
        try {
          readSigningKeys({ keys: keys as object })
        } catch (caught) {
          return caught as Error
        }
        return undefined
      })()
      expect(error, JSON.stringify(keys)).toMatchObject({ name: 'SigningKeysInvalid' })
      expect(String(error?.stack)).not.toContain('hunter2hunter2')
      if (ec.d) expect(String(error?.stack)).not.toContain(ec.d)
    }
    expect(() => readSigningKeys({ file: join(folder, 'absent') })).toThrow(/a file that can be read/)
  })
})
