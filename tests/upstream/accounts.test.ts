import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { createAccounts } from '../../src/upstream/accounts.ts'
import type { NamedProvider, OpenProvider, SignIn } from '../../src/upstream/provider.ts'
import { rejection, testContext } from './context.ts'

const host: OpenProvider = { kind: 'host', identify: () => Promise.reject(new Error('not here')) }
const password: OpenProvider = { kind: 'password', signIn: () => Promise.reject(new Error('not here')) }
const named = (id: string, open: OpenProvider = host): NamedProvider => ({ id, name: id, open })

const person = (subject: string, issuer = 'https://id.example.com', claims = {}): SignIn => ({
  issuer,
  subject,
  authTime: 0,
  said: [{ source: 'host', at: 0, claims }],
})

const random = { subject: 'random', providers: [named('a'), named('b')] } as const
const upstream = (id = 'a') => ({ subject: 'upstream', providers: [named(id)] }) as const

describe('accounts', () => {
  test('origin 8: a stable random id is the subject, never the name or the upstream’s subject', async () => {
    const accounts = createAccounts(await testContext(), random)
    const first = await accounts.resolve('a', person('alice'))
    expect(first.created).toBe(true)
    expect(first.account.subject).toMatch(/^[\w-]{22}$/)
    expect(JSON.stringify(first.account.subject)).not.toContain('alice')
    expect(await accounts.resolve('a', person('alice'))).toEqual({ account: first.account, created: false })
    expect(await accounts.get(first.account.id)).toEqual(first.account)
    expect(await accounts.get('another')).toBeUndefined()
  })

  test('origin 7: a subject is unique only within its issuer; nothing is linked by e-mail', async () => {
    const accounts = createAccounts(await testContext(), random)
    const email = { email: 'one@example.com', email_verified: true }
    const people = [
      person('1', 'https://id.example.com', email),
      person('1', 'https://other.example.com', email),
      person('2', 'https://id.example.com', email),
    ]
    const subjects = new Set<string>()
    for (const one of people) subjects.add((await accounts.resolve('a', one)).account.subject)
    expect(subjects.size).toBe(3)
  })

  test('what a provider says once only is kept with the identity, also with an added one, and goes with it', async () => {
    const accounts = createAccounts(await testContext(), random)
    const said = (subject: string, claims: object): SignIn => ({
      ...person(subject),
      said: [{ source: 'answer', at: 1, claims: claims as { name?: string } }],
    })
    const recalled = async (subject: string) => (await accounts.recall(said(subject, {}))).said[0]?.claims
    const { account } = await accounts.resolve('a', said('alice', { name: 'Alice' }))
    await accounts.resolve('a', said('alice', {}))
    expect(await recalled('alice')).toEqual({ name: 'Alice' })
    expect(await recalled('bob')).toEqual({})
    expect(await accounts.link(account.id, 'b', said('alice2', { name: 'Ally' }))).toBe('added')
    expect(await recalled('alice2')).toEqual({ name: 'Ally' })
    expect(await accounts.unlink(account.id, person('alice2'))).toBe(true)
    expect(await recalled('alice2')).toEqual({})
    expect(await recalled('alice')).toEqual({ name: 'Alice' })
    // A provider that has nothing of the kind is left as it is.
    const plain = person('alice')
    expect(await accounts.recall(plain)).toBe(plain)
  })

  test('concurrent first sign-ins of one person, on several nodes, make one account', async () => {
    const context = await testContext()
    const nodes = [context, await testContext(context), await testContext(context)]
    const all = nodes.flatMap((node) => {
      const accounts = createAccounts(node, random)
      return Array.from({ length: 7 }, () => accounts.resolve('a', person('alice')))
    })
    const results = await Promise.all(all)
    expect(results.filter(({ created }) => created)).toHaveLength(1)
    expect(new Set(results.map(({ account }) => account.id)).size).toBe(1)
  })

  test('design 2: who does not satisfy the schema is refused by the names of the claims, and gets no account', async () => {
    const context = await testContext()
    const claims = z.object({ email: z.email(), org: z.object({ id: z.string() }) })
    const accounts = createAccounts(context, { subject: 'random', providers: [{ ...named('a'), claims }] })
    const refused = await rejection(accounts.resolve('a', person('1', undefined, { email: 'no address', org: {} })))
    expect(refused).toMatchObject({ name: 'SignInRefused', reason: 'claims', detail: 'email, org.id' })
    expect((await context.store.list('account/')).entries).toEqual([])
    const good = { email: 'a@example.com', org: { id: '1' } }
    expect((await accounts.resolve('a', person('1', undefined, good))).created).toBe(true)
  })
})

