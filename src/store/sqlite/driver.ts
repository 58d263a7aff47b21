/**
 * The two SQLite libraries behind one small interface: `node:sqlite` where the runtime has it, else the package `libsql`.
 * Both are loaded by hand, because a bundler must not insist on either.
 */
import { createRequire } from 'node:module'

export type Value = string | number | bigint | Uint8Array | null
export type Row = Readonly<Record<string, Value>>

export interface Statement {
  get(...parameters: Value[]): Row | undefined
  all(...parameters: Value[]): Row[]
  run(...parameters: Value[]): { readonly changes: number | bigint }
}

export interface Connection {
  exec(sql: string): unknown
  prepare(sql: string): Statement
  close(): unknown
}

export type DriverName = 'node:sqlite' | 'libsql'

/** Opens a file. */
export type Driver = (path: string) => Connection

interface NodeSqlite {
  readonly DatabaseSync: new (path: string) => Connection
}

type Libsql = new (path: string) => Connection

/** @throws Error when the library (or, unnamed, either) isn't there; the message says what to install. */
export function loadDriver(name?: DriverName): Driver {
  if (name !== 'libsql') {
    // Answers undefined where the module is missing or behind a flag.
    const sqlite = process.getBuiltinModule?.('node:sqlite') as NodeSqlite | undefined
    if (sqlite !== undefined) return (path) => new sqlite.DatabaseSync(path)
    if (name !== undefined)
      throw new Error('This runtime has no node:sqlite: use Node 22.13 or newer, or the driver "libsql"')
  }
  try {
    const Database = createRequire(import.meta.url)('libsql') as Libsql
    return (path) => new Database(path)
  } catch (cause) {
    throw new Error(
      'No SQLite here: this runtime has no node:sqlite, and the package libsql did not load. Run "npm install libsql", or use Node 22.13 or newer',
      { cause },
    )
  }
}

/** SQLite's primary result code, or undefined when it wasn't SQLite that failed. @see https://sqlite.org/rescode.html */
export function resultCode(error: unknown): number | undefined {
  if (!(error instanceof Error)) return undefined
  const { errcode, rawCode } = error as { errcode?: unknown; rawCode?: unknown }
  const code = typeof errcode === 'number' ? errcode : rawCode
  return typeof code === 'number' ? code & 0xff : undefined
}

export const BUSY = 5
export const LOCKED = 6
export const READONLY = 8
export const IOERR = 10
export const CORRUPT = 11
export const FULL = 13
export const CANTOPEN = 14
export const NOTADB = 26

/** A copy of what a driver hands out. */
export const copied = (value: unknown): Uint8Array =>
  value instanceof Uint8Array ? new Uint8Array(value) : bytes(value).slice()

/** The drivers hand out Uint8Array, Buffer or ArrayBuffer: always a plain Uint8Array from here on. */
export function bytes(value: unknown): Uint8Array {
  if (value instanceof ArrayBuffer) return new Uint8Array(value)
  if (!(value instanceof Uint8Array)) throw new Error('a value in the database is not a blob')
  return value.constructor === Uint8Array ? value : new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
}
