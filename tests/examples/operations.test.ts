import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { forget, lastDay, operatedServer } from '../../examples/operations.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

test('an operated server: its history is kept, a secret is replaced, keys rotate, and a person is forgotten', async () => {
  const { path, remove } = temporaryDirectory()
  const url = 'https://notes.example.com'
  const [old, next] = [randomBytes(32).toString('base64'), randomBytes(32).toString('base64')] as const
  const first = operatedServer(path, url, [old])
  await first.auth.ready()
  const created = await first.auth.clients.create({ name: 'Mine', redirectUris: ['https://mine.example/cb'] })
  await first.history.flush()
  expect(await lastDay(first, created.id)).toEqual([expect.stringContaining('client.created')])
  await first.auth.close()

  const both = operatedServer(path, url, [next, old])
  const rotated = await both.auth.keys.rotate()
  expect(rotated.state).toBe('next')
  await both.auth.close()

  const last = operatedServer(path, url, [next])
  expect((await last.auth.keys.list()).map(({ id }) => id)).toContain(rotated.id)
  expect(await last.auth.clients.get(created.id)).toMatchObject({ name: 'Mine' })
  expect(await forget(last.auth, 'https://provider.example', 'nobody')).toBeUndefined()
  await last.auth.close()
  remove()
})
