import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { build } from 'esbuild'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { freePort } from '../support/free-port.ts'
import { type JwksIssuer, startJwksIssuer } from '../support/jwks-issuer.ts'
import { npmTool } from '../support/npm-tool.ts'
import { type RunningProcess, startProcess } from '../support/process.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

// It is fetched once, builds an application, and machines may be busy.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 900_000 })

const root = fileURLToPath(new URL('../../', import.meta.url))
const { path: folder, remove } = temporaryDirectory()
const quiet = { NEXT_TELEMETRY_DISABLED: '1', NEXT_IGNORE_INCORRECT_LOCKFILE: '1', NODE_ENV: undefined }

let issuer: JwksIssuer
let resource: string
let server: RunningProcess | undefined

/** An application of two routes, with the example's handlers, that finds what it needs as an installed one does. */
const writeApplication = async (modules: string): Promise<void> => {
  const link = (from: string, name: string) => {
    mkdirSync(dirname(join(folder, 'node_modules', name)), { recursive: true })
    symlinkSync(join(from, name), join(folder, 'node_modules', name))
  }
  const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { dependencies: object }
  for (const name of ['next', 'react', 'react-dom']) link(modules, name)
  for (const name of ['@modelcontextprotocol/server', ...Object.keys(dependencies)])
    link(join(root, 'node_modules'), name)
  // A copy, which stays the same while the application is built of it.
  for (const part of ['package.json', 'dist']) {
    cpSync(join(root, part), join(folder, 'node_modules/countersign', part), { recursive: true })
  }
  await build({ entryPoints: [join(root, 'examples/next.ts')], outfile: join(folder, 'lib/auth.js'), format: 'esm' })
  const routes = {
    'app/mcp': ['mcp', 'GET, POST, DELETE, OPTIONS'],
    'app/.well-known/[...path]': ['wellKnown', 'GET, OPTIONS'],
  }
  for (const [path, [handlers, methods]] of Object.entries(routes)) {
    mkdirSync(join(folder, path), { recursive: true })
    writeFileSync(
      join(folder, path, 'route.js'),
      `import { routeHandlers } from '${'../'.repeat(path.split('/').length)}lib/auth.js'
       export const { ${methods} } = routeHandlers(process.env.RESOURCE, process.env.ISSUER).${handlers}`,
    )
  }
}

beforeAll(async () => {
  issuer = await startJwksIssuer('unused')
  const modules = await npmTool('next', '16.4.6')
  await writeApplication(modules)
  const next = join(modules, 'next', 'dist', 'bin', 'next')
  const port = await freePort()
  resource = `http://127.0.0.1:${port}/mcp`
  const options = { cwd: folder, env: { ...quiet, RESOURCE: resource, ISSUER: issuer.issuer } }
  // The other bundler doesn't follow links to what is outside of the application.
  const built = startProcess(process.execPath, [next, 'build', '--webpack'], options)
  const { code } = await built.ended
  if (code !== 0) throw new Error(`${built.stdout}\n${built.stderr}`)
  server = startProcess(process.execPath, [next, 'start', '-H', '127.0.0.1', '-p', String(port)], options)
  await server.line(/Ready in/, 300_000)
})
afterAll(async () => {
  await server?.stop()
  await issuer?.close()
  remove()
})

test('Next.js itself: a challenge, and the metadata that it names', async () => {
  for (const method of ['GET', 'POST', 'DELETE']) {
    const challenge = await fetch(resource, { method })
    expect(challenge.status).toBe(401)
    const [, metadata = ''] = /resource_metadata="([^"]+)"/.exec(challenge.headers.get('WWW-Authenticate') ?? '') ?? []
    expect(await (await fetch(metadata)).json()).toMatchObject({ resource, authorization_servers: [issuer.issuer] })
  }
  const preflight = { Origin: 'http://localhost:6274', 'Access-Control-Request-Method': 'POST' }
  expect((await fetch(resource, { method: 'OPTIONS', headers: preflight })).status).toBe(204)
  expect((await fetch(new URL('/.well-known/other', resource))).status).toBe(404)
})

test('Next.js itself: real clients call side by side, and each handler knows who', async () => {
  const call = async (sub: string, mode: 'auto' | 'legacy') => {
    const client = new Client({ name: 'test', version: '1.0.0' }, { versionNegotiation: { mode } })
    const headers = { Authorization: `Bearer ${await issuer.sign({ aud: resource, sub })}` }
    await client.connect(new StreamableHTTPClientTransport(new URL(resource), { requestInit: { headers } }))
    const results = await Promise.all([client.callTool({ name: 'whoami' }), client.callTool({ name: 'whoami' })])
    await client.close()
    return results.flatMap(({ content }) => content).map((each) => 'text' in each && each.text)
  }
  const people = ['ann', 'bob', 'cyd', 'dan']
  const seen = await Promise.all(people.map((sub, at) => call(sub, at % 2 === 0 ? 'auto' : 'legacy')))
  expect(seen).toEqual(people.map((sub) => [sub, sub]))
})
