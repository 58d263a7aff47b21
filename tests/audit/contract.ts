import fc from 'fast-check'
import { afterEach, expect, test } from 'vitest'
import type { AuditEvent } from '../../src/events/audit.ts'
import type { AuditLog } from '../../src/events/audit-log.ts'

export interface Bench {
  open(options?: { keepFor?: number; capacity?: number; warn?: (message: string) => void }): AuditLog
  /** Tries to change what is written; answers what the engine said. */
  tamper(): Promise<unknown>
  end(): Promise<void>
}

const now = Date.UTC(2026, 5, 1)

export const approved = (account: string, grant: string, at = now): AuditEvent => ({
  ...{
    type: 'code.issued',
    clientId: 'client-1',
    grant,
    account,
    resources: { 'https://x.example/mcp': ['read'] },
    at,
  },
})
export const rotated = (grant: string, at = now, clientId = 'client-1'): AuditEvent => ({
  ...{ type: 'refresh.rotated', clientId, grant, generation: 2, at },
})

/** What every log that keeps events does. */
export const contract = (newBench: () => Promise<Bench>): void => {
  let open: Bench[] = []
  const bench = async () => {
    const made = await newBench()
    open.push(made)
    return made
  }
  afterEach(async () => {
    for (const made of open) await made.end()
    open = []
  })

  test('keeps what was recorded, whole and in its order; newest first unless it is said', async () => {
    const log = (await bench()).open()
    const events = Array.from({ length: 5 }, (_, index) => rotated(`grant-${index}`, now + index))
    for (const event of events) log.record(event)
    await log.flush()
    expect((await log.query()).events).toEqual([...events].reverse())
    expect((await log.query({ oldestFirst: true })).events).toEqual(events)
    await log.close()
  })

  test('finds by account (with all that its grants did), client, grant, type and time, and by several of them', async () => {
    const log = (await bench()).open()
    const hers = [approved('alice', 'g1'), rotated('g1', now + 1), rotated('g1', now + 2, 'client-2')]
    const his = [approved('bob', 'g2', now + 3), rotated('g2', now + 4)]
    const refused: AuditEvent = { type: 'client.refused', reason: 'rate limited', at: now + 5 }
    const atTheGate: AuditEvent = {
      ...{ type: 'access.refused', reason: 'scope', resource: 'https://x.example/mcp', status: 403 },
      ...{ issuer: 'https://x.example', subject: 'alice', clientId: 'client-1', at: now + 6 },
    }
    for (const event of [...hers, ...his, refused, atTheGate]) log.record(event)
    await log.flush()
    const found = async (query: Parameters<AuditLog['query']>[0]) =>
      (await log.query({ oldestFirst: true, ...query })).events
    expect(await found({ account: 'alice' })).toEqual([...hers, atTheGate])
    expect(await found({ account: 'bob' })).toEqual(his)
    expect(await found({ account: 'nobody' })).toEqual([])
    expect(await found({ clientId: 'client-2' })).toEqual([hers[2]])
    expect(await found({ grant: 'g2' })).toEqual(his)
    expect(await found({ types: ['code.issued', 'client.refused'] })).toEqual([hers[0], his[0], refused])
    expect(await found({ types: [] })).toEqual([])
    expect(await found({ from: now + 3, to: now + 5 })).toEqual(his)
    expect(await found({ account: 'alice', clientId: 'client-1', types: ['refresh.rotated'] })).toEqual([hers[1]])
    expect(await found({ account: "x' OR '1'='1" })).toEqual([])
    await log.close()
  })

  test('pages: each event once, whatever is recorded in between', async () => {
    const log = (await bench()).open()
    for (let index = 0; index < 25; index++) log.record(rotated(`g-${index}`, now + index))
    await log.flush()
    const seen: AuditEvent[] = []
    for (let cursor: string | undefined; ; ) {
      const page = await log.query({ limit: 10, cursor })
      seen.push(...page.events)
      log.record(rotated('later', now + 1_000))
      await log.flush()
      if (page.cursor === undefined) break
      cursor = page.cursor
    }
    expect(seen.map(({ at }) => at - now)).toEqual(Array.from({ length: 25 }, (_, index) => 24 - index))
    for (const bad of [{ limit: 0 }, { limit: 1001 }, { cursor: '1 OR 1=1' }, { from: Number.NaN }]) {
      await expect(log.query(bad)).rejects.toThrow(TypeError)
    }
    await log.close()
  })

  test('takes whatever text somebody sent us', async () => {
    const log = (await bench()).open()
    const texts = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.string(),
      fc.constantFrom('\0', '\ud800', '"', "'", '\\', '{}'),
    )
    const samples = fc.sample(texts, 300)
    for (const clientId of samples) log.record({ type: 'token.refused', reason: clientId, clientId, at: now })
    log.record({ type: 'token.refused', reason: 'long', clientId: 'x'.repeat(100_000), at: now })
    await log.flush()
    const { events } = await log.query({ limit: 1000 })
    expect(events).toHaveLength(samples.length + 1)
    for (const clientId of samples) expect((await log.query({ clientId })).events.length).toBeGreaterThan(0)
    expect((await log.query({ clientId: 'x'.repeat(100_000) })).events).toHaveLength(1)
    await log.close()
  })

  test('nothing that was written is changed', async () => {
    const made = await bench()
    const log = made.open()
    log.record(approved('alice', 'g1'))
    await log.flush()
    expect(String(await made.tamper())).toMatch(/audit events are not changed/)
    expect((await log.query()).events).toEqual([approved('alice', 'g1')])
    await log.close()
  })

  test('forgets what is older than it is to keep, and nothing else', async () => {
    const made = await bench()
    const first = made.open()
    const day = 86_400_000
    for (let index = 0; index < 1_200; index++) first.record(rotated('old', Date.now() - 40 * day))
    first.record(rotated('young', Date.now() - 20 * day))
    await first.close()
    const log = made.open({ keepFor: 30 * 86_400 })
    log.record(rotated('new', Date.now()))
    await log.flush()
    await expect.poll(async () => (await log.query({ grant: 'old' })).events.length).toBe(0)
    expect((await log.query()).events).toHaveLength(2)
    await log.close()
  })

  test('closing writes what is left; afterwards nothing is taken, and nobody is disturbed', async () => {
    const made = await bench()
    const warned: string[] = []
    const log = made.open({ warn: (message) => warned.push(message) })
    for (let index = 0; index < 1_500; index++) log.record(rotated(`g-${index}`))
    await log.close()
    await log.close()
    log.record(rotated('too late'))
    expect(warned).toEqual(['an audit event came after its log was closed'])
    const again = made.open()
    expect((await again.query({ limit: 1000 })).events).toHaveLength(1000)
    expect((await again.query({ grant: 'g-1499' })).events).toHaveLength(1)
    await again.close()
  })

  test('several at once on one database each keep all', async () => {
    const made = await bench()
    const logs = [made.open(), made.open(), made.open()]
    for (let index = 0; index < 300; index++) logs[index % 3]?.record(rotated(`g-${index}`))
    await Promise.all(logs.map((log) => log.flush()))
    // One that found the file locked comes again.
    await expect.poll(async () => (await logs[0]?.query({ limit: 1000 }))?.events.length).toBe(300)
    await Promise.all(logs.map((log) => log.close()))
  })
}
