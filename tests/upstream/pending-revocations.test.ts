import { describe, expect, test } from 'vitest'
import { pendingRevocations, revocationMessage } from '../../src/records/pending-revocation.ts'
import { createAccounts } from '../../src/upstream/accounts.ts'
import { createCustody } from '../../src/upstream/custody.ts'
import { type NamedProvider, ProviderUnavailable, type RedirectProvider } from '../../src/upstream/provider.ts'
import { stopped } from '../store/movable-clock.ts'
import { type TestContext, testContext } from './context.ts'

/** A provider that can end tokens, and what it was asked to end. */
const provider = (id = 'idp') => {
  const asked: string[] = []
  const state = { down: false, slow: Promise.resolve() }
  const open: RedirectProvider = {
    kind: 'redirect',
    begin: () => Promise.reject(new Error('not here')),
    complete: () => Promise.reject(new Error('not here')),
    async revoke({ accessToken }) {
      asked.push(accessToken)
      await state.slow
      if (state.down) throw new ProviderUnavailable('out of reach')
      return 'revoked'
    },
  }
  const named: NamedProvider = { id, name: id, open }
  return { named, asked, state }
}

const signIn = {
  ...{ issuer: 'https://idp.example.com', subject: 'alice', authTime: 0, said: [] },
  tokens: { accessToken: 'an upstream token', refreshToken: 'another' },
}

/** A session, erased by who knows no providers: an operator's command line beside the servers. */
const erasedElsewhere = async (context: TestContext, at: NamedProvider) => {
  const server = createCustody(context, [at])
  const { account } = await createAccounts(context, { subject: 'random', providers: [at] }).resolve(at.id, signIn)
  const { id } = await server.begin(account, at.id, signIn)
  const heard: string[] = []
  context.store.watch((message) => heard.push(message))
  const outcome = await createCustody(context, []).erase(id)
  return { id, account, outcome, heard }
}

const left = async ({ records }: TestContext) => (await records.list(pendingRevocations, '')).values

