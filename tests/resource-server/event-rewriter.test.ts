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

test('wherever a stream is cut, also between the halves of a line’s end, what says where to go is the caller’s', () => {
  const wrong: string[][] = []
  for (const end of ['\n', '\r\n', '\r']) {
    const said = ['event: endpoint', 'data: /m?s=1', '', 'event: end', 'data: /n', 'id:7', '', ''].join(end)
    const issued = said.replace('/m?s=1', '/m?s=1&b=1').replace('id:7', 'id: bound-7')
    for (let first = 0; first <= said.length; first++) {
      for (let next = first; next <= said.length; next++) {
        const pieces = [said.slice(0, first), said.slice(first, next), said.slice(next)]
        // A host may hand on nothing, too.
        const all = [rewrite(...pieces), rewriteInPassing(...pieces.flatMap((piece) => [piece, '']))]
        if (all.some((each) => each !== issued)) wrong.push(pieces)
      }
    }
  }
  expect(wrong).toEqual([])
})

test('in a stream that is cut within a character nothing passes before the character is whole', () => {
  // Of one, the bytes before the last are the least that are not ASCII.
  for (const character of ['\u00c0', '\u{1f000}', '\u{1f511}']) {
    const encoded = new TextEncoder().encode(character)
    for (let at = 1; at < encoded.length; at++) {
      const { passes } = createEventRewriter(ids)
      const event = new TextEncoder().encode('\n\n')
      expect(passes(event)).toBe(true)
      expect(passes(event)).toBe(true)
      passes(encoded.subarray(0, at))
      passes(new Uint8Array(0))
      expect(passes(event), `${character} ${at}`).toBe(false)
      expect(passes(event)).toBe(true)
    }
  }
})

test('nothing goes on where an endpoint can’t be told in time, or an id has no end', () => {
  expect(() => rewrite('data: /m?s=1\nevent: endpoint\n\n')).toThrow(/endpoint/)
  expect(() => rewrite('da', 'ta: /m?s=1\neve', 'nt: endpoint\n\n')).toThrow(/endpoint/)
  expect(() => rewrite('id: ', ...Array.from({ length: 70 }, () => 'x'.repeat(1_000)))).toThrow(/bound/)
  // Data may have begun before, in pieces.
  for (const cut of ['d', 'data', 'data:', 'data: ', 'data: /m']) {
    const rest = 'data: /m?s=1'.slice(cut.length)
    expect(() => rewrite(cut, `${rest}\nevent: endpoint\n\n`), cut).toThrow(/endpoint/)
    expect(() => rewrite(cut, rest, '\nevent: endpoint\n\n'), cut).toThrow(/endpoint/)
    expect(() => rewrite(`${cut}${rest.slice(0, 1)}`, rest.slice(1), '\n', 'event: endpoint\n'), cut).toThrow(
      /endpoint/,
    )
  }
  expect(rewrite('id: '.padEnd(65_536, 'x'), '\n')).toBe(`id: bound-${'x'.repeat(65_532)}\n`)
  expect(() => rewrite('id: '.padEnd(65_537, 'x'))).toThrow(/bound/)
})

test('only lines that may be changed are waited for, also in an event that says where to go', () => {
  const { push } = createEventRewriter(ids)
  const pieces = ['event: endpoint\n: pi', 'ng\n', 'retry: 5', '\n', 'data: /m', '?s=1\n\n', ': pi', 'ng\n']
  expect(pieces.map(push)).toEqual([...pieces.slice(0, 4), '', 'data: /m?s=1&b=1\n\n', ...pieces.slice(6)])
  // A comment in pieces is no data.
  expect(push('event: endpoint\ndata: /m\n\n')).toBe('event: endpoint\ndata: /m&b=1\n\n')
})

test('a field without a colon is empty: an event of no name is no endpoint any more', () => {
  const text = 'event: endpoint\nevent\ndata: /m?s=1\n\nevent: endpoint\nevent:\ndata: /m?s=1\n\n'
  expect(rewrite(text)).toBe(text)
  expect(rewrite('event: endpoint\ndata\n\n')).toBe('event: endpoint\ndata: &b=1\n\n')
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
