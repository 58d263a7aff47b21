import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { loadDriver } from '../../src/store/sqlite/driver.ts'
import { sqlite } from '../../src/store/sqlite.ts'
import type { Store } from '../../src/store/store.ts'
import { StoreUnavailable } from '../../src/store/store.ts'
import { startProcess } from '../support/process.ts'
import { bytes, contract, LONG, set, text, value } from './contract.ts'
import { makeReadOnly, mountDisk, unmountAll } from './disk.ts'
import { model } from './model.ts'
import { stopped } from './movable-clock.ts'
import { contender, processes } from './processes.ts'

const root = mkdtempSync(join(tmpdir(), 'countersign-sqlite-'))
afterAll(() => {
  unmountAll()
  rmSync(root, { recursive: true, force: true })
})
let made = 0
const freshPath = () => join(root, String(made++), 'store.db')
const mode = (path: string) => (statSync(path).mode & 0o777).toString(8)
/** What a library of its own does to the file, from outside. */
const libsql = createRequire(import.meta.url).resolve('libsql')
const inAnotherProcess = (path: string, code: string) =>
  String(
    execFileSync(process.execPath, [
      '-e',
      `const Database = require(process.argv[2]); const db = new Database(process.argv[1]); ${code}`,
      path,
      libsql,
    ]),
  )

