import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { AuditFacts } from '../../src/events/audit.ts'
import type { AccessToken } from '../../src/identity/access-token.ts'
import { TokenInvalid, type TokenVerifier } from '../../src/identity/verifier.ts'
import { createOpenStreams } from '../../src/resource-server/open-streams.ts'
import { accessToken, type MintedFacts } from '../../src/testing.ts'

const resource = 'https://notes.example.com/mcp'
const start = 1_000_000_000_000

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'Date'], now: start })
})
afterEach(() => vi.useRealTimers())

type Asked = readonly [token: string, resource: string, jkt: string | undefined]

const setUp = () => {
  const asked: Asked[] = []
  const audited: AuditFacts[] = []
  const self = {
    /** Of each token that is asked about; by default it is good. */
    answer: async (_token: string): Promise<void> => {},
    asked,
    audited,
  }
  const verifier: TokenVerifier = {
    async verify(token, where, jkt) {
      asked.push([token, where, jkt])
      await self.answer(token)
      return minted()
    },
  }
  const streams = createOpenStreams({
    verifier,
    clock: { now: () => Date.now() },
    audit: (facts) => void audited.push(facts),
  })
  /** What the stream was told when it was ended: when to come back, for each time. */
  const watch = (token: AccessToken, answers = false) => {
    const ended: (number | undefined)[] = []
    const leave = streams.watch(token, answers, (comeBack) => void ended.push(comeBack))
    return { ended, leave }
  }
  return Object.assign(self, { streams, watch })
}

const minted = (seconds = 3_600, more: MintedFacts = {}): AccessToken =>
  accessToken({ resource, expiresAt: start / 1000 + seconds, ...more })
const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms)
const away = () => Promise.reject(new Error('away'))

describe('what is asked', () => {
  test('every half second, for each token with its resource and its key', async () => {
    const { watch, asked } = setUp()
    const [plain, bound] = [minted(), minted(3_600, { jkt: 'a key' })]
    const elsewhere = accessToken({ ...{ token: plain.token, resource: 'https://other.example/mcp' }, expiresAt: 2e9 })
    watch(plain)
    watch(plain, true)
    watch(bound)
    watch(elsewhere)
    await pass(499)
    expect(asked).toEqual([])
    await pass(1)
    expect(asked).toEqual([
      [plain.token, resource, undefined],
      [bound.token, resource, 'a key'],
      [elsewhere.token, 'https://other.example/mcp', undefined],
    ])
    await pass(500)
    expect(asked).toHaveLength(6)
  })

  test('a hundred at once, and all of them', async () => {
    const self = setUp()
    const tokens = Array.from({ length: 250 }, () => minted())
    for (const token of tokens) self.watch(token)
    const held: (() => void)[] = []
    self.answer = () => new Promise((resolve) => held.push(resolve))
    await pass(500)
    const atOnce: number[] = []
    while (held.length > 0) {
      atOnce.push(held.length)
      for (const go of held.splice(0)) go()
      await pass(0)
    }
    expect(atOnce).toEqual([100, 100, 50])
    expect(self.asked.map(([token]) => token)).toEqual(tokens.map(({ token }) => token))
  })

  test('once at a time: while answers are awaited nothing is asked again', async () => {
    const self = setUp()
    self.watch(minted())
    let go = () => {}
    self.answer = () =>
      new Promise((resolve) => {
        go = resolve
      })
    await pass(5_000)
    expect(self.asked).toHaveLength(1)
    go()
    await pass(500)
    expect(self.asked).toHaveLength(2)
  })

  test('of no token whose streams have all gone, and without streams there is no timer', async () => {
    const { watch, streams, asked } = setUp()
    const token = minted()
    const [one, two, three] = [watch(token), watch(token), watch(minted())]
    expect([streams.size, vi.getTimerCount()]).toEqual([3, 1])
    one.leave()
    one.leave()
    three.leave()
    expect([streams.size, vi.getTimerCount()]).toEqual([1, 1])
    await pass(500)
    expect(asked.map(([each]) => each)).toEqual([token.token])
    two.leave()
    expect([streams.size, vi.getTimerCount()]).toEqual([0, 1])
    await pass(500)
    expect(vi.getTimerCount()).toBe(0)
    // It begins anew.
    watch(token)
    expect(vi.getTimerCount()).toBe(1)
    await pass(500)
    expect(asked).toHaveLength(2)
    expect([one.ended, two.ended, three.ended]).toEqual([[], [], []])
  })

  test('by a timer that keeps no process, also where timers are numbers', () => {
    const begin = vi.spyOn(globalThis, 'setInterval')
    setUp().watch(minted())
    const timer = begin.mock.results[0]?.value as { hasRef(): boolean }
    expect(timer.hasRef()).toBe(false)
    begin.mockReturnValueOnce(7 as unknown as ReturnType<typeof setInterval>)
    const { watch, streams } = setUp()
    watch(minted())
    expect(streams.size).toBe(1)
    begin.mockRestore()
  })
})

