import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createOwnVerifier } from '../../src/authorization-server/own-verifier.ts'
import type { AuditEvent } from '../../src/events/audit.ts'
import { textFilter } from '../../src/resource-server/message-text.ts'
import { createOpenStreams } from '../../src/resource-server/open-streams.ts'
import { type TestIssuer, testIssuer } from '../../src/testing.ts'
import { type ResourceServerOptions, resourceServer } from '../../src/verify-only.ts'
import { mcp, registered, revoke, signedIn, testServer } from '../support/authorization-server.ts'

const resource = 'https://notes.example.com/mcp'

let issuer: TestIssuer
let events: AuditEvent[]
let cancelled: number

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'Date'], now: 1_000_000_000_000 })
  issuer = testIssuer()
  events = []
  cancelled = 0
})
afterEach(() => vi.useRealTimers())

/** A server whose every answer is a stream that goes on until somebody ends it. */
const serve = (options: Partial<ResourceServerOptions> = {}) => {
  const auth = resourceServer({ resource, issuers: [issuer], audit: (event) => void events.push(event), ...options })
  return auth.gate('/mcp', () => {
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => controller.enqueue(new TextEncoder().encode(': open\n\n')),
      cancel: () => {
        cancelled += 1
      },
    })
    return new Response(body, { headers: { 'Content-Type': 'text/event-stream' } })
  })
}

const open = async (handler: ReturnType<typeof serve>, token: string, message?: object) => {
  const headers = { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' }
  const body = message === undefined ? {} : { method: 'POST', body: JSON.stringify({ jsonrpc: '2.0', ...message }) }
  const response = await handler(new Request(resource, { headers, ...body }))
  expect(response.status).toBe(200)
  const reader = response.body?.getReader() ?? expect.fail('no body')
  await reader.read()
  const state = { ended: false, reader }
  void reader.read().then(
    ({ done }) => {
      state.ended = done
    },
    () => {},
  )
  return state
}

const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms)
const inSeconds = (seconds: number) => Math.floor(Date.now() / 1000) + seconds

describe('a stream lives as long as its token', () => {
  test('it ends when its token expires, and not before', async () => {
    const stream = await open(serve(), issuer.accessToken({ expiresAt: inSeconds(10) }).token)
    await pass(9_000)
    expect(stream.ended).toBe(false)
    await pass(2_000)
    expect(stream.ended).toBe(true)
    expect(cancelled).toBe(1)
    expect(events).toMatchObject([{ type: 'access.ended', reason: 'expired', resource }])
  })

  test('an answer to a call may come a little later; a subscription may not', async () => {
    const handler = serve({ tools: { x: [] } })
    const { token } = issuer.accessToken({ expiresAt: inSeconds(10) })
    const answer = await open(handler, token, { id: 1, method: 'tools/call', params: { name: 'y' } })
    const listening = await open(handler, token, {
      id: 2,
      method: 'subscriptions/listen',
      params: { notifications: {} },
    })
    await pass(12_000)
    expect([answer.ended, listening.ended]).toEqual([false, true])
    await pass(60_000)
    expect(answer.ended).toBe(true)
  })

  test('revoking ends it within a second, and no other', async () => {
    const handler = serve()
    const [one, two] = [issuer.accessToken(), issuer.accessToken()]
    const streams = [await open(handler, one.token), await open(handler, one.token), await open(handler, two.token)]
    issuer.revoke(one)
    await pass(1_000)
    expect(streams.map(({ ended }) => ended)).toEqual([true, true, false])
  })

  test('design 3, what can’t be known any more is not assumed: 5 s after the verifier is away streams end', async () => {
    const stream = await open(serve(), issuer.accessToken().token)
    issuer.setAvailable(false)
    await pass(2_000)
    expect(stream.ended).toBe(false)
    issuer.setAvailable(true)
    await pass(10_000)
    expect(stream.ended).toBe(false)
    issuer.setAvailable(false)
    await pass(5_000)
    expect(stream.ended).toBe(true)
    expect(events).toMatchObject([{ reason: 'verifier_unavailable' }])
  })

  test('who leaves is not watched any longer, and without streams there is no timer', async () => {
    const handler = serve()
    const streams = await Promise.all([1, 2, 3].map(() => open(handler, issuer.accessToken().token)))
    expect(vi.getTimerCount()).toBe(1)
    await Promise.all(streams.map(({ reader }) => reader.cancel()))
    await pass(500)
    expect(vi.getTimerCount()).toBe(0)
    expect(cancelled).toBe(3)
    expect(events).toEqual([])
  })
})

