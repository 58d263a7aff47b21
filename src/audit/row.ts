import type { AuditEvent } from '../events/audit.ts'
import type { AuditQuery } from '../events/audit-log.ts'

/** What is kept of an event: by what it is found, and the whole of it. */
export interface Row {
  readonly at: number
  readonly type: string
  readonly account: string | null
  readonly client: string | null
  readonly grant: string | null
  readonly event: string
}

export const rowOf = (event: AuditEvent): Row => {
  const { at, type, account, clientId, grant, subject } = event as AuditEvent &
    Readonly<Partial<Record<'account' | 'clientId' | 'grant' | 'subject', string>>>
  return {
    at,
    type,
    // At the gate a person is known by the subject of a token; with random subjects that is the account.
    account: column(account ?? (type.startsWith('access.') ? subject : undefined)),
    client: column(clientId),
    grant: column(grant),
    event: JSON.stringify(event),
  }
}

const longest = 500

/** A client id may be any text that somebody sent; no engine takes all of Unicode. */
const column = (text: string | undefined): string | null => (typeof text === 'string' ? searchable(text) : null)

const searchable = (text: string): string => Buffer.from(text.replaceAll('\0', '\ufffd').slice(0, longest)).toString()

/** @throws TypeError for a query that is none */
export const checkQuery = (
  query: AuditQuery,
): { readonly limit: number; readonly cursor: number | undefined; readonly oldestFirst: boolean } => {
  const { limit = 100, cursor, from, to, types } = query
  if (!Number.isInteger(limit) || limit < 1 || limit > 1000) throw new TypeError('audit: limit must be 1 to 1000')
  if (cursor !== undefined && !/^\d{1,15}$/.test(cursor)) throw new TypeError('audit: cursor must be that of a page')
  for (const time of [from, to]) {
    if (time !== undefined && !Number.isSafeInteger(time)) throw new TypeError('audit: from and to are milliseconds')
  }
  if (types !== undefined && !Array.isArray(types)) throw new TypeError('audit: types must be a list')
  return {
    limit,
    cursor: cursor === undefined ? undefined : Number(cursor),
    oldestFirst: query.oldestFirst ?? false,
  }
}

/** The condition of a query, with a placeholder for each value. */
export const conditionOf = (query: AuditQuery, placeholder: (value: string | number) => string): string => {
  const { account, clientId, grant, types, from, to, oldestFirst } = query
  const { cursor } = checkQuery(query)
  const conditions: string[] = ['true']
  if (account !== undefined) {
    const of = placeholder(searchable(account))
    conditions.push(`(account = ${of} OR grant_id IN (
      SELECT grant_id FROM events WHERE account = ${placeholder(searchable(account))} AND grant_id IS NOT NULL))`)
  }
  if (clientId !== undefined) conditions.push(`client = ${placeholder(searchable(clientId))}`)
  if (grant !== undefined) conditions.push(`grant_id = ${placeholder(searchable(grant))}`)
  if (types !== undefined) {
    conditions.push(types.length === 0 ? 'false' : `type IN (${types.map((type) => placeholder(type)).join(', ')})`)
  }
  if (from !== undefined) conditions.push(`at >= ${placeholder(from)}`)
  if (to !== undefined) conditions.push(`at < ${placeholder(to)}`)
  if (cursor !== undefined) conditions.push(`id ${oldestFirst ? '>' : '<'} ${placeholder(cursor)}`)
  return conditions.join(' AND ')
}