describe('what ends a stream', () => {
  test('the end of its token, to the millisecond; an answer that is under way has a minute more', async () => {
    const { watch, streams, audited, asked } = setUp()
    const token = minted(10, { subject: 'alice', clientId: 'editor', issuer: 'https://issuer.test' })
    const [listening, answering] = [watch(token), watch(token, true)]
    await pass(9_500)
    expect([listening.ended, asked.length]).toEqual([[], 19])
    await pass(500)
    expect([listening.ended, answering.ended]).toEqual([[undefined], []])
    const facts = {
      ...{ type: 'access.ended', reason: 'expired', resource },
      ...{ clientId: 'editor', issuer: 'https://issuer.test', subject: 'alice' },
    }
    expect(audited).toEqual([facts])
    await pass(59_500)
    expect([listening.ended, answering.ended, streams.size]).toEqual([[undefined], [], 1])
    await pass(500)
    expect([answering.ended, streams.size, vi.getTimerCount()]).toEqual([[undefined], 0, 0])
    expect(audited).toEqual([facts, facts])
    // Nobody asks about a token that has expired.
    expect(asked).toHaveLength(19)
  })

  test('what the verifier says of its token, at once, also where it answers a call', async () => {
    const self = setUp()
    const [one, two] = [minted(), minted()]
    const [listening, answering, other] = [self.watch(one), self.watch(one, true), self.watch(two)]
    self.answer = async (token) => {
      if (token === one.token) throw new TokenInvalid('revoked')
    }
    await pass(500)
    expect([listening.ended, answering.ended, other.ended]).toEqual([[undefined], [undefined], []])
    expect(self.audited.map((facts) => 'reason' in facts && facts.reason)).toEqual(['revoked', 'revoked'])
    expect(self.streams.size).toBe(1)
    await pass(5_000)
    expect([listening.ended, answering.ended]).toEqual([[undefined], [undefined]])
  })

  test('design 3: that nothing was known of its token for four seconds, and not before', async () => {
    const self = setUp()
    const { ended } = self.watch(minted(), true)
    await pass(500)
    self.answer = away
    await pass(3_500)
    expect(ended).toEqual([])
    await pass(500)
    expect(ended).toEqual([undefined])
    expect(self.audited).toMatchObject([{ reason: 'verifier_unavailable' }])
  })

  test('a verifier that is back in time ends nothing: its silence is counted from then', async () => {
    const self = setUp()
    const { ended } = self.watch(minted(), true)
    self.answer = away
    await pass(3_500)
    self.answer = async () => {}
    await pass(500)
    self.answer = away
    await pass(3_500)
    expect(ended).toEqual([])
    await pass(500)
    expect(ended).toEqual([undefined])
  })

  test('a clock that was set back, while nothing is known; at the very time nothing ends', async () => {
    const self = setUp()
    const { ended } = self.watch(minted())
    self.answer = async () => {
      vi.setSystemTime(start)
      throw new Error('away')
    }
    await pass(500)
    expect(ended).toEqual([])
    self.answer = async () => {
      vi.setSystemTime(start - 1)
      throw new Error('away')
    }
    await pass(500)
    expect(ended).toEqual([undefined])
  })

  test('a stream that leaves while its token is asked about is not ended, and another of that token is its own', async () => {
    const self = setUp()
    let answered = () => {}
    self.answer = () =>
      new Promise((_resolve, reject) => {
        answered = () => reject(new TokenInvalid('revoked'))
      })
    const token = minted()
    const [gone, left] = [self.watch(token), self.watch(token)]
    await pass(500)
    gone.leave()
    answered()
    await pass(0)
    expect([gone.ended, left.ended]).toEqual([[], [undefined]])
    expect(self.audited).toHaveLength(1)
    // Both leave what is not there any more; what came since stays.
    const next = self.watch(token)
    left.leave()
    gone.leave()
    expect([self.streams.size, vi.getTimerCount()]).toEqual([1, 1])
    next.leave()
    left.leave()
    expect(self.streams.size).toBe(0)
    await pass(500)
    expect(vi.getTimerCount()).toBe(0)
  })
})

describe('when the process stops', () => {
  test('those that only listen end first, each with its own time to come back; then all', () => {
    const { streams, watch, audited } = setUp()
    const [one, two] = [minted(), minted(3_600, { subject: 'bob' })]
    const [listening, answering, other, last] = [watch(one), watch(one, true), watch(two), watch(minted(), true)]
    let turn = 0
    const comeBack = () => {
      turn += 100
      return turn
    }
    streams.stop('listening', comeBack)
    expect([listening.ended, answering.ended, other.ended, last.ended]).toEqual([[100], [], [200], []])
    expect(audited).toMatchObject([
      { type: 'access.ended', reason: 'shutdown', subject: one.subject },
      { type: 'access.ended', reason: 'shutdown', subject: 'bob' },
    ])
    expect([streams.size, turn]).toEqual([2, 200])
    streams.stop('all', comeBack)
    expect([answering.ended, last.ended, streams.size, vi.getTimerCount()]).toEqual([[300], [400], 0, 0])
    streams.stop('all', comeBack)
    expect([audited.length, turn]).toEqual([4, 400])
  })
})
