import { exportJWK, generateKeyPair, type JWK } from 'jose'
import { beforeAll, expect, test } from 'vitest'
import { createKeySet, type KeySetOptions } from '../../src/resource-server/key-set.ts'
import { stopped } from '../store/movable-clock.ts'

let keys: JWK[]
beforeAll(async () => {
  const pairs = await Promise.all([0, 1, 2].map(() => generateKeyPair('ES256', { extractable: true })))
  keys = await Promise.all(
    pairs.map(async ({ publicKey }, index) => ({ ...(await exportJWK(publicKey)), kid: `key-${index}`, alg: 'ES256' })),
  )
})

const token = { payload: '', signature: '' }
const header = (kid?: string) => ({ alg: 'ES256', ...(kid === undefined ? {} : { kid }) })

const setUp = (more: Partial<KeySetOptions> = {}) => {
  const clock = stopped()
  const seen = { loads: 0, changes: 0, warnings: [] as unknown[] }
  let answer: () => object = () => ({ keys })
  const nothing = () => {}
  const set = createKeySet({
    async load() {
      seen.loads += 1
      return answer()
    },
    changed() {
      seen.changes += 1
    },
    clock,
    logger: { debug: nothing, info: nothing, warn: (_, details) => void seen.warnings.push(details), error: nothing },
    freshFor: 1_000,
    keptFor: 5_000,
    coolDown: 100,
    ...more,
  })
  return { set, clock, seen, respond: (next: () => object) => (answer = next) }
}

const away = () => {
  throw new Error('the issuer is away')
}
const unavailable = { name: 'VerifierUnavailable', cause: new Error('the issuer is away') }

test('keys are fetched when they are first needed, and again when they are no longer fresh', async () => {
  const { set, clock, seen } = setUp()
  expect(set.isFresh()).toBe(false)
  await set.keysFor(header('key-0'), token)
  await clock.pass(999)
  expect(set.isFresh()).toBe(true)
  await set.keysFor(header('key-1'), token)
  expect(seen.loads).toBe(1)
  await clock.pass(1)
  expect(set.isFresh()).toBe(false)
  await set.ready()
  expect(seen.loads).toBe(2)
})

test('who asks at once asks once', async () => {
  const { set, seen } = setUp()
  await Promise.all([set.keysFor(header('key-0'), token), set.keysFor(header('key-1'), token), set.ready()])
  expect(seen.loads).toBe(1)
})

test('fault 11: for a key that is not there the issuer is asked again, and not before the cool-down is over', async () => {
  const { set, clock, seen, respond } = setUp()
  await set.ready()
  await clock.pass(99)
  await expect(set.keysFor(header('new'), token)).rejects.toMatchObject({ reason: 'unknown_key' })
  expect(seen.loads).toBe(1)
  await clock.pass(1)
  respond(() => ({ keys: [...keys, { ...keys[0], kid: 'new' }] }))
  expect(await set.keysFor(header('new'), token)).toHaveLength(1)
  expect(seen.loads).toBe(2)
  await expect(set.keysFor(header('newer'), token)).rejects.toMatchObject({ reason: 'unknown_key' })
  expect(seen.loads).toBe(2)
})

test('fault 5: the last good keys are kept for their time and no longer, and what failed is said', async () => {
  const { set, clock, seen, respond } = setUp()
  await set.ready()
  respond(away)
  await clock.pass(5_000)
  expect(await set.keysFor(header('key-0'), token)).toHaveLength(1)
  expect(seen.warnings).toEqual([{ error: new Error('the issuer is away') }])
  await clock.pass(1)
  await expect(set.keysFor(header('key-0'), token)).rejects.toMatchObject(unavailable)
  respond(() => ({ keys }))
  await clock.pass(100)
  expect(await set.keysFor(header('key-0'), token)).toHaveLength(1)
})

