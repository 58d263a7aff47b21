import { chmodSync, closeSync, existsSync, mkdirSync, openSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { networkFileSystem } from './network-file-system.ts'

/**
 * Makes the file if there is none, for its owner only. SQLite gives `-wal` and `-shm` the mode of the database.
 * An existing file is never opened here: closing any descriptor of it would drop the locks that SQLite holds on it in this process.
 *
 * @throws Error where it is on a network file system: each host would see its own log, and commits of others not at all
 */
export function prepareFile(path: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  const network = networkFileSystem(existsSync(path) ? path : dirname(path))
  if (network !== undefined) {
    throw new Error(
      `it is on a network file system (${network}), where one host does not see what another has written; put it on a local disk, or use PostgreSQL or Redis`,
    )
  }
  try {
    closeSync(openSync(path, 'wx', 0o600))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  for (const file of [path, `${path}-wal`, `${path}-shm`]) {
    if (existsSync(file) && (statSync(file).mode & 0o077) !== 0) chmodSync(file, 0o600)
  }
}
