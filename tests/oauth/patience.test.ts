import { afterEach, beforeEach, expect, onTestFinished, test, vi } from 'vitest'

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  vi.resetModules()
})
afterEach(() => {
  vi.restoreAllMocks()
  vi.useRealTimers()
})

const start = async () => (await import('../../src/oauth/patience.ts')).waitAtMost

test('what does not come is given up once, after its own time; what came is not', async () => {
  const waitAtMost = await start()
  const givenUp: string[] = []
  const wait = (name: string, seconds: number) => waitAtMost(seconds, () => givenUp.push(name))
  const [first, second, third, fourth] = [wait('first', 2), wait('second', 1), wait('third', 2), wait('fourth', 5)]
  expect([first.leave(), first.leave()]).toEqual([true, false])
  await vi.advanceTimersByTimeAsync(1_000)
  expect(givenUp).toEqual([])
  await vi.advanceTimersByTimeAsync(1_000)
  expect([givenUp, second.leave()]).toEqual([['second'], false])
  await vi.advanceTimersByTimeAsync(1_000)
  expect([givenUp, third.leave(), vi.getTimerCount()]).toEqual([['second', 'third'], false, 1])
  expect(fourth.leave()).toBe(true)
  await vi.advanceTimersByTimeAsync(10_000)
  expect([givenUp, vi.getTimerCount()]).toEqual([['second', 'third'], 0])
})

test('whoever leaves while others are given up is not given up, and the next begins anew', async () => {
  const waitAtMost = await start()
  const givenUp: string[] = []
  const later = { leave: () => false }
  waitAtMost(0, () => {
    givenUp.push('first')
    expect(later.leave()).toBe(true)
  })
  later.leave = waitAtMost(0, () => givenUp.push('later')).leave
  await vi.advanceTimersByTimeAsync(1_000)
  expect([givenUp, vi.getTimerCount()]).toEqual([['first'], 0])
  waitAtMost(0, () => givenUp.push('next'))
  await vi.advanceTimersByTimeAsync(1_000)
  expect([givenUp, vi.getTimerCount()]).toEqual([['first', 'next'], 0])
})

test('many leave in any order, and none is forgotten', async () => {
  const waitAtMost = await start()
  let givenUp = 0
  const waiting = Array.from({ length: 100 }, () =>
    waitAtMost(1, () => {
      givenUp += 1
    }),
  )
  const left = waiting.filter((_, index) => index % 7 === 3 || index % 2 === 0)
  expect(left.map(({ leave }) => leave())).toEqual(left.map(() => true))
  await vi.advanceTimersByTimeAsync(2_000)
  expect(givenUp).toBe(waiting.length - left.length)
  expect(waiting.map(({ leave }) => leave())).toEqual(waiting.map(() => false))
})

test('by a timer that keeps no process, also where timers are numbers', async () => {
  const waitAtMost = await start()
  onTestFinished(() => {
    vi.unstubAllGlobals()
  })
  const unref = vi.fn()
  const begin = vi.fn((): unknown => ({ unref }))
  vi.stubGlobal('setInterval', begin)
  expect(waitAtMost(1, () => {}).leave()).toBe(true)
  expect([begin.mock.calls.length, unref.mock.calls.length]).toEqual([1, 1])

  vi.resetModules()
  const elsewhere = await start()
  begin.mockReturnValueOnce(7)
  expect(elsewhere(1, () => {}).leave()).toBe(true)
  expect(begin).toHaveBeenCalledTimes(2)
})

test('where a timer ends with its request, each has its own', async () => {
  vi.stubGlobal('navigator', { userAgent: 'Cloudflare-Workers' })
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  onTestFinished(() => {
    vi.unstubAllGlobals()
  })
  const { waitAtMost } = await import('../../src/oauth/patience.ts')
  const given: string[] = []
  const came = waitAtMost(1, () => given.push('came'))
  const late = waitAtMost(2, () => given.push('late'))
  expect(vi.getTimerCount()).toBe(2)
  expect([came.leave(), came.leave()]).toEqual([true, false])
  expect(vi.getTimerCount()).toBe(1)
  vi.advanceTimersByTime(1_999)
  expect(given).toEqual([])
  vi.advanceTimersByTime(1)
  expect([given, late.leave(), vi.getTimerCount()]).toEqual([['late'], false, 0])
})