describe('design 2: subject "upstream"', () => {
  test('the provider’s own subject, with exactly one provider', async () => {
    const accounts = createAccounts(await testContext(), upstream())
    await accounts.checkSubjectMode()
    expect((await accounts.resolve('a', person('alice'))).account.subject).toBe('alice')
  })

  test('refused with two providers, with none, with local accounts', async () => {
    const context = await testContext()
    const make = (providers: NamedProvider[]) => () => createAccounts(context, { subject: 'upstream', providers })
    expect(make([named('a'), named('b')])).toThrow(/exactly one provider/)
    expect(make([])).toThrow(/exactly one provider/)
    expect(make([named('local', password)])).toThrow(/local accounts/)
  })

  test('is remembered: accounts of the other mode, or of another provider, refuse the start', async () => {
    const begun = await testContext()
    const before = createAccounts(begun, upstream())
    await before.checkSubjectMode()
    await before.resolve('a', person('alice'))
    await createAccounts(begun, upstream()).checkSubjectMode()
    expect(await rejection(createAccounts(begun, random).checkSubjectMode())).toMatchObject({
      name: 'SubjectModeRefused',
    })
    expect(await rejection(createAccounts(begun, upstream('b')).checkSubjectMode())).toMatchObject({
      name: 'SubjectModeRefused',
    })
    const other = await testContext()
    await createAccounts(other, random).resolve('a', person('alice'))
    expect(await rejection(createAccounts(other, upstream()).checkSubjectMode())).toMatchObject({
      message: expect.stringContaining('another identity'),
    })
  })

  test('may be changed as long as nobody has an account', async () => {
    const context = await testContext()
    await createAccounts(context, random).checkSubjectMode()
    await createAccounts(context, upstream()).checkSubjectMode()
    await createAccounts(context, upstream('b')).checkSubjectMode()
    // A node that still runs with what it was started with makes no account of the old kind.
    const late = createAccounts(context, random).resolve('a', person('alice'))
    expect(await rejection(late)).toMatchObject({ name: 'SubjectModeRefused' })
    expect((await createAccounts(context, upstream('b')).resolve('b', person('alice'))).account.subject).toBe('alice')
  })

  test('a second issuer behind the one provider can’t bring a subject that exists', async () => {
    const accounts = createAccounts(await testContext(), upstream())
    await accounts.resolve('a', person('alice'))
    const foreign = accounts.resolve('a', person('alice', 'https://evil.example.com'))
    expect(await rejection(foreign)).toMatchObject({ name: 'SignInRefused', reason: 'untrusted' })
  })
})

describe('an account by the subject of its tokens', () => {
  test('is found in both modes, and only by its own subject', async () => {
    const context = await testContext()
    const accounts = createAccounts(context, random)
    const { account } = await accounts.resolve('a', person('alice'))
    expect(await accounts.bySubject(account.subject)).toEqual(account)
    expect(await accounts.bySubject('alice')).toBeUndefined()
    expect(await accounts.bySubject(`${account.subject}/x`)).toBeUndefined()
    expect(await accounts.bySubject(' ')).toBeUndefined()

    const named = createAccounts(await testContext(), upstream())
    expect(await named.bySubject('alice')).toBeUndefined()
    const bySub = await named.resolve('a', person('alice'))
    expect(await named.bySubject('alice')).toEqual(bySub.account)
    expect(await named.bySubject(bySub.account.id)).toBeUndefined()
  })
})
