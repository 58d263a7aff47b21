import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { findChromium, launchBrowser } from '../../support/chromium.ts'
import {
  authorizeUrl,
  type ListeningPersonServer,
  listeningPersonServer,
  passwordProvider,
  redeemed,
  redirectProvider,
} from '../../support/person.ts'

const found = await findChromium()
if ('skip' in found) console.warn(found.skip)

const listen = (listener: RequestListener): Promise<{ server: Server; origin: string }> =>
  new Promise((resolve) => {
    const server = createServer(listener)
    server.listen(0, '127.0.0.1', () =>
      resolve({ server, origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }),
    )
  })

describe.skipIf('skip' in found)('in Chromium', () => {
  let browser: Browser
  let to: ListeningPersonServer
  let client: { server: Server; origin: string }
  let final: { server: Server; origin: string }
  const contexts: BrowserContext[] = []

  beforeAll(async () => {
    browser = await launchBrowser()
    const logo = `data:image/svg+xml,${encodeURIComponent('<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40"><rect width="40" height="40"/></svg>')}`
    to = await listeningPersonServer({
      branding: { logo },
      providers: (issuer, now) => [passwordProvider(issuer, now), redirectProvider(now)],
    })
    final = await listen((_, response) => response.end('arrived'))
    client = await listen((request, response) => {
      if (request.url?.startsWith('/hop')) response.writeHead(302, { location: final.origin }).end()
      else if (request.url?.startsWith('/frame')) {
        response.setHeader('content-type', 'text/html').end(`<iframe src="${authorizeUrl(to)}"></iframe>`)
      } else if (request.url?.startsWith('/popup')) {
        const url = authorizeUrl(to, { redirect_uri: `${client.origin}/told` })
        response
          .setHeader('content-type', 'text/html')
          .end(
            `<script>addEventListener('message', (event) => { document.title = event.data }); open(${JSON.stringify(url)})</script>`,
          )
      } else if (request.url?.startsWith('/told')) {
        response.setHeader('content-type', 'text/html').end(`<script>opener.postMessage('told', '*')</script>`)
      } else response.end('the client')
    })
    await to.addClient({
      id: 'app',
      redirectUris: ['/callback', '/hop', '/told']
        .map((path) => `http://127.0.0.1${path}`)
        .concat('cursor://anysphere.cursor-mcp/oauth/callback'),
    })
  })

  afterAll(async () => {
    await Promise.all(contexts.map((context) => context.close()))
    await browser?.close()
    await to?.stop()
    for (const one of [client, final]) {
      one?.server.closeAllConnections()
      one?.server.close()
    }
  })

  /** A page whose complaints (of its policy above all) are collected. */
  const open = async (
    options: Parameters<Browser['newContext']>[0] = {},
  ): Promise<{ page: Page; complaints: string[] }> => {
    const context = await browser.newContext({ javaScriptEnabled: false, ...options })
    contexts.push(context)
    const page = await context.newPage()
    const complaints: string[] = []
    page.on('console', (message) => complaints.push(message.text()))
    page.on('pageerror', (error) => complaints.push(error.message))
    return { page, complaints }
  }

  const callback = () => `${client.origin}/callback`
  const signIn = async (page: Page, name = 'Alice') => {
    await page.fill('[name=username]', name)
    await page.fill('[name=password]', 'right')
    await page.click('button:has-text("Sign in")')
  }

  test('without script, from consent to the client', async () => {
    const { page, complaints } = await open()
    await page.goto(authorizeUrl(to, { redirect_uri: callback() }))
    await page.uncheck('[value="notes:write"]')
    await page.click('[name=decision][value=approve]')
    await signIn(page)
    await page.waitForURL(`${client.origin}/callback?**`)
    expect(new URL(page.url()).searchParams.get('code')).toMatch(/^cs_ac_/)
    expect(complaints).toEqual([])
  })

  test('by keyboard alone: everything is reached in order, with a focus that can be seen', async () => {
    const { page } = await open({ javaScriptEnabled: true })
    await page.goto(authorizeUrl(to, { redirect_uri: callback() }))
    const reached: string[] = []
    for (let key = 0; key < 4; key++) {
      await page.keyboard.press('Tab')
      reached.push(
        await page.evaluate(() => {
          const element = document.activeElement as HTMLInputElement
          const { outlineStyle, outlineWidth } = getComputedStyle(element)
          return `${element.name}=${element.value} ${outlineStyle} ${outlineWidth}`
        }),
      )
    }
    expect(reached).toEqual([
      'scope=notes:read solid 3px',
      'scope=notes:write solid 3px',
      'decision=approve solid 3px',
      'decision=deny solid 3px',
    ])
    await page.keyboard.press('Shift+Tab')
    await page.keyboard.press('Enter')
    // The name has the focus already.
    await page.waitForSelector('[name=username]:focus')
    await page.keyboard.type('Alice')
    await page.keyboard.press('Tab')
    await page.keyboard.type('right')
    await page.keyboard.press('Enter')
    await page.waitForURL(`${client.origin}/callback?**`)
  })

  test('the account page by keyboard alone: what is connected, disconnected, signed out', async () => {
    const { page, complaints } = await open({ javaScriptEnabled: true })
    const code = page.waitForURL(`${client.origin}/callback?**`)
    await page.goto(authorizeUrl(to, { redirect_uri: callback() }))
    await page.click('[value=approve]')
    await signIn(page)
    await code
    await redeemed(to, new URL(page.url()), callback())
    await page.goto(to.server.endpoints.account)
    expect(await page.textContent('h2')).toContain('Test App')
    await page.keyboard.press('Tab')
    expect(await page.evaluate(() => document.activeElement?.tagName)).toBe('SUMMARY')
    expect(await page.isVisible('[value=disconnect]')).toBe(false)
    await page.keyboard.press('Enter')
    expect(await page.isVisible('[value=disconnect]')).toBe(true)
    await page.keyboard.press('Tab')
    await page.keyboard.press('Enter')
    await page.waitForSelector('[role=status]')
    expect(await page.textContent('main')).toContain('No app is connected to your account.')
    await page.click('[value=sign_out]')
    await page.waitForSelector('[name=password]')
    expect(complaints).toEqual([])
  })

  test('the policy lets a client lead on to where nobody knew: another address of its own', async () => {
    const { page, complaints } = await open()
    await page.goto(authorizeUrl(to, { redirect_uri: `${client.origin}/hop` }))
    await page.click('[value=approve]')
    await signIn(page)
    await page.waitForURL(`${final.origin}/**`)
    expect(complaints).toEqual([])
  })

  test('the policy lets a private-use scheme be opened', async () => {
    const { page, complaints } = await open()
    const requested: string[] = []
    page.on('request', (request) => requested.push(request.url()))
    await page.goto(authorizeUrl(to, { redirect_uri: 'cursor://anysphere.cursor-mcp/oauth/callback' }))
    await page.click('[value=deny]')
    await expect.poll(() => requested.find((url) => url.startsWith('cursor://'))).toMatch(/error=access_denied/)
    expect(complaints).toEqual([])
  })

  test('a client that opened us in a popup hears of the end', async () => {
    const { page } = await open({ javaScriptEnabled: true })
    const popup = page.context().waitForEvent('page')
    await page.goto(`${client.origin}/popup`)
    const ours = await popup
    await ours.click('[value=deny]')
    await expect.poll(() => page.title()).toBe('told')
  })

  test('fault 25: no page of ours shows in a frame', async () => {
    const { page, complaints } = await open({ javaScriptEnabled: true })
    await page.goto(`${client.origin}/frame`)
    await expect.poll(() => complaints.join()).toMatch(/frame-ancestors/)
    expect(page.frames()[1]?.url()).not.toContain('/authorize')
  })

  test('fault 25: a page elsewhere that posts our form gets nowhere, though the person is signed in', async () => {
    const { page } = await open()
    await page.goto(authorizeUrl(to, { redirect_uri: callback() }))
    const fields = await page
      .locator('#decide input[type=hidden]')
      .evaluateAll((inputs) => inputs.map((input) => input.outerHTML))
    const evil = await listen((_, response) =>
      response
        .setHeader('content-type', 'text/html')
        .end(
          `<form method="post" action="${to.issuer}/authorize/consent">${fields.join('')}<button name="decision" value="deny">x</button></form>`,
        ),
    )
    await page.goto(evil.origin)
    await page.click('button')
    await page.waitForSelector('h1')
    expect(await page.textContent('h1')).toContain('This form can’t be accepted')
    evil.server.closeAllConnections()
    evil.server.close()
  })

  for (const [name, options] of [
    ['a phone', { viewport: { width: 320, height: 640 } }],
    ['a desktop', { viewport: { width: 1280, height: 800 } }],
    [
      'a phone in the dark with forced colours',
      { viewport: { width: 390, height: 844 }, colorScheme: 'dark', forcedColors: 'active' },
    ],
  ] as const) {
    test(`on ${name}: nothing is cut off, and every target is 44 pixels high`, async () => {
      const { page, complaints } = await open({ ...options, javaScriptEnabled: true })
      await to.addClient({
        id: 'long',
        name: 'W'.repeat(300),
        redirectUris: [`https://${'a'.repeat(60)}.${'b'.repeat(60)}.example/cb`],
      })
      const measure = async (here = page) =>
        here.evaluate(() => ({
          wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
          low: [...document.querySelectorAll('button, summary, .scope, label.field input')]
            .filter((element) => element.getBoundingClientRect().height < 44)
            .map((element) => element.outerHTML),
        }))
      await page.goto(
        authorizeUrl(to, { client_id: 'long', redirect_uri: `https://${'a'.repeat(60)}.${'b'.repeat(60)}.example/cb` }),
      )
      expect(await measure()).toEqual({ wide: 0, low: [] })
      await page.click('[value=approve]')
      expect(await measure()).toEqual({ wide: 0, low: [] })
      // There is no such client to be sent to.
      const away = page.waitForEvent('requestfailed')
      await signIn(page)
      await away
      const account = await page.context().newPage()
      await account.goto(to.server.endpoints.account)
      await account.click('summary')
      expect(await account.textContent('h2')).toContain('W'.repeat(20))
      expect(await measure(account)).toEqual({ wide: 0, low: [] })
      expect(complaints).toEqual([])
    })
  }
})
