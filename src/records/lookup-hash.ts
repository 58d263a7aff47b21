import { base64url, fromBase64url } from '../crypto/bytes.ts'
import { hmacSha256 } from '../crypto/hash.ts'
import type { Random } from '../events/random.ts'
import { put, type Records, recordType, refTo } from './records.ts'

/**
 * What keys that are made of people's names and addresses are hashed with: whoever has the store and not the server's secret can't test a guess. Made
 * once and never changed, since people are found by it; sealed as all that is secret, and so sealed anew with it.
 */
const lookupKeyRef = refTo(
  recordType<{ readonly key: string }>({ name: 'lookup-key', schema: 1, sealed: true }),
  'current',
)
const keyLength = 32

/** Makes of a name or an address the part of a key by which it is found. No two different lists of strings come to the same. */
export type LookupHash = (what: 'username' | 'email' | 'known-sign-in' | 'sign-in-pair', ...parts: string[]) => string

/** Read each time: it costs little beside what it is for, and a store that was restored may have another. @throws StoreUnavailable */
export const readLookupHash = async ({
  records,
  random,
}: {
  readonly records: Records
  readonly random: Random
}): Promise<LookupHash> => {
  for (;;) {
    const [stored] = (await records.get(lookupKeyRef)).values
    if (stored) {
      const key = fromBase64url(stored.value.key)
      if (key?.length !== keyLength) throw new Error('the record of the lookup key is damaged')
      return (what, ...parts) => base64url(hmacSha256(key, JSON.stringify([what, ...parts])))
    }
    // Whoever comes first makes it; the others read it.
    const made = { key: base64url(random.bytes(keyLength)) }
    await records.commit({ unchanged: [lookupKeyRef], puts: [put(lookupKeyRef, made)] })
  }
}
