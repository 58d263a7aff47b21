import { Readable } from 'node:stream'
import { expect, test } from 'vitest'
import { exportStore, importStore } from '../../src/cli/transfer.ts'
import { memory } from '../../src/store/memory.ts'
import { createTarget, type Target } from '../attacks/support/target.ts'
import { stopped } from '../store/movable-clock.ts'

const secret = 'a secret for tests that is long enough'

const backupOf = async ({ store }: Target): Promise<string> => {
  const lines: string[] = []
  await exportStore(store, async (line) => void lines.push(line))
  return lines.join('')
}

/** A server on what was backed up, some refreshes ago. */
const afterRestore = async (hours: number, refreshes: number) => {
  const clock = stopped()
  const before = await createTarget({ secret, clock, engine: () => memory({ clock }) })
  const client = await before.register()
  let { refresh_token: token } = await before.tokens(client)
  const backup = await backupOf(before)
  for (let refresh = 0; refresh < refreshes; refresh++) {
    token = (await before.refresh(client, token)).body.refresh_token ?? ''
  }
  const restore = async (restored?: { until: string; ahead?: number }) => {
    const store = memory({ clock })
    await importStore(store, Readable.from([backup]))
    const target = await createTarget({ secret, clock, engine: () => store, restored })
    await clock.pass(hours * 3_600_000)
    return target
  }
  return { client, token, restore, in: (more: number) => new Date(clock.now() + more * 3_600_000).toISOString() }
}

test('design 3, refreshing: after a backup was restored, a wider window is open for as long as the operator says', async () => {
  const { client, token, restore, in: inHours } = await afterRestore(1, 12)
  const narrow = await restore()
  expect((await narrow.refresh(client, token)).body.error).toBe('invalid_grant')
  expect(narrow.events.filter(({ type }) => type === 'grant.revoked')).toEqual([])

  const wide = await restore({ until: inHours(2) })
  const { status, body } = await wide.refresh(client, token)
  expect(status).toBe(200)
  expect((await wide.call(body.access_token)).status).toBe(200)
  expect((await wide.refresh(client, body.refresh_token ?? '')).status).toBe(200)
  expect(wide.events.filter(({ type }) => type === 'refresh.caught_up')).toMatchObject([
    { generation: 14, presented: 13 },
  ])
  // It opens for nobody who has no token: what is forged stays forged.
  const forged = token.replace(/\.\d+\./, '.900.')
  expect((await wide.refresh(client, forged)).body.error).toBe('invalid_grant')

  const tooFew = await restore({ until: inHours(2), ahead: 11 })
  expect((await tooFew.refresh(client, token)).body.error).toBe('invalid_grant')
  const over = await restore({ until: inHours(-1) })
  expect((await over.refresh(client, token)).body.error).toBe('invalid_grant')
})
