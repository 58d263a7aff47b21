import { KeyObject } from 'node:crypto'
import { base64url, generateKeyPair } from 'jose'
import * as errors from 'jose/errors'
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { verifyJwt } from '../../src/oauth/verify-jwt.ts'
import {
  agreed,
  checks,
  claims,
  issuer,
  large,
  makePairs,
  now,
  type Pair,
  pairOf,
  seconds,
  signed,
  small,
  token,
} from './jwt-kit.ts'

beforeAll(makePairs)
afterEach(() => {
  vi.restoreAllMocks()
})

describe.each(small)('%s: a token that is in order', (algorithm) => {
  test('is taken, by the host’s own module alone', async () => {
    const subtle = vi.spyOn(crypto.subtle, 'verify')
    const text = await token(algorithm)
    for (const key of [pairOf(algorithm).publicKey, KeyObject.from(pairOf(algorithm).publicKey)]) {
      expect(await verifyJwt(text, key, checks)).toEqual({
        payload: claims,
        protectedHeader: { alg: algorithm, typ: 'at+jwt', kid: 'one' },
      })
    }
    expect(subtle).not.toHaveBeenCalled()
  })

  test('is refused where another key signed it, and where anything of it was changed', async () => {
    const subtle = vi.spyOn(crypto.subtle, 'verify')
    const { publicKey } = (await generateKeyPair(algorithm)) as Pair
    const text = await token(algorithm)
    await expect(verifyJwt(text, publicKey, checks)).rejects.toThrow(errors.JWSSignatureVerificationFailed)
    const [header, , signature] = text.split('.')
    const other = base64url.encode(JSON.stringify({ ...claims, sub: 'mallory' }))
    const changed = `${header}.${other}.${signature}`
    await expect(verifyJwt(changed, pairOf(algorithm).publicKey, checks)).rejects.toThrow(
      errors.JWSSignatureVerificationFailed,
    )
    expect(subtle).not.toHaveBeenCalled()
  })
})

test.each(large)('%s, which takes long, is left to another thread', async (algorithm) => {
  const subtle = vi.spyOn(crypto.subtle, 'verify')
  const text = await token(algorithm)
  expect(await verifyJwt(text, pairOf(algorithm).publicKey, checks)).toMatchObject({ payload: claims })
  expect(subtle).toHaveBeenCalledOnce()
})

test('what a lookup throws is thrown, and nothing was decided before', async () => {
  const gone = new Error('no key is to be had')
  const lookUp = vi.fn().mockRejectedValue(gone)
  await expect(verifyJwt(await token('ES256'), lookUp, checks)).rejects.toBe(gone)
  expect(lookUp).toHaveBeenCalledOnce()
})

test.each(['ES256', 'ES384'])('%s is refused where it is not asked for, however well it signs', async (algorithm) => {
  const asked = { ...checks, algorithms: ['RS256', 'EdDSA'] }
  expect(await agreed(await token(algorithm), pairOf(algorithm).publicKey, asked)).toMatchObject({
    taken: false,
    kind: 'JOSEAlgNotAllowed',
  })
})

test('without checks of its own a token needs a good signature alone', async () => {
  const text = await token('ES256', { iss: undefined, exp: undefined, iat: undefined }, { typ: undefined })
  expect(await agreed(text, pairOf('ES256').publicKey, { currentDate: new Date(now) })).toMatchObject({ taken: true })
})

