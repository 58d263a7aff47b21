import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { testIssuer } from '../../src/testing.ts'
import { resourceServer } from '../../src/verify-only.ts'
import { hosts, listen, type Running } from '../http/adapters/servers.ts'
import { raw } from './support/raw.ts'
import { createTarget, RESOURCE, type Target } from './support/target.ts'

// Ways around the gate and around the scopes of a tool; DNS rebinding (MCP security best practices).

const call = (name: string, more: object = {}) => ({
  jsonrpc: '2.0',
  id: 1,
  method: 'tools/call',
  params: { name, arguments: {} },
  ...more,
})
const write = JSON.stringify(call('notes_add'))

describe('a token that may only read calls nothing that writes', () => {
  const utf16 = (text: string) => Buffer.from(`\ufeff${text}`, 'utf16le')
  const bodies: readonly [string, string | Uint8Array, Record<string, string>?][] = [
    ['as it is', write],
    ['in a batch', `[${write}]`],
    ['in a batch behind a harmless one', `[{"jsonrpc":"2.0","id":2,"method":"ping"},${write}]`],
    ['in a batch within a batch', `[[${write}]]`],
    ['as a notification', write.replace('"id":1,', '')],
    ['with an id that is null', write.replace('"id":1', '"id":null')],
    ['as a response at once', write.replace('{', '{"result":{},')],
    ['with the method twice, the harmless one last', write.replace('}}', '}},"method":"ping"}').replace('}}}', '}}')],
    ['with the method twice, the harmless one first', write.replace('{', '{"method":"ping",')],
    ['with the method spelled in escapes, twice', write.replace('{', '{"m\\u0065thod":"ping",')],
    ['with the name twice', write.replace('"name"', '"name":"whoami","name"')],
    ['with the name twice, the other way', write.replace('"arguments"', '"name":"whoami","arguments"')],
    ['with the parameters twice', write.replace('"params"', '"params":{"name":"whoami"},"params"')],
    ['with escapes', write.replace('notes_add', 'notes\\u005fadd').replace('tools/call', 'tools\\/call')],
    ['with a byte order mark', `\ufeff${write}`],
    ['in UTF-16', utf16(write)],
    ['in UTF-16, which the type says', utf16(write), { 'content-type': 'application/json; charset=utf-16le' }],
    ['in UTF-7, which the type says', write, { 'content-type': 'application/json; charset=utf-7' }],
    ['with white space around', `\r\n\t ${write} \n`],
    ['with something behind', `${write}{"jsonrpc":"2.0","id":1,"method":"ping"}`],
    ['with a null behind', `${write}\0`],
    ['as lines', `{"jsonrpc":"2.0","id":1,"method":"ping"}\n${write}`],
    ['as text', write, { 'content-type': 'text/plain' }],
    ['as a form', `x=${encodeURIComponent(write)}`, { 'content-type': 'application/x-www-form-urlencoded' }],
    ['as text within JSON', JSON.stringify(write)],
    ['compressed', write, { 'content-encoding': 'gzip' }],
    ['compressed twice, or not at all', write, { 'content-encoding': 'identity, gzip' }],
    ['with a harmless Mcp-Name', write, { 'mcp-name': 'whoami', 'mcp-method': 'tools/call' }],
    ['with a harmless Mcp-Method', write, { 'mcp-method': 'ping' }],
    ['with its own Mcp-Name, twice', write, { 'mcp-name': 'notes_add, whoami' }],
    [
      'in __proto__',
      '{"jsonrpc":"2.0","id":1,"method":"ping","__proto__":{"method":"tools/call","params":{"name":"notes_add"}}}',
    ],
    ['in __proto__ of a response', `{"jsonrpc":"2.0","id":1,"result":{},"__proto__":${write}}`],
    [
      'in __proto__ of the parameters',
      '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"__proto__":{"name":"notes_add"}}}',
    ],
    ['with a name that is a list', write.replace('"notes_add"', '["notes_add"]')],
    ['with a name that is an object', write.replace('"notes_add"', '{"toString":"notes_add"}')],
    ['with parameters that are a list', '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":["notes_add"]}'],
    ['without parameters', '{"jsonrpc":"2.0","id":1,"method":"tools/call"}'],
    ['with a method in other letters', write.replace('tools/call', 'TOOLS/CALL')],
    ['with a name in other letters', write.replace('notes_add', 'NOTES_ADD')],
    ['with a name that only looks alike', write.replace('notes_add', 'notes_аdd')],
    ['with space around the name', write.replace('notes_add', ' notes_add ')],
    ['with a null in the name', write.replace('notes_add', 'notes_add\\u0000')],
    ['with NaN', write.replace('"id":1', '"id":NaN')],
    ['with comments', `/* */${write}`],
    ['with a comma too much', write.replace('}}', '},}')],
    [
      'a batch of a thousand',
      `[${Array.from({ length: 1_000 }, () => '{"jsonrpc":"2.0","id":1,"method":"ping"}').join()},${write}]`,
    ],
    ['very deep', `${'['.repeat(50_000)}${write}${']'.repeat(50_000)}`],
    ['nothing', ''],
    ['null', 'null'],
    ['a number', '1'],
  ]
  const accept = {
    accept: 'application/json, text/event-stream',
    'content-type': 'application/json',
    'mcp-protocol-version': '2025-11-25',
  }

  describe.each(Object.entries(hosts))('%s', (_name, serve) => {
    const issuer = testIssuer()
    let running: Running

    beforeAll(async () => {
      running = await listen((origin) =>
        serve(
          resourceServer({
            resource: `${origin}/mcp`,
            issuers: [issuer],
            scopes: { 'notes:read': 'Read', 'notes:write': 'Write' },
            tools: { notes_add: ['notes:write'] },
          }),
        ),
      )
    })
    afterAll(() => running.close())

    const tokenFor = (...scopes: string[]) => issuer.accessToken({ subject: 'alice', scopes }).token

    const post = async (
      body: string | Uint8Array,
      headers: Record<string, string>,
      token = tokenFor('notes:read'),
      method = 'POST',
    ) => {
      const response = await fetch(`${running.origin}/mcp`, {
        method,
        body: body as BodyInit,
        headers: { ...accept, authorization: `Bearer ${token}`, ...headers },
        signal: AbortSignal.timeout(15_000),
      })
      return { status: response.status, text: await response.text() }
    }

    test('whatever the body is', async () => {
      for (const [name, body, headers = {}] of bodies) {
        const { status, text } = await post(body, headers)
        expect([name, text.includes('added'), status < 500]).toEqual([name, false, true])
      }
      // Who may write does, so that the above means something.
      expect((await post(write, {}, tokenFor('notes:read', 'notes:write'))).text).toContain('added')
    })

    test('whatever the method is, and whatever headers say of it', async () => {
      for (const method of ['PUT', 'PATCH', 'DELETE', 'OPTIONS', 'QUERY', 'post']) {
        const { text } = await post(write, {}, undefined, method).catch(() => ({ text: '' }))
        expect([method, text.includes('added')]).toEqual([method, false])
      }
      for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
        const { text } = await post(
          write,
          { 'x-http-method-override': method, 'x-http-method': method, 'x-method-override': method },
          undefined,
          method,
        )
        expect([method, text.includes('added')]).toEqual([method, false])
      }
    })

    const headOf = (more: Record<string, string> = {}) =>
      Object.entries({ ...accept, connection: 'close', ...more })
        .map(([name, value]) => `\n${name}: ${value}`)
        .join('')

    test('without a token no path that leads to the handler, however it is spelled', async () => {
      const { host } = new URL(running.origin)
      const paths = [
        '/mcp',
        '/mcp/',
        '//mcp',
        '/./mcp',
        '/x/../mcp',
        '/%6dcp',
        '/%6Dcp',
        '/mcp%2f',
        '/%2fmcp',
        '/MCP',
        '/mcp;x',
        '/mcp;/',
        '/mcp%00',
        '/mcp%3f',
        '/mcp?x=/other',
        '/mcp#x',
        '/mcp\\',
        '\\mcp',
        '/mcp/.',
        '/mcp/x/..',
        '/mcp%20',
        '/mcp.json',
        `http://${host}/mcp`,
        `http://evil.example/mcp`,
        '*',
        '/mcp?access_token=x',
        '/other/../mcp',
        '/.well-known/../mcp',
      ]
      for (const path of paths) {
        const answer = await raw(
          running.origin,
          `POST ${path} HTTP/1.1\nhost: ${host}${headOf({ 'content-length': String(write.length) })}`,
          write,
        )
        expect([path, answer.includes('added'), /^HTTP\/1.1 5/.test(answer)]).toEqual([path, false, false])
        const who = JSON.stringify(call('whoami'))
        const seen = await raw(
          running.origin,
          `POST ${path} HTTP/1.1\nhost: ${host}${headOf({ 'content-length': String(who.length) })}`,
          who,
        )
        expect([path, seen.includes('subject')]).toEqual([path, false])
      }
    })

    test('requests that two readers may read in two ways (smuggling), or that are for another host (DNS rebinding)', async () => {
      const { host } = new URL(running.origin)
      const token = tokenFor('notes:read')
      const ping = '{"jsonrpc":"2.0","id":1,"method":"ping"}'
      const length = { 'content-length': String(write.length) }
      const bearer = { authorization: `Bearer ${token}` }
      const writer = { authorization: `Bearer ${tokenFor('notes:read', 'notes:write')}` }
      const all: [string, string, string][] = [
        [
          'both lengths',
          `POST /mcp HTTP/1.1\nhost: ${host}${headOf({ ...bearer, 'content-length': String(ping.length), 'transfer-encoding': 'chunked' })}`,
          `${ping.length.toString(16)}\r\n${ping}\r\n0\r\n\r\n`,
        ],
        [
          'two lengths',
          `POST /mcp HTTP/1.1\nhost: ${host}\ncontent-length: ${ping.length}${headOf({ ...bearer, ...length })}`,
          write,
        ],
        [
          'a second Authorization',
          `POST /mcp HTTP/1.1\nhost: ${host}\nauthorization: Bearer x${headOf({ ...writer, ...length })}`,
          write,
        ],
        [
          'another Authorization behind',
          `POST /mcp HTTP/1.1\nhost: ${host}${headOf({ ...writer, ...length })}\nauthorization: Basic eDp5`,
          write,
        ],
        ['a foreign Host', `POST /mcp HTTP/1.1\nhost: evil.example${headOf({ ...writer, ...length })}`, write],
        [
          'a foreign Host on our port',
          `POST /mcp HTTP/1.1\nhost: evil.example:${host.split(':')[1]}${headOf({ ...writer, ...length })}`,
          write,
        ],
        [
          'a Host that begins with ours',
          `POST /mcp HTTP/1.1\nhost: 127.0.0.1.evil.example:${host.split(':')[1]}${headOf({ ...writer, ...length })}`,
          write,
        ],
        [
          'two Hosts',
          `POST /mcp HTTP/1.1\nhost: ${host}\nhost: evil.example${headOf({ ...writer, ...length })}`,
          write,
        ],
        ['no Host', `POST /mcp HTTP/1.1${headOf({ ...writer, ...length })}`, write],
        ['no Host, HTTP/1.0', `POST /mcp HTTP/1.0${headOf({ ...writer, ...length })}`, write],
        ['an empty Host', `POST /mcp HTTP/1.1\nhost:${headOf({ ...writer, ...length })}`, write],
        [
          'a Host with a user name',
          `POST /mcp HTTP/1.1\nhost: ${host}@evil.example${headOf({ ...writer, ...length })}`,
          write,
        ],
        ['a Host that is no host', `POST /mcp HTTP/1.1\nhost: /\\?#${headOf({ ...writer, ...length })}`, write],
        [
          'a foreign Host, ours forwarded',
          `POST /mcp HTTP/1.1\nhost: evil.example\nx-forwarded-host: ${host}\nforwarded: host=${host}${headOf({ ...writer, ...length })}`,
          write,
        ],
        [
          'a foreign Origin',
          `POST /mcp HTTP/1.1\nhost: ${host}\norigin: https://evil.example${headOf({ ...writer, ...length })}`,
          write,
        ],
        [
          'an opaque Origin',
          `POST /mcp HTTP/1.1\nhost: ${host}\norigin: null${headOf({ ...writer, ...length })}`,
          write,
        ],
        [
          'an Origin that begins as loopback',
          `POST /mcp HTTP/1.1\nhost: ${host}\norigin: http://localhost.evil.example${headOf({ ...writer, ...length })}`,
          write,
        ],
      ]
      for (const [name, head, body] of all) {
        const answer = await raw(running.origin, head, body)
        expect([name, answer.includes('added'), /^HTTP\/1.1 5/.test(answer)]).toEqual([name, false, false])
      }
      const right = await raw(
        running.origin,
        `POST /mcp HTTP/1.1\nhost: ${host}${headOf({ ...writer, ...length })}`,
        write,
        'added',
      )
      expect(right).toContain('added')
    })
  })
})

