import { describe, expect, test } from 'vitest'
import { memory } from '../../src/store/memory.ts'
import { createTarget, type Target } from '../attacks/support/target.ts'
import { stopped } from '../store/movable-clock.ts'

/** A server whose time passes only when it is told to. */
const atRest = async () => {
  const clock = stopped()
  const target = await createTarget({ clock, engine: () => memory({ clock }) })
  return { ...target, clock }
}

/** Calls with each token in turn, all of which must come through. */
const callAll = async (target: Target, tokens: readonly string[], times: number): Promise<void> => {
  for (let turn = 0; turn < times; turn++) {
    const statuses = await Promise.all(tokens.map(async (token) => (await target.call(token)).status))
    expect(new Set(statuses)).toEqual(new Set([200]))
  }
}

describe('what a gated call costs at the store', () => {
  test('nothing, when nothing changed: 1,000 calls of four people’s clients are no round trip', async () => {
    const target = await atRest()
    const client = await target.register()
    const tokens: string[] = []
    for (const who of ['Alice', 'Bob', 'Mallory', 'Alice']) {
      tokens.push((await target.tokens(client, { who })).access_token)
    }
    await callAll(target, tokens, 1)
    const before = { ...target.store.calls }
    await callAll(target, tokens, 250)
    expect(target.store.calls).toEqual(before)
    await target.auth.close()
  })

  test('one read of the revocation log a second, for all calls together', async () => {
    const target = await atRest()
    const client = await target.register()
    const tokens = [(await target.tokens(client)).access_token, (await target.tokens(client)).access_token]
    await callAll(target, tokens, 1)
    for (let second = 0; second < 5; second++) {
      const before = { ...target.store.calls }
      await target.clock.pass(1_000)
      await callAll(target, tokens, 50)
      expect(target.store.calls).toEqual({ ...before, list: before.list + 1 })
    }
    await target.auth.close()
  })

  test('a refresh or a revocation of somebody else costs no caller a round trip', async () => {
    const target = await atRest()
    const client = await target.register()
    const mine = await target.tokens(client, { who: 'Alice' })
    const others = await target.tokens(client, { who: 'Bob' })
    await callAll(target, [mine.access_token], 1)
    expect((await target.refresh(client, others.refresh_token)).status).toBe(200)
    expect((await target.post('/revoke', { token: others.access_token, client_id: client.id })).status).toBe(200)
    const before = { ...target.store.calls }
    await callAll(target, [mine.access_token], 100)
    expect(target.store.calls).toEqual(before)
    expect((await target.call(others.access_token)).status).toBe(401)
    await target.auth.close()
  })

  test('a token that was never seen is two reads, and tokens that are no tokens are none', async () => {
    const target = await atRest()
    const client = await target.register()
    const { access_token: token } = await target.tokens(client)
    // The log is read before the first.
    expect((await target.call((await target.tokens(client)).access_token)).status).toBe(200)
    const before = { ...target.store.calls }
    expect((await target.call(token)).status).toBe(200)
    expect(target.store.calls).toEqual({ ...before, get: before.get + 2 })
    const [header, payload, signature = ''] = token.split('.')
    const forged = [header, payload, signature.replace(/^./, signature.startsWith('A') ? 'B' : 'A')].join('.')
    for (const bad of ['nonsense', 'a.b.c', forged]) expect((await target.call(bad)).status).toBe(401)
    expect(target.store.calls).toEqual({ ...before, get: before.get + 2 })
    await target.auth.close()
  })
})
