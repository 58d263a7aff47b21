import { request as httpRequest } from 'node:http'
import { afterEach, expect, test } from 'vitest'
import { dpopKey, testIssuer } from '../../../src/testing.ts'
import { resourceServer } from '../../../src/verify-only.ts'
import { hosts, listen, type Running } from './servers.ts'

let running: Running | undefined
afterEach(() => running?.close())

/** With node:http, because `fetch` joins what is sent twice. */
const post = (url: string, headers: Record<string, string | string[]>) =>
  new Promise<{ status: number; nonce: unknown; text: string }>((resolve, reject) => {
    const body = JSON.stringify({
      jsonrpc: '2.0',
      id: 1,
      method: 'tools/call',
      params: { name: 'whoami', arguments: {} },
    })
    const all = { 'content-type': 'application/json', accept: 'application/json, text/event-stream', ...headers }
    const sent = httpRequest(url, { method: 'POST', headers: all }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk
      })
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, nonce: response.headers['dpop-nonce'], text }),
      )
    })
    sent.on('error', reject)
    sent.end(body)
  })

test.each(Object.entries(hosts))(
  '%s: a bound token needs exactly one proof, for the URL as it is configured',
  async (_name, make) => {
    const issuer = testIssuer()
    const key = await dpopKey()
    running = await listen((origin) =>
      make(resourceServer({ resource: `${origin}/mcp`, issuers: [issuer], dpopNonces: true })),
    )
    const url = `${running.origin}/mcp`
    const token = issuer.accessToken({ jkt: key.jkt, subject: 'alice', resource: url })
    const proven = (nonce?: unknown) =>
      key.headers(token, { method: 'POST', url }, nonce === undefined ? {} : { nonce: String(nonce) })

    const told = await post(url, await proven())
    expect(told).toMatchObject({ status: 401, nonce: expect.any(String) })
    const answer = await post(url, await proven(told.nonce))
    expect(answer.status).toBe(200)
    expect(answer.text).toContain('alice')
    // By another of its names: what the client asked for is what counts.
    const { port } = new URL(url)
    expect((await post(`http://localhost:${port}/mcp`, await proven(told.nonce))).status).toBe(200)

    const [one, other] = [await proven(told.nonce), await proven(told.nonce)]
    expect((await post(url, { ...one, DPoP: [one.DPoP, other.DPoP] })).status).toBe(401)
    expect((await post(url, { Authorization: `Bearer ${token.token}` })).status).toBe(401)
    expect((await post(url, one)).status).toBe(200)
    expect((await post(url, one)).status).toBe(401)
  },
)
