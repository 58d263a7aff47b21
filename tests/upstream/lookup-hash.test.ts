import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { exportStore, importStore } from '../../src/cli/transfer.ts'
import { hashSecret, hashStrings } from '../../src/crypto/hash.ts'
import { systemRandom } from '../../src/events/random.ts'
import { openKeyRing } from '../../src/keys/key-ring.ts'
import { accountRef } from '../../src/records/account.ts'
import { readLookupHashes } from '../../src/records/lookup-hash.ts'
import { createRecords, put, recordType, refTo } from '../../src/records/records.ts'
import { memory } from '../../src/store/memory.ts'
import type { Store } from '../../src/store/store.ts'
import { rememberEmail } from '../../src/upstream/email-link.ts'
import { localAccounts, UsernameTaken } from '../../src/upstream/local.ts'
import { createSignInLimits } from '../../src/upstream/local-limits.ts'
import { SignInRefused } from '../../src/upstream/provider.ts'
import { stopped } from '../store/movable-clock.ts'
import { rejection, testContext } from './context.ts'

const password = 'correct horse battery'
const address = '192.0.2.7'
const secret = () => randomBytes(32).toString('base64')

/** A node with local accounts, on a store and with secrets of one's own. */
const node = async (store: Store, secrets: readonly [string, ...string[]]) => {
  const clock = stopped()
  const random = systemRandom
  const base = await testContext({ store: memory() })
  const keys = await openKeyRing({ store, secrets, algorithm: 'ES256', clock, random, audit: base.audit })
  const context = { ...base, store, clock, records: createRecords(store, keys) }
  return { ...accountsOf(context), context, keys }
}

const accountsOf = (context: Awaited<ReturnType<typeof testContext>>) => {
  const provider = localAccounts()
  const open = provider.open(context)
  if (open.kind !== 'password') throw new Error(open.kind)
  const signIn = async (username: string) => (await open.signIn(username, password, { address })).subject
  return { accounts: provider.accounts, signIn }
}

const keysOf = async (store: Store): Promise<readonly string[]> => (await store.list('')).entries.map(({ key }) => key)

/** As a release before wrote it: with a hash without a key. */
const before = {
  username: (canonical: string) => refTo(recordType({ name: 'local-username', schema: 1, sealed: false }), canonical),
  knownSignIn: (hash: string) => refTo(recordType({ name: 'known-sign-in', schema: 1, sealed: false }), hash),
}

describe('names and addresses of people', () => {
  test('attack: who has the store alone can’t test a guess of a name, or of where somebody signed in', async () => {
    const context = await testContext({ clock: stopped() })
    const { accounts, signIn } = accountsOf(context)
    await accounts.create({ username: 'Alice', password, email: 'alice@example.com' })
    await signIn('alice')
    const keys = await keysOf(context.store)
    expect(keys.filter((key) => key.startsWith('local-username/'))).toHaveLength(1)
    expect(keys.filter((key) => key.startsWith('known-sign-in/'))).toHaveLength(1)
    const guesses = [['alice'], ['Alice'], ['alice', address], ['username', 'alice'], ['alice@example.com']]
    for (const guess of guesses) {
      for (const hash of [hashStrings(...guess), hashSecret(guess.join('')), hashSecret(guess.join('/'))]) {
        expect(keys.filter((key) => key.includes(hash))).toEqual([])
      }
    }
    const other = await readLookupHashes(await testContext())
    expect(keys.filter((key) => key.includes(other('username', 'alice')[0]))).toEqual([])
    const own = await readLookupHashes(context)
    expect(keys).toContain(`local-username/${own('username', 'alice')[0]}`)
  })

  test('nodes that start at once have one key', async () => {
    const clock = stopped()
    const store = memory({ clock })
    const contexts = await Promise.all(Array.from({ length: 8 }, () => testContext({ clock, store })))
    const hashes = await Promise.all(
      contexts.map(async (context) => (await readLookupHashes(context))('username', 'a')[0]),
    )
    expect(new Set(hashes).size).toBe(1)
  })

  test('secrets and keys that seal are replaced, and the store moves house: everybody is found', async () => {
    const [old, next] = [secret(), secret()]
    const store = memory({ clock: stopped() })
    const first = await node(store, [old])
    const { id } = await first.accounts.create({ username: 'alice', password })
    await first.keys.rotate({ use: 'seal', compromised: true })
    expect(await first.signIn('alice')).toBe(id)
    const both = await node(store, [next, old])
    expect(await both.signIn('alice')).toBe(id)
    const lines: string[] = []
    await exportStore(store, async (line) => void lines.push(line))
    const moved = memory({ clock: stopped() })
    await importStore(moved, Readable.from(lines))
    const after = await node(moved, [next])
    expect(await after.signIn('Alice')).toBe(id)
    await expect(after.accounts.create({ username: 'alice', password })).rejects.toThrow(UsernameTaken)
    for (const { keys } of [first, both, after]) keys.close()
  })
})

