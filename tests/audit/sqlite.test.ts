import { existsSync, statSync } from 'node:fs'
import { expect, test } from 'vitest'
import { sqliteAudit } from '../../src/audit/sqlite.ts'
import { loadDriver } from '../../src/store/sqlite/driver.ts'
import { sqlite } from '../../src/store/sqlite.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'
import { approved, type Bench, contract } from './contract.ts'

contract(async (): Promise<Bench> => {
  const { path, remove } = temporaryDirectory()
  const file = `${path}/audit.db`
  return {
    open: ({ warn = () => {}, ...options } = {}) => sqliteAudit(file, { ...options, logger: { warn } }),
    async tamper() {
      const connection = loadDriver()(file)
      try {
        connection.exec("UPDATE events SET account = 'mallory'")
        return 'changed'
      } catch (error) {
        return error
      } finally {
        connection.close()
      }
    },
    end: async () => remove(),
  }
})

test('the file is for its owner only, and is not made before there is something to keep', async () => {
  const { path, remove } = temporaryDirectory()
  const log = sqliteAudit(`${path}/below/audit.db`)
  expect(existsSync(`${path}/below`)).toBe(false)
  log.record(approved('alice', 'g1'))
  await log.flush()
  expect(statSync(`${path}/below/audit.db`).mode & 0o777).toBe(0o600)
  await log.close()
  remove()
})

test('the store’s file is not taken, and stays as it is', async () => {
  const { path, remove } = temporaryDirectory()
  const store = sqlite(`${path}/db`)
  await store.commit({ sets: [{ key: 'a', value: new Uint8Array([1]) }] })
  const warned: unknown[] = []
  const log = sqliteAudit(`${path}/db`, { logger: { warn: (_message, details) => warned.push(details) } })
  log.record(approved('alice', 'g1'))
  await log.flush()
  expect(String((warned[0] as { error: unknown }).error)).toMatch(/one of its own/)
  await expect(log.query()).rejects.toThrow(/one of its own/)
  expect((await store.get(['a'])).entries[0]?.value).toEqual(new Uint8Array([1]))
  await store.close()
  remove()
})
