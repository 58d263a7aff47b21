import pg from 'pg'
import { afterAll, describe, expect, test } from 'vitest'
import { postgresAudit } from '../../src/audit/postgres.ts'
import { startPgBouncer } from '../support/pgbouncer.ts'
import { startPostgres } from '../support/postgres.ts'
import { tcpProxy } from '../support/tcp-proxy.ts'
import { approved, type Bench, contract } from './contract.ts'

const server = await startPostgres()
let benches = 0

describe.skipIf('skip' in server)('on PostgreSQL', () => {
  const url = 'url' in server ? server.url : ''
  contract(async (): Promise<Bench> => {
    const schema = `audit_${++benches}`
    return {
      open: ({ warn = () => {}, ...options } = {}) => postgresAudit(url, { ...options, schema, logger: { warn } }),
      async tamper() {
        const client = new pg.Client(url)
        await client.connect()
        try {
          await client.query(`UPDATE ${schema}.events SET account = 'mallory'`)
          return 'changed'
        } catch (error) {
          return error
        } finally {
          await client.end()
        }
      },
      end: async () => {},
    }
  })

  test('while the database is away events wait, and those beyond the bound are counted; nobody else notices', async () => {
    const proxy = await tcpProxy(Number(new URL(url).port))
    const through = new URL(url)
    through.host = `127.0.0.1:${proxy.port}`
    const warned: string[] = []
    const log = postgresAudit(through.href, {
      ...{ schema: 'audit_away', capacity: 50 },
      logger: { warn: (message) => warned.push(message) },
    })
    log.record(approved('alice', 'before'))
    await log.flush()
    proxy.requests = 'drop'
    proxy.cut()
    for (let index = 0; index < 80; index++) log.record(approved('alice', `g-${index}`))
    await log.flush()
    expect(warned).toEqual(['audit events can’t be written; they wait'])
    proxy.requests = 'pass'
    proxy.cut()
    const types = async () => (await log.query({ limit: 1000 })).events.map(({ type }) => type)
    await expect.poll(async () => (await types()).length).toBe(52)
    expect((await log.query({ types: ['audit.dropped'] })).events).toMatchObject([{ count: 30 }])
    await log.close()

    // A database that takes what is sent, and never answers.
    const mute = postgresAudit(through.href, {
      schema: 'audit_away',
      logger: { warn: (message) => warned.push(message) },
    })
    await mute.query()
    proxy.answers = 'hold'
    mute.record(approved('alice', 'lost'))
    const started = Date.now()
    await mute.close()
    expect(Date.now() - started).toBeLessThan(60_000)
    expect(warned.at(-1)).toBe('audit events were lost')
    await proxy.close()
  })
})

const bouncer = 'skip' in server ? server : await startPgBouncer(server.url)
if ('stop' in bouncer) afterAll(() => bouncer.stop())

test.skipIf('skip' in bouncer)('through a pooler in transaction mode', async () => {
  const url = 'url' in bouncer ? bouncer.url : ''
  const logs = [0, 1].map(() => postgresAudit(url, { schema: 'audit_pooled' }))
  for (const [index, log] of logs.entries()) log.record(approved('alice', `g-${index}`))
  for (const log of logs) await log.flush()
  expect((await logs[0]?.query({ account: 'alice' }))?.events).toHaveLength(2)
  for (const log of logs) await log.close()
})
