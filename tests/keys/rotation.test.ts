import { randomBytes } from 'node:crypto'
import { exportJWK, generateKeyPair, importJWK, jwtVerify } from 'jose'
import { describe, expect, test } from 'vitest'
import { signJwt } from '../../src/crypto/jws.ts'
import { sealedWith } from '../../src/crypto/sealing.ts'
import type { AuditFacts } from '../../src/events/audit.ts'
import { systemRandom } from '../../src/events/random.ts'
import { type KeyRing, type KeyRingOptions, openKeyRing } from '../../src/keys/key-ring.ts'
import { defaultRotation, straggling } from '../../src/keys/plan.ts'
import { createRecords, put, recordType, refTo } from '../../src/records/records.ts'
import { memory } from '../../src/store/memory.ts'
import type { Store } from '../../src/store/store.ts'
import { movable } from '../store/movable-clock.ts'
import { unreliable } from '../support/unreliable-store.ts'

const day = 86_400_000
const secret = randomBytes(32).toString('base64')

interface Node {
  readonly ring: KeyRing
  readonly events: AuditFacts[]
  readonly warnings: string[]
}

const setup = () => {
  const clock = movable()
  const store = unreliable(memory({ clock }))
  const node = async (options: Partial<KeyRingOptions> = {}): Promise<Node> => {
    const events: AuditFacts[] = []
    const warnings: string[] = []
    const nothing = () => {}
    const ring = await openKeyRing({
      store,
      secrets: [secret],
      algorithm: 'ES256',
      clock,
      random: systemRandom,
      audit: (facts) => void events.push(facts),
      logger: { debug: nothing, info: nothing, warn: (text) => void warnings.push(text), error: nothing },
      ...options,
    })
    return { ring, events, warnings }
  }
  return { clock, store, node }
}

const kids = (ring: KeyRing) => ring.jwks().keys.map(({ kid }) => kid)
const signed = (ring: KeyRing) => signJwt(ring.signingKey(), 'at+jwt', { sub: 'someone' })
const verifies = async (ring: KeyRing, token: string): Promise<boolean> => {
  const [header = ''] = token.split('.')
  const { kid } = JSON.parse(Buffer.from(header, 'base64url').toString()) as { kid: string }
  const key = await ring.verificationKey(kid)
  return key !== undefined && (await jwtVerify(token, key.key)).payload.sub === 'someone'
}
/** Long enough, mostly, for what a node would do beside and must not: what it must is waited for. */
const beside = () => new Promise((resolve) => setTimeout(resolve, 30))
const signingIds = async ({ ring }: Node, state: 'next' | 'active' | 'retired') =>
  (await ring.list()).filter((key) => key.use === 'sign' && key.state === state).map(({ id }) => id)

