import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freePort } from '../support/free-port.ts'
import { node24 } from '../support/node24.ts'
import { npmTool } from '../support/npm-tool.ts'
import { startProcess } from '../support/process.ts'
import { createFormBrowser } from './support/form-browser.ts'
import { startServer, type TestServer } from './support/server.ts'
import { signIn } from './support/sign-in.ts'

let server: TestServer
beforeAll(async () => {
  server = await startServer()
})
afterAll(() => server?.dispose())

describe('the official conformance suite', () => {
  it('passes every scenario for authorization servers', async () => {
    const modules = await npmTool('@modelcontextprotocol/conformance', '0.2.0-alpha.12')
    const port = await freePort()
    const redirectUri = `http://127.0.0.1:${port}/callback`
    const registration = await fetch(`${server.origin}/register`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        client_name: 'Conformance',
        redirect_uris: [redirectUri],
        token_endpoint_auth_method: 'none',
      }),
    })
    expect(registration.status).toBe(201)
    const { client_id: clientId } = (await registration.json()) as { client_id: string }

    const program = join(modules, '@modelcontextprotocol/conformance/dist/index.js')
    const flags = ['--url', server.origin, '--client-id', clientId, '--resource', server.url, '-p', String(port)]
    const suite = startProcess(await node24(), [program, 'authorization', ...flags])
    try {
      const [url] = await suite.line(/http:\/\/localhost:\d+\/authorize\?\S+/)
      const browser = createFormBrowser({ away: (to) => to.href.startsWith(redirectUri) })
      await fetch((await signIn(browser, url, server.demo)).end)
      const end = await suite.ended
      expect(suite.stdout).toMatch(/Total: 3 passed, 0 failed/)
      expect(end.code).toBe(0)
    } finally {
      await suite.stop()
    }
  })
})
