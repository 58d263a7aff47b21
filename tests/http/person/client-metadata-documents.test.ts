import { afterEach, beforeEach, expect, test } from 'vitest'
import { hashStrings } from '../../../src/crypto/hash.ts'
import { type DocumentServer, documentServer } from '../../support/document-server.ts'
import {
  authorizeUrl,
  type PersonServerOptions,
  personServer,
  signInAs,
  verifier,
  webRedirect,
} from '../../support/person.ts'

let web: DocumentServer
let client_id: string
beforeEach(async () => {
  web = await documentServer()
  client_id = `${web.origin}/client.json`
})
afterEach(() => web.stop())

const withDocuments = (options: PersonServerOptions = {}) => personServer({ documents: { loopback: true }, ...options })

test('from the request to tokens, without registration', async () => {
  const to = await withDocuments()
  const browser = to.browser()
  const page = await browser.open(authorizeUrl(to, { client_id }))
  const { left } = await signInAs(browser, await browser.submit(page, 'approve'), 'Alice')
  expect(left?.href.startsWith(webRedirect)).toBe(true)
  const response = await to.routes.respond(
    new Request(`${to.issuer}/token`, {
      method: 'POST',
      body: new URLSearchParams({
        ...{ grant_type: 'authorization_code', code: left?.searchParams.get('code') ?? '', client_id },
        ...{ code_verifier: verifier, redirect_uri: webRedirect },
      }),
    }),
  )
  expect(response?.status).toBe(200)
  expect(web.requests).toHaveLength(1)
  expect(
    to.events.filter((event) => 'clientId' in event && event.clientId === client_id).map(({ type }) => type),
  ).toEqual(['client.document_read', 'authorization.requested', 'consent.approved', 'code.issued', 'code.redeemed'])
})

test('the page says whose description was read, and where the answer goes', async () => {
  const to = await withDocuments()
  const page = await to.browser().open(authorizeUrl(to, { client_id }))
  expect(page.text).toContain('Published App')
  expect(page.text).toContain(`Published by ${new URL(web.origin).host}`)
  expect(page.text).toContain('You will be sent on to app.example.net')
  expect(page.text).toContain('Nobody has checked the name')
  expect(page.text).not.toContain('Unverified')
  expect(page.text).not.toContain('Nothing shows that')
})

test('an app on this computer: the warning stays, and is stronger where no redirect leads to a web site', async () => {
  const to = await withDocuments()
  const parameters = { client_id, redirect_uri: 'http://127.0.0.1:51234/callback' }
  const both = await to.browser().open(authorizeUrl(to, parameters))
  expect(both.text).toContain('An app on this computer that calls itself “Published App”')
  expect(both.text).toContain('Any program on this computer can say so')
  expect(both.text).not.toContain('Nothing shows that')
  web.metadata = { redirect_uris: ['http://localhost/callback', 'http://127.0.0.1/callback'] }
  await to.pass(13 * 3_600_000)
  const local = await to.browser().open(authorizeUrl(to, parameters))
  expect(local.text).toContain('Nothing shows that it is really this one that asks')
})

test('fault 10: a redirect that the document does not name gets a page, and a changed document counts', async () => {
  const to = await withDocuments()
  for (const redirect_uri of ['https://evil.example/callback', `${webRedirect}/`, 'https://app.example.net/']) {
    const page = await to.browser().open(authorizeUrl(to, { client_id, redirect_uri }))
    expect([page.status, page.left]).toEqual([400, undefined])
    expect(page.text).toContain('This link can’t be trusted')
  }
  expect((await to.browser().open(authorizeUrl(to, { client_id }))).status).toBe(200)
  web.metadata = { redirect_uris: ['https://new.example.net/callback'] }
  await to.pass(13 * 3_600_000)
  expect((await to.browser().open(authorizeUrl(to, { client_id }))).status).toBe(400)
  const moved = await to
    .browser()
    .open(authorizeUrl(to, { client_id, redirect_uri: 'https://new.example.net/callback' }))
  expect(moved.text).toContain('You will be sent on to new.example.net')
})

test('the document of a client is foreign text: nothing of it is markup, an error page quotes nothing', async () => {
  const to = await withDocuments()
  web.metadata = { client_name: '<script>alert(1)</script>\u202e', logo_uri: 'https://app.example.net/logo.png' }
  const page = await to.browser().open(authorizeUrl(to, { client_id }))
  expect(page.html).not.toContain('<script')
  expect(page.html).not.toContain('logo.png')
  web.metadata = { redirect_uris: ['javascript:alert(1)'] }
  const other = await to.browser().open(authorizeUrl(to, { client_id: `${web.origin}/other` }))
  expect([other.status, other.html.includes('javascript:alert')]).toEqual([400, false])
})

test('what can’t be read is said, and nobody is redirected', async () => {
  const to = await withDocuments()
  const open = (id: string) => to.browser().open(authorizeUrl(to, { client_id: id }))
  web.answer = (request, response) => void response.writeHead(request.url === '/gone' ? 404 : 500).end()
  const gone = await open(`${web.origin}/gone`)
  expect([gone.status, gone.left]).toEqual([400, undefined])
  expect(gone.text).toContain('description can’t be used')
  const down = await open(`${web.origin}/down`)
  expect([down.status, down.left]).toEqual([503, undefined])
  expect(down.text).toContain('can’t be checked right now')
  for (const id of [
    'https://app.example.com/',
    'https://intranet/x',
    'http://app.example.com/x',
    `${web.origin}/a/../b`,
  ]) {
    const page = await open(id)
    expect([page.status, page.text.includes('This app is not known here')]).toEqual([400, true])
  }
  expect(to.events.filter(({ type }) => type === 'authorization.refused')).toMatchObject([
    { clientId: `${web.origin}/gone`, reason: 'gone: its server answers 404' },
    { clientId: `${web.origin}/down`, reason: 'unreachable: its server answers 500' },
    { reason: 'refused: client_id: it has no path' },
    { reason: 'refused: client_id: its host is not a domain name' },
    { reason: 'refused: client_id: it is not https' },
    { reason: 'refused: client_id: it is not written in its usual form' },
  ])
  expect(web.requests).toHaveLength(2)
})

