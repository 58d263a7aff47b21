import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Browser, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { findChromium, launchBrowser } from '../support/chromium.ts'
import { freePort } from '../support/free-port.ts'
import { node24 } from '../support/node24.ts'
import { npmTool } from '../support/npm-tool.ts'
import { type RunningProcess, startProcess } from '../support/process.ts'
import { startServer, type TestServer } from './support/server.ts'

// Real programs, on machines that may be busy.
vi.setConfig({ testTimeout: 400_000 })

const LIFETIME = 6
const BACK_AT = 90_000

let server: TestServer
let chromium: Browser
const started: RunningProcess[] = []
const folders: string[] = []

const available = await findChromium()
beforeAll(async () => {
  server = await startServer({ script: 'sdk-v2.ts', env: { ACCESS_TOKEN: String(LIFETIME) } })
  chromium = await launchBrowser()
})
afterEach(async () => {
  await Promise.all(started.splice(0).map((each) => each.stop(2_000)))
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})
afterAll(async () => {
  await chromium?.close()
  await server?.dispose()
})

/** A switch that is clicked before the page's script is there does nothing, so it is clicked until it leads away. */
async function connect(page: Page): Promise<void> {
  const away = page.locator('button[name=decision][value=approve]')
  for (let click = 0; click < 5; click++) {
    await page
      .locator('input[role=switch]')
      .click({ force: true, timeout: 10_000 })
      .catch((error: unknown) => console.warn('the switch could not be clicked', error))
    const left = await away.waitFor({ timeout: 30_000 }).then(
      () => true,
      () => false,
    )
    if (left) return
  }
}

/** Consent, then our own sign-in page. */
async function approve(page: Page): Promise<void> {
  await page.locator('button[name=decision][value=approve]').click()
}
async function signIn(page: Page): Promise<void> {
  await page.locator('input[name=username]').fill(server.demo.username)
  await page.locator('input[name=password]').fill(server.demo.password)
  await page.locator('input[name=password]').press('Enter')
}

describe.skipIf('skip' in available)('the Inspector’s page in Chromium', () => {
  it('0.22: the page itself does discovery, registration, token requests and MCP calls, so CORS holds everywhere', async () => {
    const modules = await npmTool('@modelcontextprotocol/inspector', '0.22.0')
    const port = await freePort()
    const program = join(modules, '@modelcontextprotocol/inspector-client/bin/client.js')
    const env = { CLIENT_PORT: String(port), HOST: '127.0.0.1', MCP_AUTO_OPEN_ENABLED: 'false' }
    const inspector = startProcess(await node24(), [program], { env })
    started.push(inspector)
    await inspector.line(/http:\/\/127\.0\.0\.1:/)

    const context = await chromium.newContext()
    context.setDefaultTimeout(BACK_AT)
    const page = await context.newPage()
    const seen: string[] = []
    page.on('requestfinished', async (request) => {
      const url = new URL(request.url())
      if (url.origin !== server.origin || request.resourceType() !== 'fetch') return
      seen.push(`${request.method()} ${url.pathname} ${(await request.response())?.status()}`)
    })
    // "Direct" is the connection of a page that has no server of its own to help it.
    await page.addInitScript(() => localStorage.setItem('lastConnectionType', 'direct'))
    await page.goto(`http://127.0.0.1:${port}/?transport=streamable-http&serverUrl=${encodeURIComponent(server.url)}`)
    await page.getByRole('button', { name: 'Connect', exact: true }).click()
    await approve(page)
    await signIn(page)

    await page.getByRole('button', { name: 'List Tools' }).click()
    await page.getByText('whoami').first().click()
    await page.getByRole('button', { name: 'Run Tool' }).click()
    await page.getByText('Tool Result: Success').waitFor()
    const shown = await page.locator('body').textContent()
    expect(shown).toContain(`"${server.origin}"`)
    expect(shown).toContain('"user"')
    expect(seen).toEqual(
      expect.arrayContaining([
        'POST /mcp 401',
        'GET /.well-known/oauth-protected-resource/mcp 200',
        'GET /.well-known/oauth-authorization-server 200',
        'POST /register 201',
        'POST /token 200',
        'POST /mcp 200',
      ]),
    )

    // This version tries a refresh at a 403, and says so when that did not help. It could read the challenge, and its session stays.
    await page.getByText('notes_add').first().click()
    await page.locator('textarea').last().fill('by inspector')
    await page.getByRole('button', { name: 'Run Tool' }).click()
    await page.getByText('403 after trying upscoping').first().waitFor()
    await page.getByText('whoami').first().click()
    await page.getByRole('button', { name: 'Run Tool' }).click()
    await page.getByText('Tool Result: Success').waitFor()
    await context.close()
  })

  it('2.12: whoami, step-up to notes_add, and calls after the access token expired', async () => {
    const modules = await npmTool('@modelcontextprotocol/inspector', '2.12.0')
    const [port, sandbox] = [await freePort(), await freePort()]
    const home = mkdtempSync(join(tmpdir(), 'countersign-inspector-'))
    folders.push(home)
    const program = join(modules, '.bin/mcp-inspector')
    const inspector = startProcess(await node24(), [program, '--server-url', server.url, '--transport', 'http'], {
      env: {
        HOME: home,
        HOST: '127.0.0.1',
        CLIENT_PORT: String(port),
        MCP_SANDBOX_PORT: String(sandbox),
        MCP_INSPECTOR_SECRET_STORE: 'file',
        MCP_AUTO_OPEN_ENABLED: 'false',
      },
    })
    started.push(inspector)
    const [, start = ''] = await inspector.line(/(http:\/\/127\.0\.0\.1:\d+\S*TOKEN=\S+)/)

    const context = await chromium.newContext()
    context.setDefaultTimeout(BACK_AT)
    const page = await context.newPage()
    const execute = () => page.getByRole('button', { name: 'Execute Tool' }).click()
    const results = async () => {
      await page.getByText('"subject"').first().waitFor()
      return page.locator('body').textContent()
    }
    await page.goto(start)
    await connect(page)
    await approve(page)
    await signIn(page)
    await page.getByText('Tools', { exact: true }).first().click()
    await page.getByText('whoami').first().click()
    await execute()
    expect(await results()).toContain(`"issuer": "${server.origin}"`)

    await page.getByText('notes_add').first().click()
    await page.getByRole('textbox', { name: 'text' }).fill('by inspector')
    await execute()
    await page.getByText('Additional permissions required').waitFor()
    await page.getByRole('button', { name: 'Authorize' }).click()
    await approve(page)
    await page.getByText('Step-up authorization succeeded').waitFor()
    await page.getByRole('textbox', { name: 'text' }).fill('by inspector')
    await execute()
    await page.getByText('Added.').first().waitFor()

    const refreshes = () => server.process.stderr.split('"type":"refresh.rotated"').length - 1
    const before = refreshes()
    await sleep((LIFETIME + 1) * 1000)
    await page.getByText('whoami').first().click()
    await execute()
    expect(await results()).toContain('"notes:write"')
    expect(refreshes()).toBeGreaterThan(before)
    await context.close()
  })
})
