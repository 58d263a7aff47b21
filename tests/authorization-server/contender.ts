/**
 * One of several processes that redeem the same codes and refresh the same tokens. Arguments: the store, and what the server is configured with
 * (JSON).
 * Speaks in lines: "ready"; then for each line of JSON forms on stdin, a line with the statuses and tokens of posting all of them at once.
 */
import { createInterface } from 'node:readline'
import type { Store } from '../../src/store/store.ts'
import { postToken, type TestServerOptions, testServer } from '../support/authorization-server.ts'

export type Opening =
  | { readonly engine: 'sqlite'; readonly path: string }
  | { readonly engine: 'postgres' | 'redis'; readonly url: string }

async function openStore(opening: Opening): Promise<Store> {
  if (opening.engine === 'sqlite') return (await import('../../src/store/sqlite.ts')).sqlite(opening.path)
  if (opening.engine === 'redis') return (await import('../../src/store/redis.ts')).redis(opening.url)
  const { postgres } = await import('../../src/store/postgres.ts')
  return postgres(opening.url)
}

const store = await openStore(JSON.parse(process.argv[2] ?? '') as Opening)
const to = await testServer({ store, ...(JSON.parse(process.argv[3] ?? '{}') as TestServerOptions) })
console.log('ready')
for await (const line of createInterface({ input: process.stdin })) {
  const forms = JSON.parse(line) as Record<string, string>[]
  const answers = await Promise.all(forms.map((form) => postToken(to, form)))
  console.log(JSON.stringify(answers.map(({ status, body }) => ({ status, ...body }))))
}
await store.close()
