/** What `decode` made of a record's bytes, as long as these are the same; frozen, because many get it. */
export type DecodedMemory = <T>(key: string, bytes: Uint8Array, decode: () => T) => T

/** @param capacity how many records at most; who came first goes first */
export const createDecodedMemory = (capacity = 1_024): DecodedMemory => {
  const decoded = new Map<string, { readonly bytes: Uint8Array; readonly value: unknown }>()
  return <T>(key: string, bytes: Uint8Array, decode: () => T): T => {
    const known = decoded.get(key)
    if (known && Buffer.compare(known.bytes, bytes) === 0) return known.value as T
    const value = frozen(decode())
    decoded.delete(key)
    for (const [first] of decoded) {
      if (decoded.size < capacity) break
      decoded.delete(first)
    }
    decoded.set(key, { bytes: bytes.slice(), value })
    return value
  }
}

const frozen = <T>(value: T): T => {
  if (typeof value !== 'object' || value === null) return value
  for (const each of Object.values(value)) frozen(each)
  return Object.freeze(value)
}
