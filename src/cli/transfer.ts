import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import type { Store } from '../store/store.ts'
import { CommandFailed } from './usage.ts'

/**
 * All that a store holds, as lines of JSON: a head, a line an entry, and an end that tells a whole file from a piece of one. Values stay sealed
 * as they are. Counters of rate limits are not in it.
 */
const format = 'countersign-store'

interface Line {
  readonly key: string
  /** base64 */
  readonly value: string
  /** Milliseconds since the epoch. */
  readonly expiresAt?: number
}

/** Answers how many entries there were. */
export const exportStore = async (store: Store, write: (line: string) => Promise<void>): Promise<number> => {
  await write(`${JSON.stringify({ format, version: 1, exportedAt: new Date().toISOString() })}\n`)
  let count = 0
  for (let after: string | undefined; ; ) {
    const { entries } = await store.list('', { limit: 500, ...(after === undefined ? {} : { after }) })
    for (const { key, value, expiresAt } of entries) {
      const line: Line = {
        key,
        value: Buffer.from(value).toString('base64'),
        ...(expiresAt === undefined ? {} : { expiresAt }),
      }
      await write(`${JSON.stringify(line)}\n`)
    }
    count += entries.length
    after = entries.at(-1)?.key
    if (after === undefined || entries.length < 500) break
  }
  await write(`${JSON.stringify({ end: true, entries: count })}\n`)
  return count
}

const batch = 100

/**
 * Writes what was exported into a store that is empty.
 * @throws CommandFailed where the store is not empty, or the lines are not what was exported, or not all of it
 */
export const importStore = async (
  store: Store,
  from: Readable,
): Promise<{ readonly imported: number; readonly expired: number }> => {
  const { entries, now: started } = await store.list('', { limit: 1 })
  if (entries.length > 0) throw new CommandFailed('the store to import into is not empty')
  const lag = started - Date.now()
  let [lines, imported, expired, ended] = [0, 0, 0, false]
  let waiting: Line[] = []
  const flush = async () => {
    const now = Date.now() + lag
    const living = waiting.filter(({ expiresAt }) => expiresAt === undefined || expiresAt > now)
    expired += waiting.length - living.length
    waiting = []
    const { committed } = await store.commit({
      checks: living.map(({ key }) => ({ key, version: undefined })),
      sets: living.map(({ key, value, expiresAt }) => ({
        key,
        value: new Uint8Array(Buffer.from(value, 'base64')),
        ...(expiresAt === undefined ? {} : { ttl: Math.max(1, Math.round(expiresAt - now)) }),
      })),
    })
    if (!committed)
      throw new CommandFailed('somebody else writes into the store: stop the servers on it, and begin anew')
    imported += living.length
  }
  for await (const text of createInterface({ input: from, crlfDelay: Number.POSITIVE_INFINITY })) {
    if (text === '') continue
    const line = parse(text)
    if (ended) throw new CommandFailed('there is something after the end of the export')
    if (lines++ === 0) {
      if (line.format !== format) throw new CommandFailed('this is no export of a store')
      if (line.version !== 1) throw new CommandFailed('the export was made by a newer release')
    } else if (line.end === true) {
      if (line.entries !== lines - 2) throw new CommandFailed('the export is not whole: entries are missing')
      ended = true
    } else {
      waiting.push(checked(line))
      if (waiting.length === batch) await flush()
    }
  }
  if (!ended) throw new CommandFailed('the export is not whole: it has no end. Empty the store, and begin anew')
  await flush()
  return { imported, expired }
}

const parse = (text: string): Readonly<Record<string, unknown>> => {
  try {
    const line: unknown = JSON.parse(text)
    if (typeof line === 'object' && line !== null) return line as Readonly<Record<string, unknown>>
  } catch {
    // Below: what a parser says quotes what it read.
  }
  throw new CommandFailed('this is no export of a store')
}

const checked = ({ key, value, expiresAt }: Readonly<Record<string, unknown>>): Line => {
  if (typeof key !== 'string' || typeof value !== 'string') throw new CommandFailed('the export is damaged')
  if (expiresAt === undefined) return { key, value }
  if (typeof expiresAt !== 'number' || !Number.isFinite(expiresAt)) throw new CommandFailed('the export is damaged')
  return { key, value, expiresAt }
}
