import { decodeJwt } from 'jose'
import { expect, test } from 'vitest'
import { countersign } from '../../../src/countersign.ts'
import { memory } from '../../../src/store/memory.ts'
import { passwords } from '../../attacks/support/target.ts'
import { TestBrowser } from '../../support/browser.ts'
import {
  authorizeUrl,
  type PersonServer,
  personServer,
  redeemed,
  refreshed,
  signInAs,
  webRedirect,
} from '../../support/person.ts'

const scopes = {
  'notes:read': 'Read your notes',
  'notes:write': 'Add and change your notes',
  'notes:admin': 'Administer all notes',
  'other:read': 'Read the rest',
}
const implies = { 'notes:admin': ['notes:write'], 'notes:write': ['notes:read'] }

const withHierarchy = async (hierarchy: Record<string, string[]> = implies): Promise<PersonServer> => {
  const to = await personServer({
    resources: { '/mcp': { name: 'Notes', scopes, implies: hierarchy, defaultScopes: ['notes:read'] } },
  })
  await to.addClient({ id: 'app' })
  return to
}

/** Approves what is asked for (or only what is ticked), and answers the scopes that the client got. */
const granted = async (to: PersonServer, scope: string, ticked?: readonly string[], browser = to.browser()) => {
  const page = await browser.open(authorizeUrl(to, { scope, prompt: 'consent' }))
  let next = await browser.submit(page, 'approve', {}, ticked)
  if (!next.left) next = await signInAs(browser, next, 'Alice')
  const tokens = await redeemed(to, next.left)
  expect(decodeJwt(String(tokens.access_token)).scope).toBe(tokens.scope)
  return { page, browser, tokens, scope: String(tokens.scope).split(' ').sort() }
}

const all = ['notes:admin', 'notes:read', 'notes:write']

test('who is granted a scope is granted what it implies: in the response and in the token', async () => {
  const to = await withHierarchy()
  expect((await granted(to, 'notes:admin')).scope).toEqual(all)
  expect((await granted(to, 'notes:write')).scope).toEqual(['notes:read', 'notes:write'])
  expect((await granted(to, 'notes:read')).scope).toEqual(['notes:read'])
  expect((await granted(to, '')).scope).toEqual(['notes:read'])
  expect((await granted(to, 'notes:admin other:read')).scope).toEqual([...all, 'other:read'])
})

test('the page shows what comes with what, and the person can take the stronger away', async () => {
  const to = await withHierarchy()
  const { page } = await granted(to, 'notes:admin')
  expect(page.text).toContain('Add and change your notes Comes with “Administer all notes”')
  expect(page.text).toContain('Read your notes Comes with “Add and change your notes”')
  expect((await granted(to, 'notes:admin', ['notes:write', 'notes:read'])).scope).toEqual(['notes:read', 'notes:write'])
  expect((await granted(to, 'notes:admin', ['notes:read'])).scope).toEqual(['notes:read'])
  // Ticking the stronger one is enough, as the page says.
  expect((await granted(to, 'notes:admin', ['notes:admin'])).scope).toEqual(all)
  expect((await granted(to, 'notes:admin', ['notes:write'])).scope).toEqual(['notes:read', 'notes:write'])
})

test('a remembered consent covers what it implies, and nothing that implies it', async () => {
  const to = await withHierarchy()
  const { browser } = await granted(to, 'notes:write')
  expect((await browser.open(authorizeUrl(to, { scope: 'notes:read' }))).left?.searchParams.has('code')).toBe(true)
  const wider = await browser.open(authorizeUrl(to, { scope: 'notes:admin' }))
  expect(wider.left).toBeUndefined()
  expect(wider.text.match(/Allowed before/g)).toHaveLength(2)
})

test('a refresh may narrow to a scope, and keeps what that implies', async () => {
  const to = await withHierarchy()
  const { tokens } = await granted(to, 'notes:admin')
  const body = new URLSearchParams({
    grant_type: 'refresh_token',
    refresh_token: String(tokens.refresh_token),
    client_id: 'app',
    scope: 'notes:write',
  })
  const response = await to.routes.respond(new Request(`${to.issuer}/token`, { method: 'POST', body }))
  expect(await response?.json()).toMatchObject({ scope: 'notes:write notes:read' })
})

test('hierarchies that go round in circles, and names of Object.prototype, grant nothing else', async () => {
  const to = await withHierarchy({ 'notes:read': ['notes:write'], 'notes:write': ['notes:read', 'notes:write'] })
  expect((await granted(to, 'notes:read')).scope).toEqual(['notes:read', 'notes:write'])
  expect((await granted(to, 'constructor toString __proto__ notes:admin')).scope).toEqual(['notes:admin'])
})

