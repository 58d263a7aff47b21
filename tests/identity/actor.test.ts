import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Actor, actorChain, readActor, sameActor, writeActor } from '../../src/identity/actor.ts'
import type { JsonObject } from '../../src/identity/json.ts'

const issuer = 'https://issuer.example.com'
const text = fc.string({ minLength: 1 })

/** Chains, outermost actor first, as a claim and as it should be read. */
const chains = fc.array(fc.record({ sub: text, iss: fc.option(text), client_id: fc.option(text) }), {
  minLength: 1,
  maxLength: 8,
})

test('the whole chain of actors is read, whoever is in it', () => {
  fc.assert(
    fc.property(chains, (members) => {
      let claim: JsonObject | undefined
      let expected: Actor | undefined
      for (const { sub, iss, client_id } of members) {
        claim = {
          sub,
          ...(iss === null ? {} : { iss }),
          ...(client_id === null ? {} : { client_id }),
          ...(claim && { act: claim }),
        }
        expected = {
          issuer: iss ?? issuer,
          subject: sub,
          ...(client_id === null ? {} : { clientId: client_id }),
          ...(expected && { actor: expected }),
        }
      }
      expect(readActor(claim, issuer)).toStrictEqual(expected)
    }),
  )
})

test.each([
  ['no object', 'agent'],
  ['a list', [{ sub: 'agent' }]],
  ['null', null],
  ['nothing', undefined],
  ['no subject', { iss: issuer }],
  ['an empty subject', { sub: '' }],
  ['an issuer that is no text', { sub: 'agent', iss: 7 }],
  ['an empty issuer', { sub: 'agent', iss: '' }],
  ['a client that is no text', { sub: 'agent', client_id: {} }],
  ['an empty client', { sub: 'agent', client_id: '' }],
  ['a broken member inside', { sub: 'agent', act: { sub: 'inner', act: 'x' } }],
])('a chain with %s is no chain: nothing of it is shown', (_, act) => {
  expect(readActor(act, issuer)).toBeUndefined()
})

test('a chain is read up to 17 actors, and a longer one is no chain', () => {
  const chainOf = (length: number): JsonObject =>
    length === 1 ? { sub: 'first' } : { sub: 'next', act: chainOf(length - 1) }
  expect(actorChain(readActor(chainOf(17), issuer))).toHaveLength(17)
  expect(readActor(chainOf(18), issuer)).toBeUndefined()
  expect(readActor(chainOf(40), issuer)).toBeUndefined()
})

const agent: Actor = { issuer, subject: 'agent', clientId: 'c', actor: { issuer, subject: 'before' } }

test('what is written is what was read', () => {
  const act = { iss: issuer, sub: 'agent', client_id: 'c', act: { iss: issuer, sub: 'before' } }
  expect(writeActor(agent)).toStrictEqual(act)
  expect(readActor(writeActor(agent), 'https://elsewhere.example')).toStrictEqual(agent)
})

test('actors are the same where the whole chain is', () => {
  const others: (Actor | undefined)[] = [
    undefined,
    { ...agent, issuer: 'https://elsewhere.example' },
    { ...agent, subject: 'another' },
    { ...agent, clientId: 'd' },
    { issuer, subject: 'agent', actor: { issuer, subject: 'before' } },
    { issuer, subject: 'agent', clientId: 'c' },
    { ...agent, actor: { issuer, subject: 'someone else' } },
    { ...agent, actor: { issuer, subject: 'before', actor: { issuer, subject: 'at first' } } },
  ]
  for (const other of others) {
    expect(sameActor(agent, other)).toBe(false)
    expect(sameActor(other, agent)).toBe(false)
    expect(sameActor(other, other && structuredClone(other))).toBe(true)
  }
  expect(sameActor(agent, structuredClone(agent))).toBe(true)
})

test('all who act are listed, the current one first', () => {
  expect(actorChain(agent)).toStrictEqual([
    { issuer, subject: 'agent', clientId: 'c' },
    { issuer, subject: 'before' },
  ])
  expect(actorChain(undefined)).toStrictEqual([])
})
