import { createHmac, hash, hkdfSync } from 'node:crypto'
import { equalBytes, fromBase64url } from './bytes.ts'
import { secretKey } from './secret-key.ts'

export const sha256 = (data: string | Uint8Array): Uint8Array => hash('sha256', data, 'buffer')

/** What is stored in place of a secret of 128 random bits or more. */
export const hashSecret = (secret: string): string => hash('sha256', secret, 'base64url')

/** Constant-time comparison of a presented secret with its stored hash. */
export const matchesSecret = (presented: string, stored: string): boolean => {
  const expected = fromBase64url(stored)
  return expected !== undefined && equalBytes(sha256(presented), expected)
}

export const hmacSha256 = (key: Uint8Array, data: string | Uint8Array): Uint8Array =>
  createHmac('sha256', secretKey(key)).update(data).digest()

/** base64url. */
export const hmacText = (key: Uint8Array, text: string): string =>
  createHmac('sha256', secretKey(key)).update(text).digest('base64url')

/** One hash for several strings, unambiguous: no two different lists of strings hash alike. */
export const hashStrings = (...parts: readonly string[]): string => hashSecret(JSON.stringify(parts))

/** HKDF-SHA-256. @see RFC 5869 */
export const deriveKey = (secret: Uint8Array, info: string, length = 32): Uint8Array =>
  new Uint8Array(hkdfSync('sha256', secret, 'countersign', info, length))
