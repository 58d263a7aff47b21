import { describe, expect, test } from 'vitest'
import { pendingRevocations, revocationMessage } from '../../src/records/pending-revocation.ts'
import { createAccounts } from '../../src/upstream/accounts.ts'
import { createCustody } from '../../src/upstream/custody.ts'
import { type NamedProvider, ProviderUnavailable, type RedirectProvider } from '../../src/upstream/provider.ts'
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
    const context = await testContext()
    const { named, asked } = provider()
    const { outcome, heard, account } = await erasedElsewhere(context, named)
    expect(outcome).toBe('pending')
    expect(heard).toContain(revocationMessage)
    const { entries } = await context.store.list('pending-revocation/', { limit: 10 })
    const stored = entries.map(({ key, value }) => `${key} ${Buffer.from(value).toString('latin1')}`)
    expect(stored).toHaveLength(1)
    for (const word of ['an upstream token', account.id, 'https://idp']) expect(stored.join()).not.toContain(word)

    expect(await createCustody(context, [named]).revokePending()).toBe(0)
    expect(asked).toEqual(['an upstream token'])
    expect(await left(context)).toEqual([])
    expect(context.events.filter(({ type }) => type === 'upstream.revoked')).toHaveLength(1)
  })

  test('by one of several servers that hear of it at once', async () => {
    const context = await testContext()
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

  test('while the provider is away they stay, and are tried again; not for ever', async () => {
    const context = await testContext()
    const { named, asked, state } = provider()
    state.down = true
    await erasedElsewhere(context, named)
    const server = createCustody(context, [named])
    expect(await server.revokePending()).toBe(1)
    expect(await left(context)).toHaveLength(1)
    state.down = false
    expect(await server.revokePending()).toBe(0)
    expect(asked).toHaveLength(2)

    await erasedElsewhere(context, named)
    await context.clock.pass(8 * 86_400_000)
    expect(await left(context)).toEqual([])
  })

  test('a server that does not know the provider leaves them to one that does; one whose try was cut off is followed', async () => {
    const context = await testContext()
    const { named, asked } = provider()
    await erasedElsewhere(context, named)
    expect(await createCustody(context, [provider('other').named]).revokePending()).toBe(0)
    const [stored] = await left(context)
    if (!stored) throw new Error('gone')
    const busy = { ...stored.value, busyUntil: context.clock.now() + 60_000 }
    await context.records.commit({ puts: [{ ref: stored.ref, value: busy, ttl: 86_400_000 }] })
    const server = createCustody(context, [named])
    expect(await server.revokePending()).toBe(1)
    expect(asked).toEqual([])
    await context.clock.pass(61_000)
    expect(await server.revokePending()).toBe(0)
    expect(asked).toHaveLength(1)
  })

  test('a provider that can’t end them is told nothing, and nothing is kept', async () => {
    const context = await testContext()
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
