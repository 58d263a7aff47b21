import { expect, test } from 'vitest'
import { addressBlock, addressSite } from '../../src/net/address-block.ts'
import { createSignInLimits } from '../../src/upstream/local-limits.ts'
import { SignInRefused } from '../../src/upstream/provider.ts'
import { testContext } from './context.ts'

const limits = { perAccountAndAddress: 3, perAddress: 6, window: 60_000 }
const wrong = async () => {
  throw new SignInRefused('credentials')
}
const right = async () => 'signed in'

/** What became of an attempt: `signed in`, or the reason of its refusal. */
const node = async (shared = {}, options = limits) => {
  const context = await testContext(shared)
  const { attempt } = createSignInLimits(context, options)
  const outcome = (account: string, address: string | undefined, run: () => Promise<string>): Promise<string> =>
    attempt(account, address, run).catch((error: SignInRefused) => error.reason)
  const guess = async (times: number, account: string, address: string) => {
    for (let i = 0; i < times; i++) await outcome(account, address, wrong)
  }
  return { context, attempt, outcome, guess }
}

test('guessing at one account from one address ends, for a while', async () => {
  const { context, attempt, outcome, guess } = await node()
  await guess(3, 'alice', '10.0.0.9')
  const limited: unknown = await attempt('alice', '10.0.0.9', right).catch((error: unknown) => error)
  if (!(limited instanceof SignInRefused)) throw new Error('it was not refused')
  expect(limited.reason).toBe('rate_limited')
  expect(limited.retryAfter).toBeGreaterThan(0)
  expect(limited.retryAfter).toBeLessThanOrEqual(60)
  await context.clock.pass(61_000)
  expect(await outcome('alice', '10.0.0.9', right)).toBe('signed in')
})

test('guesses at once are counted before they are checked', async () => {
  const { outcome } = await node()
  const outcomes = await Promise.all(Array.from({ length: 10 }, () => outcome('alice', '10.0.0.9', wrong)))
  expect(outcomes.filter((one) => one === 'credentials')).toHaveLength(3)
})

test('nobody can lock another out: guesses from elsewhere don’t count for the owner', async () => {
  const { outcome, guess } = await node()
  for (let block = 1; block <= 100; block++) await guess(4, 'alice', `10.0.${block}.1`)
  expect(await outcome('alice', '192.0.2.1', right)).toBe('signed in')
})

test('attack: a network of 64 bits for each guess, by who has one of 48', async () => {
  const { context, outcome } = await node()
  const from = (network: number) => `2001:db8:1:${network.toString(16)}::1`
  expect(await outcome('carol', from(0xffff), right)).toBe('signed in')
  const guesses: string[] = []
  for (let network = 0; network < 40; network++) guesses.push(await outcome('alice', from(network), wrong))
  expect(guesses.filter((reason) => reason === 'credentials')).toHaveLength(4 * limits.perAddress)
  expect(await outcome('alice', from(0x100), right)).toBe('rate_limited')
  // Who was there before goes on, and so does everybody elsewhere.
  expect(await outcome('carol', from(0xffff), right)).toBe('signed in')
  expect(await outcome('alice', '2001:db8:2::1', right)).toBe('signed in')
  await context.clock.pass(61_000)
  expect(await outcome('alice', from(0x100), right)).toBe('signed in')
})

test('nobody can lock another out: one who goes on beyond the limit uses up nothing of a larger network', async () => {
  const { outcome } = await node()
  for (let i = 0; i < 100; i++) await outcome(`user-${i}`, '2001:db8:1:1::1', wrong)
  expect(await outcome('alice', '2001:db8:1:2::1', right)).toBe('signed in')
})

test('one address can’t try one password on everybody', async () => {
  const { outcome } = await node()
  for (let i = 0; i < 6; i++) await outcome(`user-${i}`, '10.0.0.9', wrong)
  expect(await outcome('alice', '10.0.0.9', right)).toBe('rate_limited')
})

