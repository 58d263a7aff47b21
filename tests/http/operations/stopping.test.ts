import { getRequestListener } from '@hono/node-server'
import express from 'express'
import { Hono } from 'hono'
import { afterEach, describe, expect, test } from 'vitest'
import { type Countersign, countersign } from '../../../src/countersign.ts'
import type { AuditEvent } from '../../../src/events/audit.ts'
import * as onExpress from '../../../src/http/express.ts'
import * as onHono from '../../../src/http/hono.ts'
import * as onNode from '../../../src/http/node.ts'
import { memory } from '../../../src/store/memory.ts'
import { unreliable } from '../../support/unreliable-store.ts'
import { listen, type Running } from '../adapters/servers.ts'

const robot = { id: 'robot', name: 'Robot', secret: 'a secret of a robot that is long enough', redirectUris: [] }
const eventStream = { 'Content-Type': 'text/event-stream' }

/** Calls are answered when the test says so. */
const createGate = () => {
  const { promise: opened, resolve: open } = withResolvers()
  const gate = {
    calls: 0,
    open,
    async pass() {
      gate.calls++
      await opened
    },
  }
  return gate
}
type Gate = ReturnType<typeof createGate>

const withResolvers = () => {
  let resolve = () => {}
  const promise = new Promise<void>((done) => {
    resolve = done
  })
  return { promise, resolve }
}

/** Answers calls behind the gate, and opens an endless stream for a GET. */
const handler =
  (gate: Gate, partial = false) =>
  async (request: Request) => {
    if (request.method === 'POST') {
      await gate.pass()
      return Response.json({ jsonrpc: '2.0', id: 1, result: {} })
    }
    const first = partial ? 'data: half an ev' : ': open\n\n'
    const body = new ReadableStream({ start: (controller) => controller.enqueue(new TextEncoder().encode(first)) })
    return new Response(body, { headers: eventStream })
  }
const nodeHandler =
  (gate: Gate): onNode.NodeHandler =>
  async (request, response) => {
    if (request.method === 'POST') {
      await gate.pass()
      return response.writeHead(200, { 'Content-Type': 'application/json' }).end('{"jsonrpc":"2.0","id":1,"result":{}}')
    }
    response.writeHead(200, eventStream).write(': open\n\n')
    return undefined
  }

type Listener = ReturnType<Parameters<typeof listen>[0]>
const adapters: [string, (auth: Countersign, gate: Gate) => Listener][] = [
  ['node, a fetch handler', (auth, gate) => onNode.listener(auth, { '/mcp': { fetch: handler(gate) } })],
  ['node, Node’s own form', (auth, gate) => onNode.listener(auth, { '/mcp': nodeHandler(gate) })],
  [
    'express',
    (auth, gate) =>
      express()
        .use(onExpress.routes(auth))
        .use('/mcp', onExpress.protect(auth, '/mcp'), (req, res) => void nodeHandler(gate)(req, res)),
  ],
  [
    'hono as middleware',
    (auth, gate) => {
      const app = new Hono()
      app.use(onHono.routes(auth))
      app.all('/mcp', onHono.protect(auth, '/mcp'), (c) => handler(gate)(c.req.raw))
      return getRequestListener(app.fetch, { overrideGlobalObjects: false })
    },
  ],
]

let running: Running | undefined
afterEach(() => running?.close())

