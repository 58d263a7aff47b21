import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type RunningProcess, startProcess } from '../support/process.ts'
import { createFormBrowser, type FormBrowser } from './support/form-browser.ts'
import { type OpenedUrls, openedUrls } from './support/opened-urls.ts'
import { startServer, type TestServer } from './support/server.ts'
import { signIn, type Walk } from './support/sign-in.ts'
import { createStdioClient, type StdioClient } from './support/stdio-client.ts'

const require = createRequire(import.meta.url)
const programs = join(dirname(require.resolve('mcp-remote/package.json')), 'dist')

const LIFETIME = 4

let server: TestServer
let opened: OpenedUrls
const started: RunningProcess[] = []
const folders: string[] = []
beforeAll(async () => {
  server = await startServer({ script: 'sdk-v2.ts', env: { ACCESS_TOKEN: String(LIFETIME) } })
  opened = await openedUrls()
})
afterAll(async () => {
  await server?.dispose()
  await opened?.close()
})
afterEach(async () => {
  await Promise.all(started.splice(0).map((each) => each.stop(2_000)))
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

function configFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'countersign-mcp-remote-'))
  folders.push(folder)
  return folder
}

function run(program: 'client' | 'proxy', config: string, ...flags: string[]): RunningProcess {
  const child = startProcess(process.execPath, [join(programs, `${program}.js`), server.url, ...flags], {
    env: { ...opened.env, MCP_REMOTE_CONFIG_DIR: config },
  })
  started.push(child)
  return child
}

/** Approves what was opened, and gives the answer to the program that listens for it. */
async function approve(browser: FormBrowser): Promise<Walk> {
  const request = await opened.next()
  const redirectUri = request.searchParams.get('redirect_uri') ?? ''
  const walk = await signIn(browser, request, server.demo)
  expect(walk.end.href.startsWith(`${redirectUri}?`), walk.end.href).toBe(true)
  expect((await fetch(walk.end)).status).toBe(200)
  return walk
}

const newBrowser = () => createFormBrowser({ away: (url) => url.pathname === '/oauth/callback' })

async function connect(config: string, browser?: FormBrowser): Promise<StdioClient> {
  const client = createStdioClient(run('proxy', config))
  const ready = client.initialize()
  if (browser) await approve(browser)
  await ready
  return client
}

describe('mcp-remote', () => {
  it('as a client: from the first 401 to the list of tools', async () => {
    const child = run('client', configFolder())
    await approve(newBrowser())
    expect(await child.ended).toEqual({ code: 0, signal: null })
    expect(child.stderr).toContain('"whoami"')
  })

  it('as a proxy: whoami, step-up to notes_add, and calls after the access token expired', async () => {
    const browser = newBrowser()
    const client = await connect(configFolder(), browser)
    const first = await client.call('whoami')
    expect(first).toMatchObject({ kind: 'user', issuer: server.origin, scopes: ['notes:read'] })

    const adding = client.call('notes_add', { text: 'by proxy' })
    await approve(browser)
    await adding
    const second = await client.call('whoami')
    expect(second).toMatchObject({
      subject: first.subject,
      clientId: first.clientId,
      scopes: ['notes:read', 'notes:write'],
    })

    const before = opened.count
    await sleep((LIFETIME + 1) * 1000)
    const third = await client.call('whoami')
    expect(third).toMatchObject({ subject: first.subject, scopes: ['notes:read', 'notes:write'] })
    expect(third.expiresAt).toBeGreaterThan(Number(second.expiresAt))
    expect(opened.count).toBe(before)
  })

  it('fault 2: parallel proxies share one token, refresh at once, and it survives', async () => {
    const config = configFolder()
    const first = await connect(config, newBrowser())
    const others = await Promise.all([1, 2, 3].map(() => connect(config)))
    const all = [first, ...others]
    const { subject, clientId, expiresAt } = await first.call('whoami')
    let last = Number(expiresAt)
    const before = opened.count
    for (let round = 0; round < 2; round++) {
      await sleep((LIFETIME + 1) * 1000)
      const answers = await Promise.all(all.map((client) => client.call('whoami')))
      for (const answer of answers) {
        expect(answer).toMatchObject({ subject, clientId })
        expect(answer.expiresAt).toBeGreaterThan(last)
      }
      last = Math.max(...answers.map((answer) => Number(answer.expiresAt)))
    }
    expect(opened.count).toBe(before)
  })
})
