import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { createLiveness } from '../../src/authorization-server/liveness.ts'
import { put } from '../../src/records/records.ts'
import {
  revocationLifetime,
  revocationMessage,
  revocationOverlap,
  revocationRef,
  revocationTime,
} from '../../src/records/revocation.ts'
import { memory } from '../../src/store/memory.ts'
import { StoreUnavailable } from '../../src/store/store.ts'
import { stopped } from '../store/movable-clock.ts'
import { testServer } from '../support/authorization-server.ts'
import { unreliable } from '../support/unreliable-store.ts'

const setUp = async () => {
  const clock = stopped()
  const store = unreliable(memory({ clock }))
  const listeners = new Set<(message: string) => void>()
  store.watch = (listener) => {
    listeners.add(listener)
    return () => void listeners.delete(listener)
  }
  const asked: (string | undefined)[] = []
  const { list } = store
  store.list = (prefix, options) => {
    asked.push(options?.after)
    return list(prefix, options)
  }
  const { server } = await testServer({ clock, store })
  const before = listeners.size
  const forgotten: string[] = []
  const liveness = createLiveness(server, (revoked) => void forgotten.push(revoked))
  asked.length = 0
  const write = (...revoked: string[]) => {
    const at = clock.now()
    const puts = revoked.map((id) => put(revocationRef(at, id), { revoked: id }, revocationLifetime))
    return server.records.commit({ puts })
  }
  const tell = (message: string) => {
    for (const listener of listeners) listener(message)
  }
  return { clock, store, server, liveness, forgotten, asked, write, tell, listening: () => listeners.size - before }
}

describe('what a node hears of', () => {
  test('is known at once, and forgotten once, however often it is told', async () => {
    const { liveness, forgotten, tell } = await setUp()
    expect(liveness.isRevoked('a')).toBe(false)
    for (const each of ['a', 'b', 'a']) tell(revocationMessage(each))
    expect(forgotten).toEqual(['a', 'b'])
    expect([liveness.isRevoked('a'), liveness.isRevoked('b'), liveness.isRevoked('c')]).toEqual([true, true, false])
  })

  test('is a revocation, and no other message', async () => {
    const { liveness, forgotten, tell } = await setUp()
    for (const each of ['keys', 'a', 'xrevoked:a', 'revoked']) tell(each)
    expect(forgotten).toEqual([])
    expect(liveness.isRevoked('a')).toBe(false)
  })

  test('until it is closed', async () => {
    const { liveness, tell, listening, forgotten } = await setUp()
    expect(listening()).toBe(1)
    liveness.close()
    expect(listening()).toBe(0)
    tell(revocationMessage('a'))
    expect(forgotten).toEqual([])
  })

  test('is not forgotten anew when the log says it too, and is kept for as long as the log has it', async () => {
    const { clock, liveness, forgotten, tell, write } = await setUp()
    tell(revocationMessage('a'))
    await write('a', 'b')
    await liveness.catchUp()
    expect(forgotten).toEqual(['a', 'b'])
    await clock.pass(revocationLifetime)
    await liveness.catchUp()
    expect([liveness.isRevoked('a'), liveness.isRevoked('b')]).toEqual([true, true])
    await clock.pass(5_000)
    await liveness.catchUp()
    expect([liveness.isRevoked('a'), liveness.isRevoked('b')]).toEqual([false, false])
  })
})

