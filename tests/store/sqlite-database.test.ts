import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { database } from '../../src/store/sqlite/database.ts'
import { BUSY, type Driver, loadDriver } from '../../src/store/sqlite/driver.ts'
import { writer } from '../../src/store/sqlite/writer.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

/** What SQLite throws when another process is in the way. */
const busy = () => Object.assign(new Error('database is locked'), { errcode: BUSY, rawCode: BUSY })

let directory: ReturnType<typeof temporaryDirectory>
beforeEach(() => {
  directory = temporaryDirectory()
})
afterEach(() => directory.remove())

describe('a file that is busy', () => {
  test.each(['at the first use', 'after another'])(
    '%s: what was begun then and could not be ended keeps nobody from beginning again',
    async (when) => {
      const file = database(join(directory.path, 'store.db'), loadDriver())
      const write = (key: string) =>
        file.use((statements) => {
          statements.beginImmediate.run()
          statements.set(1).run(key, Number.MAX_SAFE_INTEGER, 'version', new Uint8Array([1]))
          statements.commit.run()
        })
      if (when === 'after another') await write('before')
      let attempts = 0
      const read = () =>
        file.use((statements) => {
          attempts++
          statements.begin.run()
          statements.set(1).run('torn', Number.MAX_SAFE_INTEGER, 'version', new Uint8Array([1]))
          // Its end is refused, as a transaction's may be.
          if (attempts === 1) throw busy()
          const row = statements.version.get('torn', 0)
          statements.rollback.run()
          return row
        })
      expect(await read()).toMatchObject({ version: 'version' })
      expect(attempts).toBe(2)
      await write('after')
      // What the first attempt wrote is undone, for others, too.
      const other = database(join(directory.path, 'store.db'), loadDriver())
      const found = await other.use(({ version }) => ['torn', 'after'].map((key) => version.get(key, 0)?.version))
      expect(found).toEqual([undefined, 'version'])
      other.close()
      file.close()
    },
  )
})

test('only what may be lost in a power failure does without the disk, and only by itself', async () => {
  const modes: unknown[] = []
  // Looks at each transaction how SQLite would end it.
  const driver: Driver = (path) => {
    const connection = loadDriver()(path)
    const mode = connection.prepare('PRAGMA synchronous')
    const prepare = (sql: string) => {
      const statement = connection.prepare(sql)
      if (sql !== 'COMMIT') return statement
      const run = () => {
        modes.push(mode.get()?.synchronous)
        return statement.run()
      }
      return { ...statement, run }
    }
    return { exec: (sql) => connection.exec(sql), prepare, close: () => connection.close() }
  }
  const file = database(join(directory.path, 'store.db'), driver)
  const { write, writeSoon } = writer(file, () => 1)
  const add = (by: number) => writeSoon(({ increment }) => Number(increment.get('limit', 1_000, by, 1)?.value))
  const set = (key: string) => write(({ set }) => set(1).run(key, 1_000, 'version', new Uint8Array([1])))
  await set('first')
  expect(await add(1)).toBe(1)
  expect(await add(1)).toBe(2)
  await set('second')
  await Promise.all([add(1), set('third'), add(1)])
  expect(await add(1)).toBe(5)
  const [normal, full] = [1, 2]
  expect(modes).toEqual([full, normal, normal, full, full, normal])
  file.close()
})
