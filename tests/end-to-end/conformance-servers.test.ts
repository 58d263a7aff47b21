import { createServer, type IncomingMessage, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { getRequestListener } from '@hono/node-server'
import { describe, expect, it, vi } from 'vitest'
import { listener } from '../../src/http/node.ts'
import { testIssuer } from '../../src/testing.ts'
import { resourceServer } from '../../src/verify-only.ts'
import { node24 } from '../support/node24.ts'
import { npmTool } from '../support/npm-tool.ts'
import { startProcess } from '../support/process.ts'
import { everythingServer } from './servers/everything/server.ts'

// Real programs, on machines that may be busy.
vi.setConfig({ testTimeout: 300_000 })

const listen = async (make: (origin: string) => RequestListener) => {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  server.on('request', make(origin))
  return {
    url: `${origin}/mcp`,
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

const ungated = () =>
  listen(() => {
    const server = everythingServer()
    return getRequestListener((request) => server.fetch(request), { overrideGlobalObjects: false })
  })

/** The suite has no way to send a token: it is put in on the way, where a client would have put it. */
const gated = (refused: string[]) =>
  listen((origin) => {
    const issuer = testIssuer()
    const auth = resourceServer({
      resource: `${origin}/mcp`,
      issuers: [issuer],
      scopes: { use: 'Use everything' },
      tools: { '*': ['use'] },
      resources: { '*': ['use'] },
      prompts: { '*': ['use'] },
      unlisted: 'deny',
      audit: (event) => void (event.type === 'access.refused' && refused.push(event.reason)),
    })
    const { token } = issuer.accessToken({ scopes: ['use'] })
    const serve = listener(auth, { '/mcp': everythingServer() })
    return (request: IncomingMessage, response) => {
      request.rawHeaders.push('Authorization', `Bearer ${token}`)
      request.headers.authorization = `Bearer ${token}`
      return serve(request, response)
    }
  })

/** What the suite says: of each scenario how many checks passed and failed, and as its exit code whether all that are required did. */
const run = async (url: string, revision: string) => {
  const modules = await npmTool('@modelcontextprotocol/conformance', '0.2.0-alpha.12')
  const program = join(modules, '@modelcontextprotocol/conformance/dist/index.js')
  const suite = startProcess(await node24(), [program, 'server', '--url', url, '--requirements', revision])
  try {
    const { code } = await suite.ended
    const lines = suite.stdout.matchAll(/^[✓✗] (\S+): (\d+ passed, \d+ failed)/gm)
    return { code, scenarios: Object.fromEntries([...lines].map(([, name = '', checks]) => [name, checks])) }
  } finally {
    await suite.stop()
  }
}

describe.each(['2025-11-25', '2026-07-28'])('the official suite’s server scenarios of %s', (revision) => {
  it('pass behind the gate as they do without it', async () => {
    const refused: string[] = []
    const [open, closed] = [await ungated(), await gated(refused)]
    try {
      const without = await run(open.url, revision)
      const behind = await run(closed.url, revision)
      expect(behind).toEqual(without)
      expect(behind.code).toBe(0)
      expect(Object.keys(behind.scenarios).length).toBeGreaterThan(30)
      // The gate was in front: it, and not the server, saw what came from elsewhere.
      expect(refused).toContain('foreign_host')
    } finally {
      await open.close()
      await closed.close()
    }
  })
})