describe('the record of that key', () => {
  const prefix = 'lookup-key/'
  const kept = async (store: Store) => {
    const [entry] = (await store.list(prefix)).entries
    if (!entry) throw new Error('there is none')
    return entry
  }

  test('where a backup of before it is restored below a running node, everybody is found, and nobody is there twice', async () => {
    const context = await testContext({ clock: stopped() })
    const { accounts, signIn } = accountsOf(context)
    const { id } = await accounts.create({ username: 'alice', password })
    const later = await accounts.create({ username: 'bob', password })
    expect(await signIn('alice')).toBe(id)
    // Of the backup are the first account and, as it was written then, its name.
    const gone = (await keysOf(context.store)).filter(
      (key) => key.startsWith(prefix) || key.startsWith('local-username/') || key === `local-account/${later.id}`,
    )
    await context.store.commit({ deletes: gone })
    const ref = before.username(hashStrings('alice'))
    await context.records.commit({ puts: [put(ref, { id })] })
    expect(await signIn('alice')).toBe(id)
    await expect(accounts.create({ username: 'alice', password })).rejects.toThrow(UsernameTaken)
    expect(await rejection(signIn('bob'))).toMatchObject({ reason: 'credentials' })
    await context.clock.pass(86_400_000)
    expect(await signIn('Alice')).toBe(id)
    expect(await keysOf(context.store)).not.toContain(ref.key)
  })

  test.each([
    ['damaged', (value: Uint8Array) => value.with(-1, (value.at(-1) ?? 0) ^ 1)],
    ['cut', (value: Uint8Array) => value.slice(0, 20)],
  ])('one that is %s is our trouble: no other is made, which would find nobody', async (_, damage) => {
    const context = await testContext({ clock: stopped() })
    const { accounts, signIn } = accountsOf(context)
    const { id } = await accounts.create({ username: 'alice', password })
    const { key, value } = await kept(context.store)
    await context.store.commit({ sets: [{ key, value: damage(value) }] })
    expect(await rejection(signIn('alice'))).not.toBeInstanceOf(SignInRefused)
    await expect(accounts.create({ username: 'alice', password })).rejects.not.toThrow(UsernameTaken)
    expect((await kept(context.store)).value).toEqual(damage(value))
    await context.store.commit({ sets: [{ key, value }] })
    expect(await signIn('alice')).toBe(id)
  })
})

describe('design 5, rolling deploys: what the release before wrote, with hashes without a key', () => {
  const older = async () => {
    const context = await testContext({ clock: stopped() })
    const made = accountsOf(context)
    const { id } = await made.accounts.create({ username: 'alice', password })
    const [now = ''] = (await keysOf(context.store)).filter((key) => key.startsWith('local-username/'))
    const ref = before.username(hashStrings('alice'))
    await context.store.commit({ deletes: [now] })
    await context.records.commit({ puts: [put(ref, { id })] })
    const names = async () => (await keysOf(context.store)).filter((key) => key.startsWith('local-username/'))
    expect(await names()).toEqual([ref.key])
    return { ...made, context, id, names, now, ref }
  }

  test('who signs in is found, and is then written as people are now', async () => {
    const { signIn, names, id, now, ref, accounts } = await older()
    expect((await accounts.find('Alice'))?.id).toBe(id)
    expect(await names()).toEqual([ref.key])
    expect(await Promise.all([signIn('alice'), signIn('Alice')])).toEqual([id, id])
    expect(await names()).toEqual([now])
    expect(await signIn('alice')).toBe(id)
  })

  test('a wrong password changes nothing', async () => {
    const { names, ref, context } = await older()
    const open = localAccounts().open(context)
    if (open.kind !== 'password') throw new Error(open.kind)
    await rejection(open.signIn('alice', 'wrong', { address }))
    expect(await names()).toEqual([ref.key])
  })

  test('a name is taken, gets a new password, and goes, wherever it is written', async () => {
    const { accounts, names } = await older()
    await expect(accounts.create({ username: 'ALICE', password })).rejects.toThrow(UsernameTaken)
    expect(await accounts.setPassword('alice', 'another password')).toBe(true)
    expect(await accounts.delete('alice')).toBe(true)
    expect(await names()).toEqual([])
    expect(await accounts.delete('alice')).toBe(false)
    await accounts.create({ username: 'alice', password })
  })

  test('made by a node of the release before that was left running for days, a name is nobody’s twice for those of this one; deleting one leaves the other', async () => {
    const { accounts, context, signIn, id, names, ref } = await older()
    await context.records.commit({ deletes: [ref] })
    const second = await accounts.create({ username: 'alice', password })
    await context.records.commit({ puts: [put(ref, { id })] })
    expect(await signIn('alice')).toBe(second.id)
    expect(await accounts.delete('alice')).toBe(true)
    expect(await names()).toEqual([ref.key])
    expect(await signIn('alice')).toBe(id)
  })

  test('an address that somebody signed in from is still known', async () => {
    const context = await testContext({ clock: stopped() })
    await context.records.commit({ puts: [put(before.knownSignIn(hashStrings('alice', address)), {}, 86_400_000)] })
    const { attempt } = createSignInLimits(context, { perAccountAndAddress: 3, perAddress: 2, window: 60_000 })
    const wrong = async () => {
      throw new SignInRefused('credentials')
    }
    for (const name of ['bob', 'carol', 'dave']) await rejection(attempt(name, address, wrong))
    expect(await rejection(attempt('erin', address, async () => 'in'))).toMatchObject({ reason: 'rate_limited' })
    expect(await attempt('alice', address, async () => 'in')).toBe('in')
    const known = (await keysOf(context.store)).filter((key) => key.startsWith('known-sign-in/'))
    expect(known).toHaveLength(1)
    expect(known).not.toContain(`known-sign-in/${hashStrings('alice', address)}`)
    expect(await attempt('alice', address, async () => 'in')).toBe('in')
  })
})

