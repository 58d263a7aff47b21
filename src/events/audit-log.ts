import type { AuditEvent } from './audit.ts'

/** Keeps audit events, and finds them again. */
export interface AuditLog {
  /** Takes an event at once, and writes it soon, with others. It never throws. */
  record(event: AuditEvent): void
  /** A page of events, newest first unless it is said. @throws Error where they can't be read; TypeError for a query that is none */
  query(query?: AuditQuery): Promise<AuditPage>
  /** Resolves when all that was recorded before is written, or can't be. */
  flush(): Promise<void>
  /** Writes what is left, for a few seconds at most, and closes. Closing twice is allowed. */
  close(): Promise<void>
}

/** All that are named must be met. */
export interface AuditQuery {
  /** Events of this account, and of every grant that it was seen with. */
  readonly account?: string | undefined
  readonly clientId?: string | undefined
  readonly grant?: string | undefined
  readonly types?: readonly string[] | undefined
  /** Milliseconds since the epoch: from this time on, and before that one. */
  readonly from?: number | undefined
  readonly to?: number | undefined
  readonly oldestFirst?: boolean | undefined
  /** Of the page before. */
  readonly cursor?: string | undefined
  /** 1 to 1000; default 100. */
  readonly limit?: number | undefined
}

export interface AuditPage {
  readonly events: readonly AuditEvent[]
  /** Where the next page begins; absent at the end. */
  readonly cursor?: string
}
