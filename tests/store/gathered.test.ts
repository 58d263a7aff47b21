import { expect, test } from 'vitest'
import type { Found } from '../../src/store/gathered.ts'
import { gathered } from '../../src/store/gathered.ts'
import type { Entry, Version } from '../../src/store/store.ts'

const entryOf = (key: string): Entry => ({
  value: new TextEncoder().encode(`value of ${key}`),
  version: key as Version,
})

/** An engine that has every key but `absent`, and what it was asked for. */
function engine() {
  const asked: (readonly string[])[] = []
  let now = 0
  const read = async (keys: readonly string[]): Promise<Found> => {
    asked.push(keys)
    now += 1
    const snapshot = now
    if (keys.includes('failing')) throw new Error('out of reach')
    const there = new Set(keys)
    return { entry: (key) => (there.has(key) && key !== 'absent' ? entryOf(key) : undefined), now: snapshot }
  }
  return { asked, get: gathered(read) }
}

test('what is asked for in one turn is one reading, and everybody gets what is theirs', async () => {
  const { asked, get } = engine()
  const answers = await Promise.all([get(['a', 'b']), get(['b', 'c']), get(['absent']), get([])])
  expect(asked).toEqual([['a', 'b', 'c', 'absent']])
  const [first, second, third] = answers
  expect(first?.entry('a')).toEqual(entryOf('a'))
  expect(second?.entry('c')).toEqual(entryOf('c'))
  expect(third?.entry('absent')).toBeUndefined()
  expect(new Set(answers.map(({ now }) => now))).toEqual(new Set([1]))
})

test('also where some come to it some steps later in that turn', async () => {
  const { asked, get } = engine()
  const late = async () => {
    for (let step = 0; step < 20; step++) await Promise.resolve()
    return get(['late'])
  }
  await Promise.all([get(['early']), late()])
  expect(asked).toEqual([['early', 'late']])
})

test('who asks in a later turn gets a reading of their own: nobody is told what was before they asked', async () => {
  const { asked, get } = engine()
  const first = await get(['a'])
  const second = await get(['a'])
  expect(asked).toEqual([['a'], ['a']])
  expect(second.now).toBeGreaterThan(first.now)
})

test('a reading stays within a bound; who asks for more than that asks alone', async () => {
  const { asked, get } = engine()
  const many = (name: string, count: number) => Array.from({ length: count }, (_, index) => `${name}${index}`)
  const answers = await Promise.all([get(many('a', 200)), get(many('b', 100)), get(many('c', 1000)), get(['d'])])
  expect(asked.map((keys) => keys.length)).toEqual([200, 100, 1000, 1])
  expect(answers[2]?.entry('c999')).toEqual(entryOf('c999'))
})

test('if it fails, all of that turn fail, and those after it do not', async () => {
  const { get } = engine()
  const outcomes = await Promise.allSettled([get(['failing']), get(['a'])])
  expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
  expect((await get(['a'])).entry('a')).toEqual(entryOf('a'))
})

test('what was asked for is sent before it is said to be', async () => {
  const { asked, get } = engine()
  const answer = get(['a'])
  await get.sent()
  await answer
  expect(asked).toEqual([['a']])
  await get.sent()
})
