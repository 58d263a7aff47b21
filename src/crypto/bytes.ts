import { isUtf8 } from 'node:buffer'
import { timingSafeEqual } from 'node:crypto'

/** Short ones lie in memory that others share: `buffer` of the result holds more than the text. */
export const utf8 = (text: string): Uint8Array => Buffer.from(text)

/** @throws TypeError for bytes that are not UTF-8 */
export const fromUtf8 = (bytes: Uint8Array): string => {
  if (!isUtf8(bytes)) throw new TypeError('not UTF-8')
  return asBuffer(bytes).toString()
}

export const base64url = (bytes: Uint8Array): string => asBuffer(bytes).toString('base64url')

const asBuffer = (bytes: Uint8Array): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** Undefined for text that is not exactly what `base64url` makes: one value has one spelling. */
export const fromBase64url = (text: string): Uint8Array | undefined => {
  const bytes = Buffer.from(text, 'base64url')
  return bytes.toString('base64url') === text ? bytes : undefined
}

/** Constant-time for equal lengths; the length itself is no secret. */
export const equalBytes = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && timingSafeEqual(a, b)

/** As `equalBytes`. */
export const equalTexts = (a: string, b: string): boolean => equalBytes(utf8(a), utf8(b))
