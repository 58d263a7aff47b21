import { base64url, fromBase64url } from '../crypto/bytes.ts'
import { hashStrings, hmacSha256 } from '../crypto/hash.ts'
import type { Random } from '../events/random.ts'
import { accountEmails } from './account.ts'
import { localUsernames } from './local-account.ts'
import { put, type Records, recordType, refTo } from './records.ts'

interface LookupKey {
  readonly key: string
  /** Before that, nodes of a release that doesn't know it may be about. Milliseconds since the epoch. */
  readonly from?: number
}

/**
 * What keys that are made of people's names and addresses are hashed with: whoever has the store and not the server's secret can't test a guess. Made
 * once and never changed, since people are found by it; sealed as all that is secret, and so sealed anew with it.
 */
const lookupKeyRef = refTo(recordType<LookupKey>({ name: 'lookup-key', schema: 1, sealed: true }), 'current')
const keyLength = 32

/** How long nodes of the release before may go on beside new ones. Milliseconds. */
const deploy = 86_400_000

/**
 * Makes of a name or an address the part of a key by which it is found. No two different lists of strings come to the same. First what is written now,
 * then what else may have been: people are looked for by both. One of them has no key, as a release before wrote it, and its nodes find nothing else:
 * so in a store in which it wrote any, that stays what is written until it is gone.
 */
export type LookupHashes = (
  what: 'username' | 'email' | 'known-sign-in' | 'sign-in-pair',
  ...parts: string[]
) => readonly [written: string, other: string]

/** Read each time: it costs little beside what it is for, and a store that was restored may have another. @throws StoreUnavailable */
export const readLookupHashes = async ({
  records,
  random,
}: {
  readonly records: Records
  readonly random: Random
}): Promise<LookupHashes> => {
  for (;;) {
    const { values, now } = await records.get(lookupKeyRef)
    const [stored] = values
    if (stored) {
      const key = fromBase64url(stored.value.key)
      if (key?.length !== keyLength) throw new Error('the record of the lookup key is damaged')
      const { from = 0 } = stored.value
      return (what, ...parts) => {
        const keyed = base64url(hmacSha256(key, JSON.stringify([what, ...parts])))
        const unkeyed = hashStrings(...parts)
        return now < from ? [unkeyed, keyed] : [keyed, unkeyed]
      }
    }
    const made = {
      key: base64url(random.bytes(keyLength)),
      ...((await isOlder(records)) ? { from: now + deploy } : {}),
    }
    // Whoever comes first makes it; the others read it.
    await records.commit({ unchanged: [lookupKeyRef], puts: [put(lookupKeyRef, made)] })
  }
}

/** Whether somebody is in the store who was written without the key. */
const isOlder = async (records: Records): Promise<boolean> => {
  const [names, emails] = await Promise.all([
    records.list(localUsernames, '', { limit: 1 }),
    records.list(accountEmails, '', { limit: 1 }),
  ])
  return names.values.length + emails.values.length > 0
}