test('a new sign-in needs a document that can be read; a copy that is out of date is not enough', async () => {
  const to = await withDocuments()
  expect((await to.browser().open(authorizeUrl(to, { client_id }))).status).toBe(200)
  web.setDown(true)
  await to.pass(30 * 60_000)
  expect((await to.browser().open(authorizeUrl(to, { client_id }))).status).toBe(200)
  await to.pass(2 * 3_600_000)
  expect((await to.browser().open(authorizeUrl(to, { client_id }))).status).toBe(503)
})

test('an error before the person has acted is not redirected to a web site that only a document names', async () => {
  const to = await withDocuments()
  const page = await to.browser().open(authorizeUrl(to, { client_id, response_type: 'token' }))
  expect([page.status, page.left]).toEqual([400, undefined])
})

test('nor can all together, where nobody says where they come from; what is known already is not in their way', async () => {
  const to = await withDocuments()
  const open = async (id: string) => (await to.routes.respond(new Request(authorizeUrl(to, { client_id: id }))))?.status
  expect(await open(client_id)).toBe(303)
  await to.server.records.store.increment('limit/client-document/unknown', 1_198, 600_000)
  expect(await open(`${client_id}?1`)).toBe(303)
  const asked = web.requests.length
  expect(await open(`${client_id}?2`)).toBe(429)
  expect(web.requests.length).toBe(asked)
  expect(await open(client_id)).toBe(303)
  // Who is known to come from somewhere has a budget of their own.
  const request = new Request(authorizeUrl(to, { client_id: `${client_id}?3` }))
  expect((await to.routes.respond(request, { remoteAddress: '192.0.2.9' }))?.status).toBe(303)
})

test('one address can’t make us fetch documents without end', async () => {
  const to = await withDocuments()
  const statuses: number[] = []
  web.answer = (_request, response) => void response.writeHead(404).end()
  for (let one = 0; one < 130; one++) {
    statuses.push((await to.browser().open(authorizeUrl(to, { client_id: `${web.origin}/${one}` }))).status)
  }
  expect(statuses.slice(120).every((status) => status === 429)).toBe(true)
  expect(web.requests.length).toBeLessThanOrEqual(120)
})

test('attack: naming ever new documents at a known client’s site keeps nobody from signing in there', async () => {
  const to = await withDocuments()
  const open = async (id: string, address: string) =>
    (await to.routes.respond(new Request(authorizeUrl(to, { client_id: id })), { remoteAddress: address }))?.status
  expect(await open(client_id, '192.0.2.1')).toBe(303)
  await to.pass(2 * 3_600_000)
  const document = web.answer
  web.answer = (request, response) => {
    if (request.url === '/client.json') document(request, response)
    else response.writeHead(404).end()
  }
  // The clock stands still: all that may be asked of this site within a minute has been asked.
  const statuses: (number | undefined)[] = []
  for (let at = 0; at < 70; at++) statuses.push(await open(`${web.origin}/${at}`, `198.51.100.${at}`))
  expect([statuses[0], statuses.at(-1)]).toEqual([400, 503])
  expect(await open(client_id, '192.0.2.1')).toBe(303)
  expect(web.requests.filter(({ path }) => path === '/client.json')).toHaveLength(2)
})

test('attack: nor does using up what an address may have fetched, for those who share the address', async () => {
  const to = await withDocuments()
  const open = async (id: string) =>
    (await to.routes.respond(new Request(authorizeUrl(to, { client_id: id })), { remoteAddress: '192.0.2.1' }))?.status
  expect(await open(client_id)).toBe(303)
  await to.pass(2 * 3_600_000)
  await to.server.records.store.increment(`limit/client-document/${hashStrings('192.0.2.1')}`, 120, 600_000)
  expect(await open(`${client_id}?new`)).toBe(429)
  expect(await open(client_id)).toBe(303)
  expect(web.requests.filter(({ path }) => path === '/client.json')).toHaveLength(2)
})

test('attack: nor does whoever has known documents fetched again without end', async () => {
  const to = await withDocuments()
  const open = async (id: string, remoteAddress: string) =>
    (await to.routes.respond(new Request(authorizeUrl(to, { client_id: id })), { remoteAddress }))?.status
  for (const id of [client_id, `${client_id}?own`]) expect(await open(id, '192.0.2.1')).toBe(303)
  await to.pass(2 * 3_600_000)
  const document = web.answer
  web.answer = (request, response) => {
    if (request.url === '/client.json') document(request, response)
    else response.writeHead(500).end()
  }
  for (let at = 0; at < 300; at++) expect(await open(`${client_id}?own`, '192.0.2.1')).toBe(503)
  expect(await open(`${client_id}?own`, '192.0.2.1')).toBe(429)
  expect(await open(client_id, '192.0.2.2')).toBe(303)
  // What somebody else had fetched is there for all.
  expect(await open(client_id, '192.0.2.1')).toBe(303)
})
