import type { StandardSchemaV1 } from '@standard-schema/spec'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { JsonObject } from '../../src/identity/json.ts'
import type { Statement } from '../../src/records/upstream-session.ts'
import { checkedClaims, mergedClaims, replaceStatements } from '../../src/upstream/claims.ts'
import { rejection } from './context.ts'

const who = { issuer: 'https://id.example.com', subject: 'one' }
const statement = (source: Statement['source'], claims: JsonObject): Statement => ({ source, at: 0, claims })
const schema = (validate: StandardSchemaV1.Props['validate']): StandardSchemaV1 => ({
  '~standard': { version: 1, vendor: 'tests', validate },
})

test('a later statement overrides an earlier one, claim by claim; who it is about can’t be overridden', () => {
  const said = [
    statement('id_token', { iss: 'https://id.example.com', sub: 'one', email: 'old@example.com', nonce: 'n' }),
    statement('userinfo', { sub: 'one', iss: 'https://evil.example.com', email: 'new@example.com' }),
  ]
  expect(mergedClaims({ ...who, said })).toEqual({
    iss: who.issuer,
    sub: who.subject,
    email: 'new@example.com',
    nonce: 'n',
  })
})

test('design 2: nothing that was said is dropped, whatever it is called', async () => {
  const claims = fc.dictionary(fc.string(), fc.jsonValue(), { noNullPrototype: true })
  await fc.assert(
    fc.asyncProperty(claims, claims, async (first, second) => {
      const said = [statement('id_token', first as JsonObject), statement('userinfo', second as JsonObject)]
      const seen = await checkedClaims({ claims: z.object({}) }, { ...who, said })
      const expected = new Map([...Object.entries(first), ...Object.entries(second)])
      for (const [name, value] of expected) {
        if (name !== 'iss' && name !== 'sub') expect(Object.getOwnPropertyDescriptor(seen, name)?.value).toEqual(value)
      }
      expect(Object.getPrototypeOf(seen)).toBe(Object.prototype)
    }),
  )
})

test('__proto__ is a name like any other', () => {
  const said = [statement('userinfo', JSON.parse('{"__proto__":{"admin":true}}'))]
  const merged = mergedClaims({ ...who, said })
  expect(merged.admin).toBeUndefined()
  expect(Object.keys(merged)).toContain('__proto__')
})

test('statements anew take the place of those of the same source only', () => {
  const before = [statement('id_token', { a: 1 }), statement('userinfo', { b: 1 })]
  expect(replaceStatements(before, [statement('id_token', { a: 2 })])).toEqual([
    statement('id_token', { a: 2 }),
    statement('userinfo', { b: 1 }),
  ])
  expect(replaceStatements(before, [])).toEqual(before)
  expect(replaceStatements([statement('id_token', {})], [statement('userinfo', { b: 2 })])).toHaveLength(2)
})

describe('a Standard Schema', () => {
  const said = [statement('id_token', { email: 'a@example.com', groups: ['a'] })]

  test('may be asynchronous; its output is over what was said', async () => {
    const claims = schema(async () => ({ value: { email: 'b@example.com', domain: 'example.com' } }))
    expect(await checkedClaims({ claims }, { ...who, said })).toEqual({
      iss: who.issuer,
      sub: who.subject,
      email: 'b@example.com',
      domain: 'example.com',
      groups: ['a'],
    })
  })

  test('can’t change who it is, take a claim away, or change what was said', async () => {
    const claims = schema((value) => {
      Object.assign(value as object, { groups: [] })
      return { value: { sub: 'two', iss: 'https://evil.example.com', email: undefined } }
    })
    const before = JSON.stringify(said)
    expect(await checkedClaims({ claims }, { ...who, said })).toMatchObject({
      sub: 'one',
      iss: who.issuer,
      groups: ['a'],
    })
    expect(await checkedClaims({ claims }, { ...who, said })).toHaveProperty('email', 'a@example.com')
    expect(JSON.stringify(said)).toBe(before)
  })

  test('names what is wrong, bounded, printable and without a value', async () => {
    const path = (...keys: (string | { key: string })[]) => ({ message: 'secret value', path: keys })
    const issues = [
      path('email'),
      path({ key: 'org' }, 'id'),
      path('a\u0000b'),
      path('x'.repeat(1000)),
      { message: 'all' },
    ]
    const refused = await rejection(checkedClaims({ claims: schema(() => ({ issues })) }, { ...who, said }))
    expect(refused).toMatchObject({ reason: 'claims', detail: `email, org.id, a?b, ${'x'.repeat(100)}, (all)` })
    const many = Array.from({ length: 100 }, (_, index) => path(`claim-${index}`))
    const bounded = await rejection(checkedClaims({ claims: schema(() => ({ issues: many })) }, { ...who, said }))
    expect((bounded as { detail: string }).detail.split(', ')).toHaveLength(10)
  })

  test('must make JSON of it', async () => {
    for (const value of ['text', [1], new Date(), { at: new Date() }, { call: () => 1 }, { n: Number.NaN }]) {
      const refused = checkedClaims({ claims: schema(() => ({ value })) }, { ...who, said })
      expect(await rejection(refused)).toMatchObject({ reason: 'claims' })
    }
  })
})
