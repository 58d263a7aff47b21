import { describe, expect, test } from 'vitest'
import { guardedResponse } from '../../src/resource-server/guarded-response.ts'
import type { EndStream, EventIds, MessageFilter, ResponseGuard } from '../../src/resource-server/handler.ts'

const eventStream = { 'Content-Type': 'text/event-stream' }
const json = { 'Content-Type': 'application/json' }
const utf8 = new TextEncoder()
const text = (bytes: Uint8Array | undefined) => new TextDecoder().decode(bytes)

const hide = async (message: unknown): Promise<unknown> => {
  const { secret, ...rest } = message as { secret?: unknown }
  return secret === undefined ? message : rest
}
const ifReadable: MessageFilter = Object.assign((message: unknown) => hide(message), { ifReadable: true })

const events: EventIds = { requested: undefined, issue: (id) => `bound-${id}`, issueEndpoint: (url) => `${url}&b=1` }
const session = (ids: EventIds | undefined) => ({ requested: undefined, issue: (id: string) => id, events: ids })

const guardOf = (more: Partial<ResponseGuard> = {}) => {
  const seen = { watched: 0, left: 0, end: (() => expect.fail('not watched')) as EndStream }
  const guard: ResponseGuard = {
    filter: undefined,
    session: undefined,
    messagesOnly: false,
    begin: () => () => {},
    watch(end) {
      seen.watched += 1
      seen.end = end
      return () => {
        seen.left += 1
      }
    },
    ...more,
  }
  return { guard, seen }
}

/** A body that says what it is told to say, when it is told. */
const source = (...pieces: string[]) => {
  const seen = { pulls: 0, cancelled: [] as unknown[] }
  let control: ReadableStreamDefaultController<Uint8Array> | undefined
  const body = new ReadableStream<Uint8Array>(
    {
      start(controller) {
        control = controller
        for (const piece of pieces) controller.enqueue(utf8.encode(piece))
      },
      pull() {
        seen.pulls += 1
      },
      cancel(reason) {
        seen.cancelled.push(reason)
      },
    },
    { highWaterMark: 0 },
  )
  return {
    body,
    seen,
    send: (piece: string | Uint8Array) => control?.enqueue(typeof piece === 'string' ? utf8.encode(piece) : piece),
    close: () => control?.close(),
    fail: (error: unknown) => control?.error(error),
  }
}

const guarded = async (response: Response, more: Partial<ResponseGuard> = {}) => {
  const { guard, seen } = guardOf(more)
  return { response: await guardedResponse(response, guard, (each) => each), seen }
}

const open = async (more: Partial<ResponseGuard> = {}, ...pieces: string[]) => {
  const from = source(...pieces)
  const { response, seen } = await guarded(new Response(from.body, { headers: eventStream }), more)
  const reader = response.body?.getReader() ?? expect.fail('no body')
  const next = async () => {
    const { done, value } = await reader.read()
    return done ? undefined : text(value)
  }
  return { ...from, source: from.seen, seen, reader, next }
}