test('who signed in before from an address is not stopped by what others do from there', async () => {
  const { outcome } = await node()
  await outcome('alice', '10.0.0.9', right)
  for (let i = 0; i < 8; i++) await outcome(`user-${i}`, '10.0.0.9', wrong)
  expect(await outcome('bob', '10.0.0.9', right)).toBe('rate_limited')
  expect(await outcome('alice', '10.0.0.9', right)).toBe('signed in')
})

test('what succeeds, and what fails for another reason, counts for nothing', async () => {
  const { outcome } = await node()
  for (let i = 0; i < 8; i++) expect(await outcome('alice', '10.0.0.9', right)).toBe('signed in')
  const broken = () => Promise.reject(new SignInRefused('rate_limited'))
  for (let i = 0; i < 8; i++) await outcome('alice', '10.0.0.9', broken)
  expect(await outcome('alice', '10.0.0.9', right)).toBe('signed in')
})

test('fault 24: the counters are in the store: another node counts on', async () => {
  const first = await node()
  await first.guess(3, 'alice', '10.0.0.9')
  const second = await node(first.context)
  expect(await second.outcome('alice', '10.0.0.9', right)).toBe('rate_limited')
})

test('password checks are bounded: in number at a time, in the queue, and in the queue for one address', async () => {
  const { context, outcome } = await node({}, { ...limits, perAddress: 1_000, perAccountAndAddress: 1_000 })
  let running = 0
  let most = 0
  const slow = async () => {
    most = Math.max(most, ++running)
    await new Promise((resolve) => setTimeout(resolve, 5))
    running--
    return 'signed in'
  }
  const together = async (many: number, address: (index: number) => string | undefined) => {
    const outcomes = await Promise.all(
      Array.from({ length: many }, (_, index) => outcome('alice', address(index), slow)),
    )
    return outcomes.filter((one) => one === 'signed in').length
  }
  expect(await together(20, () => '10.0.0.9')).toBe(12)
  expect(await together(20, (index) => `10.0.${index}.1`)).toBe(20)
  expect(await together(60, (index) => `10.0.${index}.1`)).toBe(32)
  expect(await together(20, (index) => `2001:db8:1:${index}::1`)).toBe(12)
  expect(most).toBe(2)
  expect(await together(40, () => undefined)).toBe(30)
  expect(context.log.filter((line) => line.includes('address'))).toHaveLength(1)
  // And all turns were given back.
  expect(await together(12, () => '10.0.0.9')).toBe(12)
})

test('an IPv6 subscriber is a network, an IPv4 address is one however it is written', () => {
  expect(addressBlock('2001:db8:1:2:3:4:5:6')).toBe(addressBlock('2001:DB8:1:2::9'))
  expect(addressBlock('2001:db8:1:2::')).not.toBe(addressBlock('2001:db8:1:3::'))
  expect(addressBlock('::ffff:192.0.2.1')).toBe('192.0.2.1')
  expect(addressBlock('::ffff:c000:201')).not.toBe(addressBlock('::ffff:c000:202'))
  expect(addressBlock('fe80::1%eth0')).toBe(addressBlock('fe80::2'))
  expect(addressBlock('::1')).toBe('0:0:0:0')
  expect(addressBlock('2001:db8::')).toBe('2001:db8:0:0')
  expect(addressBlock('192.0.2.1')).toBe('192.0.2.1')
  // Behind a translator all of IPv4 is in one network.
  expect(addressBlock('64:ff9b::192.0.2.1')).not.toBe(addressBlock('64:ff9b::192.0.2.2'))
})

test('a site is 48 bits of IPv6', () => {
  expect(addressSite('2001:db8:1:2::3')).toBe('2001:db8:1::/48')
  expect(addressSite('2001:DB8:1:ffff:3::')).toBe('2001:db8:1::/48')
  expect(addressSite('2001:db8:2::')).toBe('2001:db8:2::/48')
  for (const one of ['192.0.2.1', '::ffff:192.0.2.1', '::ffff:c000:201', '64:ff9b::192.0.2.1', 'a socket']) {
    expect(addressSite(one)).toBeUndefined()
  }
})
