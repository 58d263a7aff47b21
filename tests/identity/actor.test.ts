import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Actor, readActor } from '../../src/identity/actor.ts'
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
      expect(readActor(claim, issuer)).toEqual(expected)
    }),
  )
})

test.each([
  ['no object', 'agent'],
  ['a list', [{ sub: 'agent' }]],
  ['null', null],
  ['no subject', { iss: issuer }],
  ['an empty subject', { sub: '' }],
  ['an issuer that is no text', { sub: 'agent', iss: 7 }],
  ['an empty issuer', { sub: 'agent', iss: '' }],
  ['a client that is no text', { sub: 'agent', client_id: {} }],
  ['a broken member inside', { sub: 'agent', act: { sub: 'inner', act: 'x' } }],
])('a chain with %s is no chain: nothing of it is shown', (_, act) => {
  expect(readActor(act, issuer)).toBeUndefined()
})

test('a chain without end is no chain', () => {
  let act: JsonObject = { sub: 'first' }
  for (let hops = 0; hops < 40; hops += 1) act = { sub: 'next', act }
  expect(readActor(act, issuer)).toBeUndefined()
})
