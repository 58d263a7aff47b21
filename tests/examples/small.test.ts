import { expect, test } from 'vitest'
import { reportsServer } from '../../examples/api-keys.ts'
import { asksForMore, greetsByName } from '../../examples/testing.ts'

test('a handler and a server are tested without a network', async () => {
  greetsByName()
  await asksForMore()
})

test('a key that was given out is taken, until it is taken away', async () => {
  const resource = 'https://reports.example.com/mcp'
  const { auth, createKey, deleteKey } = reportsServer(resource, 'https://issuer.example.com')
  const key = await createKey('nightly-report', Math.floor(Date.now() / 1000) + 60)
  expect(key).toMatch(/^reports_/)
  const gated = auth.gate(resource, (_, { accessToken }) => Response.json([accessToken.issuer, accessToken.subject]))
  const call = () => gated(new Request(resource, { headers: { Authorization: `Bearer ${key}` } }))
  expect(await (await call()).json()).toEqual([`${resource}/keys`, 'nightly-report'])
  expect(deleteKey(key.split('_')[1] ?? '')).toBe(true)
  expect((await call()).status).toBe(401)
})