describe('in a fetch host', () => {
  let target: Target
  let token: string
  beforeAll(async () => {
    target = await createTarget()
    token = (await target.tokens(await target.register())).access_token
  })

  test.each<[string, Record<string, string>]>([
    ['a foreign Host', { host: 'evil.example' }],
    ['our Host with a port', { host: 'auth.example.com:8443' }],
    ['our Host with a dot behind', { host: 'auth.example.com.' }],
    ['a host below', { host: 'evil.auth.example.com' }],
    ['a foreign Origin', { origin: 'https://evil.example' }],
    ['our Origin by http', { origin: 'http://auth.example.com' }],
    ['an opaque Origin', { origin: 'null' }],
    ['an extension’s Origin', { origin: 'chrome-extension://abcdefgh' }],
    ['an Origin with a path', { origin: 'https://auth.example.com/x' }],
    ['two Origins', { origin: 'https://auth.example.com, https://evil.example' }],
  ])('%s is 403, with a good token', async (_name, headers) => {
    const response = await target.call(token, { headers })
    expect(response.status).toBe(403)
    expect(response.headers.get('access-control-allow-origin')).toBeNull()
  })

  test('nested without bound: refused as such, whether the host read the body or not; never our own trouble', async () => {
    const nested = (depth: number, [open, close] = ['[', ']']) =>
      `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami","requestState":"cs_state_x","arguments":{"a":${`${open}`.repeat(depth)}1${`${close}`.repeat(depth)}}}}`
    const send = async (version: string, body: string, parsed: boolean) => {
      const headers = {
        authorization: `Bearer ${token}`,
        'content-type': 'application/json',
        'mcp-protocol-version': version,
      }
      const request = new Request(RESOURCE, { method: 'POST', body, headers })
      const admission = await target.auth.admit('/mcp', request, parsed ? { parsedBody: JSON.parse(body) } : {})
      return admission.admitted ? 200 : [admission.response.status, (await admission.response.text()).length < 200]
    }
    for (const parsed of [false, true]) {
      for (const version of ['2025-11-25', '2026-07-28']) {
        for (const body of [nested(100_000), nested(20_000, ['{"a":', '}']), nested(300)]) {
          expect([version, parsed, await send(version, body, parsed)]).toEqual([version, parsed, [400, true]])
        }
      }
      expect(await send('2025-11-25', nested(200), parsed)).toBe(200)
    }
    expect(target.log.filter((line) => line.includes('could not be decided'))).toEqual([])
  })

  test('an extension that the operator lets in doesn’t let in every sandboxed page', async () => {
    const issuer = testIssuer()
    const auth = resourceServer({
      resource: RESOURCE,
      issuers: [issuer],
      origins: ['chrome-extension://abcdefgh', 'vscode-webview://one'],
    })
    const gated = auth.gate('/mcp', () => new Response('in'))
    const from = async (origin: string) => {
      const headers = { origin, authorization: `Bearer ${issuer.accessToken().token}` }
      return (await gated(new Request(RESOURCE, { method: 'POST', body: '{}', headers }))).status
    }
    expect(await from('chrome-extension://abcdefgh')).toBe(200)
    expect(await from('vscode-webview://one')).toBe(200)
    for (const origin of ['null', 'chrome-extension://evil', 'vscode-webview://', 'chrome-extension://', 'abcdefgh'])
      expect([origin, await from(origin)]).toEqual([origin, 403])
  })

  test('a token in the query, in a form, in a cookie or in another header is none', async () => {
    const attempts: Promise<Response>[] = [
      target.call(undefined, { headers: { cookie: `access_token=${token}; Authorization=Bearer ${token}` } }),
      target.call(undefined, {
        headers: {
          'x-access-token': token,
          'proxy-authorization': `Bearer ${token}`,
          'x-authorization': `Bearer ${token}`,
        },
      }),
      target.call(undefined, {
        body: `access_token=${token}`,
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
      }),
      target.call(undefined, { headers: { authorization: `Basic ${Buffer.from(`${token}:`).toString('base64')}` } }),
      target.call(undefined, { headers: { authorization: `Token ${token}` } }),
      target.call(undefined, { headers: { authorization: token } }),
      target.call(undefined, { headers: { authorization: `Bearer${token}` } }),
      target.call(undefined, { headers: { authorization: `Bearer "${token}"` } }),
      target.call(undefined, { headers: { authorization: `Basic x, Bearer ${token}` } }),
      target.call(undefined, { headers: { authorization: `Bearer ${token}, Bearer ${token}` } }),
    ]
    for (const answer of attempts) expect([400, 401]).toContain((await answer).status)
    expect(target.reached).toHaveLength(0)
    expect((await target.call(token)).status).toBe(200)
  })
})
