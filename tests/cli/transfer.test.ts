import { randomBytes, randomUUID } from 'node:crypto'
import { Readable } from 'node:stream'
import { afterAll, expect, test } from 'vitest'
import { exportStore, importStore } from '../../src/cli/transfer.ts'
import { memory } from '../../src/store/memory.ts'
import { postgres } from '../../src/store/postgres.ts'
import { redis } from '../../src/store/redis.ts'
import { sqlite } from '../../src/store/sqlite.ts'
import type { ListedEntry, Store } from '../../src/store/store.ts'
import { startPostgres } from '../support/postgres.ts'
import { startRedis } from '../support/redis.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const { path: folder, remove } = temporaryDirectory()
const [database, cache] = [await startPostgres(), await startRedis()]
const opened: Store[] = []
afterAll(async () => {
  for (const store of opened) await store.close()
  for (const engine of [database, cache]) if ('url' in engine) await engine.stop()
  remove()
})

/** Each opens an empty store of its kind. */
const engines: Readonly<Record<string, () => Store>> = {
  memory: () => memory(),
  sqlite: () => sqlite(`${folder}/${randomUUID()}`),
  ...('url' in database && {
    postgres: () => postgres(database.url, { schema: `moved_${randomUUID().replaceAll('-', '')}` }),
  }),
  ...('url' in cache && { redis: () => redis(cache.url, { prefix: `moved-${randomUUID()}` }) }),
}
const open = (engine: string): Store => {
  const store = engines[engine]?.() ?? expect.fail(`no engine ${engine}`)
  opened.push(store)
  return store
}

const HOUR = 3_600_000
const everything = async (store: Store): Promise<readonly ListedEntry[]> => {
  const all: ListedEntry[] = []
  for (;;) {
    const last = all.at(-1)?.key
    const { entries } = await store.list('', { limit: 100, ...(last !== undefined && { after: last }) })
    all.push(...entries)
    if (entries.length < 100) return all
  }
}

const pairs = Object.keys(engines).flatMap((from) => Object.keys(engines).map((to) => ({ from, to })))

test.each(pairs)(
  'design 5: everything goes from $from to $to, byte by byte, and expires when it would have',
  async ({ from, to }) => {
    const [source, target] = [open(from), open(to)]
    const values = [new Uint8Array(), new Uint8Array(randomBytes(1_000)), new TextEncoder().encode('"\\\n\u2028')]
    const keys = ['a/!', 'a/"\\', 'a/~', 'b/%_*?[', ...Array.from({ length: 600 }, (_, index) => `many/${index}`)]
    for (let at = 0; at < keys.length; at += 200) {
      const sets = keys.slice(at, at + 200).map((key, index) => ({
        key,
        value: values[index % values.length] ?? new Uint8Array(),
        ...(index % 2 === 0 && { ttl: HOUR }),
      }))
      expect(await source.commit({ sets })).toMatchObject({ committed: true })
    }
    const before = await everything(source)
    expect(before).toHaveLength(keys.length)

    const lines: string[] = []
    expect(await exportStore(source, async (line) => void lines.push(line))).toBe(keys.length)
    expect(await importStore(target, Readable.from(lines))).toEqual({ imported: keys.length, expired: 0 })

    const after = await everything(target)
    const plain = (entries: readonly ListedEntry[]) =>
      entries.map(({ key, value, expiresAt }) => [key, Buffer.from(value).toString('hex'), expiresAt === undefined])
    expect(plain(after)).toEqual(plain(before))
    for (const [index, { expiresAt }] of after.entries()) {
      const late = (expiresAt ?? 0) - (before[index]?.expiresAt ?? 0)
      // Never much sooner; and later by no more than the moving itself took.
      expect(late).toBeGreaterThan(-5_000)
      expect(late).toBeLessThan(HOUR / 2)
    }
  },
)
