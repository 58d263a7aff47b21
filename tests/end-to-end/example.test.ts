import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { findChromium, launchBrowser } from '../support/chromium.ts'
import { startProcess } from '../support/process.ts'
import { authorize, browserOf, createApplication } from './support/oauth-client.ts'
import { connectV1, connectV2 } from './support/sdk-clients.ts'
import { startServer, type TestServer } from './support/server.ts'
import { signInWithChromium } from './support/sign-in.ts'

// The example, started as a person starts it.
let server: TestServer
beforeAll(async () => {
  server = await startServer()
})
afterAll(() => server?.dispose())

const chromiumFound = await findChromium()

describe('the example', () => {
  it('says who signs in and how clients are told of it', () => {
    const { stdout } = server.process
    for (const words of ['demo', server.demo.password, `claude mcp add --transport http notes ${server.url}`]) {
      expect(stdout).toContain(words)
    }
    expect(stdout).toContain(`npx mcp-remote ${server.url}`)
  })

  it.skipIf('skip' in chromiumFound)('is reached from the first 401 to whoami with Chromium in between', async () => {
    const application = createApplication()
    const chromium = await launchBrowser()
    try {
      const page = await (await chromium.newContext({ javaScriptEnabled: false })).newPage()
      const client = await connectV1(server.url, application, async () => {
        const request = application.kept.authorizationUrl ?? ''
        return (await signInWithChromium(page, request, server.demo, (to) => to.port === '9')).searchParams
      })
      expect(await client.call('whoami')).toMatchObject({
        kind: 'user',
        clientId: application.kept.client?.client_id,
        upstream: { claims: { name: 'Demo User' } },
      })
      await client.close()
    } finally {
      await chromium.close()
    }
  })

  it('says what to do where its port is taken', async () => {
    const second = startProcess(process.execPath, ['--import', 'tsx', 'examples/start.ts'], {
      env: { PORT: new URL(server.url).port, COUNTERSIGN_DATA: server.data },
    })
    expect((await second.ended).code).toBe(1)
    expect(second.stderr).toMatch(/^Port \d+ can't be used: .*EADDRINUSE.*\. Set PORT to another one\.\n$/)
  })

  it.each([
    [{ COUNTERSIGN_DEMO_PASSWORD: 'demo' }, /^COUNTERSIGN_DEMO_PASSWORD can't be used: .*8 to 256 characters\.\n$/m],
    [{ COUNTERSIGN_DATA: 'package.json' }, /^COUNTERSIGN_DATA can't be used: EEXIST.*\n$/m],
  ])('says what is wrong with a setting: %j', async (setting, line) => {
    const folder = join(server.data, 'refused')
    const refused = startProcess(process.execPath, ['--import', 'tsx', 'examples/start.ts'], {
      env: { PORT: '0', COUNTERSIGN_DATA: folder, ...setting },
    })
    expect((await refused.ended).code).toBe(1)
    expect(refused.stderr).toMatch(line)
    expect(refused.stderr).not.toMatch(/\n {4}at /)
    expect(refused.stdout).not.toContain('ready')
  })

  it('keeps what it must keep secret for its owner only', () => {
    const folder = join(server.data, 'data')
    expect(statSync(folder).mode & 0o777).toBe(0o700)
    for (const file of readdirSync(folder))
      expect([file, statSync(join(folder, file)).mode & 0o777]).toEqual([file, 0o600])
  })

  it('started again, everyone who was signed in still is: browser, access token, refresh token, and the same subject', async () => {
    const application = createApplication()
    const browser = browserOf(application)
    const ask = () => authorize(application, browser, server.demo)
    const client = await connectV2(server.url, application, ask)
    let before = await client.call('whoami')
    await client.call('notes_list')
    await client.close()

    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      expect(await server.stop(signal)).toEqual({ code: 0, signal: null })
      await server.start()

      const again = await connectV2(server.url, application, () => Promise.reject(new Error('signed in already')))
      expect(await again.call('whoami'), 'with the access token of before').toEqual(before)
      const { tokens } = application.kept
      application.kept.tokens = { ...tokens, access_token: 'lost', token_type: 'Bearer' }
      const { issuer, subject, clientId, scopes, upstream } = before
      before = await again.call('whoami')
      expect(before, 'with the refresh token of before').toMatchObject({ issuer, subject, clientId, scopes, upstream })
      expect(application.kept.tokens.refresh_token).not.toBe(tokens?.refresh_token)
      await again.close()
    }

    // Another application in the same browser: consent is asked for, a password is not.
    const other = createApplication({ metadata: { client_name: 'Another' } })
    const opened = await connectV2(server.url, other, () =>
      authorize(other, browser, { username: 'demo', password: 'not asked for' }),
    )
    await opened.close()
    expect(other.kept.tokens?.access_token).toBeDefined()
  })

  it('a sign-in under way survives a restart, on each of its pages', async () => {
    const application = createApplication()
    const stopped = connectV2(server.url, application, () => Promise.reject(new Error('stop here')))
    await expect(stopped).rejects.toThrow('stop here')
    const browser = browserOf(application)
    let page = await browser.open(application.kept.authorizationUrl ?? '')
    const pages: string[] = []
    while (!page.away) {
      pages.push(page.url.pathname)
      await server.stop()
      await server.start()
      const [form] = page.forms
      if (form === undefined || pages.length > 3) throw new Error(`no way on from ${page.status}: ${page.text}`)
      const asksPassword = form.fields.some(({ name }) => name === 'password')
      page = await browser.submit(page, form, {
        fields: asksPassword ? { ...server.demo } : {},
        ...(asksPassword ? {} : { button: ['decision', 'approve'] as const }),
      })
    }
    expect(pages).toEqual(['/authorize/consent', '/authorize/sign-in'])
    expect(page.url.searchParams.get('code')).toMatch(/^cs_ac_/)
  })
})
