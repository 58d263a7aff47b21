import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  decidePrompt,
  type Prompt,
  type PromptFacts,
  parseMaxAge,
  parsePrompt,
  statedAuthTime,
} from '../../src/policy/sign-in.ts'

const authTime = 1_800_000_000
const facts: PromptFacts = { prompt: [], session: { authTime }, consentSkippable: true, now: (authTime + 100) * 1000 }
const nothing = { kind: 'proceed', signIn: false, selectAccount: false, create: false, consent: false }

test('prompt is read as OpenID Connect Core has it', () => {
  expect(parsePrompt(undefined)).toEqual({ ok: true, prompt: [] })
  expect(parsePrompt('')).toEqual({ ok: true, prompt: [] })
  expect(parsePrompt('login consent login')).toEqual({ ok: true, prompt: ['login', 'consent'] })
  expect(parsePrompt('none')).toEqual({ ok: true, prompt: ['none'] })
  for (const text of [
    'none login',
    'none consent',
    'LOGIN',
    'login,consent',
    'x',
    'login x',
    'create login',
    'create select_account',
  ]) {
    expect([text, parsePrompt(text)]).toMatchObject([text, { ok: false, error: 'invalid_request' }])
  }
})

test('max_age is a number of seconds', () => {
  expect(parseMaxAge(undefined)).toEqual({ ok: true, maxAge: undefined })
  expect(parseMaxAge('0')).toEqual({ ok: true, maxAge: 0 })
  expect(parseMaxAge('3600')).toEqual({ ok: true, maxAge: 3600 })
  for (const text of ['', '-1', '1.5', '1e3', ' 1', '0x10', 'NaN', '99999999999']) {
    expect([text, parseMaxAge(text)]).toMatchObject([text, { ok: false, error: 'invalid_request' }])
  }
})

test('who is signed in and has consented sees no page', () => {
  expect(decidePrompt(facts)).toEqual(nothing)
  expect(decidePrompt({ ...facts, prompt: ['none'] })).toEqual(nothing)
  expect(decidePrompt({ ...facts, session: undefined })).toEqual({ ...nothing, signIn: true })
  expect(decidePrompt({ ...facts, consentSkippable: false })).toEqual({ ...nothing, consent: true })
})

test('prompt asks for its pages', () => {
  expect(decidePrompt({ ...facts, prompt: ['login'] })).toEqual({ ...nothing, signIn: true })
  expect(decidePrompt({ ...facts, prompt: ['consent'] })).toEqual({ ...nothing, consent: true })
  expect(decidePrompt({ ...facts, prompt: ['select_account'] })).toEqual({ ...nothing, selectAccount: true })
  expect(decidePrompt({ ...facts, prompt: ['create'] })).toEqual({ ...nothing, signIn: true, create: true })
  expect(decidePrompt({ ...facts, prompt: ['login', 'consent'] })).toEqual({ ...nothing, signIn: true, consent: true })
})

test('max_age asks for a new sign-in when the last one is older', () => {
  expect(decidePrompt({ ...facts, maxAge: 100 })).toEqual(nothing)
  expect(decidePrompt({ ...facts, maxAge: 99 })).toEqual({ ...nothing, signIn: true })
  const assumed = { ...facts, session: { authTime, authTimeAssumed: true } as const }
  expect(decidePrompt({ ...assumed, maxAge: 100 })).toEqual({ ...nothing, signIn: true })
  expect(decidePrompt(assumed)).toEqual(nothing)
  expect(decidePrompt({ ...facts, maxAge: 0, now: authTime * 1000 })).toEqual({ ...nothing, signIn: true })
  expect(decidePrompt({ ...facts, maxAge: 100, now: (authTime - 5) * 1000 })).toEqual(nothing)
  const asked = { ...facts, session: { authTime, authTimeAssumed: 'asked' } as const }
  expect(decidePrompt({ ...asked, maxAge: 100 })).toEqual({ ...nothing, signIn: true })
})

test('attack: a time in the future is no time, but for what clocks differ by', () => {
  const now = 1_000_000
  const times = [now / 1000, now / 1000 + 60, 0, -5]
  expect(times.map((each) => statedAuthTime(each, now))).toEqual(times)
  const none = [now, now / 1000 + 61, Number.NaN, Number.POSITIVE_INFINITY, '5', null, undefined, {}]
  for (const each of none) expect(statedAuthTime(each, now), String(each)).toBeUndefined()
  const session = { authTime: now / 1000 + 61 }
  expect(decidePrompt({ ...facts, session, now, maxAge: 100 })).toEqual({ ...nothing, signIn: true })
})

test('a sign-in in the course of the request satisfies login, create, select_account and any max_age, and not consent', () => {
  const now = { signedInNow: true }
  for (const prompt of ['login', 'create', 'select_account'] as const)
    expect(decidePrompt({ ...facts, ...now, prompt: [prompt] })).toEqual(nothing)
  expect(decidePrompt({ ...facts, ...now, maxAge: 0 })).toEqual(nothing)
  expect(decidePrompt({ ...facts, ...now, prompt: ['consent'] })).toEqual({ ...nothing, consent: true })
  expect(decidePrompt({ ...facts, ...now, session: undefined })).toMatchObject({ signIn: true })
})

test('prompt=none never shows a page: it is an error that says which one is missing', () => {
  const none = { ...facts, prompt: ['none'] as Prompt[] }
  expect(decidePrompt({ ...none, session: undefined })).toMatchObject({ kind: 'error', error: 'login_required' })
  expect(decidePrompt({ ...none, maxAge: 10 })).toMatchObject({ kind: 'error', error: 'login_required' })
  expect(decidePrompt({ ...none, consentSkippable: false })).toMatchObject({ kind: 'error', error: 'consent_required' })
  fc.assert(
    fc.property(
      fc.record({
        session: fc.option(fc.record({ authTime: fc.integer({ min: authTime - 100, max: authTime + 100 }) }), {
          nil: undefined,
        }),
        maxAge: fc.option(fc.nat({ max: 300 }), { nil: undefined }),
        consentSkippable: fc.boolean(),
        signedInNow: fc.boolean(),
      }),
      (each) => {
        const decision = decidePrompt({ ...none, ...each })
        if (decision.kind === 'proceed') expect(decision).toEqual(nothing)
      },
    ),
  )
})