describe('design 3, secrets rotate: by command', () => {
  test('a new key is in the key set of every node before it signs; the old one stays until its last token is dead', async () => {
    const { clock, node } = setup()
    const [one, other] = [await node(), await node()]
    const old = one.ring.signingKey().id
    const early = await signed(one.ring)
    const made = await one.ring.rotate()
    expect(made).toMatchObject({ use: 'sign', algorithm: 'ES256', state: 'next' })
    await expect.poll(() => kids(other.ring)).toEqual([old, made.id])
    expect(one.ring.signingKey().id).toBe(old)

    await clock.pass(defaultRotation.lead)
    for (const each of [one, other]) {
      await each.ring.catchUp()
      expect(each.ring.signingKey().id).toBe(made.id)
    }
    expect(await verifies(other.ring, await signed(one.ring))).toBe(true)
    expect(await verifies(one.ring, early)).toBe(true)
    expect(await signingIds(one, 'active')).toEqual([made.id])
    expect(await signingIds(one, 'retired')).toEqual([old])

    await clock.pass(defaultRotation.life.sign + straggling)
    for (const each of [other, one]) {
      await each.ring.catchUp()
      await expect.poll(() => kids(each.ring)).toEqual([made.id])
      expect(await verifies(each.ring, early)).toBe(false)
    }
    const { activeFrom } = made
    expect([...one.events, ...other.events]).toMatchObject([
      { type: 'keys.created' },
      { type: 'keys.rotated', use: 'sign', key: made.id, algorithm: 'ES256', activeFrom, by: 'operator' },
      { type: 'keys.retired', keys: [`sign:${old}`] },
    ])
  })

  test('many at once, on many nodes, make one key; and as long as it is not in use, asking again makes no other', async () => {
    const { node } = setup()
    const nodes = await Promise.all(Array.from({ length: 5 }, () => node()))
    const made = await Promise.all(nodes.flatMap(({ ring }) => [ring.rotate(), ring.rotate()]))
    expect(new Set(made.map(({ id }) => id)).size).toBe(1)
    expect(nodes.flatMap(({ events }) => events.filter(({ type }) => type === 'keys.rotated'))).toHaveLength(1)
    expect((await nodes[0]?.ring.rotate())?.id).toBe(made[0]?.id)
  })

  test('of a command whose answer was lost, the next has the same key', async () => {
    const { node, store } = setup()
    const { ring } = await node()
    store.mishaps.push('applied, answer lost')
    await expect(ring.rotate()).rejects.toMatchObject({ name: 'StoreUnavailable' })
    await ring.rotate()
    expect(kids(ring)).toHaveLength(2)
  })

  test('MAC keys: tokens of the old one are known as long as its grants may live', async () => {
    const { clock, node } = setup()
    const { ring } = await node()
    const old = ring.macKey().id
    const { id } = await ring.rotate({ use: 'mac' })
    await clock.pass(defaultRotation.lead)
    expect(ring.macKey().id).toBe(id)
    await clock.pass(defaultRotation.life.mac)
    await ring.catchUp()
    await beside()
    expect(await ring.macKeyById(old)).toBeDefined()
    await clock.pass(straggling)
    await ring.catchUp()
    await expect.poll(() => ring.macKeyById(old)).toBeUndefined()
  })

  test('compromised: the new key signs at once on every node, and what the old ones signed is refused', async () => {
    const { node } = setup()
    const [one, other] = [await node(), await node()]
    const stolen = await signed(one.ring)
    let dropped = 0
    other.ring.whenDropped(() => void dropped++)
    const made = await Promise.all([one, other].map(({ ring }) => ring.rotate({ compromised: true })))
    expect(new Set(made.map(({ id }) => id)).size).toBe(1)
    for (const { ring } of [one, other]) {
      await expect.poll(() => kids(ring)).toEqual([made[0]?.id])
      expect(await verifies(ring, stolen)).toBe(false)
      expect(await verifies(ring, await signed(one.ring))).toBe(true)
    }
    await expect.poll(() => dropped).toBe(1)
    expect([...one.events, ...other.events].filter(({ type }) => type === 'keys.rotated')).toMatchObject([
      { by: 'compromise' },
    ])
  })
})

describe('design 3, secrets rotate: by schedule', () => {
  test('each kind in its time, once, whichever node is asked first; a node that slept learns before it signs', async () => {
    const { clock, node } = setup()
    const nodes = await Promise.all([node(), node(), node()])
    const [awake, , asleep] = nodes
    if (!awake || !asleep) throw new Error('no nodes')
    const old = awake.ring.signingKey().id
    await clock.pass(90 * day - defaultRotation.lead)
    await Promise.all(nodes.slice(0, 2).map(({ ring }) => ring.catchUp()))
    const rotations = () => nodes.flatMap(({ events }) => events.filter(({ type }) => type === 'keys.rotated'))
    await expect.poll(rotations).toMatchObject([{ use: 'sign', by: 'schedule' }])
    expect(awake.ring.signingKey().id).toBe(old)
    await clock.pass(defaultRotation.lead)
    await asleep.ring.catchUp()
    expect(asleep.ring.signingKey().id).not.toBe(old)

    await clock.pass(275 * day)
    await Promise.all(nodes.map(({ ring }) => ring.catchUp()))
    await expect.poll(() => rotations().length).toBe(4)
    expect(new Set(rotations().map((event) => event.type === 'keys.rotated' && event.use))).toEqual(
      new Set(['sign', 'seal', 'mac']),
    )
    await beside()
    expect(rotations()).toHaveLength(4)
  })

  test('a store that is away is no trouble for what is known; for a node that has not read the ring for minutes it is', async () => {
    const { clock, node, store } = setup()
    const { ring, warnings } = await node()
    store.down = true
    await clock.pass(2 * 60_000)
    await ring.catchUp()
    await expect.poll(() => warnings).toEqual(['the key ring could not be read'])
    await clock.pass(4 * 60_000)
    await expect(ring.catchUp()).rejects.toMatchObject({ name: 'StoreUnavailable' })
    store.down = false
    await ring.catchUp()
  })

  test('nothing is read while what is known is recent', async () => {
    const { clock, node, store } = setup()
    const { ring } = await node()
    const before = store.calls.get
    for (let second = 0; second < 50; second++) {
      await clock.pass(1_000)
      await ring.catchUp()
    }
    expect(store.calls.get).toBe(before)
    await clock.pass(11_000)
    await Promise.all(Array.from({ length: 50 }, () => ring.catchUp()))
    expect(store.calls.get).toBe(before + 1)
  })

  test('without notifications a node learns of a new key long before it signs', async () => {
    const { clock, node, store } = setup()
    store.notifies = false
    const [one, other] = [await node(), await node()]
    const { id } = await one.ring.rotate()
    await clock.pass(60_000)
    await other.ring.catchUp()
    await expect.poll(() => kids(other.ring)).toContain(id)
  })
})

