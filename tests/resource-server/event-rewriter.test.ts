import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createEventRewriter } from '../../src/resource-server/event-rewriter.ts'

const ids = { requested: undefined, issue: (id: string) => `bound-${id}`, issueEndpoint: (url: string) => `${url}&b=1` }
const rewrite = (...pieces: string[]) => pieces.map(createEventRewriter(ids).push).join('')

interface Event {
  readonly type: string
  readonly data: string
  readonly id: string
}

/** What a client makes of a whole stream. @see HTML, Server-sent events, 9.2.6 */
const read = (text: string): Event[] => {
  const events: Event[] = []
  const lines = text.split(/\r\n|\n|\r/)
  let [type, data, id]: [string, string[], string] = ['', [], '']
  for (const line of lines) {
    if (line === '') {
      if (data.length > 0) events.push({ type: type || 'message', data: data.join('\n'), id })
      type = ''
      data = []
      continue
    }
    const colon = line.indexOf(':')
    const name = colon < 0 ? line : line.slice(0, colon)
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '')
    if (name === 'event') type = value
    if (name === 'data') data.push(value)
    if (name === 'id') id = value
  }
  return events
}

/** As hosts do, who read no closer what passes. */
const rewriteInPassing = (...pieces: string[]) => {
  const { push, passes } = createEventRewriter(ids)
  return pieces.map((piece) => (passes(new TextEncoder().encode(piece)) ? piece : push(piece))).join('')
}

test('what most servers send passes, and what says more does not', () => {
  const passes = (text: string) => createEventRewriter(ids).passes(new TextEncoder().encode(text))
  for (const text of ['event: message\ndata: {"id":1}\n\n', ': ping\n\n', 'data: id: 1\ndata: event\n\ndata: x\n\n']) {
    expect(passes(text), text).toBe(true)
  }
  const looked = [
    'id: 1\ndata: x\n\n',
    'data: x\nid:1\n\n',
    'event: endpoint\ndata: /m\n\n',
    'event:endpoint\ndata: /m\n\n',
  ]
  for (const text of [...looked, 'data: x\r\rid: 1\n\n', '\ufeffid: 1\n\n', 'data: x\n', 'i', '']) {
    expect(passes(text), text).toBe(false)
  }
})

test('ids are the caller’s, all else is as it was', () => {
  expect(rewrite('event: message\nid: 7\ndata: {"id":1}\n\n: id: 8\nretry: 5\nidea: x\nid\nid:\n\n')).toBe(
    'event: message\nid: bound-7\ndata: {"id":1}\n\n: id: 8\nretry: 5\nidea: x\nid\nid:\n\n',
  )
  expect(rewrite('id:9\rdata: id: 10\r\rdata: a\r\ndata: id\r\nid: a: b\r\n\r\n')).toBe(
    'id: bound-9\rdata: id: 10\r\rdata: a\r\ndata: id\r\nid: bound-a: b\r\n\r\n',
  )
})

test('an endpoint’s URL is the caller’s, and data of other events are not', () => {
  expect(rewrite('event: endpoint\ndata: /m?s=1\n\ndata: /m?s=1\n\nevent:endpoint\r\ndata:/m?s=2\r\n\r\n')).toBe(
    'event: endpoint\ndata: /m?s=1&b=1\n\ndata: /m?s=1\n\nevent:endpoint\r\ndata: /m?s=2&b=1\r\n\r\n',
  )
})

test('a stream that is cut within a character arrives as it was, also at the beginning of a line', () => {
  const [first, then] = ['\ufeffdata: 1\n\nnaïve: x\n\n\u{1f511}: x\ndata: 2\n\n', 'id: 3\ndata: 3\n\n']
  const encoded = Buffer.from(first)
  for (let at = 1; at < encoded.length; at++) {
    const { push, passes } = createEventRewriter(ids)
    const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
    const sent = [encoded.subarray(0, at), encoded.subarray(at), Buffer.from(then)].map((bytes) =>
      Buffer.from(passes(bytes) ? bytes : push(decoder.decode(bytes, { stream: true }))),
    )
    expect(Buffer.concat(sent).toString(), `cut at ${at}`).toBe(`${first}id: bound-3\ndata: 3\n\n`)
  }
})

test('nothing goes on where an endpoint can’t be told in time, or an id has no end', () => {
  expect(() => rewrite('data: /m?s=1\nevent: endpoint\n\n')).toThrow(/endpoint/)
  expect(() => rewrite('da', 'ta: /m?s=1\neve', 'nt: endpoint\n\n')).toThrow(/endpoint/)
  expect(() => rewrite('id: ', ...Array.from({ length: 70 }, () => 'x'.repeat(1_000)))).toThrow(/bound/)
})

test('data are sent on as they come, and never kept', () => {
  const { push } = createEventRewriter(ids)
  expect(push('event: message\nid: 1\ndata: {"text":"')).toBe('event: message\nid: bound-1\ndata: {"text":"')
  for (let at = 0; at < 1_000; at++) expect(push('x'.repeat(1_000))).toHaveLength(1_000)
  expect(push('"}\n\nid: 2')).toBe('"}\n\n')
  expect(push('3\n')).toBe('id: bound-23\n')
})

test('however a stream is cut, its client reads the same: the server’s events with ids of its own', () => {
  const word = fc.string({
    unit: fc.constantFrom('i', 'd', ':', ' ', 'a', 'é', 'e', 'v', 'n', 't', '{"id":1}'),
    maxLength: 8,
  })
  const line = fc.oneof(
    word,
    fc
      .tuple(fc.constantFrom('id', 'event', 'data', 'retry', '', 'other'), fc.constantFrom(':', ': '), word)
      .map((each) => each.join('')),
  )
  const ended = fc.tuple(line, fc.constantFrom('\n', '\r\n', '\r', '\n\n')).map((each) => each.join(''))
  fc.assert(
    fc.property(fc.array(ended, { maxLength: 20 }), fc.array(fc.nat(200), { maxLength: 12 }), (lines, cuts) => {
      const whole = `${lines.join('')}\n\n`
      const at = [0, ...cuts.map((cut) => Math.min(cut, whole.length)).sort((a, b) => a - b), whole.length]
      const pieces = at.slice(1).map((end, index) => whole.slice(at[index], end))
      const seen = rewrite(...pieces)
      expect(seen).toBe(rewrite(whole))
      expect(rewriteInPassing(...pieces)).toBe(seen)
      expect(read(seen)).toEqual(read(whole).map((event) => ({ ...event, id: event.id && `bound-${event.id}` })))
    }),
    { numRuns: 2_000 },
  )
})
