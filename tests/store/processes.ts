/** Tests with several real processes at one store. */
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import type { RedisCluster } from '../../src/store/redis.ts'
import type { Store } from '../../src/store/store.ts'
import { startProcess } from '../support/process.ts'
import { LONG, value } from './contract.ts'

export type Opening =
  | { readonly engine: 'sqlite'; readonly path: string; readonly driver: 'node:sqlite' | 'libsql' }
  | {
      readonly engine: 'postgres'
      readonly url: string
      readonly schema: string
      /** Through a pooler in transaction mode, and past it to listen. */
      readonly listen?: string
    }
  | {
      readonly engine: 'redis'
      /** Or where the nodes of a cluster are. */
      readonly url: string | RedisCluster
      readonly prefix: string
    }

/** Resolves when the process has opened the store and waits for `go`. */
export async function contender(opening: Opening, task: 'race' | 'notify' | 'write', rounds = 0) {
  const script = fileURLToPath(new URL('./contender.ts', import.meta.url))
  const running = startProcess(process.execPath, [
    '--import',
    'tsx',
    script,
    JSON.stringify(opening),
    task,
    String(rounds),
  ])
  await running.line(/^ready$/)
  return { running, go: () => running.write('go\n'), stop: () => running.write('stop\n') }
}

/** `fresh` makes empty data, and a handle on it here that the test closes. */
export function processes(fresh: () => Promise<{ opening: Opening; store: Store; end(): Promise<void> }>): void {
  test('compare-and-swap from several processes: one winner a round, no update lost', async () => {
    const { opening, store, end } = await fresh()
    const many = 4
    const rounds = 60
    try {
      const contenders = await Promise.all(Array.from({ length: many }, () => contender(opening, 'race', rounds)))
      for (const { go } of contenders) go()
      // Without any contention this test would show nothing; on a busy machine they may follow one another for a while.
      await Promise.any(contenders.map(({ running }) => running.line(/^lost$/)))
      for (const { stop } of contenders) stop()
      const lines = await Promise.all(contenders.map(({ running }) => running.line(/^\{.*\}$/)))
      for (const { running } of contenders) expect(await running.ended).toEqual({ code: 0, signal: null })
      const results = lines.map(([json]) => JSON.parse(json) as { claims: number; wins: number })
      expect(results.reduce((sum, { claims }) => sum + claims, 0)).toBe(rounds)
      expect((await store.list('round/', { limit: 1000 })).entries).toHaveLength(rounds)
      expect(await value(store, 'number')).toBe(String(results.reduce((sum, { wins }) => sum + wins, 0)))
      expect((await store.increment('tries', 0, LONG)).value).toBe(many * rounds)
    } finally {
      await end()
    }
  })

  test('get is one snapshot while another process writes', async () => {
    const { opening, store, end } = await fresh()
    const writer = await contender(opening, 'write')
    try {
      writer.go()
      const versions = new Set<string | undefined>()
      for (let reads = 0; versions.size < 200 && reads < 100_000; reads++) {
        const { entries } = await store.get(['a', 'b', 'c'])
        expect(new Set(entries.map((entry) => entry?.version)).size).toBe(1)
        versions.add(entries[0]?.version)
        if (reads % 50 === 0) await new Promise((resolve) => setImmediate(resolve))
      }
      expect(versions.size).toBe(200)
    } finally {
      await writer.running.stop(0)
      await end()
    }
  })

  test('notify reaches another process', async () => {
    const { opening, store, end } = await fresh()
    try {
      const messages: string[] = []
      store.watch((message) => messages.push(message))
      await store.get([])
      const other = await contender(opening, 'notify')
      other.go()
      expect(await other.running.ended).toEqual({ code: 0, signal: null })
      await expect.poll(() => messages).toEqual(['from-another-process'])
    } finally {
      await end()
    }
  })
}
