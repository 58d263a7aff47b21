import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { expect, test } from 'vitest'
import { authenticate } from '../../src/http/fastmcp.ts'
import { testIssuer } from '../../src/testing.ts'
import { resourceServer } from '../../src/verify-only.ts'

const resource = 'http://localhost/mcp'

/** Sessions of a package that makes them itself: which caller has which is known in the process alone. */
const setting = () => {
  const issuer = testIssuer()
  const auth = resourceServer({ resource, issuers: [issuer], audit: () => {} })
  const check = authenticate(auth, '/mcp')
  return (subject: string) => {
    const { token } = issuer.accessToken({ subject, clientId: 'editor' })
    return (session: string): Promise<number> => {
      const headers = { host: 'localhost', authorization: `Bearer ${token}`, 'mcp-session-id': session }
      const facts = { method: 'POST', url: '/mcp', headers, rawHeaders: Object.entries(headers).flat(), socket: {} }
      return check(Object.assign(Readable.from([]), facts) as unknown as IncomingMessage).then(
        () => 200,
        (refused: Response) => refused.status,
      )
    }
  }
}

test('fault 23: nobody pushes another’s session out of what is remembered', async () => {
  const as = setting()
  const [alice, mallory] = [as('alice'), as('mallory')]
  expect(await alice('session-of-alice')).toBe(200)
  expect(await mallory('session-of-alice')).toBe(404)
  for (let count = 0; count <= 100_000; count++) await mallory(`made-up-${count}`)
  expect(await mallory('session-of-alice')).toBe(404)
  expect(await alice('session-of-alice')).toBe(200)
})

test('an id that is longer than any is not kept', async () => {
  const mallory = setting()('mallory')
  expect(await mallory('x'.repeat(256))).toBe(200)
  expect(await mallory('x'.repeat(10_000))).toBe(404)
})