describe('tokens of a session that was erased by who can’t end them at the provider', () => {
  test('are kept, sealed and without a word of whose they were, until a server that knows the provider ends them', async () => {
    const context = await testContext({ clock: stopped() })
    const { named, asked } = provider()
    const { outcome, heard, account } = await erasedElsewhere(context, named)
    expect(outcome).toBe('pending')
    expect(heard).toContain(revocationMessage)
    const { entries } = await context.store.list('pending-revocation/', { limit: 10 })
    const stored = entries.map(({ key, value }) => `${key} ${Buffer.from(value).toString('latin1')}`)
    expect(stored).toHaveLength(1)
    for (const word of ['an upstream token', account.id, 'https://idp']) expect(stored.join()).not.toContain(word)

    expect(await createCustody(context, [named]).revokePending()).toBeUndefined()
    expect(asked).toEqual(['an upstream token'])
    expect(await left(context)).toEqual([])
    expect(context.events.filter(({ type }) => type === 'upstream.revoked')).toHaveLength(1)
  })

  test('by one of several servers that hear of it at once', async () => {
    const context = await testContext({ clock: stopped() })
    const { named, asked, state } = provider()
    await erasedElsewhere(context, named)
    let go = () => {}
    state.slow = new Promise((resolve) => {
      go = resolve
    })
    const nodes = [context, await testContext(context), await testContext(context)]
    const all = nodes.map((node) => createCustody(node, [named]).revokePending())
    await expect.poll(() => asked.length, { timeout: 30_000 }).toBe(1)
    // The other two are done, or come back later, while the first still asks.
    let done = 0
    for (const each of all) void each.then(() => done++)
    await expect.poll(() => done, { timeout: 30_000 }).toBe(2)
    go()
    await Promise.all(all)
    expect(asked).toHaveLength(1)
    expect(await left(context)).toEqual([])
  })

  test('while the provider is away they stay, and are tried ever more seldom; not for ever', async () => {
    const context = await testContext({ clock: stopped() })
    const { named, asked, state } = provider()
    state.down = true
    await erasedElsewhere(context, named)
    const server = createCustody(context, [named])
    const pauses: (number | undefined)[] = []
    while (pauses.length < 15) {
      pauses.push(await server.revokePending())
      // Nobody is asked before its time.
      expect(await server.revokePending()).toBe(pauses.at(-1))
      expect(asked).toHaveLength(pauses.length)
      await context.clock.pass(pauses.at(-1) ?? 0)
    }
    expect(pauses.slice(0, 4)).toEqual([30_000, 60_000, 120_000, 240_000])
    expect(pauses.at(-1)).toBe(6 * 3_600_000)
    state.down = false
    expect(await server.revokePending()).toBeUndefined()
    expect(await left(context)).toEqual([])

    state.down = true
    await erasedElsewhere(context, named)
    expect(await server.revokePending()).toBe(30_000)
    // Each try writes it anew, and none prolongs it.
    for (let days = 0; days < 8; days++) {
      await context.clock.pass(86_400_000)
      await server.revokePending()
    }
    expect(await left(context)).toEqual([])
  })

  test('of one provider that is away only the first is tried; what is another’s goes on', async () => {
    const context = await testContext({ clock: stopped() })
    const away = provider('away')
    const well = provider('well')
    away.state.down = true
    for (const { named } of [away, away, well, away]) await erasedElsewhere(context, named)
    const server = createCustody(context, [away.named, well.named])
    expect(await server.revokePending()).toBe(30_000)
    expect([away.asked.length, well.asked.length]).toEqual([1, 1])
    expect(await left(context)).toHaveLength(3)
    // Also the one that was tried, and which gets longer pauses, holds up none of the others.
    away.state.down = false
    expect(await server.revokePending()).toBe(30_000)
    expect(away.asked).toHaveLength(3)
    expect(await left(context)).toHaveLength(1)
  })

  test('one that can’t be read holds up none of the others, and is told of', async () => {
    const context = await testContext({ clock: stopped() })
    const { named, asked } = provider()
    for (let count = 0; count < 3; count++) await erasedElsewhere(context, named)
    const { entries } = await context.store.list(`${pendingRevocations.name}/`)
    const [first, damaged, last] = entries
    if (!first || !damaged || !last) throw new Error('expected three')
    const value = damaged.value.with(-1, (damaged.value.at(-1) ?? 0) ^ 1)
    await context.store.commit({ sets: [{ key: damaged.key, value, ttl: 86_400_000 }] })
    const server = createCustody(context, [named])
    expect(await server.hasPending()).toBe(true)
    expect(await server.revokePending()).toBeUndefined()
    expect(asked).toHaveLength(2)
    expect((await context.store.list(`${pendingRevocations.name}/`)).entries.map(({ key }) => key)).toEqual([
      damaged.key,
    ])
    expect(context.log.filter((line) => line.includes('can’t be read'))).toHaveLength(1)
    expect(context.log.join()).not.toContain('an upstream token')
  })

  test('a try that took so long that another server made it changes nothing of what that one wrote', async () => {
    const context = await testContext({ clock: stopped() })
    const { named, asked, state } = provider()
    await erasedElsewhere(context, named)
    let go = () => {}
    state.slow = new Promise((resolve) => {
      go = resolve
    })
    state.down = true
    const slow = createCustody(context, [named]).revokePending()
    await expect.poll(() => asked.length).toBe(1)
    await context.clock.pass(61_000)
    state.slow = Promise.resolve()
    const server = createCustody(await testContext(context), [named])
    const other = server.revokePending()
    expect(await other).toBe(30_000)
    const [before] = await left(context)
    go()
    await slow
    expect(await left(context)).toEqual([before])
    expect(before?.value.tries).toBe(1)
    // And what the other one has ended is not there again.
    state.slow = new Promise((resolve) => {
      go = resolve
    })
    await context.clock.pass(30_000)
    const slower = createCustody(context, [named]).revokePending()
    await expect.poll(() => asked.length).toBe(3)
    await context.clock.pass(61_000)
    state.slow = Promise.resolve()
    state.down = false
    expect(await server.revokePending()).toBeUndefined()
    state.down = true
    go()
    await slower
    expect(await left(context)).toEqual([])
  })

  test('a server that does not know the provider leaves them to one that does; one whose try was cut off is followed', async () => {
    const context = await testContext({ clock: stopped() })
    const { named, asked } = provider()
    await erasedElsewhere(context, named)
    expect(await createCustody(context, [provider('other').named]).revokePending()).toBeUndefined()
    const [stored] = await left(context)
    if (!stored) throw new Error('gone')
    const busy = { ...stored.value, busyUntil: context.clock.now() + 60_000 }
    await context.records.commit({ puts: [{ ref: stored.ref, value: busy, ttl: 86_400_000 }] })
    const server = createCustody(context, [named])
    expect(await server.revokePending()).toBe(60_000)
    expect(asked).toEqual([])
    await context.clock.pass(61_000)
    expect(await server.revokePending()).toBeUndefined()
    expect(asked).toHaveLength(1)
  })

  test('a provider that can’t end them is told nothing, and nothing is kept', async () => {
    const context = await testContext({ clock: stopped() })
    const { named } = provider()
    if (named.open.kind !== 'redirect') throw new Error('unexpected')
    const { revoke: _cannot, ...open } = named.open
    const server = createCustody(context, [{ ...named, open }])
    const { account } = await createAccounts(context, { subject: 'random', providers: [named] }).resolve('idp', signIn)
    const { id } = await server.begin(account, 'idp', signIn)
    expect(await server.erase(id)).toBe('failed')
    expect(await left(context)).toEqual([])
  })
})
