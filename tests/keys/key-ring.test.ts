import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { importJWK, jwtVerify, SignJWT } from 'jose'
import { describe, expect, test } from 'vitest'
import { base64url, fromUtf8, utf8 } from '../../src/crypto/bytes.ts'
import type { SigningAlgorithm } from '../../src/crypto/signing-algorithm.ts'
import type { AuditFacts } from '../../src/events/audit.ts'
import { systemRandom } from '../../src/events/random.ts'
import { openKeyRing } from '../../src/keys/key-ring.ts'
import { type Ring, type RingKey, ringRef } from '../../src/keys/ring.ts'
import { secretSealer } from '../../src/keys/secret.ts'
import { createRecords, put } from '../../src/records/records.ts'
import { memory } from '../../src/store/memory.ts'
import type { Store } from '../../src/store/store.ts'
import { movable } from '../store/movable-clock.ts'
import { startProcess } from '../support/process.ts'
import { unreliable } from '../support/unreliable-store.ts'

type Secrets = readonly [string, ...string[]]

const secret = () => randomBytes(32).toString('base64')
const first: Secrets = [secret()]

const node = async (
  store: Store,
  { secrets = first, clock = movable(), algorithm = 'ES256' as SigningAlgorithm } = {},
) => {
  const events: AuditFacts[] = []
  const audit = (facts: AuditFacts) => void events.push(facts)
  return { events, clock, ring: await openKeyRing({ store, secrets, algorithm, clock, random: systemRandom, audit }) }
}

/** As another node would: adds a key to the ring that is in the store. */
const addKey = async (store: Store, use: 'mac' | 'seal', activeFrom = 0): Promise<RingKey> => {
  const records = createRecords(store, secretSealer(first))
  const [stored] = (await records.get(ringRef)).values
  if (!stored) throw new Error('no ring')
  const key: RingKey = {
    id: base64url(randomBytes(9)),
    use,
    createdAt: Date.now(),
    activeFrom,
    material: base64url(randomBytes(32)),
  }
  const ring: Ring = { keys: [...stored.value.keys, key] }
  const { committed } = await records.commit({ unchanged: [stored], puts: [put(ringRef, ring)] })
  if (!committed) throw new Error('lost a race')
  return key
}

describe('at the first start', () => {
  test('a ring is made, and found again at the next', async () => {
    const store = memory()
    const made = await node(store)
    expect(made.events).toMatchObject([{ type: 'keys.created' }])
    const again = await node(store)
    expect(again.events).toEqual([])
    expect(again.ring.jwks()).toEqual(made.ring.jwks())
    expect(again.ring.macKey()).toEqual(made.ring.macKey())
  })

  test('several processes that start at once on one file have one ring', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'countersign-keys-'))
    try {
      const script = fileURLToPath(new URL('first-start.ts', import.meta.url))
      const path = join(folder, 'countersign.db')
      const args = ['--import', 'tsx', script, path, ...first]
      const processes = Array.from({ length: 4 }, () => startProcess(process.execPath, args))
      await Promise.all(processes.map((one) => one.line(/^ready$/)))
      for (const one of processes) one.write('go\n')
      const lines = await Promise.all(processes.map((one) => one.line(/^\{.*\}$/)))
      const answers = lines.map(([json]) => JSON.parse(json) as { made: number })
      expect(answers.reduce((sum, { made }) => sum + made, 0)).toBe(1)
      const rings = answers.map(({ made: _made, ...ring }) => JSON.stringify(ring))
      expect(new Set(rings).size).toBe(1)
      await Promise.all(processes.map((one) => one.ended))
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })

  test('fault 17: the keys sign with the algorithm that is configured, and the key set says so without the private part', async () => {
    for (const algorithm of ['ES256', 'EdDSA', 'RS256'] as const) {
      const { ring } = await node(memory(), { algorithm })
      const { id, key } = ring.signingKey()
      const token = await new SignJWT({}).setProtectedHeader({ alg: algorithm, kid: id }).sign(key)
      const [jwk] = ring.jwks().keys
      if (!jwk) throw new Error('no key')
      expect(jwk).toMatchObject({ kid: id, alg: algorithm, use: 'sig' })
      for (const name of ['d', 'p', 'q', 'dp', 'dq', 'qi', 'k']) expect(jwk).not.toHaveProperty(name)
      expect(await jwtVerify(token, await importJWK(jwk))).toBeTruthy()
      const verification = await ring.verificationKey(id)
      if (!verification) throw new Error('no key')
      expect(await jwtVerify(token, verification.key)).toBeTruthy()
    }
  })
})

