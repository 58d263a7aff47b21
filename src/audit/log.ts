import type { AuditEvent } from '../events/audit.ts'
import type { AuditLog, AuditPage, AuditQuery } from '../events/audit-log.ts'
import type { Logger } from '../events/logger.ts'
import { closingTime, createQueue, within } from './queue.ts'
import { checkQuery, conditionOf, type Row, rowOf } from './row.ts'

export interface AuditLogOptions {
  /** Seconds that events are kept. Default: until you delete them. */
  readonly keepFor?: number | undefined
  /** Events that wait for a database that is away; further ones are counted and dropped. Default: 10,000. */
  readonly capacity?: number | undefined
  /** Hears of trouble. Default: the console. */
  readonly logger?: Pick<Logger, 'warn'> | undefined
}

/** What an engine does. */
export interface AuditTable {
  /** All or none. */
  insert(rows: readonly Row[]): Promise<void>
  select(text: string, values: readonly (string | number)[]): Promise<readonly { id: number; event: string }[]>
  placeholder(index: number): string
  /** Deletes some that are older than a time in milliseconds, and answers how many. */
  forget(before: number): Promise<number>
  close(): Promise<void>
}

const forgetEvery = 3_600_000

export const createAuditLog = (table: AuditTable, options: AuditLogOptions): AuditLog => {
  const { keepFor, capacity = 10_000, logger = console } = options
  if (keepFor !== undefined && !(keepFor > 0)) throw new TypeError('audit: keepFor must be seconds')
  let forgottenAt = Number.NEGATIVE_INFINITY
  let closing: Promise<void> | undefined

  const forgetOld = async (): Promise<void> => {
    const now = Date.now()
    if (keepFor === undefined || now - forgottenAt < forgetEvery) return
    forgottenAt = now
    while ((await table.forget(now - keepFor * 1000)) > 0 && closing === undefined);
  }
  const queue = createQueue({
    capacity,
    async write(events) {
      await table.insert(events.map(rowOf))
      forgetOld().catch((error: unknown) => logger.warn('old audit events could not be deleted', { error }))
    },
    warn: (message, details) => logger.warn(message, details),
  })

  return {
    record: (event) => queue.push(event),

    async query(query: AuditQuery = {}): Promise<AuditPage> {
      const { limit, oldestFirst } = checkQuery(query)
      const values: (string | number)[] = []
      const condition = conditionOf(query, (value) => table.placeholder(values.push(value)))
      const order = oldestFirst ? 'ASC' : 'DESC'
      const text = `SELECT id, event FROM events WHERE ${condition} ORDER BY id ${order} LIMIT ${limit}`
      const found = await table.select(text, values)
      const last = found.at(-1)
      return {
        events: found.map(({ event }) => JSON.parse(event) as AuditEvent),
        ...(last && found.length === limit ? { cursor: String(last.id) } : {}),
      }
    },

    flush: () => queue.flush(),

    close() {
      closing ??= queue.close().then(() => within(table.close(), closingTime))
      return closing
    },
  }
}
