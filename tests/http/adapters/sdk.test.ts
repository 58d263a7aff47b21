import { Client as ClientV2, StreamableHTTPClientTransport as TransportV2 } from '@modelcontextprotocol/client'
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { jwks } from '../../../src/resource-server/jwks-verifier.ts'
import { resourceServer } from '../../../src/verify-only.ts'
import { type JwksIssuer, startJwksIssuer } from '../../support/jwks-issuer.ts'
import { hosts, listen, type Running, type Seen } from './servers.ts'

/** Calls a tool with a real client; answers the text that it got. */
const clients = {
  'client v1': async (url: URL, token: string, tool: string): Promise<string> => {
    const client = new ClientV1({ name: 'test', version: '1.0.0' })
    const transport = new TransportV1(url, { requestInit: { headers: { Authorization: `Bearer ${token}` } } })
    await client.connect(transport as Parameters<typeof client.connect>[0])
    try {
      return textOf(await client.callTool({ name: tool }))
    } finally {
      await client.close()
    }
  },
  'client v2': async (url: URL, token: string, tool: string): Promise<string> => {
    const client = new ClientV2({ name: 'test', version: '1.0.0' })
    await client.connect(new TransportV2(url, { requestInit: { headers: { Authorization: `Bearer ${token}` } } }))
    try {
      return textOf(await client.callTool({ name: tool }))
    } finally {
      await client.close()
    }
  },
}

/** The names of the tools that a real client is shown. */
const lists = {
  'client v1': async (url: URL, token: string): Promise<string[]> => {
    const client = new ClientV1({ name: 'test', version: '1.0.0' })
    const transport = new TransportV1(url, { requestInit: { headers: { Authorization: `Bearer ${token}` } } })
    await client.connect(transport as Parameters<typeof client.connect>[0])
    try {
      return (await client.listTools()).tools.map(({ name }) => name)
    } finally {
      await client.close()
    }
  },
  'client v2': async (url: URL, token: string): Promise<string[]> => {
    const client = new ClientV2({ name: 'test', version: '1.0.0' })
    await client.connect(new TransportV2(url, { requestInit: { headers: { Authorization: `Bearer ${token}` } } }))
    try {
      return (await client.listTools()).tools.map(({ name }) => name)
    } finally {
      await client.close()
    }
  },
}

const textOf = (result: object): string => {
  const [first] = (result as { content: { text: string }[] }).content
  return first?.text ?? expect.fail('no content')
}

const scopes = { 'notes:read': 'Read', 'notes:write': 'Write' }

