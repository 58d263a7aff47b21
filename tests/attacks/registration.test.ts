import { beforeEach, describe, expect, test } from 'vitest'
import { createTarget, ISSUER, type Target, tokensIn, WEB } from './support/target.ts'

// Anybody may register; what somebody registered is theirs alone.

let target: Target
beforeEach(async () => {
  target = await createTarget()
})

interface Registration {
  readonly client_id: string
  readonly registration_client_uri: string
  readonly registration_access_token: string
}

const metadata = { redirect_uris: [WEB], token_endpoint_auth_method: 'none', client_name: 'App' }

const send = async (method: string, url: string, token?: string, body?: object) => {
  const response = await target.send(
    new Request(url, {
      method,
      headers: {
        ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
        ...(body ? { 'Content-Type': 'application/json' } : {}),
      },
      ...(body ? { body: JSON.stringify(body) } : {}),
    }),
  )
  const text = await response.text()
  return { status: response.status, body: (text === '' ? {} : JSON.parse(text)) as Record<string, unknown> }
}

const register = async (more: object = {}) =>
  (await send('POST', `${ISSUER}/register`, undefined, { ...metadata, ...more })).body as unknown as Registration

const clientOf = ({ client_id: id }: Registration) => ({ id, redirectUri: WEB })

describe('tokens of one kind are none of another', () => {
  test('what manages a registration opens nothing else', async () => {
    const { registration_access_token: token, client_id } = await register()
    expect((await target.call(token)).status).toBe(401)
    for (const form of [
      { grant_type: 'refresh_token', refresh_token: token, client_id },
      { grant_type: 'client_credentials', client_id, client_secret: token },
      { grant_type: 'authorization_code', code: token, client_id, redirect_uri: WEB, code_verifier: 'x'.repeat(43) },
    ]) {
      expect(tokensIn(await target.post('/token', form))).toEqual([])
    }
  })

  test('what a client got manages no registration', async () => {
    const registration = await register()
    const { access_token, refresh_token } = await target.tokens(clientOf(registration))
    for (const token of [access_token, refresh_token, registration.client_id]) {
      for (const method of ['GET', 'DELETE']) {
        expect((await send(method, registration.registration_client_uri, token)).status).toBe(401)
      }
    }
    expect((await target.refresh(clientOf(registration), refresh_token)).status).toBe(200)
  })
})

describe('taking over another’s registration', () => {
  test('by one’s own token, whatever the request says', async () => {
    const [mine, theirs] = [await register(), await register()]
    const token = mine.registration_access_token
    const change = { ...metadata, client_id: theirs.client_id, redirect_uris: ['https://evil.example/cb'] }
    const uris = [
      theirs.registration_client_uri,
      `${mine.registration_client_uri}&client_id=${theirs.client_id}`,
      `${ISSUER}/register?client_id[]=${theirs.client_id}`,
    ]
    for (const uri of uris) {
      for (const method of ['GET', 'PUT', 'DELETE']) {
        const { status } = await send(method, uri, token, method === 'PUT' ? change : undefined)
        expect([400, 401, 405], `${method} ${uri}`).toContain(status)
      }
    }
    expect((await send('PUT', mine.registration_client_uri, token, change)).status).toBe(400)
    const page = await target
      .browser()
      .open(target.authorizeUrl({ id: theirs.client_id, redirectUri: 'https://evil.example/cb' }))
    expect([page.status, page.left]).toEqual([400, undefined])
  })

  test('an id of one’s choice is not given', async () => {
    const theirs = await register()
    const mine = await register({ client_id: theirs.client_id, registration_access_token: 'known to me' })
    expect(mine.client_id).not.toBe(theirs.client_id)
    expect((await send('GET', mine.registration_client_uri, 'known to me')).status).toBe(401)
  })
})

describe('being trusted first, and changing then', () => {
  test('what a person allowed is asked again when the client moves to another host', async () => {
    const registration = await register()
    const browser = target.browser()
    await target.code(clientOf(registration), { browser })
    // The same again needs no page.
    expect((await browser.open(target.authorizeUrl(clientOf(registration)))).left?.searchParams.has('code')).toBe(true)
    const moved = 'https://evil.example/cb'
    const change = { ...metadata, client_id: registration.client_id, redirect_uris: [moved] }
    const { registration_client_uri: uri, registration_access_token: token } = registration
    expect((await send('PUT', uri, token, change)).status).toBe(200)
    const page = await browser.open(target.authorizeUrl({ id: registration.client_id, redirectUri: moved }))
    expect([page.status, page.left]).toEqual([200, undefined])
    expect(page.text).toContain('evil.example')
    // And the way back that it gave up leads nowhere any more.
    expect((await browser.open(target.authorizeUrl(clientOf(registration)))).left).toBe(undefined)
  })

  test('a code that is under way still needs the address that it was made for', async () => {
    const registration = await register()
    const code = await target.code(clientOf(registration))
    const moved = 'https://evil.example/cb'
    const change = { ...metadata, client_id: registration.client_id, redirect_uris: [WEB, moved] }
    await send('PUT', registration.registration_client_uri, registration.registration_access_token, change)
    expect(tokensIn(await target.redeem(code, { redirect_uri: moved }))).toEqual([])
    expect((await target.redeem(code)).status).toBe(200)
  })

  test('no dangerous redirect comes in by a change', async () => {
    const { client_id, registration_client_uri: uri, registration_access_token: token } = await register()
    for (const redirect of [
      'javascript:alert(1)',
      'http://evil.example/cb',
      'https://user@evil.example/',
      'data:text/html,x',
    ]) {
      const change = { ...metadata, client_id, redirect_uris: [redirect] }
      expect((await send('PUT', uri, token, change)).body.error).toBe('invalid_redirect_uri')
    }
  })

  test('a client that deletes itself takes its tokens with it', async () => {
    const registration = await register()
    const { access_token, refresh_token } = await target.tokens(clientOf(registration))
    expect((await target.call(access_token)).status).toBe(200)
    const { registration_client_uri: uri, registration_access_token: token } = registration
    expect((await send('DELETE', uri, token)).status).toBe(204)
    expect((await target.call(access_token)).status).toBe(401)
    expect(tokensIn(await target.refresh(clientOf(registration), refresh_token))).toEqual([])
  })
})

test('nothing that manages a registration is logged', async () => {
  const { registration_access_token: token, registration_client_uri: uri } = await register()
  await send('GET', uri, token)
  await send('GET', uri, `${token}x`)
  expect(JSON.stringify([target.events, target.log])).not.toContain(token)
})
