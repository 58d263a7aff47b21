import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it, type TestContext } from 'vitest'
import { type RunningProcess, startProcess } from '../support/process.ts'
import { createFormBrowser } from './support/form-browser.ts'
import { openedUrls } from './support/opened-urls.ts'
import { startServer, type TestServer } from './support/server.ts'
import { signIn } from './support/sign-in.ts'
import { createStdioClient } from './support/stdio-client.ts'

const require = createRequire(import.meta.url)
const programs = join(dirname(require.resolve('mcp-remote/package.json')), 'dist')

const LIFETIME = 6

let server: TestServer
beforeAll(async () => {
  server = await startServer({ script: 'sdk-v2.ts', env: { ACCESS_TOKEN: String(LIFETIME) } })
})
afterAll(() => server?.dispose())

/** Somebody's computer: a browser, and what mcp-remote keeps there. */
async function newComputer({ onTestFinished }: Pick<TestContext, 'onTestFinished'>) {
  const config = mkdtempSync(join(tmpdir(), 'countersign-mcp-remote-'))
  onTestFinished(() => rmSync(config, { recursive: true, force: true }))
  const opened = await openedUrls()
  onTestFinished(() => opened.close())
  const browser = createFormBrowser({ away: (url) => url.pathname === '/oauth/callback' })

  const run = (program: 'client' | 'proxy'): RunningProcess => {
    const child = startProcess(process.execPath, [join(programs, `${program}.js`), server.url], {
      env: { ...opened.env, MCP_REMOTE_CONFIG_DIR: config },
    })
    onTestFinished(async () => void (await child.stop(2_000)))
    return child
  }

  /** Approves what `act` makes the program open, and gives the answer to the program that listens for it. */
  async function approving<T>(act: () => Promise<T>): Promise<T> {
    // Where it asked twice before, the second window is not what is meant now.
    opened.forget()
    const [result] = await Promise.all([act(), opened.next().then(approve)])
    return result
  }
  async function answer(request: URL): Promise<URL> {
    const { end } = await signIn(browser, request, server.demo)
    expect(end.href.startsWith(`${request.searchParams.get('redirect_uri')}?`), end.href).toBe(true)
    return end
  }
  async function approve(request: URL): Promise<void> {
    let end = await answer(request)
    for (let tries = 0; ; tries++) {
      const received = await fetch(end).catch((error: unknown) => {
        if (tries >= 60) throw error
      })
      if (received) return expect(received.status, await received.text()).toBe(200)
      // Nobody listens: not yet, or no more, where the window is that of a sign-in that is over and came late. A person looks for another, or reloads.
      const newer = await opened.next(1_000).catch(() => undefined)
      if (newer) end = await answer(newer)
    }
  }

  function start() {
    const child = run('proxy')
    return { client: createStdioClient(child), child }
  }
  return { config, opened, run, approving, start }
}

describe('mcp-remote', () => {
  it('as a client: from the first 401 to the list of tools', async (context) => {
    const { run, approving } = await newComputer(context)
    const child = run('client')
    expect(await approving(() => child.ended)).toEqual({ code: 0, signal: null })
    expect(child.stderr).toContain('"whoami"')
  })

  it('as a proxy: whoami, step-up to notes_add, and calls after the access token expired', async (context) => {
    const { approving, opened, start } = await newComputer(context)
    const { client } = start()
    await approving(() => client.initialize())
    const first = await client.call('whoami')
    expect(first).toMatchObject({ kind: 'user', issuer: server.origin, scopes: ['notes:read'] })

    await approving(() => client.call('notes_add', { text: 'by proxy' }))
    const second = await client.call('whoami')
    const { subject, clientId } = first
    expect(second).toMatchObject({ subject, clientId, scopes: ['notes:read', 'notes:write'] })

    const before = opened.count
    await sleep((LIFETIME + 1) * 1000)
    const third = await client.call('whoami')
    expect(third).toMatchObject({ subject, clientId, scopes: ['notes:read', 'notes:write'] })
    expect(third.expiresAt).toBeGreaterThan(Number(second.expiresAt))
    expect(opened.count).toBe(before)
  })

  it('fault 2: parallel proxies share one token, refresh at once, and it survives', async (context) => {
    const { approving, opened, start } = await newComputer(context)
    const first = start()
    await approving(() => first.client.initialize())
    const others = [1, 2, 3].map(start)
    await Promise.all(others.map(({ client }) => client.initialize()))

    const { subject, clientId, expiresAt } = await first.client.call('whoami')
    let last = Number(expiresAt)
    const before = opened.count
    for (let round = 0; round < 2; round++) {
      await sleep((LIFETIME + 1) * 1000)
      const answers = await Promise.all([first, ...others].map(({ client }) => client.call('whoami')))
      for (const answer of answers) {
        expect(answer).toMatchObject({ subject, clientId })
        expect(answer.expiresAt).toBeGreaterThan(last)
      }
      last = Math.max(...answers.map((answer) => Number(answer.expiresAt)))
    }
    expect(opened.count).toBe(before)
  })

  it('whose registration is gone registers again, where it would send a person to an error for ever', async (context) => {
    const { config, approving, start } = await newComputer(context)
    const before = start()
    await approving(() => before.client.initialize())
    const { clientId } = await before.client.call('whoami')
    await before.child.stop(2_000)

    const file = (name: string) =>
      readdirSync(config, { recursive: true, encoding: 'utf8' }).find((path) => path.endsWith(name)) ?? name
    rmSync(join(config, file('tokens.json')))
    const registration = join(config, file('client_info.json'))
    const gone = 'cs_cl_0000000000000000000000'
    writeFileSync(registration, readFileSync(registration, 'utf8').replaceAll(String(clientId), gone))

    // It registers again at once; but this version opens no browser for it before it is started another time.
    const second = start()
    second.client.initialize().catch(() => {})
    await expect.poll(() => existsSync(registration) && readFileSync(registration, 'utf8')).toMatch(/cs_cl_(?!0000)/)
    await second.child.stop(2_000)
    const third = start()
    await approving(() => third.client.initialize())
    expect((await third.client.call('whoami')).clientId).not.toBe(clientId)
  })
})
