/** Global set-up of the test run: a place for the one PostgreSQL server that the first test to need it starts. */
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SHARED_DIRECTORY, stopShared } from './postgres.ts'

export function setup(): () => Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'countersign-postgres-'))
  process.env[SHARED_DIRECTORY] = directory
  return () => stopShared(directory)
}