describe('decided as the library decides', () => {
  test.each<[string, object, object, boolean]>([
    ['a header with more in it', {}, { cty: 'x', jku: 'https://mallory.example', jwk: {}, x5u: '', x5c: [] }, true],
    ['a type in capitals', {}, { typ: 'AT+JWT' }, true],
    ['a type with its prefix', {}, { typ: 'application/at+jwt' }, true],
    ['another type', {}, { typ: 'jwt' }, false],
    ['no type', {}, { typ: undefined }, false],
    ['a type that is no text', {}, { typ: ['at+jwt'] }, false],
    ['another algorithm, of the same kind of key', {}, { alg: 'ES384' }, false],
    ['an algorithm of another kind', {}, { alg: 'RS256' }, false],
    ['none', {}, { alg: 'none' }, false],
    ['a secret one', {}, { alg: 'HS256' }, false],
    ['an algorithm that is no text', {}, { alg: ['ES256'] }, false],
    ['no algorithm', {}, { alg: undefined }, false],
    ['one that an object has without being told', {}, { alg: 'constructor' }, false],
    ['what must be understood, and is not', {}, { crit: ['exp'], exp: 1 }, false],
    ['what must be understood, and is', {}, { crit: ['b64'], b64: true }, true],
    ['a payload that is not encoded', {}, { crit: ['b64'], b64: false }, false],
    ['nothing that must be understood', {}, { crit: [] }, false],
    ['null for what must be understood', {}, { crit: null }, false],
    ['b64 that nobody must understand', {}, { b64: false }, true],
    ['another issuer', { iss: 'https://mallory.example' }, {}, false],
    ['several issuers', { iss: [issuer] }, {}, false],
    ['no issuer', { iss: undefined }, {}, false],
    ['no subject', { sub: undefined }, {}, false],
    ['a subject that is null', { sub: null }, {}, true],
    ['no audience', { aud: undefined }, {}, false],
    ['no end', { exp: undefined }, {}, false],
    ['an end as text', { exp: String(seconds + 60) }, {}, false],
    ['an end that is null', { exp: null }, {}, false],
    ['an end of 30 seconds ago', { exp: seconds - 30 }, {}, false],
    ['an end of 29 seconds ago', { exp: seconds - 29 }, {}, true],
    ['an end between two seconds', { exp: seconds - 29.5 }, {}, true],
    ['a beginning in 30 seconds', { nbf: seconds + 30 }, {}, true],
    ['a beginning in 31 seconds', { nbf: seconds + 31 }, {}, false],
    ['a beginning as text', { nbf: '0' }, {}, false],
    ['a time of issue as text', { iat: '0' }, {}, false],
    ['a time of issue to come', { iat: seconds + 900 }, {}, true],
    ['a claim that is the prototype’s name', { ['__proto__']: { sub: 'mallory' } }, {}, true],
    ['letters of all kinds', { name: 'Zoë ✓ 🦊' }, {}, true],
  ])('%s', async (_, changed, header, taken) => {
    for (const algorithm of ['ES256', 'ES384']) {
      const text = await token(algorithm, changed, 'alg' in header ? header : { ...header, alg: algorithm })
      if ('alg' in header && algorithm === 'ES384') continue
      expect(await agreed(text, pairOf(algorithm).publicKey)).toMatchObject({ taken })
    }
  })

  const header = JSON.stringify({ alg: 'ES256', typ: 'at+jwt' })
  const payload = JSON.stringify(claims)
  const bytes = (...parts: (string | number)[]) =>
    Buffer.concat(parts.map((part) => (typeof part === 'number' ? Buffer.of(part) : Buffer.from(part))))
  test.each<[string, string | Uint8Array, string | Uint8Array, boolean]>([
    ['the same name twice in the payload: the last counts', header, payload.replace('{', '{"sub":"mallory",'), true],
    ['the same name twice in the header: the last counts', header.replace('{', '{"alg":"none",'), payload, true],
    ['the last of two algorithms is none', header.replace('}', ',"alg":"none"}'), payload, false],
    ['a mark of the order of bytes before the payload', header, `\uFEFF${payload}`, true],
    ['a mark of the order of bytes before the header', `\uFEFF${header}`, payload, true],
    ['bytes that are no text in the payload', header, bytes('{"name":"', 0xff, '",', payload.slice(1)), false],
    ['bytes that are no text in the header', bytes('{"kid":"', 0xc3, '",', header.slice(1)), payload, false],
    ['half of a pair, escaped', header, payload.replace('}', ',"name":"\\ud83e"}'), true],
    ['white space around', header, ` ${payload}\n`, true],
    ['a list', header, `[${payload}]`, false],
    ['a list as the header', `[${header}]`, payload, false],
    ['null', header, 'null', false],
    ['null as the header', 'null', payload, false],
    ['a number', header, '7', false],
    ['no JSON', header, `${payload}}`, false],
    ['no JSON as the header', header.slice(1), payload, false],
    ['an end without end', header, payload.replace(/"exp":\d+/, '"exp":1e999'), true],
    ['an empty payload', header, '', false],
    ['an empty header', '', payload, false],
  ])('%s', async (_, first, second, taken) => {
    const text = await signed(first, second, pairOf('ES256').privateKey)
    expect(await agreed(text, pairOf('ES256').publicKey)).toMatchObject({ taken })
  })

  test.each([
    ['{}', true],
    ['[]', false],
    ['7', false],
    ['"text"', false],
    ['true', false],
    ['null', false],
  ])('%s, where no claim is asked for', async (text, taken) => {
    const asked = { currentDate: checks.currentDate }
    const empty = await signed(header, text, pairOf('ES256').privateKey)
    expect(await agreed(empty, pairOf('ES256').publicKey, asked)).toMatchObject({ taken })
  })

  test('between two seconds it is still the first', async () => {
    const asked = { ...checks, currentDate: new Date(now + 700) }
    const cases = [
      [{ nbf: seconds + 30.5 }, false],
      [{ nbf: seconds + 30 }, true],
      [{ exp: seconds - 29.5 }, true],
      [{ exp: seconds - 30 }, false],
    ] as const
    for (const [changed, taken] of cases) {
      expect(await agreed(await token('ES256', changed), pairOf('ES256').publicKey, asked)).toMatchObject({ taken })
    }
  })

  test('however a token is written', async () => {
    const text = await token('ES256')
    const [first = '', second = '', third = ''] = text.split('.')
    const last = third.at(-1) ?? ''
    const sameBits = String.fromCharCode(last.charCodeAt(0) + 1)
    const others = [
      ...['', '.', '..', '...', first, `${first}.${second}`, `${first}.${second}.`, `.${second}.${third}`],
      ...[`${first}..${third}`, `${text}.`, `${text}.${third}`, `.${text}`, ` ${text}`, `${text} `, `${text}\n`],
      ...[`${text}=`, `${text}==`, `${text}A`, `${text}AA`, `${text}AAAA`, text.slice(0, -1), text.slice(0, -2)],
      ...[`${first}.${second}=.${third}`, `${first}=.${second}.${third}`, `${first}.${second}\n.${third}`],
      ...[text.replaceAll('-', '+').replaceAll('_', '/'), `${first}.${second}.${third.slice(0, -1)}${sameBits}`],
      ...[`${first}.${second}A.${third}`, `${first}A.${second}.${third}`, `${first}.${second}.!${third.slice(1)}`],
      ...[`${first}.${second}.é${third.slice(1)}`, `${first}.${second}.${'A'.repeat(86)}`, text.toUpperCase()],
    ]
    for (const other of others) await agreed(other, pairOf('ES256').publicKey)
    expect(await agreed(text, pairOf('ES256').publicKey)).toMatchObject({ taken: true })
  })
})
