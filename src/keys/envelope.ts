import { randomBytes } from 'node:crypto'
import { type SealingKey, seal, sealedWith, UnsealError, unseal } from '../crypto/sealing.ts'

/**
 * An envelope that each of several keys opens: `2`, how many they are, for each the length (two bytes) and an envelope with the data key, and an
 * envelope with the data, sealed with that.
 */
const format = 2
const dataKeyId = 'data'

export const isForMany = (envelope: Uint8Array): boolean => envelope[0] === format

export const sealForMany = (plaintext: Uint8Array, keys: readonly SealingKey[], context: string): Uint8Array => {
  const dataKey = new Uint8Array(randomBytes(32))
  const wrapped = keys.flatMap((key) => {
    const envelope = seal(dataKey, key, wrapContext(context))
    return [Uint8Array.of(envelope.length >> 8, envelope.length & 0xff), envelope]
  })
  return Buffer.concat([
    Uint8Array.of(format, keys.length),
    ...wrapped,
    seal(plaintext, { id: dataKeyId, key: dataKey }, context),
  ])
}

/** @throws UnsealError */
export const unsealForMany = (
  envelope: Uint8Array,
  keyById: (id: string) => Uint8Array | undefined,
  context: string,
): Uint8Array => {
  const { wrapped, sealed } = partsOf(envelope)
  const mine = wrapped.find((each) => keyById(sealedWith(each)) !== undefined)
  if (!mine) throw new UnsealError('unknown_key')
  const dataKey = unseal(mine, keyById, wrapContext(context))
  return unseal(sealed, (id) => (id === dataKeyId ? dataKey : undefined), context)
}

/** The ids of the keys that open it, of either form. */
export const recipients = (envelope: Uint8Array): readonly string[] =>
  isForMany(envelope) ? partsOf(envelope).wrapped.map(sealedWith) : [sealedWith(envelope)]

const wrapContext = (context: string): string => `data key of ${context}`

const partsOf = (envelope: Uint8Array): { wrapped: readonly Uint8Array[]; sealed: Uint8Array } => {
  const wrapped: Uint8Array[] = []
  let at = 2
  for (let left = envelope[1] ?? 0; left > 0; left--) {
    const length = ((envelope[at] ?? 0) << 8) | (envelope[at + 1] ?? 0)
    wrapped.push(envelope.subarray(at + 2, at + 2 + length))
    at += 2 + length
  }
  return { wrapped, sealed: envelope.subarray(at) }
}
