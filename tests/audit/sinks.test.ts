import { writeFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { sqliteAudit } from '../../src/audit/sqlite.ts'
import type { AuditEvent } from '../../src/events/audit.ts'
import { createTarget } from '../attacks/support/target.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

test('several sinks at once: each has every event, one that fails harms nobody, and closing writes what is left', async () => {
  const { path, remove } = temporaryDirectory()
  const own: AuditEvent[] = []
  const target = await createTarget({
    audit: [
      () => {
        throw new Error('a sink that throws')
      },
      () => Promise.reject(new Error('a sink that rejects')),
      sqliteAudit(`${path}/audit.db`),
      (event) => void own.push(event),
    ],
  })
  const client = await target.register()
  const tokens = await target.tokens(client)
  expect((await target.refresh(client, tokens.refresh_token)).status).toBe(200)
  expect((await target.call(tokens.access_token)).status).toBe(200)
  expect(target.log.join()).toMatch(/a sink that throws.*a sink that rejects/s)
  await target.auth.close()
  const log = sqliteAudit(`${path}/audit.db`)
  const { events } = await log.query({ oldestFirst: true, limit: 1000 })
  expect(events).toEqual(own)
  const account = own.find((event) => event.type === 'code.issued')?.account
  const types = (await log.query({ account, oldestFirst: true })).events.map(({ type }) => type)
  expect(types).toEqual(
    expect.arrayContaining(['sign_in.succeeded', 'code.issued', 'code.redeemed', 'refresh.rotated']),
  )
  await log.close()
  remove()
})

test('a log whose file can’t be written fails no request', async () => {
  const warned: string[] = []
  const { path, remove } = temporaryDirectory()
  writeFileSync(`${path}/file`, '')
  const log = sqliteAudit(`${path}/file/audit.db`, { logger: { warn: (message) => warned.push(message) } })
  const target = await createTarget({ audit: log })
  const client = await target.register()
  const tokens = await target.tokens(client)
  expect((await target.call(tokens.access_token)).status).toBe(200)
  await log.flush()
  expect(warned[0]).toMatch(/they wait/)
  await target.auth.close()
  expect(warned.at(-1)).toBe('audit events were lost')
  remove()
})