test('design 3, revocation: a revoked grant’s streams are closed within a second', async () => {
  vi.useRealTimers()
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  const to = await testServer()
  const client = await registered(to)
  const tokens = await signedIn(to, client)
  const verifier = createOwnVerifier(to.server)
  const token = await verifier.verify(tokens.access_token, mcp)
  const streams = createOpenStreams({ verifier, clock: to.clock, audit: () => {} })
  const ended = vi.fn()
  streams.watch(token, false, ended)
  await revoke(to, client, tokens.refresh_token)
  await vi.advanceTimersByTimeAsync(1_000)
  await expect.poll(() => ended.mock.calls.length).toBe(1)
  expect(streams.size).toBe(0)
  verifier.close()
})

describe('the messages in an event stream', () => {
  const hidden = async (message: unknown) => {
    const { result } = message as { result?: { tools?: string[] } }
    return result?.tools
      ? { ...(message as object), result: { tools: result.tools.filter((name) => name !== 'b') } }
      : message
  }
  const through = async (chunks: string[]) => {
    const filter = textFilter('text/event-stream; charset=utf-8', hidden) ?? expect.fail('no filter')
    let out = ''
    for (const chunk of chunks) out += await filter.push(chunk)
    return out + (await filter.end())
  }

  test('are filtered wherever the text is cut, whatever ends its lines', async () => {
    const list = { jsonrpc: '2.0', id: 1, result: { tools: ['a', 'b', 'c'] } }
    const other = { jsonrpc: '2.0', method: 'notifications/message', params: { tools: ['b'] } }
    const lines = [
      ...['id: 0', 'data: ', '', ': ping', ''],
      ...['event: message', 'id: 1', `data: ${JSON.stringify(list)}`, ''],
      ...[`data:${JSON.stringify(list)}`, ''],
      ...[`data: ${JSON.stringify(other)}`, ''],
      ...JSON.stringify(list, null, 1)
        .split('\n')
        .map((line) => `data: ${line}`),
      ...['', 'data: {"unfinished"'],
    ]
    const messages = (text: string) =>
      [...text.matchAll(/^data: ?(\{.*)$/gm)].map(([, json]) => JSON.parse(json ?? '') as { result?: object })
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('\n', '\r\n', '\r'),
        fc.array(fc.nat(400), { maxLength: 20 }),
        async (lineEnd, cuts) => {
          const text = lines.join(lineEnd)
          const at = [0, ...cuts.sort((a, b) => a - b), text.length]
          const out = await through(at.slice(1).map((end, index) => text.slice(at[index], end)))
          const shown = { ...list, result: { tools: ['a', 'c'] } }
          expect(messages(out)).toEqual([shown, shown, other, shown])
          expect(out).toContain('id: 1\n')
          expect(out).toContain(': ping\n\n')
          expect(out).not.toContain('unfinished')
        },
      ),
    )
  })

  test('what is no message is not sent on', async () => {
    await expect(through(['data: {"result":\n\n'])).rejects.toThrow()
    expect(await through(['event: endpoint\ndata: /messages?id=1\n\n'])).toBe(
      'event: endpoint\ndata: /messages?id=1\n\n',
    )
  })
})
