import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { fromUtf8, utf8 } from './bytes.ts'
import { secretKey } from './secret-key.ts'

/** A 256-bit key for sealing; its id travels in the envelope. */
export interface SealingKey {
  readonly id: string
  readonly key: Uint8Array
}

const format = 1
const nonceLength = 12
const tagLength = 16

/**
 * AES-256-GCM. The envelope is `1`, the length of the key id, the key id, a nonce of 12 bytes, ciphertext and tag.
 * `context` is bound to the envelope: it opens only for the same one, so that a sealed value can't be moved to another place.
 */
export const seal = (plaintext: Uint8Array, { id, key }: SealingKey, context: string): Uint8Array => {
  const keyId = utf8(id)
  const header = Buffer.from([format, keyId.length, ...keyId])
  const nonce = randomBytes(nonceLength)
  const cipher = createCipheriv('aes-256-gcm', secretKey(key), nonce)
  cipher.setAAD(Buffer.concat([header, utf8(context)]))
  return Buffer.concat([header, nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
}

/** Opens an envelope with the key that it names. @throws UnsealError */
export const unseal = (
  envelope: Uint8Array,
  keyById: (id: string) => Uint8Array | undefined,
  context: string,
): Uint8Array => {
  const headerLength = 2 + (envelope[1] ?? 0)
  if (envelope[0] !== format || envelope.length < headerLength + nonceLength + tagLength)
    throw new UnsealError('malformed')
  const header = envelope.subarray(0, headerLength)
  const id = readKeyId(header.subarray(2))
  const key = keyById(id)
  if (!key) throw new UnsealError('unknown_key', id)
  const body = envelope.subarray(headerLength)
  const decipher = createDecipheriv('aes-256-gcm', secretKey(key), body.subarray(0, nonceLength))
  decipher.setAAD(Buffer.concat([header, utf8(context)]))
  decipher.setAuthTag(body.subarray(-tagLength))
  try {
    const plaintext = decipher.update(body.subarray(nonceLength, -tagLength))
    // Nothing is left in this mode: it only says whether the tag is right.
    decipher.final()
    return plaintext
  } catch {
    throw new UnsealError('forged', id)
  }
}

/** The id of the key that opens it. @throws UnsealError */
export const sealedWith = (envelope: Uint8Array): string => readKeyId(envelope.subarray(2, 2 + (envelope[1] ?? 0)))

const readKeyId = (bytes: Uint8Array): string => {
  try {
    return fromUtf8(bytes)
  } catch {
    throw new UnsealError('malformed')
  }
}

/** `unknown_key`: perhaps a newer key than this process knows. `forged`: changed, moved, or made with another key of that id. */
export class UnsealError extends Error {
  override readonly name = 'UnsealError'
  readonly reason: 'malformed' | 'unknown_key' | 'forged'
  readonly keyId: string | undefined
  constructor(reason: 'malformed' | 'unknown_key' | 'forged', keyId?: string) {
    super(`sealed value can't be opened: ${reason}`)
    this.reason = reason
    this.keyId = keyId
  }
}
