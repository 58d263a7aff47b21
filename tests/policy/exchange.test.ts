import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decideExchange, type ExchangeFacts, type ExchangePolicy, mostExchanges } from '../../src/policy/exchange.ts'

const nothing: ExchangePolicy = { serves: [], from: [], to: {}, actors: [], impersonates: false }

const facts = (change: Partial<ExchangeFacts> = {}, policy: Partial<ExchangePolicy> = {}): ExchangeFacts => ({
  authentication: 'secret',
  client: 'exchanger',
  policy: { ...nothing, ...policy },
  subject: { clientId: 'app', resource: 'a', scopes: ['r', 'w'], exchanges: 0 },
  actor: undefined,
  target: 'a',
  limits: { a: ['r', 'w'] },
  ...change,
})
const subject = facts().subject

describe('design 3, token exchange: denied unless', () => {
  test('nothing allows it', () => {
    expect(decideExchange(facts())).toEqual({ allowed: false, reason: 'not_permitted' })
    expect(decideExchange({ ...facts(), policy: undefined })).toEqual({ allowed: false, reason: 'not_permitted' })
  })

  test.each<[string, Partial<ExchangeFacts>, Partial<ExchangePolicy>, string]>([
    ['the token is addressed to the exchanger', {}, { serves: ['a'] }, 'audience'],
    ['`may_act` names it', { subject: { ...subject, mayAct: 'exchanger' } }, {}, 'may_act'],
    ['the operator names the client of the token', {}, { from: ['app'] }, 'policy'],
    ['the operator names all clients', {}, { from: ['*'] }, 'policy'],
  ])('%s', (_name, change, policy, by) => {
    expect(decideExchange(facts(change, policy))).toEqual({
      allowed: true,
      by,
      actor: 'exchanger',
      scopes: ['r', 'w'],
    })
  })

  test('never for a client that proves nothing', () => {
    const policy = { serves: ['a'], from: ['*'], impersonates: true }
    expect(decideExchange(facts({ authentication: 'none' }, policy))).toMatchObject({ reason: 'public_client' })
  })

  test('neither the audience of another resource, nor `may_act` for another, nor other clients', () => {
    expect(decideExchange(facts({ target: 'b' }, { serves: ['b'], to: { b: ['x'] } })).allowed).toBe(false)
    expect(decideExchange(facts({ subject: { ...subject, mayAct: 'agent' } })).allowed).toBe(false)
    expect(decideExchange(facts({}, { from: ['ap', 'app2', ''] })).allowed).toBe(false)
  })
})

describe('for another resource', () => {
  const to = { b: ['x', 'y'] }

  test('what the operator says, and no more than the person allowed of it', () => {
    const asked = (limits: ExchangeFacts['limits'], target = 'b') =>
      decideExchange(facts({ target, limits }, { serves: ['a'], to }))
    expect(asked({ a: ['r'] })).toMatchObject({ allowed: true, scopes: ['x', 'y'] })
    expect(asked({ a: ['r'], b: ['y', 'z'] })).toMatchObject({ allowed: true, scopes: ['y'] })
    expect(asked({ a: ['r'], b: [] })).toMatchObject({ allowed: true, scopes: [] })
    expect(asked({ a: ['r'] }, 'c')).toEqual({ allowed: false, reason: 'target_not_permitted' })
  })

  test('nothing where the operator says nothing, whoever is allowed to act', () => {
    const may = { subject: { ...subject, mayAct: 'exchanger' }, target: 'b' }
    expect(decideExchange(facts(may))).toEqual({ allowed: false, reason: 'target_not_permitted' })
    expect(decideExchange({ ...facts(may), policy: undefined })).toEqual({
      allowed: false,
      reason: 'target_not_permitted',
    })
  })

  test('names that every object has are resources like others', () => {
    for (const target of ['toString', 'constructor', '__proto__']) {
      expect(decideExchange(facts({ target }, { serves: ['a'], to }))).toMatchObject({ reason: 'target_not_permitted' })
      const named = JSON.parse(`{${JSON.stringify(target)}:["x"]}`) as Record<string, string[]>
      expect(decideExchange(facts({ target }, { serves: ['a'], to: named }))).toMatchObject({ scopes: ['x'] })
    }
  })
})

test('`may_act` names who acts, not who carries the request', () => {
  const named = { subject: { ...subject, mayAct: 'agent' }, actor: 'agent' }
  expect(decideExchange(facts(named))).toMatchObject({ reason: 'actor_of_other_client' })
  expect(decideExchange(facts(named, { actors: ['agent'] }))).toMatchObject({ by: 'may_act', actor: 'agent' })
  const other = { subject: { ...subject, mayAct: 'exchanger' }, actor: 'agent' }
  expect(decideExchange(facts(other, { actors: ['agent'] }))).toMatchObject({ reason: 'not_permitted' })
})

test('nobody is left out of the chain, except where the operator says so and no actor is named', () => {
  expect(decideExchange(facts({}, { from: ['*'], impersonates: true }))).toMatchObject({ actor: undefined })
  const named = facts({ actor: 'exchanger' }, { from: ['*'], impersonates: true })
  expect(decideExchange(named)).toMatchObject({ actor: 'exchanger' })
})

test('exchanges follow one another only so often', () => {
  const after = (exchanges: number) => decideExchange(facts({ subject: { ...subject, exchanges } }, { from: ['*'] }))
  expect(after(mostExchanges - 1).allowed).toBe(true)
  expect(after(mostExchanges)).toEqual({ allowed: false, reason: 'too_many_exchanges' })
})

test('for any way through resources and clients, no token has more of a resource than one before it had', () => {
  const resources = ['a', 'b', 'c']
  const scopes = ['r', 'w', 'x']
  const some = fc.subarray(scopes)
  const policy = fc.record({
    to: fc.dictionary(fc.constantFrom(...resources), fc.subarray(scopes, { minLength: 1 })),
    serves: fc.subarray(resources),
    from: fc.constantFrom([], ['*']),
    actors: fc.constant([]),
    impersonates: fc.boolean(),
  })
  const hop = fc.record({ policy, target: fc.constantFrom(...resources), keeps: some })
  fc.assert(
    fc.property(
      fc.array(hop, { maxLength: 12 }),
      fc.dictionary(fc.constantFrom(...resources), some),
      (hops, granted) => {
        let limits: Readonly<Record<string, readonly string[]>> = { ...granted, a: granted.a ?? ['r'] }
        let token = { clientId: 'app', resource: 'a', scopes: limits.a ?? [], exchanges: 0 }
        for (const { policy: allowed, target, keeps } of hops) {
          const decision = decideExchange({
            authentication: 'key',
            client: 'c',
            policy: allowed,
            subject: token,
            actor: undefined,
            target,
            limits,
          })
          if (!decision.allowed) continue
          const before = limits[target]
          if (before) expect(before).toEqual(expect.arrayContaining([...decision.scopes]))
          if (target !== token.resource)
            expect(allowed.to[target]).toEqual(expect.arrayContaining([...decision.scopes]))
          const kept = decision.scopes.filter((scope) => keeps.includes(scope))
          limits = { ...limits, [target]: kept }
          token = { clientId: 'c', resource: target, scopes: kept, exchanges: token.exchanges + 1 }
        }
        expect(token.exchanges).toBeLessThanOrEqual(mostExchanges)
      },
    ),
  )
})
