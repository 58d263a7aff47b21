import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { createServerDpop } from '../../src/authorization-server/server-dpop.ts'
import { systemClock } from '../../src/events/clock.ts'
import { systemRandom } from '../../src/events/random.ts'
import { openKeyRing } from '../../src/keys/key-ring.ts'
import { createRecords } from '../../src/records/records.ts'
import { sqlite } from '../../src/store/sqlite.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

/** A node of its own on the file: nothing is shared in memory. */
const node = async (file: string) => {
  const store = sqlite(file)
  const options = { secrets: ['a secret for tests that is long enough'] as const, algorithm: 'ES256' as const }
  const keys = await openKeyRing({ ...options, store, clock: systemClock, random: systemRandom, audit: () => {} })
  const dpop = createServerDpop({ records: createRecords(store, keys), keys, clock: systemClock }, true)
  return { dpop, close: () => store.close() }
}

test('fault 24: of many nodes that are shown one proof at the same time, one takes it', async () => {
  const folder = temporaryDirectory()
  onTestFinished(folder.remove)
  const file = join(folder.path, 'marks.db')
  const nodes = [await node(file), await node(file), await node(file)]
  const now = systemClock.now()
  for (let round = 0; round < 20; round++) {
    const proof = { jkt: 'a key', jti: `${round}`, issuedAt: now / 1000 }
    const taken = await Promise.all([...nodes, ...nodes].map(({ dpop }) => dpop.marks.use(proof, now)))
    expect(taken.filter(Boolean)).toHaveLength(1)
  }
  const [first, , last] = nodes
  const nonce = (await first?.dpop.nonces?.current()) ?? expect.fail('no nonce')
  expect(await last?.dpop.nonces?.isGood(nonce)).toBe(true)
  for (const each of nodes) await each.close()
})