describe('the operator’s secrets', () => {
  test('a stolen database without the secret opens nothing', async () => {
    const store = memory()
    const { ring } = await node(store)
    const bytes = (await store.get([ringRef.key])).entries[0]?.value ?? new Uint8Array()
    const text = Buffer.from(bytes).toString('latin1')
    expect(text).not.toMatch(/"d"|material|mac/)
    expect(text).not.toContain(base64url(ring.macKey().key))
    await expect(node(store, { secrets: [secret()] })).rejects.toMatchObject({ name: 'KeyRingUnreadable' })
  })

  test('design 3, secrets rotate: the ring opens with each secret of the list, and with no other once it is started with fewer', async () => {
    const store = memory()
    const before = await node(store)
    const next = secret()
    const both = await node(store, { secrets: [next, ...first] })
    expect(both.events).toEqual([{ type: 'keys.sealed_again' }])
    expect(both.ring.macKey()).toEqual(before.ring.macKey())
    expect((await node(store, { secrets: [...first, next] })).events).toEqual([])
    // A node that was not given the new one yet still reads what those that have it wrote.
    await both.ring.rotate()
    await before.ring.refresh()
    expect(before.ring.jwks()).toEqual(both.ring.jwks())

    const after = await node(store, { secrets: [next] })
    expect(after.events).toEqual([{ type: 'keys.sealed_again' }])
    expect(after.ring.jwks()).toEqual(both.ring.jwks())
    await both.ring.refresh()
    expect(both.ring.jwks()).toEqual(after.ring.jwks())
    await expect(node(store)).rejects.toMatchObject({ name: 'KeyRingUnreadable' })
  })

  test('who lacks a secret of the list writes nothing that its owner could not read', async () => {
    const store = memory()
    const old = await node(store)
    const next = secret()
    await node(store, { secrets: [next, ...first] })
    await expect(old.ring.rotate()).rejects.toThrow(/whole list/)
    expect((await node(store, { secrets: [next] })).ring.macKey()).toEqual(old.ring.macKey())
  })

  test('design 3, secrets rotate: nodes that start at once with the new list seal it once', async () => {
    const store = memory()
    await node(store)
    const secrets: Secrets = [secret(), ...first]
    const nodes = await Promise.all(Array.from({ length: 6 }, () => node(store, { secrets })))
    expect(nodes.flatMap(({ events }) => events)).toEqual([{ type: 'keys.sealed_again' }])
  })

  test('what is said of an unreadable ring holds no secret', async () => {
    const store = memory()
    await node(store)
    const other = secret()
    const error = await node(store, { secrets: [other] }).catch((one: Error) => one)
    expect(String((error as Error).stack)).not.toContain(other)
    expect(String(error)).toMatch(/secret/)
  })
})

