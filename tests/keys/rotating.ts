/** Opens the key ring of a store, and rotates the key of each use that it is told: prints what each call answered. */
import { createInterface } from 'node:readline'
import { systemClock } from '../../src/events/clock.ts'
import { systemRandom } from '../../src/events/random.ts'
import { type KeyRingOptions, openKeyRing } from '../../src/keys/key-ring.ts'
import { defaultRotation } from '../../src/keys/plan.ts'
import type { KeyUse } from '../../src/keys/ring.ts'
import { sqlite } from '../../src/store/sqlite.ts'

const [engine = '', where = '', secret = ''] = process.argv.slice(2)
const store =
  engine === 'sqlite'
    ? sqlite(where)
    : engine === 'postgres'
      ? (await import('../../src/store/postgres.ts')).postgres(where)
      : (await import('../../src/store/redis.ts')).redis(where)
const made: string[] = []
const options: KeyRingOptions = {
  ...{ store, secrets: [secret], algorithm: 'ES256', clock: systemClock, random: systemRandom },
  rotation: defaultRotation,
  audit: (event) => {
    if (event.type === 'keys.rotated') made.push(event.key)
  },
}
const ring = await openKeyRing(options)
console.log('ready')
for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'end') break
  made.length = 0
  const answers = await Promise.all(Array.from({ length: 4 }, () => ring.rotate({ use: line as KeyUse })))
  console.log(`${line} ${JSON.stringify({ answers: answers.map(({ id }) => id), made })}`)
}
await store.close()
process.exit(0)