test('fault 17: another algorithm is taken up as any rotation is: tokens of the old one stay good, and no node flaps back', async () => {
  for (const algorithm of ['EdDSA', 'RS256'] as const) {
    const { clock, node } = setup()
    const before = await node()
    const early = await signed(before.ring)
    const after = await node({ algorithm })
    expect(after.events).toMatchObject([{ type: 'keys.rotated', algorithm, by: 'schedule' }])
    expect(after.ring.signingKey().algorithm).toBe('ES256')
    await clock.pass(defaultRotation.lead)
    // An old node that is still running goes along.
    for (const { ring } of [before, after]) {
      await ring.catchUp()
      await expect.poll(() => ring.signingKey().algorithm).toBe(algorithm)
      expect(await verifies(ring, early)).toBe(true)
    }
    expect(before.events).toMatchObject([{ type: 'keys.created' }])
    const keys = after.ring.jwks().keys.map(async (jwk) => importJWK(jwk))
    expect((await Promise.all(keys)).length).toBe(2)
  }
})

describe('sealing keys', () => {
  const things = recordType<{ readonly text: string }>({ name: 'thing', schema: 1, sealed: true })
  const plain = recordType<{ readonly text: string }>({ name: 'plain', schema: 1, sealed: false })
  const keysOf = async (store: Store) => {
    const found = new Map<string, number>()
    for (const { key, value } of (await store.list('thing/', { limit: 1000 })).entries) {
      expect(key).toMatch(/^thing/)
      const id = sealedWith(value.subarray(2))
      found.set(id, (found.get(id) ?? 0) + 1)
    }
    return Object.fromEntries(found)
  }
  const filled = async (store: Store, ring: KeyRing, count: number) => {
    const records = createRecords(store, ring)
    for (let n = 0; n < count; n++) {
      await records.commit({
        puts: [
          put(refTo(things, `${n}`), { text: `thing ${n}` }, n % 2 ? 1_000 * day : undefined),
          put(refTo(plain, `${n}`), { text: `plain ${n}` }),
        ],
      })
    }
    return records
  }

  test('design 3, secrets rotate: all that the old one sealed is sealed anew, keeping its content and its end; then the key goes', async () => {
    const { clock, node, store } = setup()
    const nodes = [await node(), await node()] as const
    const [one, other] = nodes
    const records = await filled(store, one.ring, 250)
    const old = Object.keys(await keysOf(store))
    expect(old).toHaveLength(1)
    const ends = (await store.list('thing/', { limit: 1000 })).entries.map(({ expiresAt }) => expiresAt)
    const { id } = await one.ring.rotate({ use: 'seal' })
    await clock.pass(defaultRotation.lead + straggling)
    await Promise.all(nodes.map(({ ring }) => ring.catchUp()))
    await expect.poll(() => keysOf(store)).toEqual({ [id]: 250 })
    const left = (await store.list('thing/', { limit: 1000 })).entries.map(({ expiresAt }) => expiresAt)
    for (const [index, end] of ends.entries()) {
      if (end === undefined) expect(left[index]).toBeUndefined()
      else expect(Math.abs((left[index] ?? 0) - end)).toBeLessThan(5_000)
    }
    await expect.poll(async () => (await one.ring.list()).filter(({ use }) => use === 'seal').length).toBe(2)
    expect((await records.get(refTo(things, '249'))).values[0]?.value).toEqual({ text: 'thing 249' })

    // Something that was under way all that time.
    const late = createRecords(store, { ...one.ring, seal: (await node()).ring.seal })
    await late.commit({ puts: [put(refTo(things, 'late'), { text: 'late' })] })
    await clock.pass(day + 60_000)
    await Promise.all(nodes.map(({ ring }) => ring.catchUp()))
    const seals = async () => (await other.ring.list()).filter(({ use }) => use === 'seal').map((key) => key.id)
    await expect.poll(seals).toEqual([id])
    expect((await createRecords(store, other.ring).get(refTo(things, 'late'))).values[0]?.value).toEqual({
      text: 'late',
    })
    const events = nodes.flatMap(({ events }) => events)
    expect(events.filter(({ type }) => type === 'keys.resealed')).toEqual([{ type: 'keys.resealed', records: 250 }])
    expect(events.filter(({ type }) => type === 'keys.retired')).toEqual([
      { type: 'keys.retired', keys: [`seal:${old[0]}`] },
    ])
    expect(nodes.flatMap(({ warnings }) => warnings)).toEqual([])
  })

  test('compromised: the new one seals at once, and everything is sealed with it', async () => {
    const { node, store } = setup()
    const [one, other] = [await node(), await node()]
    const records = await filled(store, one.ring, 120)
    const { id } = await other.ring.rotate({ use: 'seal', compromised: true })
    expect(await keysOf(store)).toEqual({ [id]: 120 })
    expect((await records.get(refTo(things, '7'))).values[0]?.value).toEqual({ text: 'thing 7' })
  })

  test('who writes a record in the meantime is not overwritten', async () => {
    const { node, store } = setup()
    const { ring } = await node()
    const records = await filled(store, ring, 1)
    const list = store.list
    store.list = async (prefix, options) => {
      const listed = await list(prefix, options)
      await records.commit({ puts: [put(refTo(things, '0'), { text: 'newer' })] })
      return listed
    }
    await ring.rotate({ use: 'seal', compromised: true })
    expect((await records.get(refTo(things, '0'))).values[0]?.value).toEqual({ text: 'newer' })
  })
})

