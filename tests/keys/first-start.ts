/** Opens the key ring of one SQLite file when it is told to, and says what it has and whether it opens what the others sealed. */
import { createInterface } from 'node:readline'
import { systemClock } from '../../src/events/clock.ts'
import { systemRandom } from '../../src/events/random.ts'
import { openKeyRing } from '../../src/keys/key-ring.ts'
import { sqlite } from '../../src/store/sqlite.ts'

const [path = '', ...secrets] = process.argv.slice(2)
const [first = '', ...others] = secrets
console.log('ready')
createInterface({ input: process.stdin }).once('line', async () => {
  const store = sqlite(path)
  let made = 0
  const audit = () => {
    made++
  }
  const common = { algorithm: 'ES256', clock: systemClock, random: systemRandom, audit } as const
  const ring = await openKeyRing({ store, secrets: [first, ...others], ...common })
  const answer = { made, sign: ring.signingKey().id, mac: ring.macKey().id, jwks: ring.jwks() }
  console.log(JSON.stringify(answer))
  await store.close()
  process.exit(0)
})
