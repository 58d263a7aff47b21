import { expect, test } from 'vitest'
import { recordIn } from '../../src/events/record.ts'

test('where a library replaced the global Promise, a sink that fails later is heard of, and ends no process', async () => {
  const usual = globalThis.Promise
  const failures: string[] = []
  const refuse = async () => {
    throw new Error('later')
  }
  const record = recordIn([refuse], { now: () => 7 }, (error) => failures.push((error as Error).message))
  globalThis.Promise = class Another<T> extends usual<T> {} as PromiseConstructor
  try {
    record({ type: 'client.created', clientId: 'x', name: 'Notes' })
  } finally {
    globalThis.Promise = usual
  }
  await expect.poll(() => failures).toEqual(['later'])
})
