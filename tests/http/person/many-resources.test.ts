import { decodeJwt } from 'jose'
import { beforeEach, expect, test } from 'vitest'
import type { JsonObject } from '../../../src/identity/json.ts'
import type { TestBrowser, Visit } from '../../support/browser.ts'
import { authorizeUrl, type PersonServer, personServer, signInAs, verifier, webRedirect } from '../../support/person.ts'

// RFC 8707 §2: one authorization for several resources, and one access token for each.

const notes = 'https://auth.example.com/mcp'
const calendar = 'https://calendar.example.com/mcp'
const files = 'https://auth.example.com/files'

let to: PersonServer
beforeEach(async () => {
  to = await personServer({
    resources: {
      '/mcp': {
        name: 'Notes',
        scopes: { read: 'Read your notes', write: 'Change your notes' },
        defaultScopes: ['read'],
      },
      [calendar]: {
        name: 'Calendar',
        scopes: { read: 'See your calendar', invite: 'Invite people' },
        defaultScopes: ['read'],
        lifetimes: { accessToken: 120 },
      },
      '/files': { name: 'Files', scopes: { upload: 'Put files there' } },
    },
  })
  await to.addClient({ id: 'app' })
})

const ask = (browser: TestBrowser, resource: readonly string[], scope?: string): Promise<Visit> =>
  browser.open(authorizeUrl(to, { resource, scope }))

const post = async (form: Record<string, string | readonly string[]>): Promise<JsonObject> => {
  const body = new URLSearchParams({ client_id: 'app' })
  for (const [name, value] of Object.entries(form)) for (const one of [value].flat()) body.append(name, one)
  const response = await to.routes.respond(new Request(`${to.issuer}/token`, { method: 'POST', body }))
  return (await response?.json()) as JsonObject
}

const redeem = (left: URL | undefined, more: Record<string, string | readonly string[]> = {}) =>
  post({
    grant_type: 'authorization_code',
    code: left?.searchParams.get('code') ?? '',
    code_verifier: verifier,
    redirect_uri: webRedirect,
    ...more,
  })

const saysOf = ({ access_token: token, scope, expires_in: expiresIn }: JsonObject) => [
  decodeJwt(String(token)).aud,
  scope,
  expiresIn,
]

test('the page shows each resource with its scopes, and two scopes of one name are told apart', async () => {
  const browser = to.browser()
  const page = await ask(browser, [notes, calendar], 'read write')
  for (const text of [
    'Notes',
    notes,
    'Read your notes',
    'Change your notes',
    'Calendar',
    calendar,
    'See your calendar',
  ])
    expect(page.text).toContain(text)
  expect(page.text).not.toContain('Invite people')
  expect(page.text).toContain('to use Notes and Calendar?')
  const boxes = page.forms[0]?.fields.filter(({ name }) => name === 'scope').map(({ value }) => value)
  expect(new Set(boxes).size).toBe(3)
  // Reading is taken away from the first, and stays for the second.
  const { left } = await signInAs(
    browser,
    await browser.submit(
      page,
      'approve',
      {},
      boxes?.filter((value) => value !== 'read'),
    ),
    'Alice',
  )
  expect(saysOf(await redeem(left, { resource: calendar }))).toEqual([calendar, 'read', 120])
  const issued = to.events.flatMap((event) => (event.type === 'code.issued' ? [event.resources] : []))
  expect(issued).toEqual([{ [notes]: ['write'], [calendar]: ['read'] }])
})

test('fault 7, design 1: one audience a token; the code and each refresh pick one of the grant, and no more than its scopes', async () => {
  const browser = to.browser()
  const page = await ask(browser, [notes, calendar], 'read write invite')
  const { left } = await signInAs(browser, await browser.submit(page, 'approve'), 'Alice')
  const both = await redeem(left, { resource: [notes, calendar] })
  expect(both).toMatchObject({ error: 'invalid_target' })
  const first = await redeem(left)
  expect(saysOf(first)).toEqual([notes, 'read write', 600])
  const refresh = (more: Record<string, string>) =>
    post({ grant_type: 'refresh_token', refresh_token: String(first.refresh_token), ...more })
  expect(saysOf(await refresh({ resource: calendar }))).toEqual([calendar, 'read invite', 120])
  expect(saysOf(await refresh({ resource: calendar, scope: 'invite' }))).toEqual([calendar, 'invite', 120])
  expect(saysOf(await refresh({ resource: notes }))).toEqual([notes, 'read write', 600])
  expect(await refresh({ resource: calendar, scope: 'write' })).toMatchObject({ error: 'invalid_scope' })
  expect(await refresh({ resource: files })).toMatchObject({ error: 'invalid_target' })
})

test('a resource of which nothing stays ticked is not granted; with nothing at all the page asks again', async () => {
  const browser = to.browser()
  const page = await ask(browser, [notes, calendar], 'read')
  const none = await browser.submit(page, 'approve', {}, [])
  expect(none.text).toContain('Nothing is ticked')
  const { left } = await signInAs(browser, await browser.submit(page, 'approve', {}, ['read']), 'Alice')
  expect(await redeem(left, { resource: calendar })).toMatchObject({ error: 'invalid_target' })
  expect(saysOf(await redeem(left))).toEqual([notes, 'read', 600])
})

test('a scope that one resource alone has gives the other its default set', async () => {
  const browser = to.browser()
  const page = await ask(browser, [calendar, notes], 'write')
  expect(page.text).toContain('See your calendar')
  expect(page.text).not.toContain('Read your notes')
  const { left } = await signInAs(browser, await browser.submit(page, 'approve'), 'Alice')
  expect(saysOf(await redeem(left, { resource: notes }))).toEqual([notes, 'write', 600])
})

test('design 3, consent: it is skipped only where every resource was allowed before', async () => {
  const browser = to.browser()
  await signInAs(browser, await browser.submit(await ask(browser, [notes], 'read'), 'approve'), 'Alice')
  expect((await ask(browser, [notes], 'read')).left?.searchParams.get('code')).toBeTruthy()
  const page = await ask(browser, [notes, calendar], 'read')
  expect(page.left).toBeUndefined()
  expect(page.text.match(/Allowed before/g)).toHaveLength(1)
  await browser.submit(page, 'approve')
  expect((await ask(browser, [calendar, notes], 'read')).left?.searchParams.get('code')).toBeTruthy()
})

test('one that is not of this server, among good ones, is refused', async () => {
  const page = await ask(to.browser(), [notes, 'https://elsewhere.example/mcp'], 'read')
  expect(page.status).toBe(400)
  expect(page.text).toContain('resource is not one of this server')
})
