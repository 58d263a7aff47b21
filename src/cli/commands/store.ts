import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createWriteStream, openSync } from 'node:fs'
import { open } from 'node:fs/promises'
import type { Readable, Writable } from 'node:stream'
import type { Store } from '../../store/store.ts'
import { exportStore, importStore } from '../transfer.ts'
import { CommandFailed } from '../usage.ts'
import { type Command, text } from './command.ts'

export const store: Readonly<Record<string, Command>> = {
  check: {
    options: { count: { type: 'boolean' } },
    async run({ setting, values, output }) {
      const opened = await setting.store()
      const checked = await check(opened)
      const keys = await (await setting.administration()).keys.list()
      const ring = {
        keys: keys.length,
        signing: keys.filter(({ use, state }) => use === 'sign' && state === 'active').length,
      }
      output.show({
        store: opened.location.kind,
        ...checked,
        ...ring,
        ...(values.count === true ? { entries: await counts(opened) } : {}),
      })
    },
  },
  export: {
    options: { file: { type: 'string' } },
    async run({ setting, values, output }) {
      const opened = await setting.store()
      const file = text(values, 'file')
      const to: Writable = file === undefined ? process.stdout : newFile(file)
      const entries = await exportStore(opened, async (line) => {
        if (!to.write(line)) await once(to, 'drain')
      })
      if (file === undefined) return
      to.end()
      await once(to, 'finish')
      output.done(
        { exported: entries, file },
        `Exported ${entries} entries. Without the secret the file opens nothing; keep both apart.`,
      )
    },
  },
  import: {
    options: { file: { type: 'string' } },
    makesStore: true,
    async run({ setting, values, output }) {
      const file = text(values, 'file')
      const from = file === undefined ? process.stdin : await fileToRead(file)
      try {
        const imported = await importStore(await setting.store(), from)
        output.done(imported, `Imported ${imported.imported} entries; ${imported.expired} had expired.`)
      } finally {
        // Where it was refused before its end, nobody reads on.
        if (file !== undefined) from.destroy()
      }
    },
  },
}

export const migrate: Command = {
  makesStore: true,
  async run({ setting, output }) {
    // Every engine brings its schema up to date at its first use.
    const opened = await setting.store()
    await opened.get(['schema'])
    output.done({ store: opened.location.kind }, 'The store’s schema is up to date.')
  },
}

/** Opened before anybody listens to the stream: else nobody would hear that it can't be. */
const fileToRead = async (path: string): Promise<Readable> => {
  try {
    return (await open(path)).createReadStream()
  } catch (error) {
    throw new CommandFailed(`the file ${path} can’t be read: ${(error as NodeJS.ErrnoException).code}`)
  }
}

const newFile = (path: string): Writable => {
  try {
    return createWriteStream(path, { fd: openSync(path, 'wx', 0o600) })
  } catch (error) {
    throw new CommandFailed(`the file ${path} can’t be made: ${(error as NodeJS.ErrnoException).code}`)
  }
}

/** Reads, writes, counts and lists, on keys of its own. */
const check = async (opened: Store): Promise<{ readonly clockDifference: number; readonly milliseconds: number }> => {
  const key = `store-check/${randomUUID()}`
  const value = new Uint8Array([1, 2, 3])
  const started = performance.now()
  const expect = (holds: boolean, what: string) => {
    if (!holds) throw new CommandFailed(`the store does not work: ${what}`)
  }
  const asked = Date.now()
  const { now } = await opened.get([key])
  const clockDifference = now - Math.round((asked + Date.now()) / 2)
  const checks = [{ key, version: undefined }]
  expect((await opened.commit({ checks, sets: [{ key, value, ttl: 60_000 }] })).committed, 'it refuses a write')
  expect(!(await opened.commit({ checks, sets: [{ key, value }] })).committed, 'two writers got the same key')
  const [entry] = (await opened.get([key])).entries
  expect(Buffer.compare(entry?.value ?? new Uint8Array(), value) === 0, 'what was written is not read')
  expect((await opened.list(key)).entries.length === 1, 'what was written is not listed')
  expect((await opened.increment(key, 2, 60_000)).value === 2, 'it does not count')
  await opened.commit({ deletes: [key] })
  expect((await opened.get([key])).entries[0] === undefined, 'what was deleted is read')
  return { clockDifference, milliseconds: Math.round(performance.now() - started) }
}

/** How many entries there are of each type. */
const counts = async (opened: Store): Promise<Readonly<Record<string, number>>> => {
  const found = new Map<string, number>()
  for (let after: string | undefined; ; ) {
    const { entries } = await opened.list('', { limit: 1000, ...(after === undefined ? {} : { after }) })
    for (const { key } of entries) {
      const type = key.split('/')[0] ?? key
      found.set(type, (found.get(type) ?? 0) + 1)
    }
    after = entries.at(-1)?.key
    if (after === undefined || entries.length < 1000) return Object.fromEntries(found)
  }
}
