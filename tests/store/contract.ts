/** Every sentence of the store contract, for any engine. */
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import type { Store, Version } from '../../src/store/store.ts'
import { StoreUnavailable } from '../../src/store/store.ts'

/** Fresh and empty data, and one or more handles on it. */
export interface Bench {
  readonly store: Store
  /** Another handle on the same data, as another process would have; undefined where the engine can't. */
  another?(): Store
  /** Lets this many milliseconds go by, on the engine's clock; `passing` where that can't be moved. */
  pass(ms: number): Promise<void>
  /** Closes all and removes the data. */
  end(): Promise<void>
}

export type NewBench = () => Promise<Bench>

export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
export const text = (value: Uint8Array | undefined): string | undefined => value && new TextDecoder().decode(value)
/** A time to live that `pass(AFTER_SHORT)` outlives, and one that no test outlives. */
export const SHORT = 300
export const AFTER_SHORT = 330
export const LONG = 600_000

/** Waits until the engine's own clock has gone on so far. */
export const passing = (store: Store) => async (ms: number) => {
  const { now } = await store.get([])
  for (let left = ms; left > 0; left = now + ms - (await store.get([])).now) await delay(left)
}

/**
 * Does `steps` while what they set with this time to live lives. Where that was too short for a loaded machine, what was seen says
 * nothing: they are done again, with a longer one. Answers the one that was long enough.
 */
export async function inTime(store: Store, steps: (ttl: number) => Promise<void>): Promise<number> {
  for (let ttl = SHORT; ; ttl *= 3) {
    const { now: begin } = await store.get([])
    const failed = await steps(ttl).then(
      () => [],
      (error: unknown) => [error],
    )
    const { now: end } = await store.get([])
    if (end - begin >= ttl) continue
    if (failed.length > 0) throw failed[0]
    return ttl
  }
}

export async function set(store: Store, key: string, value: string, ttl?: number): Promise<Version> {
  const result = await store.commit({ sets: [{ key, value: bytes(value), ...(ttl !== undefined && { ttl }) }] })
  if (!result.committed) throw new Error('a batch without checks was not committed')
  return result.version
}

export async function entry(store: Store, key: string) {
  const { entries } = await store.get([key])
  expect(entries).toHaveLength(1)
  return entries[0]
}

export async function value(store: Store, key: string): Promise<string | undefined> {
  return text((await entry(store, key))?.value)
}

async function keysOf(store: Store, ...listing: Parameters<Store['list']>): Promise<string[]> {
  return (await store.list(...listing)).entries.map(({ key }) => key)
}

async function heard(messages: readonly string[], expected: string): Promise<void> {
  await expect.poll(() => messages, { interval: 10 }).toContain(expected)
}