describe('design 5, rolling deploys: while nodes of the release before go on beside those of this one', () => {
  const day = 86_400_000
  const email = 'alice@example.com'
  const of = async (store: Store, type: string) => (await keysOf(store)).filter((key) => key.startsWith(`${type}/`))

  test('fault: one name, made on a node of each, is one account’s; who signs in at one is found at the other', async () => {
    const context = await testContext({ clock: stopped() })
    const { accounts, signIn } = accountsOf(context)
    const older = (name: string) => before.username(hashStrings(name))
    // There are people already.
    await context.records.commit({ puts: [put(older('bob'), { id: 'bob' })] })
    const { id } = await accounts.create({ username: 'Alice', password })
    expect(await signIn('alice')).toBe(id)
    // Where a node of the release before looks: it finds her, knows her address, and gives nobody her name.
    expect((await context.records.get(older('alice'))).values[0]?.value).toEqual({ id })
    expect(await of(context.store, 'known-sign-in')).toEqual([`known-sign-in/${hashStrings('alice', address)}`])
    await context.records.commit({ puts: [put(older('carol'), { id: 'carol' })] })
    await expect(accounts.create({ username: 'carol', password })).rejects.toThrow(UsernameTaken)
    await context.clock.pass(day - 1)
    expect(await signIn('alice')).toBe(id)
    expect(await of(context.store, 'local-username')).toContain(older('alice').key)
    // Then it is gone, and who has the store alone learns no more.
    await context.clock.pass(1)
    expect(await signIn('alice')).toBe(id)
    expect(await of(context.store, 'local-username')).not.toContain(older('alice').key)
    expect(await of(context.store, 'local-username')).toHaveLength(3)
    expect(await of(context.store, 'known-sign-in')).not.toContain(`known-sign-in/${hashStrings('alice', address)}`)
    await expect(accounts.create({ username: 'alice', password })).rejects.toThrow(UsernameTaken)
  })

  test('fault: one person, known by an e-mail address to a node of one, is nobody new to the other', async () => {
    const context = await testContext({ clock: stopped() })
    const { records, store, clock } = context
    const identity = { provider: 'host', issuer: 'https://id.example.com', subject: '1' }
    const account = { id: 'alice', subject: 'alice', createdAt: clock.now(), identities: [identity] }
    const emails = recordType<{ accounts: string[] }>({ name: 'account-email', schema: 1, sealed: false })
    const older = refTo(emails, hashStrings('host', email))
    const bobs = refTo(emails, hashStrings('host', 'bob@example.com'))
    await records.commit({ puts: [put(accountRef('alice'), account), put(bobs, { accounts: ['bob'] })] })
    const signsIn = () =>
      rememberEmail(context, 'host', 'alice', {
        ...identity,
        authTime: Math.floor(clock.now() / 1000),
        said: [{ source: 'host', at: clock.now(), claims: { email, email_verified: true } }],
      })
    await signsIn()
    expect((await records.get(older)).values[0]?.value).toEqual({ accounts: ['alice'] })
    await clock.pass(day)
    await signsIn()
    expect(await of(store, 'account-email')).not.toContain(older.key)
    expect(await of(store, 'account-email')).toHaveLength(2)
  })
})
