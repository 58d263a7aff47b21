import { createSecretKey, type KeyObject } from 'node:crypto'

const made = new WeakMap<Uint8Array, KeyObject>()

/**
 * Bytes as a key of `node:crypto`, which on some releases takes several times as long for bytes as for a key. It is remembered as long as
 * these bytes are: whoever changes them in place gets the key that they were.
 */
export const secretKey = (bytes: Uint8Array): KeyObject => {
  let key = made.get(bytes)
  if (!key) {
    key = createSecretKey(bytes)
    made.set(bytes, key)
  }
  return key
}
