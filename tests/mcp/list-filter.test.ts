import { expect, test } from 'vitest'
import { createDecider } from '../../src/mcp/policy/decide.ts'
import { listFilter } from '../../src/mcp/policy/list-filter.ts'
import type { AccessPolicy } from '../../src/mcp/policy/rule.ts'
import { accessToken } from '../../src/testing.ts'

const tools = {
  read: ['notes:read'],
  write: ['notes:write'],
  people: { scopes: ['notes:write'], kind: 'client' },
  asked: { scopes: ['notes:write'], allow: () => false },
} as const

const shown = async (policy: AccessPolicy) => {
  const decider = createDecider({ tools, ...policy }) ?? expect.fail('no policy')
  const filter = listFilter(decider, accessToken({ scopes: ['notes:read'] }), (error) => {
    throw error
  })
  const names = [...Object.keys(tools), 'free']
  const answer = await filter({ jsonrpc: '2.0', id: 1, result: { tools: names.map((name) => ({ name })) } })
  return (answer as { result: { tools: { name: string }[] } }).result.tools.map(({ name }) => name)
}

test('a list shows what only a scope is missing for: a client that never sees it never steps up', async () => {
  expect(await shown({})).toEqual(['read', 'write', 'free'])
  expect(await shown({ lists: 'reachable', unlisted: 'deny' })).toEqual(['read', 'write'])
})

test('or only what may be used as it is', async () => {
  expect(await shown({ lists: 'usable' })).toEqual(['read', 'free'])
})
