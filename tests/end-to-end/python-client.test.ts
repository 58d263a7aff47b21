import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { createFormBrowser } from './support/form-browser.ts'
import { connectPython, findPythonClient } from './support/python-client.ts'
import { startServer, type TestServer } from './support/server.ts'
import { signIn } from './support/sign-in.ts'

// Real programs, on machines that may be busy.
vi.setConfig({ hookTimeout: 300_000 })

const LIFETIME = 6
const REDIRECT = 'http://127.0.0.1:9/callback'
const found = await findPythonClient()

if ('skip' in found) it.skip(`the Python client: ${found.skip}`, () => {})
else {
  describe.each([
    { name: 'SDK v2 on Hono', script: 'sdk-v2.ts' },
    { name: 'SDK v1 on Express', script: 'sdk-v1.ts' },
  ])('the official client in Python, at a server on $name', ({ script }) => {
    let server: TestServer
    beforeAll(async () => {
      server = await startServer({ script, env: { ACCESS_TOKEN: String(LIFETIME) } })
    })
    afterAll(() => server?.dispose())

    const connect = () => {
      const browser = createFormBrowser({ away: (url) => url.href.startsWith(`${REDIRECT}?`) })
      const approve = async (url: string) => (await signIn(browser, url, server.demo)).end.href
      return connectPython(found.python, server.url, REDIRECT, approve)
    }

    it('comes from the first 401 to whoami, and refreshes', async () => {
      const client = await connect()
      const first = await client.call('whoami')
      expect(first).toMatchObject({
        error: false,
        answer: {
          ...{ kind: 'user', issuer: server.origin, clientId: client.clientId, resource: server.url },
          upstream: { claims: { preferred_username: 'demo', email: 'demo@example.com' } },
        },
      })
      await sleep((LIFETIME + 1) * 1000)
      const again = await client.call('whoami')
      expect(again.answer?.subject, 'origin 5: the subject survives a refresh').toBe(first.answer?.subject)
      expect(client.asked).toBe(1)
      await client.close()
    })

    it('fault 13: steps up from read to write by itself at a 403', async () => {
      const client = await connect()
      expect((await client.call('whoami')).answer).toMatchObject({ scopes: ['notes:read'] })
      expect(await client.call('notes_add', { text: 'hello' })).toMatchObject({
        error: false,
        scope: 'notes:read notes:write',
      })
      expect((await client.call('whoami')).answer).toMatchObject({ scopes: ['notes:read', 'notes:write'] })
      expect(client.asked).toBe(2)
      await client.close()
    })
  })
}
