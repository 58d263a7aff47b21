import type { JWK } from 'jose'
import { base64url, fromBase64url } from '../crypto/bytes.ts'
import type { SigningAlgorithm, SigningKey } from '../crypto/jws.ts'
import { seal, UnsealError, unseal } from '../crypto/sealing.ts'
import type { Audit } from '../events/audit.ts'
import type { Clock } from '../events/clock.ts'
import type { Random } from '../events/random.ts'
import { createRecords, put, type Sealer, type Stored } from '../records/records.ts'
import type { Store, Version } from '../store/store.ts'
import { currentKey, type Ring, type RingKey, ringRef } from './ring.ts'
import { secretSealer } from './secret.ts'
import { generateSigningKey, importSigningKey, type SigningKeyPair } from './signing-key.ts'

/** The server's keys, each with an id that is in whatever it made. */
export interface KeyRing extends Sealer {
  /** The key that signs now. */
  signingKey(): SigningKey
  /** The public key of an id; the ring is read again for one that is not known. Undefined: there is no such key. */
  verificationKey(id: string): Promise<SigningKey | undefined>
  macKey(): MacKey
  /** As `verificationKey`. */
  macKeyById(id: string): Promise<MacKey | undefined>
  /** The public keys, for the JWKS document. @see RFC 7517 §5 */
  jwks(): { readonly keys: readonly JWK[] }
}

export interface MacKey {
  readonly id: string
  readonly key: Uint8Array
}

export interface KeyRingOptions {
  readonly store: Store
  readonly secrets: readonly [string, ...string[]]
  readonly algorithm: SigningAlgorithm
  readonly clock: Clock
  readonly random: Random
  readonly audit: Audit
}

interface Loaded {
  readonly ring: Ring
  readonly signing: ReadonlyMap<string, SigningKeyPair>
  readonly secrets: ReadonlyMap<string, Uint8Array>
  readonly version: Version
}

/**
 * Reads the ring, or makes it at the first start: of several nodes that start at once, one writes and the others read.
 * @throws KeyRingUnreadable where none of the secrets opens it
 */
export const openKeyRing = async (options: KeyRingOptions): Promise<KeyRing> => {
  const { clock, store } = options
  const operator = secretSealer(options.secrets)
  const records = createRecords(store, operator)

  const read = async (): Promise<Stored<Ring> | undefined> => {
    try {
      return (await records.get(ringRef)).values[0]
    } catch (error) {
      if (error instanceof UnsealError) throw new KeyRingUnreadable({ cause: error })
      throw error
    }
  }
  const load = async (): Promise<Loaded> => loadRing((await read()) ?? (await create()))
  const create = async (): Promise<Stored<Ring>> => {
    const ring = await makeRing(options)
    const result = await records.commit({ unchanged: [ringRef], puts: [put(ringRef, ring)] })
    if (result.committed) {
      options.audit({ type: 'keys.created', keys: ring.keys.map(({ id, use }) => `${use}:${id}`) })
      return { ref: ringRef, value: ring, version: result.version }
    }
    const theirs = await read()
    if (!theirs) throw new KeyRingUnreadable()
    return theirs
  }

  let loaded = await load()
  if (options.secrets.length > 1) await sealWithFirstSecret(options)

  const reload = async (): Promise<void> => {
    const stored = await read()
    if (!stored) throw new KeyRingUnreadable()
    if (stored.version !== loaded.version) loaded = loadRing(stored)
  }
  const refresh = coalesced(reload)
  const withRefresh = async <T>(find: () => T | undefined): Promise<T | undefined> => {
    const found = find()
    if (found) return found
    await refresh()
    return find()
  }
  const current = (use: RingKey['use']): RingKey => {
    const key = currentKey(loaded.ring, use, clock.now())
    if (!key) throw new KeyRingUnreadable()
    return key
  }
  const secretOf = (id: string): MacKey | undefined => {
    const key = loaded.secrets.get(id)
    return key && { id, key }
  }
  const known = <T>(value: T | undefined): T => {
    if (value === undefined) throw new KeyRingUnreadable()
    return value
  }

  return {
    signingKey: () => known(loaded.signing.get(current('sign').id)).private,
    verificationKey: (id) => withRefresh(() => loaded.signing.get(id)?.public),
    macKey: () => known(secretOf(current('mac').id)),
    macKeyById: (id) => withRefresh(() => secretOf(id)),
    jwks: () => ({ keys: [...loaded.signing.values()].map(({ jwk }) => jwk) }),
    seal: (plaintext, context) => seal(plaintext, known(secretOf(current('seal').id)), context),
    unseal: (envelope, context) => unseal(envelope, (id) => loaded.secrets.get(id), context),
    refresh,
  }
}

/**
 * Runs one at a time; who asks while one runs gets the next, which all of them share. So whatever was there when somebody asked is found, and a
 * flood of unknown key ids costs no more than one read after another.
 */
const coalesced = (run: () => Promise<void>): (() => Promise<void>) => {
  let running: Promise<void> | undefined
  let next: Promise<void> | undefined
  const start = (): Promise<void> => {
    const mine = run().finally(() => {
      if (running === mine) running = undefined
    })
    running = mine
    return mine
  }
  const startNext = (): Promise<void> => {
    next = undefined
    return start()
  }
  return () => {
    if (!running) return start()
    next ??= running.then(startNext, startNext)
    return next
  }
}

/** Seals the ring with the first secret where an older one did: then the older one can be taken out of the list. */
const sealWithFirstSecret = async ({ store, secrets, audit }: KeyRingOptions): Promise<void> => {
  const withAll = createRecords(store, secretSealer(secrets))
  const withFirst = createRecords(store, secretSealer([secrets[0]]))
  for (;;) {
    const stored = (await withAll.get(ringRef)).values[0]
    if (!stored) return
    try {
      await withFirst.get(ringRef)
      return
    } catch (error) {
      if (!(error instanceof UnsealError)) throw error
    }
    const result = await withFirst.commit({ unchanged: [stored], puts: [put(ringRef, stored.value)] })
    if (result.committed) return audit({ type: 'keys.sealed_again' })
  }
}

const loadRing = ({ value: ring, version }: Stored<Ring>): Loaded => {
  const signing = new Map<string, SigningKeyPair>()
  const secrets = new Map<string, Uint8Array>()
  for (const { id, use, material } of ring.keys) {
    if (use === 'sign') signing.set(id, importSigningKey(id, material as JWK))
    else secrets.set(id, fromBase64url(material as string) ?? new Uint8Array())
  }
  return { ring, signing, secrets, version }
}

const makeRing = async ({ algorithm, clock, random }: KeyRingOptions): Promise<Ring> => {
  const createdAt = clock.now()
  const id = () => base64url(random.bytes(9))
  // The first keys are in use at once: nobody has anything older.
  const base = { createdAt, activeFrom: 0 }
  return {
    keys: [
      { ...base, id: id(), use: 'sign', material: await generateSigningKey(algorithm) },
      { ...base, id: id(), use: 'seal', material: base64url(random.bytes(32)) },
      { ...base, id: id(), use: 'mac', material: base64url(random.bytes(32)) },
    ],
  }
}

/** None of the configured secrets opens the key ring that is in the store. */
export class KeyRingUnreadable extends Error {
  override readonly name = 'KeyRingUnreadable'
  constructor(options?: ErrorOptions) {
    super(
      'the key ring in the store can’t be opened with the configured secret: was the secret changed without keeping the old one in the list?',
      options,
    )
  }
}