describe('design 3, secrets rotate: an unknown key id', () => {
  test('reads the ring again: a key that another node just made is found at once, however recent the last reading', async () => {
    const store = memory()
    const { ring } = await node(store)
    for (let round = 0; round < 5; round++) {
      expect(await ring.macKeyById('of nobody')).toBeUndefined()
      const key = await addKey(store, 'mac')
      expect((await ring.macKeyById(key.id))?.id).toBe(key.id)
    }
  })

  test('a key that was added while a reading was under way is found by who asked after it was added', async () => {
    const kept = memory()
    let held: Promise<void> | undefined
    // The answer was read before, and comes after.
    const slow: Store = {
      ...kept,
      async get(keys) {
        const answer = await kept.get(keys)
        await held
        return answer
      },
    }
    const { ring } = await node(slow)
    let letGo: () => void = () => {}
    held = new Promise((resolve) => {
      letGo = resolve
    })
    const underWay = ring.macKeyById('of nobody')
    await new Promise((resolve) => setTimeout(resolve, 10))
    const key = await addKey(kept, 'mac')
    const asked = Promise.all([ring.macKeyById(key.id), ring.macKeyById(key.id)])
    held = undefined
    letGo()
    expect((await asked).map((one) => one?.id)).toEqual([key.id, key.id])
    expect(await underWay).toBeUndefined()
  })

  test('opens what another node sealed with a key that is new', async () => {
    const store = memory()
    const one = await node(store)
    await addKey(store, 'seal', 1)
    const other = await node(store)
    const type = { name: 'thing', schema: 1, sealed: true }
    const ref = { type, key: 'thing/1' }
    await createRecords(store, other.ring).commit({ puts: [put(ref, { text: 'x' })] })
    expect((await createRecords(store, one.ring).get(ref)).values[0]?.value).toEqual({ text: 'x' })
  })

  test('a flood of unknown ids costs a few readings, not one each', async () => {
    const store = unreliable(memory())
    const { ring } = await node(store)
    store.delay = 20
    const before = store.calls.get
    await Promise.all(Array.from({ length: 200 }, (_, index) => ring.verificationKey(`unknown-${index}`)))
    expect(store.calls.get - before).toBeLessThanOrEqual(3)
  })

  test('is "unknown" only if the ring could be read: else the store is away', async () => {
    const store = unreliable(memory())
    const { ring } = await node(store)
    store.down = true
    await expect(ring.macKeyById('of nobody')).rejects.toMatchObject({ name: 'StoreUnavailable' })
    expect((await ring.macKeyById(ring.macKey().id))?.id).toBe(ring.macKey().id)
    store.down = false
    expect(await ring.macKeyById('of nobody')).toBeUndefined()
  })

  test('a new key is read before it is used', async () => {
    const clock = movable()
    const store = memory({ clock })
    const { ring } = await node(store, { clock })
    const old = ring.macKey().id
    const key = await addKey(store, 'mac', clock.now() + 60_000)
    expect((await ring.macKeyById(key.id))?.id).toBe(key.id)
    expect(ring.macKey().id).toBe(old)
    await clock.pass(61_000)
    expect(ring.macKey().id).toBe(key.id)
    expect((await ring.macKeyById(old))?.id).toBe(old)
  })
})

describe('the envelope of the ring', () => {
  const at = 'key-ring/current#1'

  test('opens with each of its secrets, and only in its place', () => {
    const [a, b, c] = [secret(), secret(), secret()]
    const sealed = secretSealer([a, b]).seal(utf8('ring'), at)
    for (const one of [secretSealer([a]), secretSealer([b]), secretSealer([c, b]), secretSealer([b, a])]) {
      expect(fromUtf8(one.unseal(sealed, at))).toBe('ring')
      expect(() => one.unseal(sealed, 'elsewhere')).toThrow(/forged/)
    }
    expect(() => secretSealer([c]).unseal(sealed, at)).toThrow(/unknown_key/)
    const ofOne = secretSealer([a]).seal(utf8('ring'), at)
    expect(fromUtf8(secretSealer([b, a]).unseal(ofOne, at))).toBe('ring')
    expect(() => secretSealer([b]).unseal(ofOne, at)).toThrow(/unknown_key/)
  })

  test('knows whom it is for', () => {
    const [a, b] = [secret(), secret()]
    const sealed = secretSealer([a, b]).seal(utf8('ring'), at)
    expect(secretSealer([b, a, b]).isExactlyFor(sealed)).toBe(true)
    expect(secretSealer([a]).isExactlyFor(sealed)).toBe(false)
    expect(secretSealer([a]).isForAll(sealed)).toBe(false)
    expect(secretSealer([a, b, secret()]).isForAll(sealed)).toBe(true)
    expect(secretSealer([a, b, secret()]).isExactlyFor(sealed)).toBe(false)
    for (const one of [a, b]) expect(Buffer.from(sealed).toString('latin1')).not.toContain(one)
  })

  test('changed anywhere, cut or mixed with another, it opens nothing and says so', () => {
    const sealer = secretSealer([secret(), secret()])
    const [one, other] = [sealer.seal(utf8('ring'), at), sealer.seal(utf8('gnir'), at)]
    const bad = [
      ...Array.from(one, (byte, index) => Uint8Array.from(one).fill(byte ^ 1, index, index + 1)),
      ...Array.from(one, (_byte, length) => one.subarray(0, length)),
      Buffer.concat([one.subarray(0, -40), other.subarray(-40)]),
    ]
    for (const envelope of bad) {
      // What is not looked at may be anything: the second secret's part, as long as its length is right.
      const opened = (() => {
        try {
          return fromUtf8(sealer.unseal(envelope, at))
        } catch (error) {
          expect(error).toMatchObject({ name: 'UnsealError' })
          return 'ring'
        }
      })()
      expect(opened).toBe('ring')
    }
  })
})
