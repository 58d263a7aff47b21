import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, describe } from 'vitest'
import { redis } from '../../src/store/redis.ts'
import type { Store } from '../../src/store/store.ts'
import { startRedis } from '../support/redis.ts'
import { contract } from './contract.ts'
import { model } from './model.ts'

const server = await startRedis()
if ('stop' in server) afterAll(() => server.stop())
const url = 'url' in server ? server.url : ''
const freshPrefix = () => `test:${randomUUID()}`

describe.skipIf('skip' in server)(`redis${'skip' in server ? `: ${server.skip}` : ''}`, () => {
  const bench = async () => {
    const prefix = freshPrefix()
    const stores: Store[] = []
    const another = () => {
      const store = redis(url, { prefix })
      stores.push(store)
      return store
    }
    const end = async () => {
      for (const store of stores) await store.close()
    }
    // The engine's clock can't be moved.
    return { store: another(), another, pass: (ms: number) => delay(ms), end }
  }
  contract(bench)
  model(bench, 12)
})