describe('which responses are looked into', () => {
  test('one without a filter that is no stream, and one without a body, go as they are', async () => {
    for (const [response, more] of [
      [new Response('{"secret":1}', { headers: json }), {}],
      [new Response(null, { headers: eventStream }), { filter: hide }],
      [new Response(null, { status: 204 }), { filter: hide, messagesOnly: true }],
    ] as const) {
      const { response: sent, seen } = await guarded(response, more)
      expect(sent).toBe(response)
      expect(seen.watched).toBe(0)
    }
  })

  test('a stream is watched, and otherwise as it is', async () => {
    const headers = { ...eventStream, 'Content-Length': '9', 'Cache-Control': 'public', 'X-Kept': 'yes' }
    const response = new Response('id: 7\n\n: x', { status: 201, statusText: 'Made', headers })
    const { response: sent, seen } = await guarded(response)
    expect([sent.status, sent.statusText, Object.fromEntries(sent.headers)]).toEqual([
      201,
      'Made',
      Object.fromEntries(response.headers),
    ])
    expect(await sent.text()).toBe('id: 7\n\n: x')
    expect(seen).toMatchObject({ watched: 1, left: 1 })
  })

  test('a stream has ids of the caller’s own, is longer then, and no more private', async () => {
    const headers = { ...eventStream, 'Content-Length': '7', 'Cache-Control': 'public' }
    const response = new Response('id: 7\n\n', { status: 201, statusText: 'Made', headers })
    const { response: sent, seen } = await guarded(response, { session: session(events) })
    expect([sent.status, sent.statusText, Object.fromEntries(sent.headers)]).toEqual([
      201,
      'Made',
      { 'content-type': 'text/event-stream', 'cache-control': 'public' },
    ])
    expect(await sent.text()).toBe('id: bound-7\n\n')
    expect(seen).toMatchObject({ watched: 1, left: 1 })
    const { response: without } = await guarded(new Response('id: 7\n\n', { headers: eventStream }), {
      session: session(undefined),
    })
    expect(await without.text()).toBe('id: 7\n\n')
  })

  test('what is compressed keeps the server’s ids, and is watched no less', async () => {
    const headers = { ...eventStream, 'Content-Encoding': 'gzip', 'Content-Length': '7' }
    const response = new Response('id: 7\n\n', { headers })
    const { response: sent, seen } = await guarded(response, { session: session(events) })
    expect(await sent.text()).toBe('id: 7\n\n')
    expect(sent.headers.get('content-length')).toBe('7')
    expect(seen.watched).toBe(1)
    const plain = new Response('id: 7\n\n', { headers: { ...eventStream, 'Content-Encoding': ' Identity ' } })
    const { response: rewritten } = await guarded(plain, { session: session(events) })
    expect(await rewritten.text()).toBe('id: bound-7\n\n')
  })

  test('JSON is filtered: shorter, and for this caller alone', async () => {
    const headers = { ...json, 'Content-Length': '20', 'Cache-Control': 'public, max-age=60', 'X-Kept': 'yes' }
    const response = new Response('{"secret":1,"a":"\u00e4"}', { status: 203, statusText: 'Filtered', headers })
    const { response: sent, seen } = await guarded(response, { filter: hide })
    expect([sent.status, sent.statusText, Object.fromEntries(sent.headers)]).toEqual([
      203,
      'Filtered',
      { 'content-type': 'application/json', 'cache-control': 'private, max-age=60', 'x-kept': 'yes' },
    ])
    expect(await sent.text()).toBe('{"a":"\u00e4"}')
    expect(seen.watched).toBe(0)
  })

  test.each(['application/json; charset=utf-8', 'Application/JSON', ' application/json ;x'])(
    'JSON is filtered whole, whatever else is said with its type: %s',
    async (type) => {
      const said = new Response('{"secret":1,"a":2}', { headers: { 'Content-Type': type, 'Content-Length': '18' } })
      const { response, seen } = await guarded(said, { filter: hide })
      expect([await response.text(), response.headers.get('content-length')]).toEqual(['{"a":2}', null])
      expect(seen.watched).toBe(0)
    },
  )

  test('JSON that can’t concern the filter goes as it came, and is no more private', async () => {
    const filter: MessageFilter = Object.assign((message: unknown) => hide(message), {
      concerns: (text: string) => text.includes('secret'),
    })
    const headers = { ...json, 'Cache-Control': 'public' }
    const said = new Response(' {"a" : 1}', { status: 201, statusText: 'Made', headers })
    const { response: sent } = await guarded(said, { filter })
    expect([sent.status, sent.statusText, sent.headers.get('cache-control')]).toEqual([201, 'Made', 'public'])
    expect(await sent.text()).toBe(' {"a" : 1}')
    const { response: filtered } = await guarded(new Response('{"secret":1}', { headers }), { filter })
    expect([await filtered.text(), filtered.headers.get('cache-control')]).toEqual(['{}', 'private'])
    // What is decoded has no byte order mark any more: a length that counted it would be wrong.
    const marked = new Response('\ufeff{"a":1}', { headers: { ...json, 'Content-Length': '10' } })
    const { response: unmarked } = await guarded(marked, { filter })
    expect([await unmarked.text(), unmarked.headers.get('content-length')]).toEqual(['{"a":1}', null])
  })

  test.each([
    { filter: hide },
    { filter: Object.assign((message: unknown) => hide(message), { concerns: () => false }) },
  ])('an answer that is said to be JSON and has no body keeps its status: %#', async ({ filter }) => {
    for (const status of [204, 304, 400]) {
      const { response } = await guarded(new Response(null, { status, headers: json }), { filter, messagesOnly: true })
      expect([response.status, await response.text()]).toEqual([status, ''])
    }
  })

  test('a stream is filtered, with ids of the caller’s own, and for this caller alone', async () => {
    const headers = { ...eventStream, 'Content-Length': '20', 'Cache-Control': 'no-cache' }
    const said = 'id: 7\ndata: {"secret":1,"a":"\u00e4"}\n\ndata: {"unfinished"'
    for (const [ids, id] of [
      [undefined, '7'],
      [session(undefined), '7'],
      [session(events), 'bound-7'],
    ] as const) {
      const { response, seen } = await guarded(new Response(said, { headers }), { filter: hide, session: ids })
      expect(Object.fromEntries(response.headers)).toEqual({
        'content-type': 'text/event-stream',
        'cache-control': 'private, no-cache',
      })
      expect(await response.text()).toBe(`id: ${id}\ndata: {"a":"\u00e4"}\n\n`)
      expect(seen).toMatchObject({ watched: 1, left: 1 })
    }
  })

  const refusal = { jsonrpc: '2.0', error: { code: -32_603, message: 'The response could not be filtered' }, id: null }
  const isRefused = async (response: Response) => {
    expect([response.status, response.headers.get('content-type')]).toEqual([500, 'application/json'])
    expect(await response.json()).toEqual(refusal)
  }

  test('what must be filtered and is none or compressed is not sent', async () => {
    for (const headers of [
      { 'Content-Type': 'text/html' },
      { ...json, 'Content-Encoding': 'gzip' },
      { ...eventStream, 'Content-Encoding': 'br' },
    ]) {
      const { body, seen } = source('{"secret":1}')
      const { response, seen: watched } = await guarded(new Response(body, { headers }), {
        filter: hide,
        messagesOnly: true,
      })
      await isRefused(response)
      expect([seen.cancelled.length, watched.watched]).toEqual([1, 0])
    }
    // A server whose stream can't be cancelled changes nothing.
    const broken = new ReadableStream<Uint8Array>({ cancel: () => Promise.reject(new Error('no')) })
    const { response } = await guarded(new Response(broken), { filter: hide, messagesOnly: true })
    await isRefused(response)
  })

  test('JSON that is none is not sent', async () => {
    for (const body of ['{"secret":1', '<html>']) {
      await isRefused((await guarded(new Response(body, { headers: json }), { filter: hide })).response)
    }
  })

  test('what is no message goes where the request was not for messages, or it failed', async () => {
    for (const [response, messagesOnly] of [
      [new Response('<html>', { headers: { 'Content-Type': 'text/html' } }), false],
      [new Response('no such page', { status: 404 }), true],
    ] as const) {
      expect((await guarded(response, { filter: hide, messagesOnly })).response).toBe(response)
    }
    // Compressed it may hold messages, and nobody knows which.
    const error = new Response('{"secret":1}', { status: 404, headers: { ...json, 'Content-Encoding': 'gzip' } })
    await isRefused((await guarded(error, { filter: hide, messagesOnly: true })).response)
  })

  test('where only what can be read is to be filtered, all else goes as without a filter', async () => {
    const page = new Response('<html>', { headers: { 'Content-Type': 'text/html' } })
    const packed = new Response('{"secret":1}', { headers: { ...json, 'Content-Encoding': 'gzip' } })
    for (const response of [page, packed]) {
      expect((await guarded(response, { filter: ifReadable, messagesOnly: true })).response).toBe(response)
    }
    const stream = new Response('id: 7\n\n', { headers: { ...eventStream, 'Content-Encoding': 'gzip' } })
    const { response, seen } = await guarded(stream, { filter: ifReadable, session: session(events) })
    expect(await response.text()).toBe('id: 7\n\n')
    expect(seen).toMatchObject({ watched: 1, left: 1 })
    const readable = await guarded(new Response('{"secret":1}', { headers: json }), { filter: ifReadable })
    expect(await readable.response.text()).toBe('{}')
  })
})