const start = async (make: (auth: Countersign, gate: Gate) => Listener) => {
  const gate = createGate()
  const store = unreliable(memory())
  const events: AuditEvent[] = []
  const made: { auth?: Countersign } = {}
  running = await listen((url) => {
    made.auth = countersign({
      url,
      store,
      audit: (event) => void events.push(event),
      resources: { '/mcp': { scopes: { use: 'Use it' } } },
      clients: [{ ...robot, scopes: { '/mcp': ['use'] } }],
    })
    return make(made.auth, gate)
  })
  const { origin } = running
  const auth = made.auth ?? expect.fail('nothing was made')
  const post = (path: string, body: URLSearchParams | string, headers: Record<string, string> = {}) =>
    fetch(`${origin}${path}`, { method: 'POST', body, headers })
  const credentials = { client_id: robot.id, client_secret: robot.secret, grant_type: 'client_credentials' }
  const askToken = () => post('/token', new URLSearchParams({ ...credentials, resource: `${origin}/mcp` }))
  const answer = (await (await askToken()).json()) as { access_token: string }
  const authorization = { authorization: `Bearer ${answer.access_token}` }
  const call = () =>
    post('/mcp', '{"jsonrpc":"2.0","id":1,"method":"ping"}', { ...authorization, 'content-type': 'application/json' })
  const open = async () => {
    const response = await fetch(`${origin}/mcp`, { headers: { ...authorization, accept: 'text/event-stream' } })
    const reader = (response.body ?? expect.fail('no body')).pipeThrough(new TextDecoderStream()).getReader()
    await reader.read()
    return { response, reader }
  }
  return { origin, auth, store, events, askToken, call, open, gate }
}

/** What a stream still says, until its end or its breaking off. */
const rest = async (reader: ReadableStreamDefaultReader<string>) => {
  let text = ''
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return text
      text += value
    }
  } catch {
    return text
  }
}

describe.each(adapters)('stopping, %s', (_, make) => {
  test('what runs is finished; streams end with a hint when to come again; nothing new is let in', async () => {
    const { auth, call, open, askToken, origin, events, gate } = await start(make)
    const { reader } = await open()
    const running = call()
    await expect.poll(() => gate.calls).toBe(1)
    const closed = auth.close({ within: 60_000 })
    expect(await rest(reader)).toMatch(/^retry: \d{3,4}\n\n$/)
    const refused = await call()
    expect(refused.status).toBe(503)
    expect(refused.headers.get('retry-after')).not.toBeNull()
    expect(refused.headers.get('www-authenticate')).toBeNull()
    expect((await askToken()).status).toBe(503)
    expect((await fetch(`${origin}/readyz`)).status).toBe(503)
    expect((await fetch(`${origin}/healthz`)).status).toBe(200)
    gate.open()
    expect((await running).status).toBe(200)
    await closed
    expect(events.filter(({ type }) => type === 'access.ended')).toMatchObject([{ reason: 'shutdown' }])
  })

  test('what takes too long is not waited for', async () => {
    const { auth, call, gate } = await start(make)
    const running = call().catch(() => undefined)
    await expect.poll(() => gate.calls).toBe(1)
    const startedAt = performance.now()
    await auth.close({ within: 300 })
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(290)
    gate.open()
    await running
  })
})

describe('stopping', () => {
  const fetchHandler = (auth: Countersign, gate: Gate) =>
    onNode.listener(auth, { '/mcp': { fetch: handler(gate, true) } })

  test('while it gives notice everything is served, and readiness alone says no', async () => {
    for (let notice = 500; ; notice *= 4) {
      const { auth, call, askToken, origin, gate } = await start(fetchHandler)
      gate.open()
      const startedAt = performance.now()
      const closed = auth.close({ notice })
      const statuses = [await fetch(`${origin}/readyz`), await call(), await askToken()].map(({ status }) => status)
      // Too slow a machine for so short a notice says nothing.
      const inTime = performance.now() - startedAt < notice
      await closed
      const after = await call()
      await running?.close()
      if (!inTime) continue
      expect(statuses).toEqual([503, 200, 200])
      expect(after.status).toBe(503)
      return
    }
  })

  test('a stream in the middle of an event gets no hint: it would become a part of it', async () => {
    const { auth, open } = await start(fetchHandler)
    const { reader } = await open()
    const closed = auth.close()
    expect(await rest(reader)).toBe('')
    await closed
  })

  test('a token that is being issued is issued before the store is closed; closing twice is one end', async () => {
    const { auth, store, askToken } = await start(fetchHandler)
    store.delay = 300
    const before = store.calls.increment
    const asked = askToken()
    await expect.poll(() => store.calls.increment, { interval: 5 }).toBeGreaterThan(before)
    const closed = auth.close()
    expect(auth.close()).toBe(closed)
    expect((await asked).status).toBe(200)
    store.delay = 0
    await closed
    await expect(store.get(['a'])).rejects.toThrow('closed')
  })
})
