import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { canonicalUsername, type LocalAccountsOptions, localAccounts } from '../../src/upstream/local.ts'
import type { SignInRefused } from '../../src/upstream/provider.ts'
import { rejection, testContext } from './context.ts'

const password = 'correct horse battery'

const local = async (options: LocalAccountsOptions = {}, shared = {}) => {
  const context = await testContext(shared)
  const provider = localAccounts(options)
  const open = provider.open(context)
  if (open.kind !== 'password') throw new Error(open.kind)
  const from = (address?: string) => (address === undefined ? {} : { address })
  const signIn = (username: string, given: string, address?: string) => open.signIn(username, given, from(address))
  const refusal = async (username: string, given: string, address?: string) =>
    (await rejection(signIn(username, given, address))) as SignInRefused
  return { context, provider, accounts: provider.accounts, signIn, refusal }
}

describe('accounts', () => {
  test('origin 8: signs in with name and password; the subject is a random id, the issuer is ours', async () => {
    const { accounts, signIn, context } = await local()
    const created = await accounts.create({
      username: 'Alice',
      password,
      name: 'Alice Example',
      email: 'alice@example.com',
      emailVerified: true,
      groups: ['people'],
    })
    const alice = await signIn(' aLICE ', password, '10.0.0.1')
    expect(alice).toMatchObject({ issuer: context.issuer, subject: created.id })
    expect(alice.subject).toMatch(/^[\w-]{22}$/)
    expect(alice.tokens).toBeUndefined()
    expect(alice.said).toEqual([
      {
        source: 'account',
        at: expect.any(Number),
        claims: {
          name: 'Alice Example',
          email: 'alice@example.com',
          email_verified: true,
          groups: ['people'],
          preferred_username: 'Alice',
        },
      },
    ])
    expect(Math.abs(alice.authTime - Date.now() / 1000)).toBeLessThan(30)
    const again = await local({}, context)
    expect((await again.signIn('alice', password)).subject).toBe(created.id)
  })

  test('what is stored names nobody, and the hash is nowhere to be seen', async () => {
    const { accounts, context } = await local()
    const created = await accounts.create({ username: 'alice', password, email: 'alice@example.com' })
    expect(JSON.stringify([created, await accounts.find('alice')])).not.toMatch(/scrypt|password/i)
    const { entries } = await context.store.list('local-')
    expect(entries).toHaveLength(2)
    for (const { key, value } of entries) {
      expect(key + Buffer.from(value).toString('latin1')).not.toMatch(/alice|scrypt/)
    }
  })

  test('a wrong password and an unknown name are the same refusal', async () => {
    const { accounts, refusal } = await local()
    await accounts.create({ username: 'alice', password })
    const shown = ({ message, reason, detail, retryAfter }: SignInRefused) => ({ message, reason, detail, retryAfter })
    const wrong = shown(await refusal('alice', 'wrong password'))
    expect(wrong).toMatchObject({ reason: 'credentials' })
    expect(shown(await refusal('nobody', 'wrong password'))).toEqual(wrong)
    expect(shown(await refusal('', 'wrong password'))).toEqual(wrong)
    expect(shown(await refusal('x'.repeat(1_000), 'wrong password'))).toEqual(wrong)
    expect(shown(await refusal('alice', 'x'.repeat(1_000_000)))).toEqual(wrong)
    expect(shown(await refusal('alice', ''))).toEqual(wrong)
  })

  test('an unknown name costs the same work as a wrong password', async () => {
    const { accounts, refusal } = await local()
    await accounts.create({ username: 'alice', password })
    const cost = async (username: string) => {
      const before = process.cpuUsage()
      await refusal(username, 'wrong password')
      const { user, system } = process.cpuUsage(before)
      return user + system
    }
    const times = { alice: [] as number[], nobody: [] as number[] }
    for (let round = 0; round < 3; round++) {
      times.alice.push(await cost('alice'))
      times.nobody.push(await cost('nobody'))
    }
    // A check that is left out takes a hundredth.
    expect(Math.min(...times.nobody)).toBeGreaterThan(Math.min(...times.alice) / 3)
  })

  test('names are one however they are written; a name is given once', async () => {
    const { accounts } = await local()
    await accounts.create({ username: 'Ångström', password })
    for (const username of ['ångström', 'A\u030angstro\u0308m', ' ÅNGSTRÖM ']) {
      expect(await rejection(accounts.create({ username, password }))).toMatchObject({ name: 'UsernameTaken' })
    }
    const together = [1, 2, 3].map(() => accounts.create({ username: 'bob', password }))
    const results = await Promise.allSettled(together)
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  })

  test('the canonical form is one: making it again changes nothing', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 20 }), (text) => {
        const canonical = canonicalUsername(text)
        expect(canonicalUsername(canonical)).toBe(canonical)
      }),
      { numRuns: 2_000 },
    )
  })

  test('names and passwords that are not allowed', async () => {
    const { accounts } = await local()
    const bad = [
      { username: '', password },
      { username: 'a\u0000b', password },
      { username: 'a\u202eb', password },
      { username: 'x'.repeat(129), password },
      { username: 'alice', password: 'short' },
      { username: 'alice', password: 'x'.repeat(257) },
    ]
    for (const one of bad) expect(await rejection(accounts.create(one))).toBeInstanceOf(TypeError)
  })

  test('a new password takes the place of the old one', async () => {
    const { accounts, signIn, refusal } = await local()
    const { id } = await accounts.create({ username: 'alice', password })
    expect(await accounts.setPassword('ALICE', 'another password')).toBe(true)
    expect(await accounts.setPassword('nobody', 'another password')).toBe(false)
    expect(await refusal('alice', password)).toMatchObject({ reason: 'credentials' })
    expect((await signIn('alice', 'another password')).subject).toBe(id)
  })

  test('administration waits for the server to open', async () => {
    const provider = localAccounts()
    const found = provider.accounts.find('alice')
    provider.open(await testContext())
    expect(await found).toBeUndefined()
  })
})

test('nobody can lock another out: too many guesses from one address, and the owner signs in from another', async () => {
  const { accounts, refusal, signIn, context } = await local({ limits: { perAccountAndAddress: 2 } })
  await accounts.create({ username: 'alice', password })
  for (let i = 0; i < 2; i++)
    expect(await refusal('alice', 'guess', '10.0.0.9')).toMatchObject({ reason: 'credentials' })
  expect(await refusal('Alice', password, '10.0.0.9')).toMatchObject({ reason: 'rate_limited' })
  expect(await signIn('alice', password, '192.0.2.1')).toBeTruthy()
  await context.clock.pass(16 * 60_000)
  expect(await signIn('alice', password, '10.0.0.9')).toBeTruthy()
})