export function contract(newBench: NewBench): void {
  let open: Bench[] = []
  const bench = async (): Promise<Bench> => {
    const made = await newBench()
    open.push(made)
    return made
  }
  afterEach(async () => {
    const ending = open
    open = []
    for (const made of ending) await made.end()
  })

  describe('get', () => {
    test('answers entries in the order of the keys, undefined for absent ones, a repeated key twice', async () => {
      const { store } = await bench()
      const a = await set(store, 'a', '1')
      const b = await set(store, 'b', '2')
      const { entries } = await store.get(['b', 'none', 'a', 'b'])
      expect(entries).toEqual([
        { value: bytes('2'), version: b },
        undefined,
        { value: bytes('1'), version: a },
        { value: bytes('2'), version: b },
      ])
    })

    test('of no keys answers the time', async () => {
      const { store } = await bench()
      const { entries, now } = await store.get([])
      expect(entries).toEqual([])
      expect(Number.isSafeInteger(now)).toBe(true)
    })

    test('tells the time of the engine in milliseconds, and it goes on', async () => {
      const { store, pass } = await bench()
      const before = await store.get(['a'])
      await pass(50)
      const after = await store.list('a')
      const commit = await store.commit({})
      expect(after.now).toBeGreaterThanOrEqual(before.now + 50)
      expect(commit.committed && commit.now).toBeGreaterThanOrEqual(after.now)
      expect(after.now - before.now).toBeLessThan(60_000)
    })

    test('is one snapshot: a batch is seen whole or not at all', async () => {
      const { store, another } = await bench()
      const writer = another?.() ?? store
      let writing = true
      const writes = (async () => {
        for (let i = 0; i < 150; i++) {
          const value = bytes(String(i))
          await writer.commit({ sets: ['x', 'y', 'z'].map((key) => ({ key, value })) })
          await new Promise((resolve) => setImmediate(resolve))
        }
        writing = false
      })()
      let reads = 0
      while (writing) {
        const { entries } = await store.get(['x', 'y', 'z'])
        expect(new Set(entries.map((e) => e?.version)).size).toBe(1)
        expect(new Set(entries.map((e) => text(e?.value))).size).toBe(1)
        reads++
        await new Promise((resolve) => setImmediate(resolve))
      }
      await writes
      expect(reads).toBeGreaterThan(10)
    })

    test('takes 1000 keys, and no more', async () => {
      const { store } = await bench()
      await set(store, 'k999', 'last')
      const keys = Array.from({ length: 1000 }, (_, i) => `k${i}`)
      const { entries } = await store.get(keys)
      expect(entries).toHaveLength(1000)
      expect(entries.filter((e) => e !== undefined)).toHaveLength(1)
      expect(text(entries[999]?.value)).toBe('last')
      await expect(store.get([...keys, 'one-more'])).rejects.toThrow(TypeError)
    })
  })

  describe('values and keys', () => {
    test('answers each question by itself, however many keys the one before had', async () => {
      const { store } = await bench()
      const keys = Array.from({ length: 80 }, (_, index) => `k${index}`)
      await store.commit({ sets: keys.map((key) => ({ key, value: bytes(key) })) })
      const read = async (...wanted: readonly string[]) =>
        (await store.get(wanted)).entries.map((found) => text(found?.value))
      const [alone, ...others] = keys.slice(75) as [string, ...string[]]
      for (let count = 1; count <= 70; count++) {
        expect(await read(...keys.slice(0, count))).toEqual(keys.slice(0, count))
        expect([count, await read(alone)]).toEqual([count, [alone]])
        expect(await Promise.all([read(...others), read(alone, 'none')])).toEqual([others, [alone, undefined]])
      }
    })

    test('values are any bytes, empty and 1 MiB, plain Uint8Arrays on the way out', async () => {
      const { store } = await bench()
      const all = Uint8Array.from({ length: 256 }, (_, i) => i)
      const large = new Uint8Array(1024 * 1024).map((_, i) => i % 251)
      const values = [new Uint8Array(), all, large]
      await store.commit({ sets: values.map((value, i) => ({ key: `v${i}`, value })) })
      const { entries } = await store.get(['v0', 'v1', 'v2'])
      for (const [i, expected] of values.entries()) {
        const got = entries[i]?.value
        expect(got?.constructor).toBe(Uint8Array)
        expect(Buffer.compare(got ?? bytes('absent'), expected)).toBe(0)
      }
      const listed = (await store.list('v')).entries
      expect(listed.map((e) => [e.value.constructor, e.value.length])).toEqual(
        values.map((v) => [Uint8Array, v.length]),
      )
      expect(Buffer.compare(listed[1]?.value ?? bytes('absent'), all)).toBe(0)
    })

    test('a view into a larger buffer is written as itself', async () => {
      const { store } = await bench()
      await store.commit({ sets: [{ key: 'view', value: Buffer.from('__middle__').subarray(2, 8) }] })
      expect(await value(store, 'view')).toBe('middle')
    })

    test('bytes are copied in and out', async () => {
      const { store } = await bench()
      const mine = bytes('before')
      const committing = store.commit({ sets: [{ key: 'a', value: mine }] })
      mine.fill(0)
      await committing
      const got = await entry(store, 'a')
      expect(text(got?.value)).toBe('before')
      got?.value.fill(0)
      expect(await value(store, 'a')).toBe('before')
    })

    test('what is asked for at once, or twice, is everybody’s own', async () => {
      const { store } = await bench()
      await store.commit({ sets: [{ key: 'a', value: bytes('before') }] })
      const read = await Promise.all([store.get(['a', 'a']), store.get(['b', 'a'])])
      const [mine, ...others] = read.flatMap(({ entries }) => entries).filter((found) => found !== undefined)
      mine?.value.fill(0)
      expect(others.map(({ value }) => text(value))).toEqual(['before', 'before'])
    })

    test('every printable character is a key of its own, case and quotes included', async () => {
      const { store } = await bench()
      const keys = Array.from({ length: 0x7e - 0x20 }, (_, i) => String.fromCharCode(0x21 + i))
      await store.commit({ sets: keys.map((key) => ({ key, value: bytes(key) })) })
      const { entries } = await store.get(keys)
      expect(entries.map((e) => text(e?.value))).toEqual(keys)
      expect(await keysOf(store, '', { limit: 1000 })).toEqual(keys)
    })

    test('every entry of a batch is kept, however many there are: new ones, changed ones, one that is checked', async () => {
      const { store } = await bench()
      for (const count of [1, 2, 7, 8, 9, 16, 17, 40]) {
        const keys = Array.from({ length: count }, (_, index) => `batch${count}/${index}`)
        const [first = ''] = keys
        for (const round of ['first', 'second']) {
          const before = await entry(store, first)
          const result = await store.commit({
            checks: [{ key: first, version: before?.version }],
            sets: keys.map((key, index) => ({
              key,
              value: bytes(`${round} ${index}`),
              ...(index % 3 === 1 && { ttl: LONG }),
            })),
          })
          expect(result.committed).toBe(true)
          const { entries } = await store.get(keys)
          expect(entries.map((each) => text(each?.value))).toEqual(keys.map((_, index) => `${round} ${index}`))
          expect(new Set(entries.map((each) => each?.version)).size).toBe(1)
        }
        const listed = await store.list(`batch${count}/`, { limit: 100 })
        expect(listed.entries.map(({ expiresAt }) => expiresAt !== undefined).filter(Boolean)).toHaveLength(
          keys.filter((_, index) => index % 3 === 1).length,
        )
      }
    })

    const bad: [string, string][] = [
      ['empty', ''],
      ['513 characters', 'k'.repeat(513)],
      ['a space', 'a b'],
      ['a line end', 'ab\n'],
      ['a zero byte', 'a\0b'],
      ['DEL', 'a\x7f'],
      ['not ASCII', 'schlüssel'],
    ]
    test.each(bad)('a key that is %s is refused everywhere, without being quoted', async (_, key) => {
      const { store } = await bench()
      const value = bytes('v')
      const attempts = [
        store.get(['fine', key]),
        store.commit({ checks: [{ key, version: undefined }] }),
        store.commit({
          sets: [
            { key: 'fine', value },
            { key, value },
          ],
        }),
        store.commit({ sets: [{ key: 'fine', value }], deletes: [key] }),
        store.increment(key, 1, LONG),
        store.list('fine', { after: key }),
        ...(key === '' ? [] : [store.list(key)]),
      ]
      for (const attempt of attempts) {
        const error = await attempt.then(
          () => undefined,
          (reason: unknown) => reason,
        )
        expect(error).toBeInstanceOf(TypeError)
        if (key.length > 3) expect(String(error)).not.toContain(key)
      }
      expect(await entry(store, 'fine')).toBeUndefined()
    })

    test('a key of 512 characters is taken', async () => {
      const { store } = await bench()
      await set(store, 'k'.repeat(512), 'long')
      expect(await value(store, 'k'.repeat(512))).toBe('long')
      expect(await keysOf(store, 'k'.repeat(512))).toEqual(['k'.repeat(512)])
    })

    test('a refused value, ttl, message, limit or amount changes nothing', async () => {
      const { store } = await bench()
      const fine = { key: 'fine', value: bytes('v') }
      const attempts = [
        store.commit({ sets: [fine, { key: 'a', value: new Uint8Array(1024 * 1024 + 1) }] }),
        store.commit({ sets: [fine, { key: 'a', value: 'text' as unknown as Uint8Array }] }),
        ...[0, -1, 0.5, Number.NaN, Number.POSITIVE_INFINITY].map((ttl) =>
          store.commit({ sets: [fine, { key: 'a', value: bytes('v'), ttl }] }),
        ),
        store.commit({ sets: [fine], notify: [''] }),
        store.commit({ sets: [fine], notify: ['a\nb'] }),
        store.commit({ sets: [fine], notify: ['n'.repeat(513)] }),
        store.commit({ sets: [fine], notify: Array.from({ length: 65 }, () => 'n') }),
        ...[0, -1, 1.5, 1001].map((limit) => store.list('', { limit })),
        ...[0, -1, 0.5].map((ttl) => store.increment('c', 1, ttl)),
        ...[0.5, Number.NaN, 2 ** 53].map((by) => store.increment('c', by, LONG)),
      ]
      for (const attempt of attempts) await expect(attempt).rejects.toThrow(TypeError)
      expect(await entry(store, 'fine')).toBeUndefined()
      expect(await store.increment('c', 0, LONG)).toMatchObject({ value: 0 })
    })

    test('SQL, globs and placeholders in keys, values and messages are only characters', async () => {
      const { store } = await bench()
      const keys = [`'; DROP TABLE entries; --`, `"a"`, '$1', '?1', '\\x00', '{a,b}', '[a]', '*', 'NULL'].map((k) =>
        k.replaceAll(' ', '_'),
      )
      const notify = keys.map((key) => `${key}'`)
      const messages: string[] = []
      store.watch((message) => messages.push(message))
      await store.commit({ sets: keys.map((key) => ({ key, value: bytes(key) })), notify })
      const { entries } = await store.get(keys)
      expect(entries.map((e) => text(e?.value))).toEqual(keys)
      for (const message of notify) await heard(messages, message)
    })
  })

  describe('list', () => {
    // In a dictionary's order these would come otherwise: case, punctuation and digits.
    const ordered = [
      'p!',
      'p%',
      'p-b',
      'p.a',
      'p/a',
      'p0',
      'p10',
      'p9',
      'pA',
      'pB',
      'pZ',
      'p[',
      'p_',
      'pa',
      'pb',
      'pz',
      'p~',
    ]

    test('is in bytewise order', async () => {
      const { store } = await bench()
      const shuffled = [...ordered].sort((a, b) => (a.split('').reverse() < b.split('').reverse() ? -1 : 1))
      for (const key of shuffled) await set(store, key, key)
      expect(await keysOf(store, 'p')).toEqual(ordered)
      expect(await keysOf(store, 'p', { reverse: true })).toEqual([...ordered].reverse())
    })

    test('pages with after and limit, both ways', async () => {
      const { store } = await bench()
      await store.commit({ sets: [...ordered, 'o', 'q'].map((key) => ({ key, value: bytes(key) })) })
      for (const reverse of [false, true]) {
        const seen: string[] = []
        for (;;) {
          const after = seen.at(-1)
          const page = await keysOf(store, 'p', { limit: 5, reverse, ...(after !== undefined && { after }) })
          seen.push(...page)
          if (page.length < 5) break
        }
        expect(seen).toEqual(reverse ? [...ordered].reverse() : ordered)
      }
      expect(await keysOf(store, 'p', { after: 'pC' })).toEqual(ordered.slice(ordered.indexOf('pZ')))
      expect(await keysOf(store, 'p', { after: 'pC', reverse: true })).toEqual(
        ordered.slice(0, ordered.indexOf('pZ')).reverse(),
      )
      expect(await keysOf(store, 'p', { after: 'a' })).toEqual(ordered)
      expect(await keysOf(store, 'p', { after: 'z' })).toEqual([])
      expect(await keysOf(store, 'p', { after: 'a', reverse: true })).toEqual([])
      expect(await keysOf(store, 'p', { after: 'z', reverse: true })).toEqual([...ordered].reverse())
    })

    test('takes characters of patterns in a prefix as they are', async () => {
      const { store } = await bench()
      const prefixes = ['%', '_', '\\', '"', "'", '*', '?', '[a', '$', '~', 'a%', 'a_', 'a\\', 'a~']
      await store.commit({
        sets: [...prefixes, 'b'].flatMap((prefix) => [
          { key: `${prefix}/1`, value: bytes(prefix) },
          { key: `${prefix}~~`, value: bytes(prefix) },
        ]),
      })
      for (const prefix of prefixes) {
        expect(await keysOf(store, `${prefix}/`)).toEqual([`${prefix}/1`])
        expect(await keysOf(store, `${prefix}~~`)).toEqual([`${prefix}~~`])
      }
      expect(await keysOf(store, 'B')).toEqual([])
      expect(await keysOf(store, '', { limit: 1000 })).toHaveLength(30)
    })

    test('answers 100 unless told, at most 1000, with values and versions', async () => {
      const { store } = await bench()
      const keys = Array.from({ length: 1001 }, (_, i) => `n${String(i).padStart(4, '0')}`)
      let version: Version | undefined
      for (let i = 0; i < keys.length; i += 250) {
        const result = await store.commit({ sets: keys.slice(i, i + 250).map((key) => ({ key, value: bytes(key) })) })
        if (result.committed && i === 0) version = result.version
      }
      expect(await keysOf(store, 'n')).toEqual(keys.slice(0, 100))
      expect(await keysOf(store, 'n', { limit: 1000 })).toEqual(keys.slice(0, 1000))
      expect((await store.list('n', { limit: 1 })).entries).toEqual([
        { key: 'n0000', value: bytes('n0000'), version, expiresAt: undefined },
      ])
    })

    test('says when each expires, by the engine’s clock', async () => {
      const { store } = await bench()
      const result = await store.commit({
        sets: [
          { key: 'n1', value: bytes('1'), ttl: LONG },
          { key: 'n2', value: bytes('2') },
        ],
      })
      const end = (result.committed ? result.now : 0) + LONG
      for (const reverse of [false, true]) {
        const ends = (await store.list('n', { reverse })).entries.map(({ key, expiresAt }) => [key, expiresAt])
        expect(Object.fromEntries(ends)).toEqual({ n1: end, n2: undefined })
      }
    })

    test('leaves out what is expired, and the limit counts only the living', async () => {
      const { store, pass } = await bench()
      await store.commit({
        sets: ['a', 'b', 'c', 'd'].map((key, i) => ({ key, value: bytes(key), ttl: i < 2 ? SHORT : LONG })),
      })
      await pass(AFTER_SHORT)
      expect(await keysOf(store, '', { limit: 1 })).toEqual(['c'])
      expect(await keysOf(store, '')).toEqual(['c', 'd'])
    })
  })

  describe('commit', () => {
    test('gives all keys of its sets one new version', async () => {
      const { store } = await bench()
      const result = await store.commit({ sets: ['a', 'b'].map((key) => ({ key, value: bytes(key) })) })
      const { entries } = await store.get(['a', 'b'])
      expect(result.committed && result.version).toBe(entries[0]?.version)
      expect(entries[1]?.version).toBe(entries[0]?.version)
      expect(await set(store, 'a', 'a')).not.toBe(entries[0]?.version)
      expect((await entry(store, 'b'))?.version).toBe(entries[0]?.version)
    })

    test('applies only if a checked key still has its version', async () => {
      const { store } = await bench()
      const first = await set(store, 'a', '1')
      const check = { key: 'a', version: first }
      const second = await store.commit({ checks: [check], sets: [{ key: 'a', value: bytes('2') }] })
      expect(second.committed).toBe(true)
      expect(await store.commit({ checks: [check], sets: [{ key: 'a', value: bytes('3') }] })).toEqual({
        committed: false,
      })
      expect(await value(store, 'a')).toBe('2')
    })

    test('applies only if a key checked for absence is absent', async () => {
      const { store } = await bench()
      const batch = { checks: [{ key: 'a', version: undefined }], sets: [{ key: 'a', value: bytes('1') }] }
      expect((await store.commit(batch)).committed).toBe(true)
      expect((await store.commit(batch)).committed).toBe(false)
      await store.commit({ deletes: ['a'] })
      expect((await store.commit(batch)).committed).toBe(true)
    })

    test('a version checked on an absent key does not hold', async () => {
      const { store } = await bench()
      const version = await set(store, 'a', '1')
      expect((await store.commit({ checks: [{ key: 'never', version }] })).committed).toBe(false)
      await store.commit({ deletes: ['a'] })
      expect((await store.commit({ checks: [{ key: 'a', version }] })).committed).toBe(false)
    })

    test('is all or nothing: one check that does not hold undoes sets, deletes and notify', async () => {
      const { store } = await bench()
      const messages: string[] = []
      store.watch((message) => messages.push(message))
      const a = await set(store, 'a', '1')
      await set(store, 'b', '1')
      const result = await store.commit({
        checks: [
          { key: 'a', version: a },
          { key: 'b', version: undefined },
        ],
        sets: [
          { key: 'a', value: bytes('2') },
          { key: 'c', value: bytes('2') },
        ],
        deletes: ['b'],
        notify: ['never'],
      })
      expect(result).toEqual({ committed: false })
      const { entries } = await store.get(['a', 'b', 'c'])
      expect(entries.map((e) => text(e?.value))).toEqual(['1', '1', undefined])
      await store.commit({ notify: ['afterwards'] })
      await heard(messages, 'afterwards')
      expect(messages).not.toContain('never')
    })

    test('checks see the store as it was before the batch; a key may be checked and deleted', async () => {
      const { store } = await bench()
      const version = await set(store, 'a', '1')
      const result = await store.commit({
        checks: [
          { key: 'a', version },
          { key: 'b', version: undefined },
        ],
        sets: [{ key: 'b', value: bytes('2') }],
        deletes: ['a', 'absent'],
      })
      expect(result.committed).toBe(true)
      const { entries } = await store.get(['a', 'b'])
      expect(entries.map((e) => text(e?.value))).toEqual([undefined, '2'])
    })

    test('two checks of one key that contradict each other do not hold', async () => {
      const { store } = await bench()
      const version = await set(store, 'a', '1')
      const both = [
        { key: 'a', version },
        { key: 'a', version: undefined },
      ]
      expect((await store.commit({ checks: both })).committed).toBe(false)
      expect((await store.commit({ checks: [...both].reverse() })).committed).toBe(false)
    })

    test('of nothing is committed', async () => {
      const { store } = await bench()
      expect(await store.commit({})).toMatchObject({ committed: true })
      expect(await store.commit({ checks: [{ key: 'a', version: undefined }] })).toMatchObject({ committed: true })
    })

    test('a key written twice in one batch is refused', async () => {
      const { store } = await bench()
      const write = { key: 'a', value: bytes('1') }
      await expect(store.commit({ sets: [write, write] })).rejects.toThrow(TypeError)
      await expect(store.commit({ sets: [write], deletes: ['a'] })).rejects.toThrow(TypeError)
      await expect(store.commit({ deletes: ['a', 'a'] })).rejects.toThrow(TypeError)
      expect(await entry(store, 'a')).toBeUndefined()
    })

    test('takes 256 checks, sets and deletes, and no more', async () => {
      const { store } = await bench()
      const sets = Array.from({ length: 100 }, (_, i) => ({ key: `s${i}`, value: bytes('s') }))
      const checks = Array.from({ length: 100 }, (_, i) => ({ key: `s${i}`, version: undefined }))
      const deletes = Array.from({ length: 56 }, (_, i) => `d${i}`)
      expect((await store.commit({ sets, checks, deletes })).committed).toBe(true)
      await expect(store.commit({ sets, checks, deletes: [...deletes, 'more'] })).rejects.toThrow(TypeError)
    })

    test('batches of one turn follow one another', async () => {
      const { store } = await bench()
      const batch = { checks: [{ key: 'a', version: undefined }], sets: [{ key: 'a', value: bytes('1') }] }
      const results = await Promise.all(Array.from({ length: 20 }, () => store.commit(batch)))
      expect(results.filter(({ committed }) => committed)).toHaveLength(1)
    })
  })

  describe('versions', () => {
    test('no ABA: a key that was deleted and set again to the same bytes has another version', async () => {
      const { store } = await bench()
      const versions = new Set<Version>()
      for (let i = 0; i < 20; i++) {
        versions.add(await set(store, 'a', 'same'))
        if (i % 2 === 0) await store.commit({ deletes: ['a'] })
      }
      expect(versions.size).toBe(20)
      const [first] = versions
      expect((await store.commit({ checks: [{ key: 'a', version: first }] })).committed).toBe(false)
    })

    test('no ABA after expiry', async () => {
      const { store, pass } = await bench()
      const before = await set(store, 'a', 'same', SHORT)
      await pass(AFTER_SHORT)
      expect(await set(store, 'a', 'same', LONG)).not.toBe(before)
      expect((await store.commit({ checks: [{ key: 'a', version: before }] })).committed).toBe(false)
    })
  })

  describe('expiry', () => {
    test('expired equals absent, in get, list and checks', async () => {
      const { store, pass } = await bench()
      let version: Version | undefined
      const ttl = await inTime(store, async (short) => {
        version = await set(store, 'a', '1', short)
        expect(await value(store, 'a')).toBe('1')
        expect((await store.commit({ checks: [{ key: 'a', version }] })).committed).toBe(true)
        expect((await store.commit({ checks: [{ key: 'a', version: undefined }] })).committed).toBe(false)
      })
      await pass(ttl)
      expect(await entry(store, 'a')).toBeUndefined()
      expect(await keysOf(store, '')).toEqual([])
      expect((await store.commit({ checks: [{ key: 'a', version }] })).committed).toBe(false)
      const again = { checks: [{ key: 'a', version: undefined }], sets: [{ key: 'a', value: bytes('2') }] }
      expect((await store.commit(again)).committed).toBe(true)
      expect(await value(store, 'a')).toBe('2')
    })

    test('a new set decides the expiry anew, and without a ttl there is none', async () => {
      const { store, pass } = await bench()
      await set(store, 'kept', '1', SHORT)
      await set(store, 'kept', '2')
      await set(store, 'longer', '1', SHORT)
      await set(store, 'longer', '2', LONG)
      await set(store, 'shorter', '1')
      await set(store, 'shorter', '2', SHORT)
      await pass(AFTER_SHORT)
      const { entries } = await store.get(['kept', 'longer', 'shorter'])
      expect(entries.map((e) => text(e?.value))).toEqual(['2', '2', undefined])
    })

    test('sweeping away much that is expired touches nothing that lives', async () => {
      const { store, pass } = await bench()
      for (let round = 0; round < 4; round++) {
        await store.commit({
          sets: Array.from({ length: 200 }, (_, i) => ({
            key: `${i % 2 ? 'short' : 'long'}/${round}/${i}`,
            value: bytes('v'),
            ...(i % 2 ? { ttl: SHORT } : i % 4 ? { ttl: LONG } : {}),
          })),
        })
      }
      await pass(AFTER_SHORT)
      for (let round = 0; round < 4; round++) {
        await store.commit({
          sets: Array.from({ length: 200 }, (_, i) => ({ key: `new/${round}/${i}`, value: bytes('v') })),
        })
      }
      expect(await keysOf(store, 'short/')).toEqual([])
      expect(await keysOf(store, 'long/', { limit: 1000 })).toHaveLength(400)
      expect(await keysOf(store, 'new/', { limit: 1000 })).toHaveLength(800)
    })
  })

  describe('increment', () => {
    test('starts at 0, adds, takes away, reads', async () => {
      const { store } = await bench()
      expect((await store.increment('c', 5, LONG)).value).toBe(5)
      expect((await store.increment('c', 1, LONG)).value).toBe(6)
      expect((await store.increment('c', -8, LONG)).value).toBe(-2)
      expect((await store.increment('c', 0, LONG)).value).toBe(-2)
      expect((await store.increment('other', 1, LONG)).value).toBe(1)
    })

    test('lives its ttl from the first increment; later ones do not prolong it; then it starts again', async () => {
      const { store, pass } = await bench()
      let name = ''
      const ttl = await inTime(store, async (short) => {
        name = `c/${short}`
        const { now: before } = await store.get([])
        const first = await store.increment(name, 1, short)
        const { now: after } = await store.get([])
        expect(first.value).toBe(1)
        expect(first.expiresIn).toBeGreaterThanOrEqual(short - (after - before))
        expect(first.expiresIn).toBeLessThanOrEqual(short)
        await pass(100)
        const second = await store.increment(name, 1, LONG)
        expect(second.value).toBe(2)
        expect(second.expiresIn).toBeLessThanOrEqual(short - 100)
        expect(second.expiresIn).toBeGreaterThan(0)
      })
      await pass(ttl - 100)
      const third = await store.increment(name, 10, LONG)
      expect(third.value).toBe(10)
      expect(third.expiresIn).toBeGreaterThan(ttl)
    })

    test('stops at the largest and the smallest safe integer', async () => {
      const { store } = await bench()
      await store.increment('up', Number.MAX_SAFE_INTEGER - 1, LONG)
      expect((await store.increment('up', 1, LONG)).value).toBe(Number.MAX_SAFE_INTEGER)
      expect((await store.increment('up', Number.MAX_SAFE_INTEGER, LONG)).value).toBe(Number.MAX_SAFE_INTEGER)
      expect((await store.increment('up', -1, LONG)).value).toBe(Number.MAX_SAFE_INTEGER - 1)
      await store.increment('down', Number.MIN_SAFE_INTEGER, LONG)
      expect((await store.increment('down', -1, LONG)).value).toBe(Number.MIN_SAFE_INTEGER)
    })

    test('counters are no entries', async () => {
      const { store } = await bench()
      await store.increment('a', 1, LONG)
      expect(await entry(store, 'a')).toBeUndefined()
      expect(await keysOf(store, '')).toEqual([])
      await set(store, 'a', 'entry')
      await store.commit({ deletes: ['a'] })
      expect((await store.increment('a', 1, LONG)).value).toBe(2)
    })

    test('loses none under concurrency, and each caller gets a value of its own', async () => {
      const { store, another } = await bench()
      const handles = [store, another?.() ?? store]
      const counts = await Promise.all(
        Array.from({ length: 100 }, async (_, i) => (await (handles[i % 2] ?? store).increment('c', 1, LONG)).value),
      )
      expect(counts.sort((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, i) => i + 1))
    })
  })

  describe('several handles on the same data', () => {
    test('see what the others committed, and their checks count', async ({ skip }) => {
      const { store, another } = await bench()
      if (another === undefined) skip('this engine has one handle')
      const other = another?.() ?? store
      const version = await set(store, 'a', '1')
      expect((await entry(other, 'a'))?.version).toBe(version)
      await set(other, 'a', '2')
      expect((await store.commit({ checks: [{ key: 'a', version }] })).committed).toBe(false)
      expect(await value(store, 'a')).toBe('2')
    })

    test('compare-and-swap under concurrency: every win counts, no update is lost', async () => {
      const { store, another } = await bench()
      const handles = [store, another?.() ?? store, another?.() ?? store]
      const goal = 15
      await Promise.all(
        Array.from({ length: 6 }, async (_, i) => {
          const mine = handles[i % handles.length] ?? store
          for (let wins = 0; wins < goal; ) {
            const read = await entry(mine, 'n')
            const next = bytes(String(Number(text(read?.value) ?? 0) + 1))
            const checks = [{ key: 'n', version: read?.version }]
            if ((await mine.commit({ checks, sets: [{ key: 'n', value: next }] })).committed) wins++
          }
        }),
      )
      expect(await value(store, 'n')).toBe(String(6 * goal))
    })

    test('batches that cross each other neither hang nor mix', async () => {
      const { store, another } = await bench()
      const other = another?.() ?? store
      const write = (to: Store, keys: string[], value: string) =>
        to.commit({
          sets: keys.map((key) => ({ key, value: bytes(value) })),
          checks: [{ key: 'free', version: undefined }],
        })
      const keys = Array.from({ length: 10 }, (_, i) => `x${i}`)
      for (let round = 0; round < 20; round++) {
        await Promise.all([
          write(store, keys, `a${round}`),
          write(other, [...keys].reverse(), `b${round}`),
          write(store, [...keys].reverse(), `c${round}`),
          write(other, keys, `d${round}`),
        ])
        const { entries } = await store.get(keys)
        expect(new Set(entries.map((e) => e?.version)).size).toBe(1)
      }
    })

    test('hear what the others notify', async ({ skip }) => {
      const { store, another } = await bench()
      if (another === undefined) skip('this engine has one handle')
      const other = another?.() ?? store
      const messages: string[] = []
      const end = other.watch((message) => messages.push(message))
      // What was sent before the watch began to run may be missed: send until it hears.
      for (let i = 0; messages.length === 0 && i < 200; i++) {
        await store.commit({ notify: [`hello/${i}`] })
        await delay(50)
      }
      await store.commit({ notify: ['second', 'third'] })
      await heard(messages, 'second')
      await heard(messages, 'third')
      end()
      await store.commit({ notify: ['too-late'] })
      await delay(500)
      expect(messages).not.toContain('too-late')
    })
  })

  describe('watch', () => {
    test('hears its own commits, each listener, until it ends', async () => {
      const { store } = await bench()
      const one: string[] = []
      const two: string[] = []
      const endOne = store.watch((message) => one.push(message))
      store.watch((message) => two.push(message))
      await store.commit({ notify: ['first', 'revoked/grant:1'] })
      await heard(one, 'first')
      await heard(one, 'revoked/grant:1')
      await heard(two, 'revoked/grant:1')
      endOne()
      endOne()
      await store.commit({ notify: ['last'] })
      await heard(two, 'last')
      expect(one).not.toContain('last')
    })

    test('takes messages of 512 characters, and 64 of them', async () => {
      const { store } = await bench()
      const messages: string[] = []
      store.watch((message) => messages.push(message))
      const notify = Array.from({ length: 64 }, (_, i) => `${i}/`.padEnd(512, 'm'))
      await store.commit({ notify })
      for (const message of notify) await heard(messages, message)
    })
  })

  describe('close', () => {
    test('ends what is under way; later calls are StoreUnavailable; twice is allowed', async () => {
      const { store, another } = await bench()
      const messages: string[] = []
      store.watch((message) => messages.push(message))
      const under = store.commit({ sets: [{ key: 'a', value: bytes('1') }] })
      const closing = store.close()
      await expect(under).resolves.toMatchObject({ committed: true })
      await closing
      await store.close()
      for (const call of [store.get(['a']), store.list(''), store.commit({}), store.increment('c', 1, LONG)]) {
        await expect(call).rejects.toThrow(StoreUnavailable)
      }
      expect(() => store.watch(() => {})()).not.toThrow()
      if (another !== undefined) expect(await value(another(), 'a')).toBe('1')
    })

    test('of a store that was never used does nothing', async () => {
      const { store } = await bench()
      await store.close()
      await expect(store.get(['a'])).rejects.toThrow(StoreUnavailable)
    })
  })
}
