import { describe, expect, test } from 'vitest'
import type { Clock } from '../../src/events/clock.ts'
import { memory } from '../../src/store/memory.ts'
import { type Store, StoreUnavailable } from '../../src/store/store.ts'
import { localAccounts } from '../../src/upstream/local.ts'
import { createTarget, elsewhere, type Target, verifier } from '../attacks/support/target.ts'

const ISSUER = 'https://auth.example.com'
const password = 'correct horse battery staple'

/** Two people with everything that a person can have here: Alice with a password of ours, Carol at a provider. */
const populated = async () => {
  const people = localAccounts()
  const revoked: unknown[] = []
  const provider = elsewhere('a')
  let providerIsDown = false
  const revocable: typeof provider = {
    ...provider,
    open(context) {
      const open = provider.open(context)
      if (open.kind !== 'redirect') throw new Error('unexpected')
      return {
        ...open,
        async revoke(tokens) {
          if (providerIsDown) throw new Error('down')
          revoked.push(tokens)
          return 'revoked'
        },
      }
    },
  }
  /** How many commits go well before one whose answer is lost. */
  const losing = { after: Number.POSITIVE_INFINITY }
  const engine = (clock: Clock): Store => {
    const store = memory({ clock })
    return {
      ...store,
      async commit(batch) {
        const result = await store.commit(batch)
        if (losing.after-- === 0) throw new StoreUnavailable('the connection broke')
        return result
      },
    }
  }
  const target = await createTarget({ upstream: [revocable, people], engine })
  await target.auth.ready()
  await people.accounts.create({ username: 'Alice', password, name: 'Alice Liddell', email: 'alice@example.org' })
  const client = await target.register()
  let browser = target.browser()
  const signedIn = async (way: 'password' | 'provider', who = 'Carol') => {
    browser = target.browser()
    const consent = await browser.open(target.authorizeUrl(client))
    const choose = await browser.submit(consent, 'approve')
    if (way === 'password') {
      const { left } = await browser.submit(choose, undefined, { username: 'Alice', password })
      return left?.searchParams.get('code') ?? ''
    }
    const state = (await browser.submit(choose, 'a')).left?.searchParams.get('state') ?? ''
    const { left } = await browser.open(`${ISSUER}/authorize/callback/a?state=${state}&code=${who}`)
    return left?.searchParams.get('code') ?? ''
  }
  const tokensOf = async (way: 'password' | 'provider', who?: string) => {
    const { body } = await target.redeem({ code: await signedIn(way, who), client, verifier })
    const account = target.events.findLast((event) => event.type === 'sign_in.succeeded')
    if (account?.type !== 'sign_in.succeeded' || !body.access_token || !body.refresh_token)
      throw new Error(JSON.stringify(body))
    return { account: account.account, access: body.access_token, refresh: body.refresh_token }
  }
  return {
    ...{ target, people, client, revoked, tokensOf, signedIn, losing },
    browser: () => browser,
    down: (is: boolean) => {
      providerIsDown = is
    },
  }
}

const everything = async ({ store }: Target) => {
  const text: string[] = []
  for (let after: string | undefined; ; ) {
    const { entries } = await store.list('', { limit: 1000, ...(after === undefined ? {} : { after }) })
    for (const { key, value } of entries) text.push(`${key} ${Buffer.from(value).toString('latin1')}`)
    if (entries.length < 1000) return text
    after = entries.at(-1)?.key
  }
}

