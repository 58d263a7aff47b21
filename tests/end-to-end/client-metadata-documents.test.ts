import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { makeCertificates } from '../support/certificates.ts'
import { type DocumentServer, documentServer } from '../support/document-server.ts'
import { freePort } from '../support/free-port.ts'
import { startProcess } from '../support/process.ts'
import { createFormBrowser } from './support/form-browser.ts'
import { type Application, authorize, browserOf, createApplication } from './support/oauth-client.ts'
import { openedUrls } from './support/opened-urls.ts'
import { type Approve, connectV1, connectV2 } from './support/sdk-clients.ts'
import { startServer, type TestServer } from './support/server.ts'
import { signIn } from './support/sign-in.ts'
import { createStdioClient } from './support/stdio-client.ts'

const LIFETIME = 4
const require = createRequire(import.meta.url)
const mcpRemote = join(dirname(require.resolve('mcp-remote/package.json')), 'dist')

let folder: string
let web: DocumentServer
let server: TestServer
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'countersign-documents-'))
  const certificates = await makeCertificates(['localhost'])
  const authority = join(folder, 'authority.pem')
  writeFileSync(authority, certificates.authority)
  web = await documentServer(certificates)
  web.metadata = { redirect_uris: ['http://127.0.0.1/callback', 'http://localhost/oauth/callback'] }
  server = await startServer({
    script: 'sdk-v2.ts',
    env: { ACCESS_TOKEN: String(LIFETIME), LOCAL_DOCUMENTS: 'true', NODE_EXTRA_CA_CERTS: authority },
  })
})
afterAll(async () => {
  await server?.dispose()
  await web?.stop()
  rmSync(folder, { recursive: true, force: true })
})

const requestsFor = (path: string) => web.requests.filter((request) => request.path === path).length

it.each([
  { name: 'the SDK v1 client', path: '/v1.json', connect: connectV1 },
  {
    name: 'the SDK v2 client, 2025-11-25',
    path: '/v2.json',
    connect: (url: string, application: Application, approve: Approve) =>
      connectV2(url, application, approve, { negotiation: 'legacy' }),
  },
  { name: 'the SDK v2 client, the newest revision', path: '/v2-auto.json', connect: connectV2 },
])('$name connects by its document, without registering, and calls again after the token expired', async (one) => {
  const clientId = web.origin + one.path
  const application = { ...createApplication(), clientMetadataUrl: clientId }
  const browser = browserOf(application)
  const client = await one.connect(server.url, application, () => authorize(application, browser, server.demo))
  const expected = {
    kind: 'user',
    clientId,
    scopes: ['notes:read'],
    upstream: { claims: { email: 'demo@example.com' } },
  }
  expect(await client.call('whoami')).toMatchObject(expected)
  const before = application.kept.tokens?.access_token
  await sleep((LIFETIME + 1) * 1000)
  expect(await client.call('whoami')).toMatchObject(expected)
  expect(application.kept.tokens?.access_token).not.toBe(before)
  expect(requestsFor(one.path)).toBe(1)
  await client.close()
})

it('mcp-remote connects by a document', async ({ onTestFinished }) => {
  const config = mkdtempSync(join(folder, 'mcp-remote-'))
  const opened = await openedUrls()
  onTestFinished(() => opened.close())
  const port = await freePort()
  const clientId = `${web.origin}/mcp-remote.json`
  const child = startProcess(
    process.execPath,
    [join(mcpRemote, 'proxy.js'), server.url, String(port), '--client-metadata-url', clientId],
    { env: { ...opened.env, MCP_REMOTE_CONFIG_DIR: config } },
  )
  onTestFinished(async () => void (await child.stop(2_000)))
  const client = createStdioClient(child)
  const ready = client.initialize()
  const request = await opened.next()
  expect(request.searchParams.get('client_id')).toBe(clientId)
  const browser = createFormBrowser({ away: (url) => url.pathname === '/oauth/callback' })
  const { end, pages } = await signIn(browser, request, server.demo)
  expect(pages[0]?.text).toContain(`Published by ${new URL(web.origin).host}`)
  expect((await fetch(end)).status).toBe(200)
  await ready
  expect(await client.call('whoami')).toMatchObject({ kind: 'user', clientId })
  expect(requestsFor('/mcp-remote.json')).toBe(1)
})
