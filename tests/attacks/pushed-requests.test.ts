import { inspect } from 'node:util'
import { beforeEach, expect, test } from 'vitest'
import { documentServer } from '../support/document-server.ts'
import { challengeOf, createTarget, type Form, ISSUER, RESOURCE, type Target, verifier, WEB } from './support/target.ts'

// What a client sent ahead is between it and us: nobody on the way reads it, changes it, or uses it.

const secret = 'the secret of a client, long enough for one'
const own = { client_id: 'web', client_secret: secret }

let target: Target
beforeEach(async () => {
  target = await createTarget({
    clients: [
      { id: 'web', secret, redirectUris: [WEB] },
      { id: 'evil', secret: 'the secret of the attacker, long enough', redirectUris: ['https://evil.example/cb'] },
    ],
  })
})

const request = (more: Form = {}): Form => ({
  ...{ response_type: 'code', redirect_uri: WEB, scope: 'notes:read', resource: RESOURCE, state: 'a state' },
  ...{ code_challenge: challengeOf(verifier), code_challenge_method: 'S256', ...own },
  ...more,
})
const push = async (more: Form = {}) => String((await target.post('/par', request(more))).body.request_uri)
const open = (parameters: Record<string, string> | URLSearchParams) =>
  target.browser().open(`${ISSUER}/authorize?${new URLSearchParams(parameters)}`)

/** A page that says so, or an error at the one address that this client has. */
const expectRefused = ({ status, left }: Awaited<ReturnType<typeof open>>) => {
  expect([400, 303]).toContain(status)
  if (status === 303) {
    expect(left?.href.startsWith(`${WEB}?`)).toBe(true)
    expect([left?.searchParams.has('error'), left?.searchParams.has('code')]).toEqual([true, false])
  }
}

test('one’s own request under another’s name: the page, and the way back, would be the other’s', async () => {
  const evil = { client_id: 'evil', client_secret: 'the secret of the attacker, long enough' }
  const request_uri = await push({ ...evil, redirect_uri: 'https://evil.example/cb' })
  const page = await open({ client_id: 'web', request_uri })
  expect([page.status, page.left]).toEqual([400, undefined])
  // It was not used up by that.
  expect((await open({ client_id: 'evil', request_uri })).status).toBe(200)
})

test('two names for one request, or two requests', async () => {
  const request_uri = await push()
  for (const query of [
    new URLSearchParams([
      ['client_id', 'web'],
      ['client_id', 'evil'],
      ['request_uri', request_uri],
    ]),
    new URLSearchParams([
      ['client_id', 'web'],
      ['request_uri', request_uri],
      ['request_uri', await push()],
    ]),
    new URLSearchParams([['request_uri', request_uri]]),
  ]) {
    expectRefused(await open(query))
  }
  // None of them used it up.
  expect((await open({ client_id: 'web', request_uri })).status).toBe(200)
})

test('of many browsers that bring it at once, one goes on', async () => {
  const request_uri = await push()
  const pages = await Promise.all(Array.from({ length: 8 }, () => open({ client_id: 'web', request_uri })))
  expect(pages.map(({ status }) => status).sort()).toEqual([200, ...Array(7).fill(400)])
})

test('what the client may not do any more when the person comes is not done', async () => {
  const client = await target.register({ token_endpoint_auth_method: 'client_secret_post' })
  const more = { client_id: client.id, client_secret: client.secret }
  const request_uri = await push(more)
  await target.auth.clients.delete(client.id)
  const page = await open({ client_id: client.id, request_uri })
  expect([page.status, page.left]).toEqual([400, undefined])
})

test('guesses', async () => {
  const request_uri = await push()
  for (const guess of [
    request_uri.slice(0, -1),
    `${request_uri}A`,
    request_uri.toUpperCase(),
    request_uri.replace(/.{43}$/, 'A'.repeat(43)),
    `${request_uri}/../x`,
    'urn:ietf:params:oauth:request_uri:cs_pr_',
  ]) {
    expectRefused(await open({ client_id: 'web', request_uri: guess }))
  }
})

test('a request of any size, shape or kind', async () => {
  for (const more of [
    { state: 'x'.repeat(10_000) },
    { login_hint: 'x'.repeat(5_000) },
    { padding: 'x'.repeat(70_000) },
  ]) {
    const { status, body } = await target.post('/par', request(more))
    expect([400, 413]).toContain(status)
    expect(body).not.toHaveProperty('request_uri')
  }
  for (const [method, type] of [
    ['GET', undefined],
    ['PUT', 'application/x-www-form-urlencoded'],
    ['POST', 'application/json'],
  ] as const) {
    const response = await target.send(
      new Request(`${ISSUER}/par`, {
        method,
        ...(method === 'GET' ? {} : { body: '{}' }),
        ...(type ? { headers: { 'Content-Type': type } } : {}),
      }),
    )
    expect([400, 405]).toContain(response.status)
  }
  expect((await target.store.list('pushed-request/')).entries).toEqual([])
})

test('filling the store: one address has a limit', async () => {
  await target.store.increment(`limit/interaction/x`, 1, 1)
  let last = 201
  for (let turn = 0; turn < 3_010 && last !== 429; turn++)
    last = (await target.post('/par', request({ scope: 'x y' }))).status
  expect(last).toBe(429)
})

test('a stranger’s document is asked for no more often than at the authorization endpoint', async () => {
  const web = await documentServer()
  try {
    const strict = await createTarget({ clientMetadataDocuments: {} })
    const form = { ...request(), client_id: `${web.origin}/client.json`, client_secret: undefined }
    const { status, body } = await strict.post('/par', form)
    expect([status, body.error]).toEqual([401, 'invalid_client'])
    expect(web.requests).toEqual([])
  } finally {
    await web.stop()
  }
})

test('neither the name of a request nor the client’s secret is logged, or kept in clear', async () => {
  const request_uri = await push({ state: 'a-very-secret-state' })
  await open({ client_id: 'web', request_uri })
  await open({ client_id: 'web', request_uri })
  const kept = (await target.store.list('')).entries.map(({ key, value }) => `${key} ${Buffer.from(value).toString()}`)
  const all = inspect([target.events, target.log, kept], { depth: 20, maxArrayLength: null, maxStringLength: null })
  for (const hidden of [request_uri.slice(-43), secret, 'a-very-secret-state']) expect(all).not.toContain(hidden)
})