describe('an administrator', () => {
  test('makes no ring, and changes none unasked', async () => {
    const { node, store, clock } = setup()
    await expect(node({ role: 'administrator' })).rejects.toMatchObject({ name: 'KeyRingMissing' })
    await node()
    await clock.pass(1_000 * day)
    const before = (await store.get(['key-ring/current'])).entries[0]?.version
    const next = randomBytes(32).toString('base64')
    const { ring, events } = await node({ role: 'administrator', secrets: [next, secret], algorithm: 'EdDSA' })
    await ring.catchUp()
    await beside()
    expect((await store.get(['key-ring/current'])).entries[0]?.version).toBe(before)
    expect(events).toEqual([])
    expect(await ring.sealAgain()).toBe(true)
    expect(await ring.sealAgain()).toBe(false)
    // What is configured at the servers it may not know: a key is made like the one that there is.
    expect(await ring.rotate()).toMatchObject({ algorithm: 'ES256', state: 'next' })
  })
})

describe('keys of the operator’s own', () => {
  const theirs = async (alg: 'ES256' | 'EdDSA') => {
    const { privateKey } = await generateKeyPair(alg, { extractable: true })
    const { importSigningKey } = await import('../../src/keys/signing-key.ts')
    return importSigningKey('theirs', { ...(await exportJWK(privateKey)), alg })
  }

  test('sign; every node verifies what they signed, also one that does not have them; the private part is nowhere', async () => {
    const { node, store } = setup()
    const without = await node()
    const early = await signed(without.ring)
    const key = await theirs('EdDSA')
    const having = await node({ external: [key] })
    expect(having.ring.signingKey()).toMatchObject({ id: 'theirs', algorithm: 'EdDSA' })
    const token = await signed(having.ring)
    expect(await verifies(without.ring, token)).toBe(true)
    expect(await verifies(having.ring, early)).toBe(true)
    await without.ring.refresh()
    for (const { ring } of [without, having]) {
      const jwk = ring.jwks().keys.find(({ kid }) => kid === 'theirs')
      expect(jwk).toMatchObject({ alg: 'EdDSA', use: 'sig' })
      expect(jwk).not.toHaveProperty('d')
    }
    expect(JSON.stringify(await having.ring.list())).not.toMatch(/"d"|material/)
    await expect(having.ring.rotate()).rejects.toThrow(/configuration/)
    expect((await store.list('')).entries.length).toBeGreaterThan(0)
  })

  test('from the first start on the ring holds none', async () => {
    const { node } = setup()
    const { ring } = await node({ external: [await theirs('ES256')] })
    expect((await ring.list()).filter(({ use }) => use === 'sign').map(({ id }) => id)).toEqual(['theirs'])
    expect(kids(ring)).toEqual(['theirs'])
  })
})
