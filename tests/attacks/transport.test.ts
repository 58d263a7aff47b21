import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Countersign, countersign } from '../../src/countersign.ts'
import { memory } from '../../src/store/memory.ts'
import { hosts, listen, type Running } from '../http/adapters/servers.ts'
import { raw } from './support/raw.ts'
import { passwords } from './support/target.ts'

// The server's own routes behind real HTTP servers: bytes that no client would send.

// One of each kind: how a host reads a request, and whether something reads the body before us.
const kinds = [
  'hono, SDK v2',
  'any fetch host, SDK v2',
  'node:http, SDK v1',
  'express, SDK v1',
  'express with json() before, SDK v1',
]

describe.each(Object.entries(hosts).filter(([name]) => kinds.includes(name)))('%s', (kind, serve) => {
  let running: Running | undefined
  let origin: string
  let auth: Countersign | undefined
  let host: string

  beforeAll(async () => {
    running = await listen((at) => {
      origin = at
      auth = countersign({
        url: origin,
        store: memory(),
        upstream: passwords,
        clientMetadataDocuments: false,
        audit: () => {},
        resources: { '/mcp': { scopes: { 'notes:read': 'Read' } } },
      })
      return serve(auth)
    })
    ;({ host } = new URL(origin))
  })
  afterAll(async () => {
    await running?.close()
    await auth?.close()
  })

  const harmless = (name: string, answer: string) => {
    const status = Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1] ?? 0)
    expect([name, status < 500 || (status === 503 && /\r\nretry-after:/i.test(answer)), status]).toEqual([
      name,
      true,
      status,
    ])
    expect([name, /\r\n(location|www-authenticate|set-cookie):[^\r]*evil/i.test(answer)]).toEqual([name, false])
    // Neither a stack nor a path of this machine; a body parser in front of us answers in its own words.
    if (kind.includes('json() before')) return
    expect([name, /node_modules|\.ts:\d|\n\s+at /.test(answer)]).toEqual([name, false])
  }

  test('methods, versions, hosts and targets that make no sense', async () => {
    const heads: [string, string][] = []
    for (const path of [
      '/authorize',
      '/token',
      '/register',
      '/revoke',
      '/jwks',
      '/authorize/consent',
      '/authorize/sign-in',
      '/.well-known/oauth-authorization-server',
      '/.well-known/oauth-protected-resource/mcp',
    ]) {
      for (const method of ['TRACE', 'OPTIONS', 'PROPFIND', 'DELETE', 'HEAD'])
        heads.push([`${method} ${path}`, `${method} ${path} HTTP/1.1\nhost: ${host}\nconnection: close`])
      for (const spelled of [
        `${path}/`,
        `/${path}`,
        `/.${path}`,
        `/x/..${path}`,
        path.replace(/[a-z](?=[a-z]*$)/, (letter) => `%${letter.charCodeAt(0).toString(16)}`),
        `${path}%00`,
        `${path};x`,
        `${path}?%`,
        `${path}?%ff=%fe`,
        `${path}?a=%0d%0aSet-Cookie:evil=1`,
        `http://evil.example${path}`,
        `//evil.example${path}`,
      ]) {
        heads.push([`GET ${spelled}`, `GET ${spelled} HTTP/1.1\nhost: ${host}\nconnection: close`])
      }
    }
    for (const line of [
      'host: evil.example',
      'host:',
      'host: /\\?#',
      `host: ${host}\nhost: evil.example`,
      `host: ${host}@evil.example`,
      'host: [::1',
      `host: ${host}\nx-forwarded-host: evil.example\nx-forwarded-proto: https`,
      'x: y',
    ]) {
      heads.push([line, `GET /authorize?client_id=x HTTP/1.1\n${line}\nconnection: close`])
      heads.push([`${line}, HTTP/1.0`, `GET /authorize?client_id=x HTTP/1.0\n${line}`])
    }
    // Their letters are those of host names, and yet no URL can have them.
    for (const name of ['xn--a', '999.999.999.999', 'a.1']) {
      for (const path of [
        '/authorize?client_id=x',
        '/jwks',
        '/healthz',
        '/register?client_id=x',
        '/.well-known/oauth-authorization-server',
        '/.well-known/oauth-protected-resource/mcp',
      ]) {
        heads.push([`${name}${path}`, `GET ${path} HTTP/1.1\nhost: ${name}\nconnection: close`])
      }
    }
    heads.push(['OPTIONS *', `OPTIONS * HTTP/1.1\nhost: ${host}\nconnection: close`])
    heads.push(['CONNECT', `CONNECT evil.example:443 HTTP/1.1\nhost: ${host}`])
    heads.push([
      'long cookies',
      `GET /authorize HTTP/1.1\nhost: ${host}\ncookie: ${'a=b; '.repeat(2_000)}\nconnection: close`,
    ])
    heads.push([
      'Expect',
      `POST /token HTTP/1.1\nhost: ${host}\nexpect: 100-continue\ncontent-length: 5\nconnection: close`,
    ])
    heads.push(['an upgrade', `GET /authorize HTTP/1.1\nhost: ${host}\nconnection: upgrade\nupgrade: websocket`])
    heads.push(['bytes above ASCII', `GET /authorize?state=\xff\xfe HTTP/1.1\nhost: ${host}\nconnection: close`])
    for (const [name, head] of heads) harmless(name, await raw(origin, head))
  })

  test('bodies that are announced and don’t come, come twice, or don’t end', async () => {
    const type = 'content-type: application/x-www-form-urlencoded'
    const form = 'grant_type=refresh_token&refresh_token=x&client_id=x'
    const attempts: [string, string, string][] = [
      [
        'both lengths',
        `POST /token HTTP/1.1\nhost: ${host}\n${type}\ncontent-length: ${form.length}\ntransfer-encoding: chunked\nconnection: close`,
        `0\r\n\r\n${form}`,
      ],
      [
        'two lengths',
        `POST /token HTTP/1.1\nhost: ${host}\n${type}\ncontent-length: 5\ncontent-length: ${form.length}\nconnection: close`,
        form,
      ],
      [
        'a negative length',
        `POST /token HTTP/1.1\nhost: ${host}\n${type}\ncontent-length: -1\nconnection: close`,
        form,
      ],
      [
        'a chunk that lies',
        `POST /token HTTP/1.1\nhost: ${host}\n${type}\ntransfer-encoding: chunked\nconnection: close`,
        `ffffffff\r\n${form}\r\n0\r\n\r\n`,
      ],
      ['too long', `POST /token HTTP/1.1\nhost: ${host}\n${type}\ncontent-length: 20971520\nconnection: close`, form],
      [
        'too long, in chunks',
        `POST /register HTTP/1.1\nhost: ${host}\ncontent-type: application/json\ntransfer-encoding: chunked\nconnection: close`,
        `30d40\r\n${'a'.repeat(200_000)}\r\n0\r\n\r\n`,
      ],
      [
        'compressed',
        `POST /token HTTP/1.1\nhost: ${host}\n${type}\ncontent-encoding: gzip\ncontent-length: ${form.length}\nconnection: close`,
        form,
      ],
      [
        'JSON that is too deep',
        `POST /register HTTP/1.1\nhost: ${host}\ncontent-type: application/json\ncontent-length: 60000\nconnection: close`,
        '['.repeat(30_000) + ']'.repeat(30_000),
      ],
      [
        'JSON that is none',
        `POST /register HTTP/1.1\nhost: ${host}\ncontent-type: application/json\ncontent-length: 1\nconnection: close`,
        '{',
      ],
      [
        'JSON at the token endpoint',
        `POST /token HTTP/1.1\nhost: ${host}\ncontent-type: application/json\ncontent-length: 2\nconnection: close`,
        '{}',
      ],
    ]
    for (const [name, head, body] of attempts) harmless(name, await raw(origin, head, body))
    // It still serves.
    const metadata = await (await fetch(`${origin}/.well-known/oauth-authorization-server`)).json()
    expect(metadata).toMatchObject({ issuer: origin })
  })
})
