import { sealedWith } from '../../../src/crypto/sealing.ts'
import type { Clock } from '../../../src/events/clock.ts'
import { systemRandom } from '../../../src/events/random.ts'
import { type KeyRing, openKeyRing } from '../../../src/keys/key-ring.ts'
import { type KeyUse, keyUses } from '../../../src/keys/ring.ts'
import { type Store, StoreUnavailable } from '../../../src/store/store.ts'

/** What one server took for the keys in use, of each use. */
export type KeysSeen = Readonly<Record<KeyUse, string>>

/** What one server says of a rotation. */
export interface RotationSeen {
  /** The id of the next key. */
  readonly next: string
  /** The ids of all keys of that use in the store afterwards, sorted. */
  readonly all: readonly string[]
  /** Of the keys that others are shown. */
  readonly shown: readonly string[]
}

/** A part of a store that is empty at first: the keys in it and its notifications have a prefix. */
const within = (store: Store, space: string): Store => {
  const at = <T extends { readonly key: string }>(all: readonly T[] = []): T[] =>
    all.map((each) => ({ ...each, key: space + each.key }))
  return {
    ...store,
    get: (keys) => store.get(keys.map((key) => space + key)),
    async list(prefix, options = {}) {
      const after = options.after === undefined ? {} : { after: space + options.after }
      const { entries, now } = await store.list(space + prefix, { ...options, ...after })
      return { entries: entries.map((each) => ({ ...each, key: each.key.slice(space.length) })), now }
    },
    commit: ({ checks, sets, deletes = [], notify = [] }) =>
      store.commit({
        checks: at(checks),
        sets: at(sets),
        deletes: deletes.map((key) => space + key),
        notify: notify.map((message) => space + message),
      }),
    increment: (key, by, ttl) => store.increment(space + key, by, ttl),
    watch: (hear) => store.watch((message) => void (message.startsWith(space) && hear(message.slice(space.length)))),
    close: async () => {},
  }
}

/** On a machine that is too busy for its store, it is tried again, as orchestrators do. */
export async function untilAvailable<T>(run: () => Promise<T>): Promise<T> {
  for (let tried = 1; ; tried++) {
    try {
      return await run()
    } catch (error) {
      if (!(error instanceof StoreUnavailable) || tried === 20) throw error
      await new Promise((resolve) => setTimeout(resolve, 100 + Math.random() * 400))
    }
  }
}

/** The key rings of servers that start for the first time in one space, as many in this process as are asked for. */
export const createFreshRings = (store: Store, secret: string, clock: Clock) => {
  const open = new Map<string, readonly KeyRing[]>()
  const seenBy = (ring: KeyRing): KeysSeen => ({
    sign: ring.signingKey().id,
    mac: ring.macKey().id,
    seal: sealedWith(ring.seal(new Uint8Array(1), 'here')),
  })
  return {
    /** Opens rings at once, each of which makes the keys where there are none yet. They stay open. */
    async start(space: string, count: number): Promise<readonly KeysSeen[]> {
      const part = within(store, `${space}/`)
      const common = { algorithm: 'ES256', clock, random: systemRandom, audit: () => {} } as const
      const rings = await Promise.all(
        Array.from({ length: count }, () =>
          untilAvailable(() => openKeyRing({ store: part, secrets: [secret], ...common })),
        ),
      )
      open.set(space, rings)
      return rings.map(seenBy)
    },
    /** Rotates in all of the open rings at once. */
    async rotate(space: string, use: KeyUse): Promise<readonly RotationSeen[]> {
      const rotated = await Promise.all(
        (open.get(space) ?? []).map(async (ring) => ({
          ring,
          next: (await untilAvailable(() => ring.rotate({ use }))).id,
        })),
      )
      const all = await untilAvailable(async () => rotated[0]?.ring.list())
      return rotated.map(({ ring, next }) => ({
        next,
        all: (all ?? []).flatMap((key) => (key.use === use ? [key.id] : [])).sort(),
        shown: ring.jwks().keys.map(({ kid }) => String(kid)),
      }))
    },
    close(space: string): void {
      for (const ring of open.get(space) ?? []) ring.close()
      open.delete(space)
    },
  }
}

export const useOf = (text: string): KeyUse => keyUses.find((use) => use === text) ?? 'sign'
