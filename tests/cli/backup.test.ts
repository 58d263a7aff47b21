import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, describe, expect, test } from 'vitest'
import { run } from '../../src/cli/run.ts'
import { postgres } from '../../src/store/postgres.ts'
import { redis } from '../../src/store/redis.ts'
import { loadDriver } from '../../src/store/sqlite/driver.ts'
import { sqlite } from '../../src/store/sqlite.ts'
import type { Store } from '../../src/store/store.ts'
import { createTarget, credentials } from '../attacks/support/target.ts'
import { postgresProgram, startPostgres } from '../support/postgres.ts'
import { startRedis } from '../support/redis.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

// As docs/operations.md says it: by the engine's own means, beside a server that runs, and then back on another engine.

const program = promisify(execFile)
const { path: folder, remove } = temporaryDirectory()
const [database, cache] = [await startPostgres(), await startRedis()]
const ends: (() => Promise<unknown>)[] = []
afterAll(async () => {
  for (const end of ends.reverse()) await end()
  for (const engine of [database, cache]) if ('url' in engine) await engine.stop()
  remove()
})

interface Engine {
  readonly name: string
  readonly missing?: string
  open(): Store
  /** Backs up and restores, and says how what was restored is named. */
  restored(): Promise<{ readonly where: string; readonly open: () => Store }>
}

const engines: readonly Engine[] = [
  {
    name: 'SQLite, by VACUUM INTO',
    open: () => sqlite(`${folder}/db`),
    async restored() {
      const copy = `${folder}/copy/db`
      await program('mkdir', [`${folder}/copy`])
      const connection = loadDriver()(`${folder}/db`)
      connection.exec(`VACUUM INTO '${copy}'`)
      connection.close()
      return { where: copy, open: () => sqlite(copy) }
    },
  },
  {
    name: 'PostgreSQL, by pg_dump',
    ...('skip' in database && { missing: database.skip }),
    open: () => postgres('url' in database ? database.url : ''),
    async restored() {
      const other = await startPostgres()
      if ('skip' in other || 'skip' in database) throw new Error('there was one before')
      ends.push(() => other.stop())
      const file = `${folder}/dump`
      await program(await postgresProgram('pg_dump'), ['--format=custom', '--file', file, '--dbname', database.url])
      await program(await postgresProgram('pg_restore'), ['--exit-on-error', '--dbname', other.url, file])
      return { where: other.url, open: () => postgres(other.url) }
    },
  },
  {
    name: 'Redis, by its RDB file',
    ...('skip' in cache && { missing: cache.skip }),
    open: () => redis('url' in cache ? cache.url : ''),
    async restored() {
      // With `appendonly yes` it would look for a log alone, and begin empty.
      const other = await startRedis({ appendonly: 'no' })
      if ('skip' in other || 'skip' in cache) throw new Error('there was one before')
      ends.push(() => other.stop())
      const folderOf = async ({ command }: typeof other) =>
        String(((await command('CONFIG', 'GET', 'dir')) as unknown[])[1])
      await cache.command('SAVE')
      const [from, to] = await Promise.all([cache, other].map(folderOf))
      await other.kill()
      copyFileSync(join(from ?? '', 'dump.rdb'), join(to ?? '', 'dump.rdb'))
      await other.start()
      await other.command('CONFIG', 'SET', 'appendonly', 'yes')
      return { where: other.url, open: () => redis(other.url) }
    },
  },
]

describe.each(engines)('a backup of $name', ({ missing, open, restored }) => {
  test.skipIf(missing !== undefined)(
    'of a server that runs: who was signed in then goes on, also with a token that is newer than the backup',
    async () => {
      const secret = randomBytes(32).toString('base64')
      const before = await createTarget({ store: open(), secret, clock: undefined })
      const client = await before.register()
      const tokens = await before.tokens(client)
      const quiet = await before.tokens(client, { who: 'Bob' })
      const revoked = await before.tokens(client, { who: 'Mallory' })
      const backup = await restored()
      const newer = (await before.refresh(client, tokens.refresh_token)).body
      const later = await before.tokens(client)
      await before.post('/revoke', { ...credentials(client), token: revoked.refresh_token })
      expect((await before.call(revoked.access_token)).status).toBe(401)
      await before.auth.close()

      const after = await createTarget({ store: backup.open(), secret, clock: undefined })
      for (const { access_token: token } of [tokens, quiet]) expect((await after.call(token)).status).toBe(200)
      expect((await after.refresh(client, quiet.refresh_token)).status).toBe(200)
      expect((await after.refresh(client, newer.refresh_token ?? '')).status).toBe(200)
      expect(after.events.filter(({ type }) => type === 'refresh.caught_up')).toHaveLength(1)
      // Of what came after the backup nothing is known: neither who signed in, nor what was revoked.
      expect((await after.refresh(client, later.refresh_token)).body.error).toBe('invalid_grant')
      expect((await after.call(revoked.access_token)).status).toBe(200)

      const said: string[] = []
      const write = (text: string) => void said.push(text)
      const environment = { COUNTERSIGN_STORE: backup.where, COUNTERSIGN_SECRET: secret }
      expect(await run(['store', 'check', '--json'], { environment, out: write, error: write })).toBe(0)
      expect(JSON.parse(said.join(''))).toMatchObject({ keys: 3, signing: 1 })
      await after.auth.close()
    },
  )
})
