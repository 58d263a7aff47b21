import { join } from 'node:path'
import type { Options } from 'countersign'
import { memory } from 'countersign/store/memory'
import { postgres } from 'countersign/store/postgres'
import { redis } from 'countersign/store/redis'
import { sqlite } from 'countersign/store/sqlite'
import { SECRET } from './clients.ts'

const { BENCH_DATA, BENCH_STORE = 'sqlite', BENCH_URL = '', BENCH_SPACE = 'bench', BENCH_COUNTERS } = process.env

/** The store that the environment names, and the secret that its nodes share; `BENCH_COUNTERS`: the URL of a Redis that counts in its place. */
export function benchStore(): Pick<Options<unknown>, 'secret'> & {
  readonly store: NonNullable<Options<unknown>['store']>
} {
  const store = named()
  if (BENCH_COUNTERS === undefined) return { secret: SECRET, store }
  const counters = redis(BENCH_COUNTERS, { prefix: BENCH_SPACE })
  return { secret: SECRET, store: { ...store, increment: counters.increment } }
}

function named() {
  if (BENCH_STORE === 'memory') return memory()
  if (BENCH_STORE === 'postgres') return postgres(BENCH_URL, { schema: BENCH_SPACE })
  if (BENCH_STORE === 'redis') return redis(BENCH_URL, { prefix: BENCH_SPACE })
  if (BENCH_DATA === undefined) throw new Error('BENCH_DATA names no folder')
  return sqlite(join(BENCH_DATA, 'countersign.db'))
}
