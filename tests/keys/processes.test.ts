import { randomBytes } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { startPostgres } from '../support/postgres.ts'
import { startProcess } from '../support/process.ts'
import { startRedis } from '../support/redis.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const script = fileURLToPath(new URL('rotating.ts', import.meta.url))
const many = 3

interface Answer {
  readonly answers: readonly string[]
  readonly made: readonly string[]
}

/** Several processes on one store, told at the same time to rotate, for each use of keys. */
const race = async (engine: string, where: string): Promise<void> => {
  const args = ['--import', 'tsx', script, engine, where, randomBytes(32).toString('base64')]
  const processes = Array.from({ length: many }, () => startProcess(process.execPath, args))
  try {
    await Promise.all(processes.map((one) => one.line(/^ready$/)))
    const seen = new Set<string>()
    for (const round of ['sign', 'mac', 'seal']) {
      for (const one of processes) one.write(`${round}\n`)
      const lines = await Promise.all(processes.map((one) => one.line(new RegExp(`^${round} (.*)$`))))
      const answers = lines.map(([, json = '']) => JSON.parse(json) as Answer)
      const made = answers.flatMap((answer) => answer.made)
      expect(made).toHaveLength(1)
      expect(new Set(answers.flatMap((answer) => answer.answers))).toEqual(new Set(made))
      for (const id of made) {
        expect(seen.has(id)).toBe(false)
        seen.add(id)
      }
    }
  } finally {
    await Promise.all(processes.map((one) => one.stop()))
  }
}

test('several processes that rotate at once on one SQLite file make one key', async () => {
  const { path, remove } = temporaryDirectory()
  try {
    await race('sqlite', `${path}/db`)
  } finally {
    remove()
  }
})

test('several processes that rotate at once on PostgreSQL make one key', async ({ skip }) => {
  const server = await startPostgres()
  if (!('url' in server)) return skip(server.skip)
  try {
    await race('postgres', server.url)
  } finally {
    await server.stop()
  }
})

test('several processes that rotate at once on Redis make one key', async ({ skip }) => {
  const server = await startRedis()
  if (!('url' in server)) return skip(server.skip)
  try {
    await race('redis', server.url)
  } finally {
    await server.stop()
  }
})
