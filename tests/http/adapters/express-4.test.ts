import { createRequire } from 'node:module'
import { join } from 'node:path'
import type express5 from 'express'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { countersign } from '../../../src/countersign.ts'
import * as onExpress from '../../../src/http/express.ts'
import { memory } from '../../../src/store/memory.ts'
import { type TestIssuer, testIssuer } from '../../../src/testing.ts'
import { resourceServer } from '../../../src/verify-only.ts'
import { npmTool } from '../../support/npm-tool.ts'
import { expressHosts, listen, type Running } from './servers.ts'

/** The version that most applications are on still. */
let express: typeof express5
beforeAll(async () => {
  const modules = await npmTool('express', '4.21.2')
  express = createRequire(join(modules, 'express', 'index.js'))('express') as typeof express5
})

const names = Object.keys(expressHosts((() => {}) as unknown as typeof express5))

describe.each(names)('Express 4: %s', (name) => {
  let issuer: TestIssuer
  let server: Running
  beforeAll(async () => {
    issuer = testIssuer()
    server = await listen((origin) => {
      const auth = resourceServer({
        resource: `${origin}/mcp`,
        issuers: [issuer],
        scopes: { 'notes:read': 'Read', 'notes:write': 'Write' },
        tools: { notes_add: ['notes:write'] },
        lists: 'usable',
      })
      return expressHosts(express)[name]?.(auth) ?? expect.fail(`no host ${name}`)
    })
  })
  afterAll(() => server.close())

  const post = (body: object | string, headers: Record<string, string> = {}, scopes = ['notes:read']) =>
    fetch(`${server.origin}/mcp`, {
      method: 'POST',
      headers: {
        Authorization: `Bearer ${issuer.accessToken({ subject: 'alice', scopes }).token}`,
        Accept: 'application/json, text/event-stream',
        'Content-Type': 'application/json',
        ...headers,
      },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    })
  const call = (tool: string) => ({
    jsonrpc: '2.0',
    id: 1,
    method: 'tools/call',
    params: { name: tool, arguments: {} },
  })

  test('the tool sees who called', async () => {
    const response = await post(call('whoami'))
    expect(response.status).toBe(200)
    const text = await response.text()
    expect(text).toContain('\\"subject\\":\\"alice\\"')
    expect(text).toContain('\\"sameObject\\":true')
  })

  test('fault 13, 403 with the complete set; and with the scope it runs', async () => {
    const refused = await post(call('notes_add'))
    expect(refused.status).toBe(403)
    expect(refused.headers.get('WWW-Authenticate')).toContain('scope="notes:read notes:write"')
    expect(await (await post(call('notes_add'), {}, ['notes:write'])).text()).toContain('added')
  })

  test('lists show what their reader may use', async () => {
    const text = await (await post({ jsonrpc: '2.0', id: 1, method: 'tools/list' })).text()
    expect(text).toContain('whoami')
    expect(text).not.toContain('notes_add')
  })

  test('a body that middleware left unread, and says is empty, opens nothing', async () => {
    const scope = ['notes:read']
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/octet-stream']) {
      const response = await post(call('notes_add'), { 'Content-Type': type }, scope)
      expect(response.status, type).toBeGreaterThanOrEqual(400)
    }
    expect((await post('', {})).status).toBeGreaterThanOrEqual(400)
    expect((await fetch(`${server.origin}/mcp`, { method: 'POST' })).status).toBe(401)
    expect(await (await fetch(`${server.origin}/other`)).text()).toBe('untouched')
  })
})

test('Express 4: the authorization server’s own routes, with and without parsers before them', async () => {
  for (const parsers of [[], [express.json(), express.urlencoded({ extended: true })]]) {
    const server = await listen((origin) => {
      const auth = countersign({ url: origin, store: memory(), resources: { '/mcp': {} }, audit: () => {} })
      const app = express()
      for (const parser of parsers) app.use(parser)
      app.use(onExpress.routes(auth))
      return app
    })
    const registered = await fetch(`${server.origin}/register`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ redirect_uris: ['http://127.0.0.1/callback'], token_endpoint_auth_method: 'none' }),
    })
    expect(registered.status).toBe(201)
    const { client_id } = (await registered.json()) as { client_id: string }
    const body = new URLSearchParams({ grant_type: 'authorization_code', client_id, code: 'none', code_verifier: 'x' })
    const token = await fetch(`${server.origin}/token`, { method: 'POST', body })
    expect([token.status, await token.json()]).toMatchObject([400, { error: expect.stringMatching(/^invalid_/) }])
    expect((await fetch(`${server.origin}/elsewhere`)).status).toBe(404)
    await server.close()
  }
})
