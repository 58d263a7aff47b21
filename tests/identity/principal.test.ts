import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createAccessToken } from '../../src/identity/access-token.ts'
import type { Actor } from '../../src/identity/actor.ts'
import { principal } from '../../src/identity/principal.ts'

const text = fc.oneof(
  fc.string({ maxLength: 6 }),
  fc.string({ unit: 'binary', maxLength: 3 }),
  fc.constantFrom('","', '[', '\\', ']],'),
)
const actor: fc.Arbitrary<Actor> = fc.letrec<{ actor: Actor }>((tie) => ({
  actor: fc
    .record(
      { issuer: text, subject: text, clientId: text, actor: tie('actor') },
      { requiredKeys: ['issuer', 'subject'] },
    )
    .map((value) => value as Actor),
})).actor
const identities = fc.record(
  { kind: fc.constantFrom('user' as const, 'client' as const), issuer: text, subject: text, clientId: text, actor },
  { requiredKeys: ['kind', 'issuer', 'subject', 'clientId'] },
)
type Identity = typeof identities extends fc.Arbitrary<infer T> ? T : never

const tokenOf = (identity: Identity, token: string, scopes: string[]) =>
  createAccessToken({ ...identity, token, scopes, resource: 'https://r.example', expiresAt: 1, claims: { token } })

test('design 2, a principal is keyed by kind, issuer, subject, client and actor: equal exactly when those are', () => {
  fc.assert(
    fc.property(identities, identities, (a, b) => {
      const same = JSON.stringify(canonical(a)) === JSON.stringify(canonical(b))
      expect(principal(tokenOf(a, 't', [])).key === principal(tokenOf(b, 't', [])).key).toBe(same)
    }),
    { numRuns: 2_000 },
  )
})

test('design 2, a principal stays the same over a refresh: token, scopes and claims are not in it', () => {
  fc.assert(
    fc.property(identities, (identity) => {
      const before = principal(tokenOf(identity, 'one', ['a']))
      const after = principal(tokenOf(structuredClone(identity), 'two', ['a', 'b']))
      expect(after).toEqual(before)
    }),
  )
})

test.each([
  [{ issuer: 'https://b.example' }],
  [{ clientId: 'other' }],
  [{ kind: 'client' as const }],
  [{ actor: { issuer: 'https://a.example', subject: 'agent' } }],
])('origin 7, the same subject with %o is another principal', (change) => {
  const base = { kind: 'user' as const, issuer: 'https://a.example', subject: 's', clientId: 'c' }
  expect(principal(tokenOf({ ...base, ...change } as Identity, 't', [])).key).not.toBe(
    principal(tokenOf(base as Identity, 't', [])).key,
  )
})

test('a principal’s key is the same on every node and in every release: sessions outlive both', () => {
  const inner: Actor = { issuer: 'https://b.example', subject: 'before', clientId: 'app' }
  const agent: Actor = { issuer: 'https://a.example', subject: 'agent', actor: inner }
  const base = { kind: 'user' as const, issuer: 'https://a.example', subject: 's', clientId: 'c' }
  expect(principal(tokenOf({ ...base, actor: agent } as Identity, 't', []))).toStrictEqual({
    key: '["user","https://a.example","s","c",["https://a.example","agent"],["https://b.example","before","app"]]',
    ...base,
    actor: agent,
  })
  expect(principal(tokenOf(base as Identity, 't', []))).toStrictEqual({
    key: '["user","https://a.example","s","c"]',
    ...base,
  })
})

const canonical = ({ kind, issuer, subject, clientId, actor: chain }: Identity): unknown => [
  kind,
  issuer,
  subject,
  clientId,
  chain ? canonicalActor(chain) : null,
]
const canonicalActor = ({ issuer, subject, clientId, actor: inner }: Actor): unknown => [
  issuer,
  subject,
  clientId === undefined ? null : [clientId],
  inner ? canonicalActor(inner) : null,
]