describe.each(Object.entries(hosts))('%s', (_, host) => {
  let issuer: JwksIssuer
  let server: Running
  let url: URL

  beforeAll(async () => {
    const resources: string[] = []
    server = await listen((origin) => {
      resources.push(`${origin}/mcp`)
      return (request, response) => serve?.(request, response)
    })
    url = new URL(resources[0] ?? '')
    issuer = await startJwksIssuer(url.href)
    const auth = resourceServer({
      resource: url.href,
      issuers: [jwks(issuer.issuer)],
      scopes,
      defaultScopes: ['notes:read'],
      tools: { notes_add: ['notes:write'] },
      lists: 'usable',
    })
    const serve = host(auth)
  })
  afterAll(async () => {
    await server.close()
    await issuer.close()
  })

  test.each(Object.entries(clients))('origin 1, origin 11, the tool sees who called (%s)', async (_name, call) => {
    const upstream_claims = { iss: 'https://accounts.example', sub: '42', email: 'alice@example.com' }
    const seen = JSON.parse(await call(url, await issuer.sign({ upstream_claims }), 'whoami')) as Seen
    expect(seen).toMatchObject({
      kind: 'user',
      issuer: issuer.issuer,
      subject: 'alice',
      clientId: 'client-1',
      scopes: ['notes:read'],
      resource: url.href,
      upstream: { issuer: 'https://accounts.example', subject: '42', claims: { email: 'alice@example.com' } },
      sameObject: true,
    })
    expect(seen).not.toHaveProperty('token')
  })

  test.each(Object.entries(clients))('callers at the same time are not mixed up (%s)', async (_name, call) => {
    const names = ['ann', 'bob', 'cyd', 'dan']
    const seen = await Promise.all(
      names.map(async (sub) => JSON.parse(await call(url, await issuer.sign({ sub }), 'whoami')) as Seen),
    )
    expect(seen.map(({ subject }) => subject)).toEqual(names)
  })

  test.each(Object.entries(clients))(
    'fault 13, a tool that needs another scope: the client is told, by HTTP (%s)',
    async (_name, call) => {
      await expect(call(url, await issuer.sign(), 'notes_add')).rejects.toThrow(/403|insufficient_scope|scope/i)
      expect(await call(url, await issuer.sign({ scope: 'notes:read notes:write' }), 'notes_add')).toBe('added')
    },
  )

  test('lists show what their reader may use', async () => {
    const token = await issuer.sign()
    for (const list of Object.values(lists)) {
      expect(await list(url, token)).toEqual(['whoami'])
      expect(await list(url, await issuer.sign({ scope: 'notes:write' }))).toEqual(['whoami', 'notes_add'])
    }
  })

  test('a list is as long as it says, and no shared cache keeps it', async () => {
    const headers = { Authorization: `Bearer ${await issuer.sign()}` }
    const response = await post({ jsonrpc: '2.0', id: 1, method: 'tools/list' }, headers)
    expect(response.status).toBe(200)
    const text = await response.text()
    expect(text).toContain('whoami')
    expect(text).not.toContain('notes_add')
    expect(response.headers.get('Cache-Control')).toContain('private')
    const length = response.headers.get('Content-Length')
    if (length !== null) expect(Number(length)).toBe(Buffer.byteLength(text))
  })

  const post = (message: string | object, headers: Record<string, string> = {}) =>
    fetch(url, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream', ...headers },
      body: typeof message === 'string' ? message : JSON.stringify(message),
    })
  const addNote = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'notes_add', arguments: {} } }

  test('fault 13, 403 with the complete set: what the caller has and what is missing', async () => {
    const response = await post(addNote, { Authorization: `Bearer ${await issuer.sign()}` })
    expect(response.status).toBe(403)
    const challenge = response.headers.get('WWW-Authenticate') ?? ''
    expect(challenge).toMatch(/^Bearer error="insufficient_scope"/)
    expect(challenge).toContain('scope="notes:read notes:write"')
    expect(challenge).toContain(`resource_metadata="${url.origin}/.well-known/oauth-protected-resource/mcp"`)
  })

  test('without a token: 401, whose metadata can be fetched', async () => {
    const response = await post(addNote)
    expect(response.status).toBe(401)
    const [, metadata = ''] = /resource_metadata="([^"]+)"/.exec(response.headers.get('WWW-Authenticate') ?? '') ?? []
    expect(await (await fetch(metadata)).json()).toMatchObject({
      resource: url.href,
      authorization_servers: [issuer.issuer],
    })
  })

  test('a token given twice is refused', async () => {
    const token = await issuer.sign()
    const response = await post(addNote, { Authorization: `Bearer ${token}, Bearer ${token}` })
    expect(response.status).toBe(400)
  })

  test('what is no JSON, or too large, is refused before the server sees it', async () => {
    const headers = { Authorization: `Bearer ${await issuer.sign()}` }
    expect((await post('{', headers)).status).toBe(400)
    expect((await post(`"${'x'.repeat(4 * 1024 * 1024)}"`, headers)).status).toBe(413)
  })

  test('a body whose length nobody announced is bounded too, and the server goes on', async () => {
    const headers = { Authorization: `Bearer ${await issuer.sign()}`, 'Content-Type': 'application/json' }
    const chunk = new Uint8Array(256 * 1024).fill(0x20)
    let chunks = 0
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        chunks += 1
        if (chunks > 64) controller.close()
        else controller.enqueue(chunk)
      },
    })
    const status = await fetch(url, { method: 'POST', headers, body, duplex: 'half' } as RequestInit).then(
      (response) => response.status,
      () => 'cut off',
    )
    expect([413, 'cut off']).toContain(status)
    expect((await post(addNote)).status).toBe(401)
  })

  test('a page may ask first, and read what it gets', async () => {
    const origin = 'http://localhost:6274'
    const preflight = await fetch(url, {
      method: 'OPTIONS',
      headers: {
        Origin: origin,
        'Access-Control-Request-Method': 'POST',
        'Access-Control-Request-Headers': 'authorization',
      },
    })
    expect(preflight.status).toBe(204)
    expect(preflight.headers.get('Access-Control-Allow-Origin')).toBe(origin)
    const list = { jsonrpc: '2.0', id: 1, method: 'tools/list' }
    const response = await post(list, { Origin: origin, Authorization: `Bearer ${await issuer.sign()}` })
    expect(response.status).toBe(200)
    expect(await response.text()).toContain('whoami')
    expect(response.headers.get('Access-Control-Allow-Origin')).toBe(origin)
    expect(response.headers.get('Access-Control-Expose-Headers')).toContain('WWW-Authenticate')
  })

  test('other routes are left alone', async () => {
    expect(await (await fetch(`${url.origin}/other`)).text()).toBe('untouched')
  })
})
