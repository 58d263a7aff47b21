import { fromUtf8, utf8 } from '../crypto/bytes.ts'
import { UnsealError } from '../crypto/sealing.ts'
import type { Check, CommitResult, Entry, Store, Version } from '../store/store.ts'
import { createDecodedMemory } from './decoded-memory.ts'

/** What kind of record a key holds: its name is the key's first part, its schema version is written with each value. */
export interface RecordType<T> {
  readonly name: string
  readonly schema: number
  /** Sealed where the value holds secrets or what a provider said of a person. */
  readonly sealed: boolean
  /** Many requests read the same few: what was read is kept, frozen, as long as the store has the same bytes. Not for what is sealed. */
  readonly shared?: true
  /** Reads a value that an older release wrote; nodes of two releases may share a store. */
  readonly upgrade?: (value: unknown, schema: number) => T
}

/** Where one record is. */
export interface Ref<T> {
  readonly type: RecordType<T>
  readonly key: string
}

export interface Stored<T> {
  readonly ref: Ref<T>
  readonly value: T
  readonly version: Version
}

export interface Put {
  readonly ref: Ref<unknown>
  readonly value: unknown
  readonly ttl: number | undefined
}

/** Keys for sealing. `refresh` reads them again, because another node may have made a new one. */
export interface Sealer {
  seal(plaintext: Uint8Array, context: string): Uint8Array
  /** @throws UnsealError */
  unseal(envelope: Uint8Array, context: string): Uint8Array
  refresh(): Promise<void>
}

export interface Unit {
  /** What must still be as it was read: a stored record, or a reference to one that must be absent. */
  readonly unchanged?: readonly (Stored<unknown> | Ref<unknown>)[]
  readonly puts?: readonly Put[]
  readonly deletes?: readonly Ref<unknown>[]
  readonly notify?: readonly string[]
}

type Values<R extends readonly Ref<unknown>[]> = {
  -readonly [K in keyof R]: (R[K] extends Ref<infer T> ? Stored<T> : never) | undefined
}

/** Typed, sealed, versioned records over a store. */
export interface Records {
  /** One snapshot. `now` is the store's clock, in milliseconds: what decides about records is asked of it, not of this node's clock. */
  get<const R extends readonly Ref<unknown>[]>(...refs: R): Promise<{ values: Values<R>; now: number }>
  list<T>(
    type: RecordType<T>,
    within: string,
    options?: { after?: string; limit?: number; reverse?: boolean },
  ): Promise<{ values: Stored<T>[]; now: number }>
  commit(unit: Unit): Promise<CommitResult>
  readonly store: Store
}

export const recordType = <T>(type: RecordType<T>): RecordType<T> => type

/** Ids are base64url or hashes; other text must be hashed before it becomes a part of a key. */
export const refTo = <T>(type: RecordType<T>, id: string, ...more: readonly string[]): Ref<T> => ({
  type,
  key: more.length === 0 ? `${type.name}/${id}` : [type.name, id, ...more].join('/'),
})

/** `ttl` in milliseconds; undefined: until it is deleted. */
export const put = <T>(ref: Ref<T>, value: T, ttl?: number): Put => ({ ref, value, ttl })

const plainFormat = 0
const sealedFormat = 1

