import type { Connection } from './driver.ts'

/**
 * In order; each runs once a file and only adds: a process of the release before goes on working on the migrated file.
 * `entries` has a rowid because its values may be large, and because the sweep walks in that order. Expiry has no index: it would
 * cost each write, and the sweep doesn't need one. Keys compare bytewise (SQLite's BINARY collation).
 */
const MIGRATIONS = [
  `CREATE TABLE entries (
     key TEXT NOT NULL PRIMARY KEY,
     expires INTEGER NOT NULL, -- milliseconds since the epoch
     version TEXT NOT NULL,
     value BLOB NOT NULL
   );
   CREATE TABLE counters (
     key TEXT NOT NULL PRIMARY KEY,
     expires INTEGER NOT NULL,
     value INTEGER NOT NULL
   );
   CREATE TABLE notifications (
     id INTEGER PRIMARY KEY, -- the newest row is never deleted, so ids grow
     sent INTEGER NOT NULL,
     sender TEXT NOT NULL,
     message TEXT NOT NULL
   );`,
]

/** "Csgn": tells our files from other programs' databases. */
const APPLICATION_ID = 0x4373676e

/** @throws Error when the file isn't ours or is too new; the message says so. */
export function migrate(connection: Connection): void {
  if (pragma(connection, 'user_version') === MIGRATIONS.length && isOurs(connection)) return
  connection.exec('BEGIN IMMEDIATE')
  try {
    const done = pragma(connection, 'user_version')
    const tables = Number(connection.prepare('SELECT count(*) AS n FROM sqlite_master').get()?.n)
    if (!isOurs(connection) && (done !== 0 || tables !== 0)) throw new Error("the file is another program's database")
    // One ahead is a rolling deploy, see above.
    if (done > MIGRATIONS.length + 1) throw new Error('the file was written by a newer release')
    for (const migration of MIGRATIONS.slice(done)) connection.exec(migration)
    if (done < MIGRATIONS.length) {
      connection.exec(`PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${MIGRATIONS.length}`)
    }
    connection.exec('COMMIT')
  } catch (error) {
    connection.exec('ROLLBACK')
    throw error
  }
}

function isOurs(connection: Connection): boolean {
  return pragma(connection, 'application_id') === APPLICATION_ID
}

function pragma(connection: Connection, name: string): number {
  return Number(connection.prepare(`PRAGMA ${name}`).get()?.[name])
}