test('a hierarchy that names unknown scopes is refused at start', async () => {
  await expect(withHierarchy({ 'notes:write': ['nobody'] })).rejects.toThrow('implies["notes:write"]')
  await expect(withHierarchy({ nobody: ['notes:read'] })).rejects.toThrow('implies["nobody"]')
})

test('a client that acts for itself has what its scopes imply, too', async () => {
  const secret = 'a-secret-of-a-client-that-is-long-enough'
  const to = await personServer({
    resources: { '/mcp': { scopes, implies } },
    clients: [{ id: 'job', secret, scopes: { '/mcp': ['notes:admin'] } }],
  })
  const ask = async (scope?: string) => {
    const body = new URLSearchParams({ grant_type: 'client_credentials', client_id: 'job', client_secret: secret })
    if (scope) body.set('scope', scope)
    const response = await to.routes.respond(new Request(`${to.issuer}/token`, { method: 'POST', body }))
    return response?.json()
  }
  expect(await ask()).toMatchObject({ scope: 'notes:admin notes:write notes:read' })
  expect(await ask('notes:write')).toMatchObject({ scope: 'notes:write notes:read' })
  expect(await ask('other:read')).toMatchObject({ error: 'invalid_scope' })
})

test('step-up makes a new grant; no other device, and no earlier grant, gets more', async () => {
  const to = await withHierarchy()
  const first = await granted(to, 'notes:read')
  const device = await granted(to, 'notes:read')
  // The same browser comes again with more.
  const page = await first.browser.open(authorizeUrl(to, { scope: 'notes:read notes:write' }))
  expect(page.text).toContain('Read your notes Comes with “Add and change your notes” Allowed before')
  const ticks = page.forms.flatMap(({ fields }) => fields.filter(({ type }) => type === 'checkbox'))
  expect(ticks.map(({ value, checked }) => [value, checked])).toEqual([
    ['notes:read', true],
    ['notes:write', true],
  ])
  const up = await redeemed(to, (await first.browser.submit(page, 'approve')).left)
  expect(up.scope).toBe('notes:read notes:write')
  const ids = [first.tokens, device.tokens, up].map(({ access_token }) => decodeJwt(String(access_token)).grant_id)
  expect(new Set(ids).size).toBe(3)
  for (const { tokens } of [first, device]) {
    const again = await refreshed(to, String(tokens.refresh_token))
    expect(again.scope).toBe('notes:read')
    const body = new URLSearchParams({
      grant_type: 'refresh_token',
      refresh_token: String(again.refresh_token),
      client_id: 'app',
      scope: 'notes:write',
    })
    const wider = await to.routes.respond(new Request(`${to.issuer}/token`, { method: 'POST', body }))
    expect(await wider?.json()).toMatchObject({ error: 'invalid_scope' })
  }
})

test('grant, token and gate agree: one option says what implies what', async () => {
  const url = 'http://localhost:3000'
  const auth = countersign({
    url,
    store: memory(),
    upstream: passwords,
    audit: () => {},
    clients: [{ id: 'app', name: 'App', redirectUris: [webRedirect] }],
    resources: {
      '/mcp': {
        scopes,
        implies,
        tools: { list: ['notes:read'], add: ['notes:write'], purge: ['notes:admin'], rest: ['other:read'] },
      },
    },
  })
  const gate = auth.gate('/mcp', () => Response.json({}))
  const call = async (token: string, name: string) => {
    const response = await gate(
      new Request(`${url}/mcp`, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name, arguments: {} } }),
      }),
    )
    return response.status === 200 ? 200 : response.headers.get('www-authenticate')
  }
  const browser = new TestBrowser((request) => auth.respond(request), url)
  const page = await browser.submit(
    await browser.open(authorizeUrl({ issuer: url }, { scope: 'notes:write' })),
    'approve',
  )
  const { left } = await signInAs(browser, page, 'Alice')
  const { access_token, scope } = await redeemed({ routes: auth, issuer: url }, left)
  expect(scope).toBe('notes:write notes:read')
  const token = String(access_token)
  expect([await call(token, 'list'), await call(token, 'add')]).toEqual([200, 200])
  // The complete set, so that a client that asks for it loses nothing.
  expect(await call(token, 'purge')).toMatch(/scope="notes:write notes:read notes:admin"/)
  expect(await call(token, 'rest')).toMatch(/scope="[^"]*other:read[^"]*"/)
  await auth.close()
})
