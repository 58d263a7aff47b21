import { expect, test } from 'vitest'
import { operations } from '../../src/store/redis/operations.ts'
import { LATE, scripts } from '../../src/store/redis/scripts.ts'

/** A server's clock can't be moved, so here is one that only refuses what came too late for it. */
function engine(clock: () => number) {
  const deadlines: number[] = []
  return {
    deadlines,
    async run(_: unknown, __: unknown, values: readonly unknown[]) {
      const now = clock()
      const deadline = Number(values[0])
      deadlines.push(deadline)
      return [Buffer.from(String(now)), Buffer.from(now >= deadline ? LATE : 'done'), 1]
    },
  }
}

test('a clock that went ahead costs a write one more attempt, and the next none', async () => {
  let ahead = 0
  const { run, deadlines } = engine(() => Date.now() + ahead)
  const { write } = operations({ run })
  await write(scripts.commit, [], [])
  deadlines.length = 0
  ahead = 3_600_000
  expect((await write(scripts.commit, [], []))[1]).toBe(1)
  expect(deadlines).toHaveLength(2)
  await write(scripts.commit, [], [])
  expect(deadlines).toHaveLength(3)
})

test('a write that is late twice is StoreUnavailable', async () => {
  let now = 0
  const { run, deadlines } = engine(() => {
    now += 3_600_000
    return now
  })
  await expect(operations({ run }).write(scripts.commit, [], [])).rejects.toMatchObject({ name: 'StoreUnavailable' })
  expect(deadlines).toHaveLength(2)
})
