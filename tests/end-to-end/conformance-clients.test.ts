import { join } from 'node:path'
import { build } from 'esbuild'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { node24 } from '../support/node24.ts'
import { npmTool } from '../support/npm-tool.ts'
import { startProcess } from '../support/process.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'
import { createFormBrowser } from './support/form-browser.ts'
import { startServer, type TestServer } from './support/server.ts'
import { signIn } from './support/sign-in.ts'
import { createWellBehavedClient } from './support/well-behaved-client.ts'

// Real programs, on machines that may be busy.
vi.setConfig({ testTimeout: 600_000, hookTimeout: 180_000 })

/** The suite's servers read their port in the same step as they listen, on all addresses; this has them on the loopback alone, in that step, too. */
const loopbackOnly = `data:text/javascript,${encodeURIComponent(`
  import { Server } from 'node:net'
  const { _listen2 } = Server.prototype
  Server.prototype._listen2 = function (address, port, type, ...rest) {
    const [host, family] = address === null ? ['127.0.0.1', 4] : [address, type]
    return _listen2.call(this, host, port, family, ...rest)
  }`)}`

const { path: folder, remove } = temporaryDirectory()
let server: TestServer
beforeAll(async () => {
  server = await startServer()
})
afterAll(async () => {
  await server?.dispose()
  remove()
})

it('the official suite’s client auth scenarios pass with our own client, which is no part of the suite', async () => {
  const program = join(folder, 'client.mjs')
  await build({
    entryPoints: [new URL('support/conformance-client.ts', import.meta.url).pathname],
    outfile: program,
    ...{ bundle: true, format: 'esm', platform: 'node', target: 'node20' },
    banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url)" },
  })
  const modules = await npmTool('@modelcontextprotocol/conformance', '0.2.0-alpha.12')
  const suite = startProcess(await node24(), [
    ...['--import', loopbackOnly],
    join(modules, '@modelcontextprotocol/conformance/dist/index.js'),
    ...['client', '--suite', 'auth', '--timeout', '400000', '--command', `${process.execPath} ${program}`],
  ])
  try {
    const { code } = await suite.ended
    const lines = [...suite.stdout.matchAll(/^([✓✗]) (\S+): \d+ passed, \d+ failed/gm)].map(
      ([, mark = '', scenario = '']) => `${mark} ${scenario}`,
    )
    expect(lines).toContain('✓ auth/scope-step-up')
    expect(lines.filter((line) => !line.startsWith('✓'))).toEqual([])
    expect(lines.length).toBeGreaterThan(10)
    expect(code).toBe(0)
  } finally {
    await suite.stop()
  }
})

it.each<[string, string[] | undefined]>([
  ['as the suite’s reference client registers', undefined],
  ['registered for codes alone', ['authorization_code']],
])('fault 13: the same client gets through our challenges, step-up included (%s)', async (_, grantTypes) => {
  const redirectUri = 'http://localhost:3000/callback'
  const browser = createFormBrowser({ away: (to) => to.href.startsWith(redirectUri) })
  const asked: (string | null)[] = []
  const { client, connect, tokens } = createWellBehavedClient(server.url, {
    async authorize(request) {
      asked.push(request.searchParams.get('scope'))
      return (await signIn(browser, request, server.demo)).end.searchParams.get('code') ?? ''
    },
    ...(grantTypes && { grantTypes }),
  })
  const call = async (name: string, args = {}) => (await client.callTool({ name, arguments: args })).structuredContent
  await connect()
  const before = await call('whoami')
  expect(before).toMatchObject({ kind: 'user', issuer: server.origin, scopes: ['notes:read'] })
  expect(tokens()?.refresh_token !== undefined).toBe(grantTypes === undefined)

  await client.callTool({ name: 'notes_add', arguments: { text: 'from a step-up' } })
  const after = await call('whoami')
  expect(after).toEqual({
    ...(before as object),
    scopes: ['notes:read', 'notes:write'],
    expiresAt: expect.any(Number),
    claims: expect.any(Object),
  })
  expect(await call('notes_list')).toMatchObject({ notes: expect.arrayContaining(['from a step-up']) })
  expect(asked).toEqual(['notes:read', 'notes:read notes:write'])
  await client.close()
})
