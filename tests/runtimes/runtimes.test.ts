import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { build } from 'esbuild'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { freePort } from '../support/free-port.ts'
import { type JwksIssuer, startJwksIssuer } from '../support/jwks-issuer.ts'
import { npmTool } from '../support/npm-tool.ts'
import { type RunningProcess, startProcess } from '../support/process.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

// Programs of a hundred megabytes, fetched once.
vi.setConfig({ hookTimeout: 300_000 })

interface Runtime {
  readonly name: string
  readonly version: string
  readonly program: string
  /** The script that the host starts with, where `serve(resource, issuer)` is in scope. */
  script(port: number, resource: string, issuer: string): string
  arguments(folder: string, port: number): readonly string[]
}

const runtimes: Record<string, Runtime> = {
  Node: {
    ...{ name: '', version: '', program: process.execPath },
    script: (port, resource, issuer) => `
      import { createServer } from 'node:http'
      const handle = serve('${resource}', '${issuer}')
      createServer(async (request, response) => {
        const chunks = []
        for await (const chunk of request) chunks.push(chunk)
        const { method, headers, url } = request
        const body = method === 'GET' ? null : Buffer.concat(chunks)
        const answer = await handle(new Request('http://' + headers.host + url, { method, headers, body }))
        response.writeHead(answer.status, Object.fromEntries(answer.headers)).end(await answer.text())
      }).listen(${port}, '127.0.0.1')`,
    arguments: (folder) => [join(folder, 'server.mjs')],
  },
  Deno: {
    ...{ name: '@deno/linux-x64-glibc', version: '2.9.6', program: 'deno' },
    script: (port, resource, issuer) =>
      `Deno.serve({ hostname: '127.0.0.1', port: ${port} }, serve('${resource}', '${issuer}'))`,
    arguments: (folder) => ['run', '--no-config', '--allow-net=127.0.0.1', join(folder, 'server.mjs')],
  },
  Bun: {
    ...{ name: '@oven/bun-linux-x64', version: '1.4.5', program: 'bin/bun' },
    script: (port, resource, issuer) =>
      `Bun.serve({ hostname: '127.0.0.1', port: ${port}, fetch: serve('${resource}', '${issuer}') })`,
    arguments: (folder) => ['run', join(folder, 'server.mjs')],
  },
  workerd: {
    ...{ name: '@cloudflare/workerd-linux-64', version: '1.20261117.1', program: 'bin/workerd' },
    script: (_port, resource, issuer) => `
      let handle
      export default { fetch: (request) => (handle ??= serve('${resource}', '${issuer}'))(request) }`,
    arguments(folder, port) {
      writeFileSync(
        join(folder, 'worker.capnp'),
        `using Workerd = import "/workerd/workerd.capnp";
         const config :Workerd.Config = (
           services = [
             (name = "main", worker = .worker),
             (name = "internet", network = (allow = ["private", "local"])),
           ],
           sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")],
         );
         const worker :Workerd.Worker = (
           modules = [(name = "server.mjs", esModule = embed "server.mjs")],
           compatibilityDate = "2026-07-01",
           compatibilityFlags = ["nodejs_compat"],
         );`,
      )
      return ['serve', join(folder, 'worker.capnp')]
    },
  },
}

const here = `${process.platform}-${process.arch}`
const hosts = Object.entries(runtimes).filter(([name]) => name === 'Node' || here === 'linux-x64')

let issuer: JwksIssuer
let started: RunningProcess | undefined
let cleanUp = () => {}
beforeAll(async () => {
  issuer = await startJwksIssuer('unused')
})
afterEach(async () => {
  await started?.stop()
  cleanUp()
})
afterAll(() => issuer.close())

const start = async (runtime: Runtime): Promise<string> => {
  const port = await freePort()
  const resource = `http://127.0.0.1:${port}/mcp`
  const { path: folder, remove } = temporaryDirectory()
  cleanUp = remove
  const source = new URL('server.ts', import.meta.url).pathname
  await build({
    stdin: {
      contents: `import { serve } from ${JSON.stringify(source)}\n${runtime.script(port, resource, issuer.issuer)}`,
      resolveDir: new URL('.', import.meta.url).pathname,
    },
    outfile: join(folder, 'server.mjs'),
    ...{ bundle: true, format: 'esm', platform: 'neutral', target: 'es2023', mainFields: ['module', 'main'] },
    external: ['node:*'],
  })
  const program =
    runtime.name === ''
      ? runtime.program
      : join(await npmTool(runtime.name, runtime.version), runtime.name, runtime.program)
  expect(existsSync(program)).toBe(true)
  const running = startProcess(program, runtime.arguments(folder, port), { cwd: folder })
  started = running
  let ended = false
  void running.ended.then(() => (ended = true))
  await vi.waitFor(
    async () => {
      if (!ended) await fetch(resource)
    },
    { timeout: 60_000, interval: 100 },
  )
  if (ended) throw new Error(running.stderr)
  return resource
}

describe.each(hosts)('a server that only verifies, on %s', (_name, runtime) => {
  test('401 with metadata, the caller’s identity, 403 for what a scope is missing for, sessions of their caller', async () => {
    const resource = await start(runtime)
    const call = async (message: object, claims: object = {}, headers: object = {}) => {
      const token = await issuer.sign({ aud: resource, ...claims })
      return fetch(resource, {
        method: 'POST',
        headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json', ...headers },
        body: JSON.stringify(message),
      })
    }
    const tool = (name: string) => ({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name, arguments: {} } })

    const challenge = await fetch(resource, { method: 'POST' })
    expect(challenge.status).toBe(401)
    const [, metadata = ''] = /resource_metadata="([^"]+)"/.exec(challenge.headers.get('WWW-Authenticate') ?? '') ?? []
    expect(await (await fetch(metadata)).json()).toMatchObject({ resource, authorization_servers: [issuer.issuer] })

    const answers = await Promise.all(['ann', 'bob', 'cyd'].map((sub) => call(tool('whoami'), { sub })))
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200])
    const seen = (await Promise.all(answers.map((each) => each.json()))) as object[]
    expect(seen).toMatchObject(
      ['ann', 'bob', 'cyd'].map((subject) => ({ subject, issuer: issuer.issuer, method: 'tools/call' })),
    )

    const refused = await call(tool('notes_add'))
    expect(refused.status).toBe(403)
    expect(refused.headers.get('WWW-Authenticate')).toContain('scope="notes:read notes:write"')
    expect((await call(tool('whoami'), { exp: 1 })).status).toBe(401)
    expect((await call(tool('whoami'), { aud: 'https://other.example' })).status).toBe(401)

    const session = answers[0]?.headers.get('Mcp-Session-Id') ?? ''
    expect(session).toMatch(/^the-servers-own\../)
    const again = await call(tool('whoami'), { sub: 'ann' }, { 'Mcp-Session-Id': session })
    expect(await again.json()).toMatchObject({ session: 'the-servers-own' })
    expect((await call(tool('whoami'), { sub: 'bob' }, { 'Mcp-Session-Id': session })).status).toBe(404)
  })
})

test.skipIf(hosts.length > 1)(`the other runtimes run on linux-x64 alone, and this is ${here}`, () => {})