describe('design 3, revocation: the bound is 5 s', () => {
  test('before it has read the log a node knows nothing', async () => {
    const { liveness, asked } = await setUp()
    expect([liveness.isFresh(), asked.length]).toEqual([false, 0])
    await liveness.catchUp()
    expect([liveness.isFresh(), asked.length]).toEqual([true, 1])
  })

  test('nor the store’s time, which it begins to ask for where nobody has', async () => {
    const { clock, liveness, asked } = await setUp()
    for (let turn = 0; turn < 3; turn++) expect([liveness.storeTime(), asked.length]).toEqual([undefined, 1])
    await expect.poll(() => liveness.storeTime(), { timeout: 30_000 }).toBe(clock.now())
    expect(asked).toHaveLength(1)
  })

  test('where the store is away when it is asked for the time, that is all', async () => {
    const { clock, liveness, store } = await setUp()
    store.down = true
    expect(liveness.storeTime()).toBeUndefined()
    await expect
      .poll(() => [liveness.storeTime(), store.calls.list > 1], { timeout: 30_000 })
      .toEqual([undefined, true])
    store.down = false
    await expect.poll(() => liveness.storeTime(), { timeout: 30_000 }).toBe(clock.now())
  })

  test('what it read is good for 5 s, and asked for again from the first on, once', async () => {
    const { clock, liveness, asked, store } = await setUp()
    await liveness.catchUp()
    await clock.pass(999)
    expect([liveness.isFresh(), asked.length]).toEqual([true, 1])
    // From now on a reading is under way, and does not end.
    const { list } = store
    let begun = 0
    store.list = () => {
      begun += 1
      return new Promise(() => {})
    }
    await clock.pass(1)
    for (let turn = 0; turn < 3; turn++) expect(liveness.isFresh()).toBe(true)
    expect(begun).toBe(1)
    await clock.pass(3_999)
    expect([liveness.isFresh(), liveness.storeTime()]).toEqual([true, clock.now()])
    await clock.pass(1)
    expect([liveness.isFresh(), liveness.storeTime(), begun]).toEqual([false, undefined, 1])
    store.list = list
  })

  test('catching up reads where it must, and there alone; many that wait are one reading', async () => {
    const { clock, liveness, asked } = await setUp()
    await Promise.all([liveness.catchUp(), liveness.catchUp(), liveness.catchUp()])
    expect(asked).toHaveLength(1)
    await clock.pass(4_999)
    await liveness.catchUp()
    expect(asked).toHaveLength(1)
    await clock.pass(1)
    await liveness.catchUp()
    expect(asked).toHaveLength(2)
  })

  test('a reading counts from its beginning, however long it took', async () => {
    const { clock, liveness, store } = await setUp()
    const { list } = store
    store.list = async (prefix, options) => {
      const answer = await list(prefix, options)
      await clock.pass(2_000)
      return answer
    }
    await liveness.catchUp()
    await clock.pass(2_999)
    expect(liveness.isFresh()).toBe(true)
    await clock.pass(1)
    expect(liveness.isFresh()).toBe(false)
  })

  test('a clock that was set back says nothing, not even how old a reading is', async () => {
    const { clock, liveness, asked } = await setUp()
    await liveness.catchUp()
    await clock.pass(-1)
    expect([liveness.isFresh(), liveness.storeTime()]).toEqual([false, undefined])
    await liveness.catchUp()
    expect([liveness.isFresh(), asked.length]).toEqual([true, 2])
  })

  test('a store that is away is an error, and no end: the next one asks again', async () => {
    const { clock, liveness, store } = await setUp()
    store.down = true
    await expect(liveness.catchUp()).rejects.toThrow(StoreUnavailable)
    expect(liveness.isFresh()).toBe(false)
    store.down = false
    await liveness.catchUp()
    expect(liveness.isFresh()).toBe(true)
    // Beside the requests too.
    store.down = true
    await clock.pass(1_000)
    expect(liveness.isFresh()).toBe(true)
    const { list } = store.calls
    await expect
      .poll(() => {
        liveness.isFresh()
        return store.calls.list
      })
      .toBeGreaterThan(list)
  })

  test('a store that says nothing is waited for three seconds, and no timer is left', async () => {
    const { liveness, store } = await setUp()
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    onTestFinished(() => void vi.useRealTimers())
    const { list } = store
    store.list = () => new Promise(() => {})
    let ended: unknown
    const waiting = liveness.catchUp().catch((error: unknown) => {
      ended = error
    })
    await vi.advanceTimersByTimeAsync(2_999)
    expect(ended).toBeUndefined()
    await vi.advanceTimersByTimeAsync(1)
    await waiting
    expect(ended).toMatchObject({ message: expect.stringContaining('in time') })
    store.list = list
    await liveness.catchUp()
    expect([liveness.isFresh(), vi.getTimerCount()]).toEqual([true, 0])
  })
})

describe('the log', () => {
  test('is read whole, page by page', async () => {
    const { clock, liveness, forgotten, write, asked } = await setUp()
    const all: string[] = []
    for (let page = 0; page < 20; page++) {
      const some = Array.from({ length: 100 }, (_, index) => `grant-${page}-${index}`)
      await write(...some)
      await clock.pass(1)
      all.push(...some)
    }
    await liveness.catchUp()
    expect(forgotten.toSorted()).toEqual(all.toSorted())
    // Two pages that are full, and one that says that there is no more.
    expect(asked).toHaveLength(3)
    expect(asked[0]).toBeUndefined()
    expect(new Set(asked).size).toBe(3)
  })

  test('is read on from where it ended, and thirty seconds before', async () => {
    const { clock, liveness, asked, write } = await setUp()
    await liveness.catchUp()
    const end = clock.now()
    await clock.pass(6_000)
    await write('a')
    await liveness.catchUp()
    expect(asked[1]).toContain(revocationTime(end - revocationOverlap))
    await clock.pass(6_000)
    await liveness.catchUp()
    expect(asked[2]).toContain(revocationTime(end + 6_000 - revocationOverlap))
    expect(revocationOverlap).toBe(30_000)
  })

  test('tells the store’s time', async () => {
    const { clock, liveness, store } = await setUp()
    const { list } = store
    store.list = async (prefix, options) => {
      const answer = await list(prefix, options)
      return { ...answer, now: answer.now + 7_000 }
    }
    await liveness.catchUp()
    expect(liveness.storeTime()).toBe(clock.now() + 7_000)
    await clock.pass(1_000)
    expect(liveness.storeTime()).toBe(clock.now() + 7_000)
  })

  test.each([
    ['before', 2_000, 0],
    ['after', 0, 2_000],
  ])(
    'and never ahead of it, however long the answer took %s it was read: others refuse what was issued in the future',
    async (_, before, after) => {
      const { clock, liveness, store } = await setUp()
      const { list } = store
      store.list = async (prefix, options) => {
        await clock.pass(before)
        const answer = await list(prefix, options)
        await clock.pass(after)
        return answer
      }
      await liveness.catchUp()
      expect(liveness.storeTime()).toBe(clock.now() - after)
    },
  )
})