const drivers = ['node:sqlite', 'libsql'] as const
for (const driver of drivers) {
  const missing = driver === 'node:sqlite' && process.getBuiltinModule?.('node:sqlite') === undefined

  describe.skipIf(missing)(`sqlite with ${driver}`, () => {
    const bench = async () => {
      const path = freshPath()
      const clock = stopped()
      const stores: Store[] = []
      const another = () => {
        const store = sqlite(path, { clock, driver })
        stores.push(store)
        return store
      }
      const end = async () => {
        for (const store of stores) await store.close()
      }
      return { store: another(), another, pass: clock.pass, end }
    }
    contract(bench)
    model(bench, 30)
    processes(async () => {
      const path = freshPath()
      const store = sqlite(path, { driver })
      return { opening: { engine: 'sqlite', path, driver }, store, end: () => store.close() }
    })

    test('killed in the middle of commits again and again: nothing torn, nothing lost that was answered', async () => {
      const path = freshPath()
      let before = 0
      for (let round = 0; round < 6; round++) {
        const { running, go } = await contender({ engine: 'sqlite', path, driver }, 'write')
        const answeredSoFar = () => running.stdout.split('\n').slice(1, -1)
        go()
        await expect.poll(() => answeredSoFar().length, { interval: 1 }).toBeGreaterThan(5 + round * 7)
        running.signal('SIGKILL')
        await running.ended
        const answered = Number(answeredSoFar().at(-1))
        const store = sqlite(path, { driver })
        const { entries } = await store.get(['a', 'b', 'c'])
        await store.close()
        const numbers = entries.map((entry) => Number(text(entry?.value)))
        expect(new Set(numbers).size).toBe(1)
        expect(new Set(entries.map((entry) => entry?.version)).size).toBe(1)
        expect(numbers[0]).toBeGreaterThanOrEqual(answered)
        expect(answered).toBeGreaterThan(before)
        before = answered
      }
    })

    test('keeps what was committed when it is opened again', async () => {
      const path = freshPath()
      const one = sqlite(path, { driver })
      const version = await set(one, 'a', '1')
      await one.increment('c', 3, LONG)
      await one.close()
      const two = sqlite(path, { driver })
      expect((await two.get(['a'])).entries).toEqual([{ value: bytes('1'), version }])
      expect((await two.increment('c', 1, LONG)).value).toBe(4)
      await two.close()
    })

    test('a row that somebody damaged is its reader’s trouble alone, not that of who asks in the same turn', async () => {
      const path = freshPath()
      const store = sqlite(path, { driver })
      for (const key of ['a', 'damaged', 'b']) await set(store, key, key)
      const connection = loadDriver(driver)(path)
      connection.exec("UPDATE entries SET value = 'no bytes' WHERE key = 'damaged'")
      connection.close()
      const [a, damaged, b, both] = await Promise.allSettled([
        store.get(['a']),
        store.get(['damaged']),
        store.get(['b', 'absent']),
        store.get(['a', 'damaged']),
      ])
      expect(a).toMatchObject({ value: { entries: [{ value: bytes('a') }] } })
      expect(b).toMatchObject({ value: { entries: [{ value: bytes('b') }, undefined] } })
      expect([damaged?.status, both?.status]).toEqual(['rejected', 'rejected'])
      await expect(store.get(['damaged'])).rejects.toThrow('not a blob')
      await store.close()
    })

    test('the file is complete by itself after close', async () => {
      const path = freshPath()
      const store = sqlite(path, { driver })
      await set(store, 'a', '1')
      await store.close()
      const copy = freshPath()
      mkdirSync(join(copy, '..'), { recursive: true })
      writeFileSync(copy, readFileSync(path))
      const other = sqlite(copy, { driver })
      expect(await value(other, 'a')).toBe('1')
      await other.close()
    })

    test('the file, its log and its index are for their owner only, the directory too', async () => {
      const path = join(root, String(made++), 'deep', 'store.db')
      const store = sqlite(path, { driver })
      await set(store, 'a', '1')
      expect([path, `${path}-wal`, `${path}-shm`].map(mode)).toEqual(['600', '600', '600'])
      expect([join(path, '..'), join(path, '../..')].map(mode)).toEqual(['700', '700'])
      await store.close()
      chmodSync(path, 0o644)
      const again = sqlite(path, { driver })
      await set(again, 'a', '2')
      expect([path, `${path}-wal`, `${path}-shm`].map(mode)).toEqual(['600', '600', '600'])
      await again.close()
    })

    test('deletes expired rows, a bounded part for each write', async () => {
      const path = freshPath()
      const clock = stopped()
      const store = sqlite(path, { clock, driver })
      const write = (prefix: string, ttl?: number) =>
        Promise.all(
          Array.from({ length: 1000 }, (_, i) =>
            store.commit({ sets: [{ key: `${prefix}${i}`, value: bytes('v'), ...(ttl !== undefined && { ttl }) }] }),
          ),
        )
      await write('expired', 1000)
      await Promise.all(Array.from({ length: 300 }, (_, i) => store.increment(`c${i}`, 1, 1000)))
      await clock.pass(1001)
      await write('new')
      await store.close()
      const rows = inAnotherProcess(
        path,
        `const count = (table) => db.prepare('SELECT count(*) AS n FROM ' + table).get().n
         console.log(JSON.stringify([count('entries'), count('counters')]))`,
      )
      expect(JSON.parse(rows)).toEqual([1000, 0])
    })

    test('a damaged file is StoreUnavailable with a clear message, at first use', async () => {
      const noDatabase = freshPath()
      mkdirSync(join(noDatabase, '..'))
      writeFileSync(noDatabase, 'no database at all '.repeat(500))
      const store = sqlite(noDatabase, { driver })
      await expect(store.get(['a'])).rejects.toThrow(/damaged, or not an SQLite database/)
      await expect(store.commit({})).rejects.toThrow(StoreUnavailable)
      await expect(store.get(['a'])).rejects.toMatchObject({ cause: expect.any(Error) })
      await store.close()

      const damaged = freshPath()
      const before = sqlite(damaged, { driver })
      await Promise.all(Array.from({ length: 500 }, (_, i) => set(before, `key${i}`, 'v'.repeat(500))))
      await before.close()
      const { size } = statSync(damaged)
      truncateSync(damaged, 8192)
      truncateSync(damaged, size)
      const after = sqlite(damaged, { driver })
      await expect(after.list('', { limit: 1000 })).rejects.toThrow(/damaged/)
      await after.close()
    })

    test("another program's database, and one of a newer release, are refused and left alone", async () => {
      const foreign = freshPath()
      mkdirSync(join(foreign, '..'))
      inAnotherProcess(foreign, `db.exec('CREATE TABLE entries (id)')`)
      const store = sqlite(foreign, { driver })
      await expect(store.get(['a'])).rejects.toThrow(/another program's database/)
      await store.close()

      const newer = freshPath()
      const ours = sqlite(newer, { driver })
      await set(ours, 'a', '1')
      await ours.close()
      inAnotherProcess(newer, `db.exec('PRAGMA user_version = 2')`)
      const rolling = sqlite(newer, { driver })
      expect(await value(rolling, 'a')).toBe('1')
      await rolling.close()
      inAnotherProcess(newer, `db.exec('PRAGMA user_version = 3')`)
      const old = sqlite(newer, { driver })
      await expect(old.get(['a'])).rejects.toThrow(/newer release/)
      await old.close()
    })

    test('a path that can not be made is StoreUnavailable, and works once it can', async () => {
      const path = freshPath()
      writeFileSync(join(path, '..'), 'a file where the directory should be')
      const store = sqlite(path, { driver })
      await expect(store.get(['a'])).rejects.toThrow(StoreUnavailable)
      rmSync(join(path, '..'))
      expect(await value(store, 'a')).toBeUndefined()
      await store.close()
    })

    test('a full disk is StoreUnavailable, changes nothing, and is over when there is room', async ({ skip }) => {
      const disk = join(root, String(made++))
      if (!mountDisk(disk, '512k')) skip('a small disk can not be mounted here')
      const store = sqlite(join(disk, 'store.db'), { driver })
      const version = await set(store, 'a', '1')
      const check = { key: 'a', version }
      const large = { key: 'large', value: new Uint8Array(450 * 1024) }
      const attempt = store.commit({ checks: [check], sets: [{ key: 'a', value: bytes('2') }, large] })
      await expect(attempt).rejects.toThrow(StoreUnavailable)
      await expect(store.commit({ sets: [large] })).rejects.toThrow(/disk is full|disk reports an error/)
      expect(await value(store, 'a')).toBe('1')
      const smaller = { key: 'large', value: new Uint8Array(50 * 1024) }
      expect((await store.commit({ checks: [check], sets: [smaller] })).committed).toBe(true)
      await store.close()
    })

    test('a read-only disk is StoreUnavailable, and says so', async ({ skip }) => {
      const elsewhere = freshPath()
      const before = sqlite(elsewhere, { driver })
      await set(before, 'a', '1')
      await before.close()
      const disk = join(root, String(made++))
      if (!mountDisk(disk)) skip('a disk can not be mounted here')
      const path = join(disk, 'store.db')
      writeFileSync(path, readFileSync(elsewhere), { mode: 0o600 })
      makeReadOnly(disk)
      const store = sqlite(path, { driver })
      const attempt = store.commit({ sets: [{ key: 'a', value: bytes('2') }] })
      await expect(attempt).rejects.toThrow(/read-only|for reading and writing/)
      await store.close()
    })

    test('locked by another process: waits without blocking the event loop, then StoreUnavailable or done', async () => {
      const path = freshPath()
      const store = sqlite(path, { driver })
      await set(store, 'a', '1')
      const hold = (seconds: number) =>
        startProcess(process.execPath, [
          '-e',
          `const D = require(process.argv[2]); const db = new D(process.argv[1]); db.exec('BEGIN IMMEDIATE'); console.log('held')
           setTimeout(() => { db.exec('COMMIT'); db.close() }, process.argv[3] * 1000)`,
          path,
          libsql,
          String(seconds),
        ])
      const short = hold(1)
      await short.line(/held/)
      let turns = 0
      const counting = setInterval(() => turns++, 5)
      expect(await set(store, 'a', '2')).toBeTypeOf('string')
      expect(await value(store, 'a')).toBe('2')
      clearInterval(counting)
      // Blocked all the time there would be none; a busy machine makes fewer.
      expect(turns).toBeGreaterThan(10)
      await short.ended
      const long = hold(60)
      await long.line(/held/)
      const waiting = set(store, 'a', '3')
      expect(await value(store, 'a')).toBe('2')
      await expect(waiting).rejects.toThrow(/another process keeps it locked/)
      await long.stop()
      expect(await value(store, 'a')).toBe('2')
      await set(store, 'a', '4')
      await store.close()
    })
  })
}

test('a path that is none is refused at once', () => {
  expect(() => sqlite('')).toThrow(TypeError)
  expect(() => sqlite(':memory:')).toThrow(/memory\(\)/)
  expect(() => sqlite('file:store.db')).toThrow(TypeError)
})

test('a driver that is not there is refused at once, with what to install', () => {
  if (process.getBuiltinModule?.('node:sqlite') !== undefined) return
  expect(() => sqlite(freshPath(), { driver: 'node:sqlite' })).toThrow(/Node 22/)
})
