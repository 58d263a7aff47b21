import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { utf8 } from '../../src/crypto/bytes.ts'
import { type SealingKey, seal, unseal } from '../../src/crypto/sealing.ts'
import { identityRef } from '../../src/records/account.ts'
import { clientRef } from '../../src/records/client.ts'
import { createRecords, put, recordType, refTo, type Sealer } from '../../src/records/records.ts'
import { revocationMessage, revocationRef, revocationTime, revokedOf } from '../../src/records/revocation.ts'
import { memory } from '../../src/store/memory.ts'
import type { Store } from '../../src/store/store.ts'

/** A ring that other nodes may have put keys into. */
const sealerOf = (shared: SealingKey[]): Sealer & { refreshed: number } => {
  let known = [...shared]
  return {
    refreshed: 0,
    seal(plaintext, context) {
      const [key] = known
      if (!key) throw new Error('no key')
      return seal(plaintext, key, context)
    },
    unseal: (envelope, context) => unseal(envelope, (id) => known.find((key) => key.id === id)?.key, context),
    async refresh() {
      this.refreshed++
      known = [...shared]
    },
  }
}

const newKey = (id: string): SealingKey => ({ id, key: randomBytes(32) })
const secrets = recordType<{ readonly secret: string }>({ name: 'secret', schema: 1, sealed: true })
const plain = recordType<{ readonly text: string }>({ name: 'plain', schema: 1, sealed: false })

const setup = (store: Store = memory()) => {
  const shared = [newKey('key-1')]
  const sealer = sealerOf(shared)
  return { store, shared, sealer, records: createRecords(store, sealer) }
}

const bytesAt = async (store: Store, key: string) => (await store.get([key])).entries[0]?.value ?? new Uint8Array()

describe('typed records', () => {
  test('are read as they were written, in one snapshot, with what is absent', async () => {
    const { records } = setup()
    const [a, b] = [refTo(secrets, 'a'), refTo(plain, 'b')]
    await records.commit({ puts: [put(a, { secret: 'x' }), put(b, { text: 'ü' })] })
    const { values } = await records.get(a, b, refTo(plain, 'c'))
    expect(values.map((one) => one?.value)).toEqual([{ secret: 'x' }, { text: 'ü' }, undefined])
  })

  test('are changed only if they are as they were read', async () => {
    const { records } = setup()
    const ref = refTo(plain, 'a')
    expect(await records.commit({ unchanged: [ref], puts: [put(ref, { text: '1' })] })).toMatchObject({
      committed: true,
    })
    expect(await records.commit({ unchanged: [ref], puts: [put(ref, { text: '2' })] })).toEqual({ committed: false })
    const [stored] = (await records.get(ref)).values
    if (!stored) throw new Error('gone')
    expect(await records.commit({ unchanged: [stored], puts: [put(ref, { text: '3' })] })).toMatchObject({
      committed: true,
    })
    expect(await records.commit({ unchanged: [stored], deletes: [ref] })).toEqual({ committed: false })
  })

  test('are listed by what they stand on, without their neighbours', async () => {
    const { records } = setup()
    const refs = [refTo(plain, 'a', '1'), refTo(plain, 'a', '2'), refTo(plain, 'ab', '3'), refTo(plain, 'b')]
    await records.commit({ puts: refs.map((ref) => put(ref, { text: ref.key })) })
    const within = async (...args: Parameters<typeof records.list<{ text: string }>>) =>
      (await records.list(...args)).values.map(({ value }) => value.text)
    expect(await within(plain, 'a')).toEqual(['plain/a/1', 'plain/a/2'])
    expect(await within(plain, 'a', { after: '1' })).toEqual(['plain/a/2'])
    expect(await within(plain, '')).toHaveLength(4)
    expect(await within(plain, 'a', { reverse: true, limit: 1 })).toEqual(['plain/a/2'])
  })
})

