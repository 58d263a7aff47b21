import { expect, test } from 'vitest'
import { inStep } from '../../src/http/in-step.ts'

/** What each of several requests does, in the order in which it came about. */
const stepsOf = async (requests: readonly string[]): Promise<string[]> => {
  const steps: string[] = []
  await Promise.all(
    requests.map(async (request) => {
      await inStep()
      for (const step of ['reads', 'decides', 'answers']) {
        steps.push(`${request} ${step}`)
        await Promise.resolve()
      }
    }),
  )
  return steps
}

test('requests that arrived together go through each step side by side, in the order in which they came', async () => {
  expect(await stepsOf(['first', 'second', 'third'])).toEqual(
    ['reads', 'decides', 'answers'].flatMap((step) => ['first', 'second', 'third'].map((each) => `${each} ${step}`)),
  )
})

test('who comes while others are at it waits for a turn of its own, which comes', async () => {
  const steps: string[] = []
  let late: Promise<unknown> | undefined
  await inStep().then(() => {
    steps.push('first')
    late = inStep().then(() => steps.push('late'))
    queueMicrotask(() => steps.push('what the first does next'))
  })
  await late
  expect(steps).toEqual(['first', 'what the first does next', 'late'])
})

test('one that fails leaves the others alone', async () => {
  const failing = inStep().then(() => {
    throw new Error('this one fails')
  })
  const other = inStep().then(() => 'answered')
  await expect(failing).rejects.toThrow('this one fails')
  expect(await other).toBe('answered')
})
