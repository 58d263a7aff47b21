/**
 * One of several processes at one store: takes part in a race, or writes until it is killed.
 * Arguments: what to open (JSON), what to do. Speaks in lines: "ready", then waits for a line, then its results.
 */
import { once } from 'node:events'
import type { Store } from '../../src/store/store.ts'
import { bytes, LONG, text } from './contract.ts'
import type { Opening } from './processes.ts'

async function openStore(opening: Opening): Promise<Store> {
  if (opening.engine === 'sqlite') {
    const { sqlite } = await import('../../src/store/sqlite.ts')
    return sqlite(opening.path, { driver: opening.driver })
  }
  if (opening.engine === 'redis') {
    const { redis } = await import('../../src/store/redis.ts')
    return redis(opening.url, { prefix: opening.prefix })
  }
  const { postgres } = await import('../../src/store/postgres.ts')
  const { url, schema, listen } = opening
  return postgres(url, { schema, ...(listen === undefined ? {} : { pooler: 'transaction', listen }) })
}

/**
 * For each round one absent key that all want; then a number that each adds one to, by compare-and-swap, until it is told to stop.
 * Says when it lost for the first time.
 */
async function race(store: Store, rounds: number, told: string): Promise<void> {
  let stopped = told.includes('stop')
  process.stdin.once('data', () => {
    stopped = true
  })
  let claims = 0
  for (let round = 0; round < rounds; round++) {
    const key = `round/${round}`
    const claim = { checks: [{ key, version: undefined }], sets: [{ key, value: bytes(String(process.pid)) }] }
    if ((await store.commit(claim)).committed) claims++
    await store.increment('tries', 1, LONG)
  }
  let wins = 0
  let losses = 0
  while (wins < rounds || !stopped) {
    const { entries } = await store.get(['number', 'copy'])
    const [number, copy] = entries
    if (number?.version !== copy?.version) throw new Error('a read was torn')
    const value = bytes(String(Number(text(number?.value) ?? 0) + 1))
    await new Promise((resolve) => setImmediate(resolve))
    const result = await store.commit({
      checks: [{ key: 'number', version: number?.version }],
      sets: [
        { key: 'number', value },
        { key: 'copy', value },
      ],
    })
    if (result.committed) wins++
    else if (++losses === 1) console.log('lost')
  }
  process.stdin.destroy()
  console.log(JSON.stringify({ claims, wins, losses }))
}

/** Writes one number under three keys, again and again, and says each number that is committed. */
async function writeForEver(store: Store): Promise<void> {
  const { entries } = await store.get(['a'])
  for (let number = Number(text(entries[0]?.value) ?? 0) + 1; ; number++) {
    const value = bytes(`${number}`.padEnd(3000))
    await store.commit({ sets: ['a', 'b', 'c'].map((key) => ({ key, value })) })
    process.stdout.write(`${number}\n`)
  }
}

const [opening = '', task = '', rounds = '0'] = process.argv.slice(2)
const store = await openStore(JSON.parse(opening) as Opening)
console.log('ready')
const [told] = await once(process.stdin, 'data')
if (task !== 'race') process.stdin.destroy()
if (task === 'race') await race(store, Number(rounds), String(told))
else if (task === 'notify') await store.commit({ notify: ['from-another-process'] })
else await writeForEver(store)
await store.close()