describe('sealed records', () => {
  test('design 1: a stolen database shows nothing of them', async () => {
    const { records, store } = setup()
    await records.commit({ puts: [put(refTo(secrets, 'a'), { secret: 'a refresh token' })] })
    expect(Buffer.from(await bytesAt(store, 'secret/a')).toString('latin1')).not.toContain('refresh')
  })

  test('design 5, values are bound to their key: one that was moved to another key does not open', async () => {
    const { records, store } = setup()
    await records.commit({ puts: [put(refTo(secrets, 'alice'), { secret: 'x' })] })
    await store.commit({ sets: [{ key: 'secret/bob', value: await bytesAt(store, 'secret/alice') }] })
    await expect(records.get(refTo(secrets, 'bob'))).rejects.toMatchObject({ name: 'UnsealError', reason: 'forged' })
  })

  test('a value that nobody sealed is not taken for one that was, nor the reverse', async () => {
    const { records, store } = setup()
    const forged = Uint8Array.from([0, 1, ...utf8('{"secret":"mine"}')])
    await store.commit({ sets: [{ key: 'secret/a', value: forged }] })
    await expect(records.get(refTo(secrets, 'a'))).rejects.toMatchObject({ name: 'RecordUnreadable' })
    await records.commit({ puts: [put(refTo(secrets, 'b'), { secret: 'x' })] })
    await store.commit({ sets: [{ key: 'plain/b', value: await bytesAt(store, 'secret/b') }] })
    await expect(records.get(refTo(plain, 'b'))).rejects.toMatchObject({ name: 'RecordUnreadable' })
  })

  test('design 3, secrets rotate: an unknown key id reads the ring again, once', async () => {
    const { records, store, shared, sealer } = setup()
    shared.unshift(newKey('key-2'))
    const other = createRecords(store, sealerOf(shared))
    await other.commit({ puts: [put(refTo(secrets, 'a'), { secret: 'x' })] })
    expect((await records.get(refTo(secrets, 'a'))).values[0]?.value).toEqual({ secret: 'x' })
    expect((await records.list(secrets, '')).values).toHaveLength(1)
    expect(sealer.refreshed).toBe(1)
    const foreign = createRecords(store, sealerOf([newKey('key-3')]))
    await foreign.commit({ puts: [put(refTo(secrets, 'b'), { secret: 'x' })] })
    await expect(records.get(refTo(secrets, 'b'))).rejects.toMatchObject({ reason: 'unknown_key' })
    expect(sealer.refreshed).toBe(2)
  })
})

test('design 5, rolling deploys: a reader takes the schema before its own, and refuses one that it does not know', async () => {
  const { records, store } = setup()
  const first = recordType<{ readonly name: string }>({ name: 'person', schema: 1, sealed: true })
  const second = recordType<{ readonly names: readonly string[] }>({
    name: 'person',
    schema: 2,
    sealed: true,
    upgrade: (value) => ({ names: [(value as { name: string }).name] }),
  })
  await records.commit({ puts: [put(refTo(first, 'a'), { name: 'Alice' })] })
  expect((await records.get(refTo(second, 'a'))).values[0]?.value).toEqual({ names: ['Alice'] })
  await records.commit({ puts: [put(refTo(second, 'a'), { names: ['Alice'] })] })
  await expect(records.get(refTo(first, 'a'))).rejects.toMatchObject({ name: 'RecordUnreadable' })
  // The version is bound to the seal: nobody can have a value read as another schema's.
  const bytes = Uint8Array.from(await bytesAt(store, 'person/a'))
  bytes[1] = 1
  await store.commit({ sets: [{ key: 'person/a', value: bytes }] })
  await expect(records.get(refTo(first, 'a'))).rejects.toMatchObject({ name: 'UnsealError' })
})

describe('references', () => {
  test('of a person: two lists of parts never meet, and any text has a key', () => {
    expect(identityRef('https://a', '/b').key).not.toBe(identityRef('https://a/', 'b').key)
    for (const text of ['', 'ü/\u0000', 'x'.repeat(10_000)]) {
      expect(identityRef(text, text).key).toMatch(/^identity\/[\w-]{43}$/)
      expect(clientRef(text).key).toMatch(/^client\/[\w-]{43}$/)
    }
  })

  test('of a revocation: in the order of time', () => {
    const times = [0, 1, 999, 1_000, 1_790_000_000_000, 9_999_999_999_999]
    const keys = times.map((at) => revocationRef(at, 'grant').key)
    expect([...keys].sort()).toEqual(keys)
    expect(revocationTime(-5)).toBe(revocationTime(0))
    expect(revokedOf(revocationMessage('grant-1'))).toBe('grant-1')
    expect(revokedOf('upstream:1')).toBeUndefined()
  })
})
