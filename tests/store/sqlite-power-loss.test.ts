import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import type { DriverName } from '../../src/store/sqlite/driver.ts'
import { sqlite } from '../../src/store/sqlite.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'
import { bytes, set, text, value } from './contract.ts'

// A disk that lost its power has what was synced. Of what was written after that it may have a part, nothing, or anything in its place.

const { path: root, remove } = temporaryDirectory()
afterAll(remove)

const KEYS = ['a', 'b', 'c']
const COMMITS = 5

/** What the disk may have in place of what it was not told to keep. */
const remains: Readonly<Record<string, (lost: Buffer) => Buffer>> = {
  nothing: () => Buffer.alloc(0),
  zeros: (lost) => Buffer.alloc(lost.length),
  garbage: (lost) => randomBytes(lost.length),
  'all but the first page': (lost) => Buffer.concat([Buffer.alloc(Math.min(4_096, lost.length)), lost.subarray(4_096)]),
}

const drivers: readonly DriverName[] = ['node:sqlite', 'libsql']
for (const driver of drivers) {
  const missing = driver === 'node:sqlite' && process.getBuiltinModule?.('node:sqlite') === undefined

  test.skipIf(missing)(
    `sqlite with ${driver}: power that is lost at any byte takes no answered commit, and leaves none torn`,
    async () => {
      const path = join(root, driver.replace(':', '-'), 'store.db')
      const store = sqlite(path, { driver })
      /** How long the log was when a commit had been answered: so much had been synced. */
      const synced: number[] = []
      for (let commit = 0; commit < COMMITS; commit++) {
        const sets = KEYS.map((key) => ({ key, value: bytes(String(commit).padStart(600, '0')) }))
        expect(await store.commit({ sets })).toMatchObject({ committed: true })
        synced.push(statSync(`${path}-wal`).size)
      }
      expect(new Set(synced).size).toBe(COMMITS)
      const [file, log] = [readFileSync(path), readFileSync(`${path}-wal`)]
      await store.close()

      let images = 0
      for (const [commit, end] of synced.entries()) {
        const next = synced[commit + 1] ?? end
        for (const cut of new Set([end, end + 30, Math.floor((end + next) / 2), next - 1])) {
          if (cut < end || cut > log.length) continue
          for (const [name, rest] of Object.entries(remains)) {
            const image = join(root, `${driver.replace(':', '-')}-${images++}`, 'store.db')
            mkdirSync(join(image, '..'))
            writeFileSync(image, file)
            writeFileSync(`${image}-wal`, Buffer.concat([log.subarray(0, cut), rest(log.subarray(cut))]))
            const after = sqlite(image, { driver })
            const { entries } = await after.get(KEYS)
            const seen = new Set(entries.map((entry) => Number(text(entry?.value))))
            expect([name, commit, cut, seen.size]).toEqual([name, commit, cut, 1])
            expect([commit, commit + 1]).toContain([...seen][0])
            expect(new Set(entries.map((entry) => entry?.version)).size).toBe(1)
            await set(after, 'on', 'and on')
            expect(await value(after, 'on')).toBe('and on')
            await after.close()
          }
        }
      }
      expect(images).toBeGreaterThan(4 * COMMITS)
    },
  )
}
