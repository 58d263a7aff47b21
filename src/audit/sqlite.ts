import { resolve } from 'node:path'
import type { AuditLog } from '../events/audit-log.ts'
import type { Connection, DriverName, Statement } from '../store/sqlite/driver.ts'
import { loadDriver } from '../store/sqlite/driver.ts'
import { prepareFile } from '../store/sqlite/file.ts'
import { type AuditLogOptions, type AuditTable, createAuditLog } from './log.ts'

export interface SqliteAuditOptions extends AuditLogOptions {
  /** Default: `node:sqlite` where the runtime has it, else the package `libsql`. */
  readonly driver?: DriverName | undefined
}

/** "CsAu": tells our files from other programs' databases, and from the store's. */
const APPLICATION_ID = 0x43734175

const SCHEMA = `
  CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again
    at INTEGER NOT NULL, -- milliseconds since the epoch
    type TEXT NOT NULL,
    account TEXT,
    client TEXT,
    grant_id TEXT,
    event TEXT NOT NULL -- JSON
  );
  CREATE INDEX events_at ON events (at);
  CREATE INDEX events_account ON events (account, id) WHERE account IS NOT NULL;
  CREATE INDEX events_client ON events (client, id) WHERE client IS NOT NULL;
  CREATE INDEX events_grant ON events (grant_id, id) WHERE grant_id IS NOT NULL;
  CREATE TRIGGER events_stay BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'audit events are not changed'); END;
  PRAGMA application_id = ${APPLICATION_ID};
  PRAGMA user_version = 1;`

const FORGOTTEN_AT_ONCE = 500

/**
 * Keeps audit events in an SQLite file of its own, which several processes of a host may share. Rows are added, and deleted when they are old;
 * a trigger refuses to change one. The file is for its owner only (0600). After a crash of the machine the events of the last moment may be
 * missing; after one of the process, those of the last 200 ms.
 *
 * @param path of the file; made at first use. Not the store's.
 * @throws Error at once when the path is empty or no SQLite is there
 */
export const sqliteAudit = (path: string, { driver, ...options }: SqliteAuditOptions = {}): AuditLog => {
  if (typeof path !== 'string' || path === '') throw new TypeError('sqliteAudit: the path of a file is needed')
  const open = loadDriver(driver)
  const file = resolve(path)
  let opened: { readonly connection: Connection; readonly insert: Statement; readonly forget: Statement } | undefined

  const use = () => {
    opened ??= prepare(open, file)
    return opened
  }
  const table: AuditTable = {
    async insert(rows) {
      const { connection, insert } = use()
      connection.exec('BEGIN IMMEDIATE')
      try {
        for (const { at, type, account, client, grant, event } of rows) {
          insert.run(at, type, account, client, grant, event)
        }
        connection.exec('COMMIT')
      } catch (error) {
        connection.exec('ROLLBACK')
        throw error
      }
    },
    async select(text, values) {
      return use()
        .connection.prepare(text)
        .all(...values)
        .map(({ id, event }) => ({ id: Number(id), event: String(event) }))
    },
    placeholder: () => '?',
    async forget(before) {
      return use().forget.all(before, FORGOTTEN_AT_ONCE).length
    },
    async close() {
      opened?.connection.close()
      opened = undefined
    },
  }
  return createAuditLog(table, options)
}

const prepare = (open: (path: string) => Connection, file: string) => {
  prepareFile(file)
  const connection = open(file)
  try {
    // Nobody waits for a write, but everybody for the event loop: who finds the file locked comes again.
    connection.exec('PRAGMA busy_timeout = 20; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;')
    migrate(connection)
    return {
      connection,
      insert: connection.prepare(
        'INSERT INTO events (at, type, account, client, grant_id, event) VALUES (?, ?, ?, ?, ?, ?)',
      ),
      forget: connection.prepare(
        'DELETE FROM events WHERE id IN (SELECT id FROM events WHERE at < ? ORDER BY at LIMIT ?) RETURNING id',
      ),
    }
  } catch (error) {
    connection.close()
    throw error
  }
}

const migrate = (connection: Connection): void => {
  if (pragma(connection, 'application_id') === APPLICATION_ID) return
  connection.exec('BEGIN IMMEDIATE')
  try {
    if (pragma(connection, 'application_id') !== APPLICATION_ID) {
      const tables = Number(connection.prepare('SELECT count(*) AS n FROM sqlite_master').get()?.n)
      if (tables > 0) throw new Error('the file of the audit log is another database: give it one of its own')
      connection.exec(SCHEMA)
    }
    connection.exec('COMMIT')
  } catch (error) {
    connection.exec('ROLLBACK')
    throw error
  }
}

const pragma = (connection: Connection, name: string): number =>
  Number(connection.prepare(`PRAGMA ${name}`).get()?.[name])
