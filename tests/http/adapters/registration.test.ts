import { afterEach, expect, test } from 'vitest'
import { countersign } from '../../../src/countersign.ts'
import type { Auth } from '../../../src/http/auth.ts'
import { memory } from '../../../src/store/memory.ts'
import { hosts, listen, type Running } from './servers.ts'

const closing: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

const start = async (host: (auth: Auth) => ReturnType<(typeof hosts)[string]>): Promise<Running> => {
  let auth: ReturnType<typeof countersign> | undefined
  const running = await listen((origin) => {
    auth = countersign({
      url: origin,
      store: memory(),
      audit: () => {},
      resources: { '/mcp': { scopes: { 'notes:read': 'Read' } } },
    })
    return host(auth as Auth)
  })
  closing.push(running.close, async () => auth?.close())
  return running
}

const metadata = { redirect_uris: ['http://localhost/callback'], token_endpoint_auth_method: 'none' }

test.each(Object.entries(hosts))(
  'a client registers, reads, changes and deletes its registration, and pushes a request: %s',
  async (_name, host) => {
    const { origin } = await start(host)
    const send = async (method: string, url: string, token?: string, body?: object) => {
      const response = await fetch(url, {
        method,
        headers: {
          ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
          ...(body ? { 'Content-Type': 'application/json' } : {}),
        },
        ...(body ? { body: JSON.stringify(body) } : {}),
      })
      const text = await response.text()
      return { status: response.status, body: (text === '' ? {} : JSON.parse(text)) as Record<string, string> }
    }
    const { status, body } = await send('POST', `${origin}/register`, undefined, metadata)
    const { client_id = '', registration_client_uri: uri = '', registration_access_token: token } = body
    expect([status, uri]).toEqual([201, `${origin}/register?client_id=${client_id}`])
    expect((await send('GET', uri, token)).body.client_id).toBe(client_id)

    const pushed = await fetch(`${origin}/par`, {
      method: 'POST',
      body: new URLSearchParams({
        ...{ client_id, response_type: 'code', redirect_uri: 'http://localhost/callback', state: 'é &=+' },
        ...{ code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM', code_challenge_method: 'S256' },
      }),
    })
    const { request_uri } = (await pushed.json()) as { request_uri: string }
    const browser = await fetch(`${origin}/authorize?${new URLSearchParams({ client_id, request_uri })}`, {
      redirect: 'manual',
    })
    expect([pushed.status, browser.status]).toEqual([201, 303])

    const changed = await send('PUT', uri, token, { ...metadata, client_id, client_name: 'New' })
    expect([changed.status, changed.body.client_name]).toEqual([200, 'New'])
    expect((await send('DELETE', uri, changed.body.registration_access_token)).status).toBe(204)
    expect((await send('GET', uri, token)).status).toBe(401)
  },
)