describe('a stream that is watched', () => {
  test('is read when its client reads, and left when it has ended', async () => {
    const { source: from, next, close, seen } = await open()
    expect(from.pulls).toBe(0)
    const first = next()
    await expect.poll(() => from.pulls).toBe(1)
    close()
    expect(await first).toBeUndefined()
    expect(seen).toMatchObject({ watched: 1, left: 1 })
    // It has ended by itself: nobody ends it again.
    seen.end(5)
    expect(from.cancelled).toEqual([])
  })

  test('ends when it must: between two events the client is told when to come again', async () => {
    for (const [said, told] of [
      ['data: 1\n\n', ['retry: 250\n\n']],
      ['data: 1\r\n\r\n', ['retry: 250\n\n']],
      ['data: 1\n', []],
      ['data: 1', []],
    ] as const) {
      const { source: from, next, seen } = await open({}, said)
      expect(await next()).toBe(said)
      const reading = next()
      seen.end(250)
      const rest = [await reading, await next()].filter((each) => each !== undefined)
      expect(rest, said).toEqual(told)
      expect(from.cancelled).toHaveLength(1)
    }
  })

  test('that has said nothing yet is between two events; who is not to come again is told nothing', async () => {
    const quiet = await open()
    quiet.seen.end(0)
    expect([await quiet.next(), await quiet.next()]).toEqual(['retry: 0\n\n', undefined])
    const over = await open()
    over.seen.end()
    expect(await over.next()).toBeUndefined()
    expect(over.source.cancelled).toHaveLength(1)
    // It is called once; and if not, nothing happens.
    over.seen.end(5)
    expect(over.source.cancelled).toHaveLength(1)
  })

  test('is not watched any longer when its client leaves, and its server learns why', async () => {
    const { source: from, reader, seen } = await open({}, 'data: 1\n\n')
    await reader.read()
    await reader.cancel('enough')
    expect(seen.left).toBe(1)
    expect(from.cancelled).toEqual(['enough'])
    seen.end(5)
    expect(from.cancelled).toEqual(['enough'])
  })

  test('fails as its server’s did, and is not watched any longer', async () => {
    const { next, fail, seen } = await open({}, 'data: 1\n\n')
    expect(await next()).toBe('data: 1\n\n')
    const reading = next()
    fail(new Error('the server broke'))
    await expect(reading).rejects.toThrow('the server broke')
    expect(seen.left).toBe(1)
    seen.end(5)
  })

  test('fails where it can’t be filtered, and the server’s is left', async () => {
    const { source: from, next, seen } = await open({ filter: hide }, 'data: {"secret":\n\n')
    await expect(next()).rejects.toThrow()
    await expect.poll(() => from.cancelled.length).toBe(1)
    expect(seen.left).toBe(1)
    const endpoint = await open({ session: session(events) }, 'data: /m\nevent: endpoint\n\n')
    await expect(endpoint.next()).rejects.toThrow('endpoint')
    expect(endpoint.seen.left).toBe(1)
  })

  test('after its end nothing of it is sent, also not what was about to be', async () => {
    const plain = await open()
    const reading = plain.next()
    await expect.poll(() => plain.source.pulls).toBe(1)
    plain.seen.end()
    expect(await reading).toBeUndefined()

    let filtering = () => {}
    let go = () => {}
    const begun = new Promise<void>((resolve) => {
      filtering = resolve
    })
    const held = new Promise<void>((resolve) => {
      go = resolve
    })
    const filter = async (message: unknown) => {
      filtering()
      await held
      return message
    }
    const filtered = await open({ filter }, 'data: {"a":1}\n\n')
    const second = filtered.next()
    await begun
    filtered.seen.end(5)
    go()
    expect([await second, await filtered.next()]).toEqual(['retry: 5\n\n', undefined])
  })

  test('whose server fails after its end, or can’t be cancelled, troubles nobody', async () => {
    const failures: unknown[] = []
    const unhandled = (error: unknown) => void failures.push(error)
    process.on('unhandledRejection', unhandled)
    try {
      const ends = [(end: EndStream) => end(5), (end: EndStream) => end()]
      for (const end of ends) {
        const body = new ReadableStream<Uint8Array>(
          { start() {}, cancel: () => Promise.reject(new Error('can’t be cancelled')) },
          { highWaterMark: 0 },
        )
        const { response, seen } = await guarded(new Response(body, { headers: eventStream }))
        const reading = response.text()
        end(seen.end)
        await reading
      }
      const unfilterable = new ReadableStream<Uint8Array>({
        start: (controller) => controller.enqueue(utf8.encode('data: {\n\n')),
        cancel: () => Promise.reject(new Error('can’t be cancelled')),
      })
      const { response } = await guarded(new Response(unfilterable, { headers: eventStream }), { filter: hide })
      await expect(response.text()).rejects.toThrow()
      const page = new ReadableStream<Uint8Array>({ cancel: () => Promise.reject(new Error('can’t be cancelled')) })
      await guarded(new Response(page), { filter: hide, messagesOnly: true })
      // A rejection that nobody takes is told of at the end of the turn.
      await new Promise((resolve) => setImmediate(resolve))
    } finally {
      process.off('unhandledRejection', unhandled)
    }
    expect(failures).toEqual([])
  })

  test('is sent as it comes: nothing is made of nothing, and characters stay whole', async () => {
    const key = utf8.encode('id: \u{1f511}\n\n')
    const { next, send, close } = await open({ session: session(events) })
    const first = next()
    send(new Uint8Array(0))
    send(key.subarray(0, 6))
    send(key.subarray(6))
    expect(await first).toBe('id: bound-\u{1f511}\n\n')
    const second = next()
    send('i')
    send('d: 2\n')
    expect(await second).toBe('id: bound-2\n')
    close()
    expect(await next()).toBeUndefined()
  })

  test('what passes is the server’s own bytes', async () => {
    const bytes = utf8.encode('data: {"id":1}\n\n')
    const { reader, send, next } = await open({ session: session(events) })
    const reading = reader.read()
    send(bytes)
    expect((await reading).value).toBe(bytes)
    send('id: 2\n\n')
    expect(await next()).toBe('id: bound-2\n\n')
  })
})
