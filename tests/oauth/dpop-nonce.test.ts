import { expect, test } from 'vitest'
import { createDpopNonces } from '../../src/oauth/dpop-nonce.ts'
import { stopped } from '../store/movable-clock.ts'

const macOf = (key: string) => async (text: string) => `${key}(${text})`

test('a nonce is good while it is the current one, and for a minute after; then a new one is needed', async () => {
  const clock = stopped()
  const nonces = createDpopNonces(macOf('k'), clock)
  const first = await nonces.current()
  expect(await nonces.isGood(first)).toBe(true)
  await clock.pass(60_000)
  expect(await nonces.current()).not.toBe(first)
  expect(await nonces.isGood(first)).toBe(true)
  await clock.pass(60_000)
  expect(await nonces.isGood(first)).toBe(false)
})

test('all who have the key know it, and nobody else; a clock that is a little ahead does not matter', async () => {
  const clock = stopped()
  const here = createDpopNonces(macOf('k'), clock)
  const there = createDpopNonces(macOf('k'), { now: () => clock.now() + 60_000 })
  expect(await here.isGood(await there.current())).toBe(true)
  expect(await there.isGood(await here.current())).toBe(true)
  expect(await createDpopNonces(macOf('other'), clock).isGood(await here.current())).toBe(false)
  expect(await here.isGood('')).toBe(false)
  const far = createDpopNonces(macOf('k'), { now: () => clock.now() + 600_000 })
  expect(await here.isGood(await far.current())).toBe(false)
})

test('each is made once; what failed is tried again', async () => {
  let made = 0
  const clock = stopped()
  const nonces = createDpopNonces(async (text) => {
    made += 1
    if (made === 1) throw new Error('no key')
    return text
  }, clock)
  await expect(nonces.current()).rejects.toThrow('no key')
  await nonces.current()
  for (let index = 0; index < 5; index++) await nonces.current()
  expect(made).toBe(2)
})
