import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { run } from '../../src/cli/run.ts'
import type { Clock } from '../../src/events/clock.ts'
import { memory } from '../../src/store/memory.ts'
import { sqlite } from '../../src/store/sqlite.ts'
import type { Batch, Store } from '../../src/store/store.ts'
import { localAccounts } from '../../src/upstream/local.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'
import { type AttackedClient, createTarget, type Target } from './support/target.ts'

const password = 'correct horse battery staple'

/** A store that stops for somebody else, once: when a certain batch was written, or before a record of a kind is read. */
const stopping = () => {
  let stop: { readonly at: (batch: Batch) => boolean; readonly act: () => Promise<void> } | undefined
  let read: { readonly prefix: string; readonly act: () => Promise<void> } | undefined
  const engine = (clock: Clock): Store => {
    const store = memory({ clock })
    return {
      ...store,
      async get(keys) {
        const before = read
        if (before && keys.some((key) => key.startsWith(before.prefix))) {
          read = undefined
          await before.act()
        }
        return store.get(keys)
      },
      async commit(batch) {
        const result = await store.commit(batch)
        const here = stop?.at(batch) && result.committed ? stop : undefined
        if (here) {
          stop = undefined
          await here.act()
        }
        return result
      },
    }
  }
  return {
    engine,
    when: (at: (batch: Batch) => boolean, act: () => Promise<void>) => {
      stop = { at, act }
    },
    beforeRead: (prefix: string, act: () => Promise<void>) => {
      read = { prefix, act }
    },
  }
}

/** Answers the code, where there is one. */
const signIn = async (target: Target, client?: AttackedClient): Promise<string | undefined> => {
  const browser = target.browser()
  const consent = await browser.open(target.authorizeUrl(client ?? (await target.register())))
  const { left } = await browser.submit(await browser.submit(consent, 'approve'), undefined, {
    username: 'mallory',
    password,
  })
  return left?.searchParams.get('code') ?? undefined
}

describe('an account that is being deleted', () => {
  const setting = async () => {
    const people = localAccounts()
    const { engine, when, beforeRead } = stopping()
    const target = await createTarget({ upstream: people, engine })
    await target.auth.ready()
    await people.accounts.create({ username: 'mallory', password })
    const client = await target.register()
    const codeOf = () => signIn(target, client)
    const code = await codeOf()
    if (code === undefined) throw new Error('no code')
    const { accounts } = await target.auth.accounts.list()
    return { target, people, when, beforeRead, client, codeOf, id: accounts[0]?.id ?? '' }
  }

  test('whoever was found right before it is told to begin anew, and not that we are in trouble', async () => {
    const { target, beforeRead, client, id } = await setting()
    const browser = target.browser()
    const page = await browser.submit(await browser.open(target.authorizeUrl(client)), 'approve')
    let deleted = 0
    beforeRead('upstream-session/', async () => {
      deleted += 1
      await target.auth.accounts.delete(id)
    })
    const told = await browser.submit(page, undefined, { username: 'mallory', password })
    expect([deleted, told.status, told.left]).toEqual([1, 403, undefined])
    expect(target.events).toContainEqual(
      expect.objectContaining({
        type: 'sign_in.refused',
        reason: expect.stringMatching(/interaction_required|meanwhile/),
      }),
    )
  })

  test('whoever signs in with its password at any moment of it keeps nothing', async () => {
    let moments = 0
    for (let skip = 0; ; skip += skip < 3 ? 1 : 3) {
      const { target, when, codeOf, id } = await setting()
      let seen = 0
      let stopped = false
      let code: string | undefined
      when(
        () => seen++ === skip,
        async () => {
          stopped = true
          code = await codeOf()
        },
      )
      expect(await target.auth.accounts.delete(id)).toBeDefined()
      when(
        () => false,
        async () => {},
      )
      if (!stopped) break
      moments++
      expect([skip, code, (await target.auth.accounts.list()).accounts]).toEqual([skip, undefined, []])
    }
    expect(moments).toBeGreaterThan(3)
  })

  test('a password that was checked before it, and is acted on after it', async () => {
    const { target, people, codeOf, id } = await setting()
    // Checking a password takes long; the account is deleted meanwhile.
    const late = codeOf()
    await new Promise((resolve) => setTimeout(resolve, 5))
    await target.auth.accounts.delete(id)
    expect(await late).toBeUndefined()
    expect((await target.auth.accounts.list()).accounts).toEqual([])
    expect(await people.accounts.find('mallory')).toBeUndefined()
    // The name is free, and its next owner is somebody else.
    await people.accounts.create({ username: 'mallory', password })
    expect(await codeOf()).toBeDefined()
    const { accounts } = await target.auth.accounts.list()
    expect(accounts.map((each) => each.id)).not.toContain(id)
  })
})

test('deleted on the command line, which knows neither the providers nor the URL: its password opens nothing any more', async () => {
  const { path: folder, remove } = temporaryDirectory()
  try {
    const people = localAccounts()
    const secret = randomBytes(32).toString('base64url')
    const path = join(folder, 'accounts.db')
    const target = await createTarget({ upstream: people, secret, engine: () => sqlite(path) })
    await target.auth.ready()
    await people.accounts.create({ username: 'mallory', password })
    await signIn(target)
    const { accounts } = await target.auth.accounts.list()
    const environment = { COUNTERSIGN_STORE: path, COUNTERSIGN_SECRET: secret }
    const silent = { environment, out: () => {}, error: () => {} }
    expect(await run(['accounts', 'delete', accounts[0]?.id ?? ''], silent)).toBe(0)
    expect(await signIn(target)).toBeUndefined()
    expect(await people.accounts.find('mallory')).toBeUndefined()
    expect((await target.auth.accounts.list()).accounts).toEqual([])
    await target.auth.close()
  } finally {
    remove()
  }
})