describe('accounts', () => {
  test('are listed in pages, found by their identity, and shown without any secret', async () => {
    const { target, tokensOf } = await populated()
    const { auth } = target
    const alice = await tokensOf('password')
    const carols = []
    for (let index = 0; index < 3; index++) carols.push(await tokensOf('provider', `carol-${index}`))
    const { accounts, cursor } = await auth.accounts.list()
    expect(cursor).toBeUndefined()
    expect(accounts.map(({ id }) => id).sort()).toEqual([alice, ...carols].map(({ account }) => account).sort())
    const identity = { provider: 'a', issuer: 'https://a.example', subject: 'sub-carol-1' }
    expect(await auth.accounts.find(identity)).toEqual({
      ...{ id: carols[1]?.account, subject: carols[1]?.account },
      ...{ createdAt: expect.any(Number), identities: [identity] },
    })
    expect(await auth.accounts.get(alice.account)).toEqual(accounts.find(({ id }) => id === alice.account))
    for (const foreign of ['', 'nobody', '../account-grant/x', 'x'.repeat(22), 'x'.repeat(10_000)]) {
      expect(await auth.accounts.get(foreign)).toBeUndefined()
      expect(await auth.accounts.delete(foreign)).toBeUndefined()
      expect((await auth.grants.list({ account: foreign })).grants).toEqual([])
    }
    expect(await auth.accounts.find({ issuer: 'https://a.example', subject: 'nobody' })).toBeUndefined()
  })

  test('grants are listed by account and by client', async () => {
    const { target, client, tokensOf } = await populated()
    const { auth } = target
    const alice = await tokensOf('password')
    const carol = await tokensOf('provider')
    const of = async (owner: Parameters<typeof auth.grants.list>[0]) =>
      (await auth.grants.list(owner)).grants.map(({ account }) => account).sort()
    expect(await of({ account: alice.account })).toEqual([alice.account])
    expect(await of(carol.account)).toEqual([carol.account])
    expect(await of({ clientId: client.id })).toEqual([alice.account, carol.account].sort())
    expect(await of({ clientId: 'another' })).toEqual([])
    const [grant] = (await auth.grants.list({ account: alice.account })).grants
    expect(grant).toMatchObject({ kind: 'authorization', subject: alice.account, clientId: client.id })
  })

  test('deleting one ends all its tokens at once and leaves nothing of the person behind; others keep all', async () => {
    const { target, people, client, browser, revoked, tokensOf, signedIn } = await populated()
    const { auth } = target
    const carol = await tokensOf('provider')
    await tokensOf('provider')
    const alice = await tokensOf('password')
    const second = await tokensOf('password')
    const unredeemed = await signedIn('password')
    expect(second.account).toBe(alice.account)
    for (const { access } of [alice, carol]) expect((await target.call(access)).status).toBe(200)

    const deleted = await auth.accounts.delete(alice.account)
    expect(deleted).toMatchObject({ grants: 3, upstreamFailed: 0 })
    for (const { access, refresh } of [alice, second]) {
      expect((await target.call(access)).status).toBe(401)
      expect((await target.refresh(client, refresh)).body.error).toBe('invalid_grant')
    }
    expect((await target.redeem({ code: unredeemed, client, verifier })).body.error).toBe('invalid_grant')
    expect(await people.accounts.find('alice')).toBeUndefined()
    expect(await auth.accounts.get(alice.account)).toBeUndefined()
    expect(revoked).toEqual([])
    const left = (await everything(target)).filter((line) => !line.startsWith('interaction/'))
    expect(left.filter((line) => line.includes(alice.account))).toEqual([])
    expect(left.filter((line) => /alice/i.test(line))).toEqual([])
    // The browser that was signed in as Alice is nobody's now.
    const page = await browser().open(target.authorizeUrl(client))
    expect(page.text).not.toMatch(/alice/i)

    expect((await target.call(carol.access)).status).toBe(200)
    expect((await target.refresh(client, carol.refresh)).status).toBe(200)
    expect(target.events.filter(({ type }) => type === 'account.deleted')).toMatchObject([
      { account: alice.account, grants: 3, upstreamFailed: 0 },
    ])
    expect(await auth.accounts.delete(alice.account)).toBeUndefined()
  })

  test('sessions at the provider are ended there; where that fails, it is said and noted for later, and nothing else stays', async () => {
    const { target, revoked, tokensOf, down } = await populated()
    const { auth } = target
    const carol = await tokensOf('provider', 'carol')
    await tokensOf('provider', 'carol')
    expect(await auth.accounts.delete(carol.account)).toEqual({
      ...{ grants: 2, sessions: 2, upstreamFailed: 0, upstreamPending: 0 },
    })
    expect(revoked).toHaveLength(2)
    const dave = await tokensOf('provider', 'dave')
    down(true)
    expect(await auth.accounts.delete(dave.account)).toEqual({
      ...{ grants: 1, sessions: 1, upstreamFailed: 0, upstreamPending: 1 },
    })
    const left = async () => (await everything(target)).filter((line) => line.startsWith('pending-revocation/'))
    expect((await everything(target)).filter((line) => line.startsWith('upstream-session/'))).toEqual([])
    // Sealed, and without a word of who it was.
    expect(await left()).toHaveLength(1)
    for (const word of ['sub-dave', dave.account, 'upstream-']) expect((await left()).join()).not.toContain(word)
  })

  test('who signs in again is somebody new', async () => {
    const { target, tokensOf } = await populated()
    const before = await tokensOf('provider', 'carol')
    await target.auth.accounts.delete(before.account)
    const after = await tokensOf('provider', 'carol')
    expect(after.account).not.toBe(before.account)
    expect((await target.call(after.access)).status).toBe(200)
    expect((await target.call(before.access)).status).toBe(401)
  })

  test('what broke off half-way is finished by deleting it again; in between nobody gets in', async () => {
    let broken = 0
    for (let after = 0; after < 14; after++) {
      const { target, client, tokensOf, signedIn, losing } = await populated()
      const carol = await tokensOf('provider', 'carol')
      losing.after = after
      const first = await target.auth.accounts.delete(carol.account).catch((error: unknown) => error)
      losing.after = Number.POSITIVE_INFINITY
      if (first instanceof Error) broken++
      const code = await signedIn('provider', 'carol')
      const { body } = await target.redeem({ code, client, verifier })
      expect((await target.call(body.access_token)).status).toBe(200)
      if (first instanceof Error) await target.auth.accounts.delete(carol.account)
      expect(await target.auth.accounts.get(carol.account)).toBeUndefined()
      expect((await target.call(carol.access)).status).toBe(401)
      // The new account is another one, and stays.
      expect((await target.call(body.access_token)).status).toBe(200)
      const left = (await everything(target)).filter((line) => !line.startsWith('interaction/'))
      expect(left.filter((line) => line.includes(carol.account))).toEqual([])
    }
    expect(broken).toBeGreaterThan(4)
    expect(broken).toBeLessThan(14)
  })

  test('a sign-in under way while the account is deleted leaves nothing behind', async () => {
    const { target, client, tokensOf } = await populated()
    const browser = target.browser()
    const carol = await tokensOf('provider', 'carol')
    const consent = await browser.open(target.authorizeUrl(client, { prompt: 'login' }))
    const choose = await browser.submit(consent, 'approve')
    const state = (await browser.submit(choose, 'a')).left?.searchParams.get('state') ?? ''
    const callback = `${ISSUER}/authorize/callback/a?state=${state}&code=carol`
    await Promise.all([browser.open(callback), target.auth.accounts.delete(carol.account)])
    const left = (await everything(target)).filter((line) => !line.startsWith('interaction/'))
    expect(left.filter((line) => line.includes(carol.account))).toEqual([])
  })

  test('a local name and password can be deleted by themselves', async () => {
    const { people, target, tokensOf } = await populated()
    const alice = await tokensOf('password')
    expect(await people.accounts.delete('ALICE')).toBe(true)
    expect(await people.accounts.delete('alice')).toBe(false)
    expect(await people.accounts.find('alice')).toBeUndefined()
    expect((await target.call(alice.access)).status).toBe(200)
    await people.accounts.create({ username: 'alice', password })
    expect((await tokensOf('password')).account).not.toBe(alice.account)
  })
})
