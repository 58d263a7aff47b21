/**
 * What every engine lets in: input is checked and copied once, here, so that an engine only sees batches that can't be wrong.
 * Messages name the place of a mistake and never quote a key or a value.
 */
import type { Batch, Check, ListOptions } from './store.ts'

const PRINTABLE = /^[\x21-\x7e]+$/
const LONGEST_KEY = 512
const LONGEST_MESSAGE = 512
const LARGEST_VALUE = 1024 * 1024
const MOST_KEYS = 1000
const MOST_OPERATIONS = 256
const MOST_MESSAGES = 64
const MOST_LISTED = 1000
const LONGEST_TTL = 100 * 366 * 24 * 60 * 60 * 1000

/** A batch with every field there and bytes of its own. */
export interface CheckedBatch {
  readonly checks: readonly Check[]
  readonly sets: readonly { readonly key: string; readonly value: Uint8Array; readonly ttl: number | undefined }[]
  readonly deletes: readonly string[]
  readonly notify: readonly string[]
}

export interface CheckedListing {
  readonly prefix: string
  readonly after: string | undefined
  readonly limit: number
  readonly reverse: boolean
}

export function checkedKeys(keys: readonly string[]): readonly string[] {
  if (!Array.isArray(keys)) throw new TypeError('get: keys must be an array')
  if (keys.length > MOST_KEYS) throw new TypeError(`get: more than ${MOST_KEYS} keys`)
  return keys.map((key, index) => checkedKey(key, `get: key ${index}`))
}

export function checkedListing(prefix: string, options: ListOptions = {}): CheckedListing {
  const { after, limit = 100, reverse = false } = options
  if (prefix !== '') checkedKey(prefix, 'list: prefix')
  if (after !== undefined) checkedKey(after, 'list: after')
  if (!Number.isInteger(limit) || limit < 1 || limit > MOST_LISTED) {
    throw new TypeError(`list: limit must be a whole number, 1 to ${MOST_LISTED}`)
  }
  return { prefix, after, limit, reverse }
}

export function checkedBatch(batch: Batch): CheckedBatch {
  const { checks = [], sets = [], deletes = [], notify = [] } = batch
  if (checks.length + sets.length + deletes.length > MOST_OPERATIONS) {
    throw new TypeError(`commit: more than ${MOST_OPERATIONS} checks, sets and deletes`)
  }
  if (notify.length > MOST_MESSAGES) throw new TypeError(`commit: more than ${MOST_MESSAGES} notify strings`)
  const written = new Set<string>()
  const writtenOnce = (key: string, place: string): string => {
    checkedKey(key, place)
    if (written.has(key)) throw new TypeError(`${place} is written twice in one batch`)
    written.add(key)
    return key
  }
  return {
    checks: checks.map(({ key, version }, index) => {
      checkedKey(key, `commit: key of check ${index}`)
      if (version !== undefined && typeof version !== 'string') {
        throw new TypeError(`commit: version of check ${index} must be a version, or undefined for "absent"`)
      }
      return { key, version }
    }),
    sets: sets.map(({ key, value, ttl }, index) => {
      writtenOnce(key, `commit: key of set ${index}`)
      if (!(value instanceof Uint8Array) || value.length > LARGEST_VALUE) {
        throw new TypeError(`commit: value of set ${index} must be a Uint8Array of at most ${LARGEST_VALUE} bytes`)
      }
      if (ttl !== undefined) checkedTtl(ttl, `commit: ttl of set ${index}`)
      return { key, value: new Uint8Array(value), ttl }
    }),
    deletes: deletes.map((key, index) => writtenOnce(key, `commit: key of delete ${index}`)),
    notify: notify.map((message, index) => {
      if (typeof message !== 'string' || message.length > LONGEST_MESSAGE || !PRINTABLE.test(message)) {
        throw new TypeError(`commit: notify ${index} must be 1 to ${LONGEST_MESSAGE} characters of printable ASCII`)
      }
      return message
    }),
  }
}

export function checkedIncrement(key: string, by: number, ttl: number): void {
  checkedKey(key, 'increment: key')
  if (!Number.isSafeInteger(by)) throw new TypeError('increment: by must be a safe integer')
  checkedTtl(ttl, 'increment: ttl')
}

/** The least string that is greater than every key with this prefix: keys end at 0x7E. */
export function endOfPrefix(prefix: string): string {
  return `${prefix}\x7f`
}

function checkedKey(key: string, place: string): string {
  if (typeof key !== 'string' || key.length > LONGEST_KEY || !PRINTABLE.test(key)) {
    throw new TypeError(`${place} must be 1 to ${LONGEST_KEY} characters of printable ASCII (0x21 to 0x7E)`)
  }
  return key
}

function checkedTtl(ttl: number, place: string): void {
  if (!Number.isSafeInteger(ttl) || ttl < 1 || ttl > LONGEST_TTL) {
    throw new TypeError(`${place} must be whole milliseconds, 1 to ${LONGEST_TTL}`)
  }
}
