import { expect, test } from 'vitest'
import { createBinding } from '../../src/mcp/binding.ts'
import { memory } from '../../src/store/memory.ts'
import { accessToken } from '../../src/testing.ts'
import { movable } from '../store/movable-clock.ts'
import { testServer } from '../support/authorization-server.ts'

test('fault 23: nodes of one server take each other’s sessions and states, also after their keys were rotated', async () => {
  const clock = movable()
  const store = memory({ clock })
  const [one, two] = [await testServer({ clock, store }), await testServer({ clock, store })]
  const [here, there] = [createBinding(one.server.keys, clock), createBinding(two.server.keys, clock)]
  const token = accessToken({ subject: 'alice' })
  const other = accessToken({ subject: 'mallory' })

  await one.server.keys.rotate({ use: 'mac' })
  await one.server.keys.rotate({ use: 'seal' })
  // A new key is in use an hour later, when every node has had the time to read it.
  await one.pass(1_800_000)
  const before = { session: here.issueId('session', 'id', token), state: here.sealState('state', token, 'r') }
  expect(await there.readId('session', before.session, token)).toBe('id')
  expect(await there.readId('session', before.session, other)).toBeUndefined()
  expect(await there.openState(before.state, token, 'r')).toBe('state')

  await one.pass(1_860_000)
  const after = { session: here.issueId('session', 'id', token), state: here.sealState('state', token, 'r') }
  expect(after.session).not.toBe(before.session)
  expect(await there.readId('session', after.session, token)).toBe('id')
  expect(await there.openState(after.state, token, 'r')).toBe('state')
  expect(await there.readId('session', before.session, token)).toBe('id')
  expect(await here.readId('session', before.session, token)).toBe('id')
  expect(await there.openState(before.state, token, 'r')).toBe('state')

  // Keys that somebody else has bind nothing any more.
  await one.server.keys.rotate({ use: 'mac', compromised: true })
  await two.server.keys.refresh()
  for (const binding of [here, there]) expect(await binding.readId('session', after.session, token)).toBeUndefined()
})
