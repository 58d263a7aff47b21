import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type ConsentFacts, consentCovers, mayRedirectError, maySkipConsent } from '../../src/policy/consent.ts'

const skippable: ConsentFacts = {
  ownSession: true,
  remembered: ['read', 'write'],
  requested: ['read'],
  redirectKind: 'https',
}

test('design 3, consent: skipping needs our own browser session and a remembered consent that covers everything', () => {
  expect(maySkipConsent(skippable)).toBe(true)
  expect(maySkipConsent({ ...skippable, requested: ['write', 'read'] })).toBe(true)
  expect(maySkipConsent({ ...skippable, ownSession: false })).toBe(false)
  expect(maySkipConsent({ ...skippable, remembered: undefined })).toBe(false)
  expect(maySkipConsent({ ...skippable, requested: ['read', 'admin'] })).toBe(false)
})

test('design 3, consent: a request with a loopback or private-use redirect is never skipped', () => {
  const facts = fc.record({
    ownSession: fc.boolean(),
    remembered: fc.option(fc.array(fc.constantFrom('a', 'b')), { nil: undefined }),
    requested: fc.array(fc.constantFrom('a', 'b')),
    redirectKind: fc.constantFrom('loopback' as const, 'private' as const),
  })
  fc.assert(fc.property(facts, (each) => !maySkipConsent(each)))
})

test('nothing remembered covers nothing, not even a request without scopes', () => {
  expect(consentCovers(undefined, [])).toBe(false)
  expect(consentCovers([], [])).toBe(true)
  expect(consentCovers([], ['a'])).toBe(false)
  expect(maySkipConsent({ ...skippable, remembered: undefined, requested: [] })).toBe(false)
})

test('design 3, redirects: errors before the person has acted go only to redirect URIs that are pre-registered, already consented or loopback', () => {
  const unknown = { registration: 'dynamic', consented: false, redirectKind: 'https' } as const
  expect(mayRedirectError(unknown)).toBe(false)
  expect(mayRedirectError({ ...unknown, redirectKind: 'private' })).toBe(false)
  expect(mayRedirectError({ ...unknown, redirectKind: 'loopback' })).toBe(true)
  expect(mayRedirectError({ ...unknown, consented: true })).toBe(true)
  expect(mayRedirectError({ ...unknown, registration: 'configured' })).toBe(true)
})