test('fault 5: while the issuer gives no answer, who has keys does not wait for it, and learns of new ones when it does', async () => {
  const { set, clock, seen, respond } = setUp()
  await set.ready()
  respond(away)
  await clock.pass(1_000)
  expect(await set.keysFor(header('key-0'), token)).toHaveLength(1)
  let answerNow: (set: object) => void = () => {}
  respond(() => new Promise<object>((resolve) => (answerNow = resolve)))
  await clock.pass(100)
  expect(await set.keysFor(header('key-0'), token)).toHaveLength(1)
  expect(await set.keysFor(header('key-1'), token)).toHaveLength(1)
  expect([seen.loads, set.isFresh()]).toEqual([3, false])

  answerNow({ keys: [{ ...keys[0], kid: 'new' }] })
  await expect.poll(() => set.isFresh()).toBe(true)
  expect(await set.keysFor(header('new'), token)).toHaveLength(1)
  await expect(set.keysFor(header('key-0'), token)).rejects.toMatchObject({ reason: 'unknown_key' })
  expect([seen.loads, seen.changes]).toEqual([3, 1])
})

test('fault 5: an unknown key is nobody’s fault while the issuer is away, and the token’s once it is back', async () => {
  const { set, clock, respond } = setUp()
  await set.ready()
  await clock.pass(100)
  respond(away)
  await expect(set.keysFor(header('new'), token)).rejects.toMatchObject(unavailable)
  await clock.pass(100)
  respond(() => ({ keys }))
  await expect(set.keysFor(header('new'), token)).rejects.toMatchObject({ reason: 'unknown_key' })
})

test('an issuer that was never there is our own trouble, and waited for once it may be asked again', async () => {
  const { set, clock, seen, respond } = setUp()
  respond(away)
  await expect(set.ready()).rejects.toMatchObject(unavailable)
  await clock.pass(99)
  await expect(set.keysFor(header('key-0'), token)).rejects.toMatchObject(unavailable)
  expect(seen.loads).toBe(1)
  await clock.pass(1)
  respond(() => ({ keys }))
  expect(await set.keysFor(header('key-0'), token)).toHaveLength(1)
  expect(seen.loads).toBe(2)
})

test('it is told when the keys are others, and only then', async () => {
  const { set, clock, seen, respond } = setUp()
  await set.ready()
  await clock.pass(1_000)
  await set.ready()
  expect([seen.loads, seen.changes]).toEqual([2, 0])
  respond(() => ({ keys: keys.slice(1) }))
  await clock.pass(1_000)
  await set.ready()
  expect([seen.loads, seen.changes]).toEqual([3, 1])
})

test('without a key id all that fit are tried', async () => {
  const { set } = setUp()
  expect(await set.keysFor(header(), token)).toHaveLength(3)
  expect(await set.keysFor(header('key-2'), token)).toHaveLength(1)
})

test('what is no key stands beside keys and is no trouble; what is no set is', async () => {
  const { set, respond, clock } = setUp()
  respond(() => ({ keys: [null, 'x', 7, [], true, ...keys] }))
  expect(await set.keysFor(header('key-0'), token)).toHaveLength(1)
  for (const none of [{}, { keys: 'x' }, { keys: { length: 1 } }]) {
    respond(() => none)
    await clock.pass(6_000)
    await expect(set.ready()).rejects.toMatchObject({ name: 'VerifierUnavailable' })
  }
})

test('a hundred keys count', async () => {
  const { set, respond } = setUp()
  const many = Array.from({ length: 101 }, (_, index) => ({ ...keys[0], kid: `many-${index}` }))
  respond(() => ({ keys: many }))
  expect(await set.keysFor(header('many-99'), token)).toHaveLength(1)
  await expect(set.keysFor(header('many-100'), token)).rejects.toMatchObject({ reason: 'unknown_key' })
})

test('an algorithm that no key set can have is told as what it is', async () => {
  const { set } = setUp()
  await expect(set.keysFor({ alg: 'HS256' }, token)).rejects.toMatchObject({ code: 'ERR_JOSE_NOT_SUPPORTED' })
})

test('keys of which none can be used are none, however often they are asked for', async () => {
  const { set, respond } = setUp()
  const broken = { kty: 'EC', crv: 'P-256', x: 'AA', y: 'AA', alg: 'ES256' }
  respond(() => ({ keys: [broken, broken] }))
  for (let time = 0; time < 3; time += 1) {
    await expect(set.keysFor(header(), token)).rejects.toMatchObject({ reason: 'unknown_key' })
  }
  const { set: mixed, respond: answer } = setUp()
  answer(() => ({ keys: [broken, ...keys, broken] }))
  for (let time = 0; time < 3; time += 1) expect(await mixed.keysFor(header(), token)).toHaveLength(3)
})