export const createRecords = (store: Store, sealer: Sealer): Records => {
  const shared = createDecodedMemory()
  const decode = <T>(ref: Ref<T>, bytes: Uint8Array): T =>
    ref.type.shared ? shared(ref.key, bytes, () => decodeAnew(ref, bytes)) : decodeAnew(ref, bytes)
  const decodeAnew = <T>(ref: Ref<T>, bytes: Uint8Array): T => {
    const schema = bytes[1] ?? 0
    const body = bytes.subarray(2)
    if (bytes[0] !== (ref.type.sealed ? sealedFormat : plainFormat)) throw new RecordUnreadable(ref.key, 'form')
    const json = fromUtf8(ref.type.sealed ? sealer.unseal(body, contextOf(ref, schema)) : body)
    const value: unknown = JSON.parse(json)
    if (schema === ref.type.schema) return value as T
    if (schema > ref.type.schema || !ref.type.upgrade) throw new RecordUnreadable(ref.key, 'schema')
    return ref.type.upgrade(value, schema)
  }
  const decodeAll = (refs: readonly Ref<unknown>[], entries: readonly (Entry | undefined)[]) => {
    const values: (Stored<unknown> | undefined)[] = []
    for (const [index, ref] of refs.entries()) {
      const entry = entries[index]
      values.push(entry && { ref, value: decode(ref, entry.value), version: entry.version })
    }
    return values
  }
  const decodeFresh = async (refs: readonly Ref<unknown>[], entries: readonly (Entry | undefined)[]) => {
    try {
      return decodeAll(refs, entries)
    } catch (error) {
      if (!(error instanceof UnsealError && error.reason === 'unknown_key')) throw error
      await sealer.refresh()
      return decodeAll(refs, entries)
    }
  }
  const encode = ({ ref, value }: Put): Uint8Array => {
    const json = JSON.stringify(value)
    const { schema, sealed } = ref.type
    // Both are numbers below 128, and characters of one byte.
    if (!sealed) return utf8(String.fromCharCode(plainFormat, schema) + json)
    const body = sealer.seal(utf8(json), contextOf(ref, schema))
    const bytes = new Uint8Array(body.length + 2)
    bytes[0] = sealedFormat
    bytes[1] = schema
    bytes.set(body, 2)
    return bytes
  }
  return {
    store,
    async get<const R extends readonly Ref<unknown>[]>(...refs: R) {
      const { entries, now } = await store.get(refs.map((ref) => ref.key))
      return { values: (await decodeFresh(refs, entries)) as Values<R>, now }
    },
    async list<T>(
      type: RecordType<T>,
      within: string,
      options?: { after?: string; limit?: number; reverse?: boolean },
    ) {
      const prefix = `${[type.name, within].filter(Boolean).join('/')}/`
      const { entries, now } = await store.list(prefix, {
        ...options,
        ...(options?.after === undefined ? {} : { after: prefix + options.after }),
      })
      const refs = entries.map(({ key }) => ({ type, key }))
      return { values: (await decodeFresh(refs, entries)) as Stored<T>[], now }
    },
    commit: ({ unchanged = [], puts = [], deletes = [], notify = [] }) =>
      store.commit({
        checks: unchanged.map(toCheck),
        sets: puts.map((one) => ({
          key: one.ref.key,
          value: encode(one),
          ...(one.ttl === undefined ? {} : { ttl: one.ttl }),
        })),
        deletes: deletes.map((ref) => ref.key),
        notify,
      }),
  }
}

/**
 * The sealed part of a record, for who seals it anew without reading it. Undefined for one that is not sealed.
 * @see createRecords for the form
 */
export const sealedPart = (key: string, bytes: Uint8Array): { envelope: Uint8Array; context: string } | undefined =>
  bytes[0] === sealedFormat ? { envelope: bytes.subarray(2), context: contextOf({ key }, bytes[1] ?? 0) } : undefined

/** The same record with its part sealed anew. */
export const withSealedPart = (bytes: Uint8Array, envelope: Uint8Array): Uint8Array =>
  Buffer.concat([bytes.subarray(0, 2), envelope])

const toCheck = (expected: Stored<unknown> | Ref<unknown>): Check =>
  'version' in expected
    ? { key: expected.ref.key, version: expected.version }
    : { key: expected.key, version: undefined }

const contextOf = (ref: { readonly key: string }, schema: number): string => `${ref.key}#${schema}`

/** A record that this release can't read: written by a newer one, or damaged. */
export class RecordUnreadable extends Error {
  override readonly name = 'RecordUnreadable'
  constructor(key: string, part: 'form' | 'schema') {
    super(`record ${key.split('/')[0]} can't be read: unknown ${part}`)
  }
}
