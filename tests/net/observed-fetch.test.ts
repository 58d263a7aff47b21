import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { prometheus } from '../../src/events/prometheus.ts'
import type { Operation, Outcome } from '../../src/events/telemetry.ts'
import { observedFetch } from '../../src/net/observed-fetch.ts'

const server = createServer((request, response) => {
  if (request.url?.startsWith('/gone')) request.socket.destroy()
  else response.writeHead(Number(request.url?.slice(1, 4))).end('an answer')
})
let port = 0
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  port = (server.address() as AddressInfo).port
})
afterAll(() => {
  server.close()
  server.closeAllConnections()
})

test('requests to providers are measured by the conventions’ names, by host and port and not by what they ask', async () => {
  const metrics = prometheus()
  const fetch = observedFetch(globalThis.fetch, metrics)
  const at = `http://127.0.0.1:${port}`
  expect(await (await fetch(`${at}/200?code=top-secret`, { headers: { authorization: 'top-secret' } })).text()).toBe(
    'an answer',
  )
  expect((await fetch(new Request(`${at}/400`, { method: 'POST', body: 'top-secret' }))).status).toBe(400)
  expect((await fetch(new URL(`${at}/503`))).status).toBe(503)
  await expect(fetch(`${at}/gone`)).rejects.toThrow()

  const text = metrics.text()
  const count = (method: string, more: string) =>
    `http_client_request_duration_seconds_count{http_request_method="${method}",server_address="127.0.0.1",server_port="${port}",${more}} 1`
  expect(text).toContain(count('GET', 'http_response_status_code="200"'))
  expect(text).toContain(count('POST', 'http_response_status_code="400",error_type="400"'))
  expect(text).toContain(count('GET', 'http_response_status_code="503",error_type="503"'))
  expect(text).toContain(count('GET', 'error_type="TypeError"'))
  expect(text.match(/^http_client_request_duration_seconds_count/gm)).toHaveLength(4)
  for (const hidden of ['top-secret', '/200', '/gone']) expect(text).not.toContain(hidden)
})

test('a port that is not named is its scheme’s, and a method of a stranger’s is none', async () => {
  const seen: { readonly operation: Operation; readonly outcome: Outcome | undefined }[] = []
  const fetch = observedFetch(async () => new Response(null, { status: 204 }), {
    async observe(operation, run, outcome) {
      const result = await run()
      seen.push({ operation, outcome: outcome?.(result) })
      return result
    },
    event() {},
  })
  await fetch('https://login.example.com/token')
  await fetch('http://login.example.com/token', { method: 'BREW' })
  expect(seen.map(({ operation }) => [operation.name, operation.attributes])).toEqual([
    ['GET', { 'http.request.method': 'GET', 'server.address': 'login.example.com', 'server.port': 443 }],
    ['HTTP', { 'http.request.method': '_OTHER', 'server.address': 'login.example.com', 'server.port': 80 }],
  ])
  expect(seen.map(({ outcome }) => outcome)).toEqual([
    { attributes: { 'http.response.status_code': 204 }, failed: false },
    { attributes: { 'http.response.status_code': 204 }, failed: false },
  ])
})
