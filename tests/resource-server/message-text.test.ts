import { describe, expect, test } from 'vitest'
import type { MessageFilter } from '../../src/resource-server/handler.ts'
import {
  endsEvent,
  isEventStream,
  privately,
  reconnection,
  textFilter,
} from '../../src/resource-server/message-text.ts'

/** Shows nobody a secret; what has none is the very same. It keeps what it was asked about. */
const hiding = (more: Partial<Pick<MessageFilter, 'concerns' | 'ifReadable'>> = {}) => {
  const asked: unknown[] = []
  const filter = async (message: unknown): Promise<unknown> => {
    asked.push(message)
    const { secret, ...rest } = message as { secret?: unknown }
    return secret === undefined ? message : rest
  }
  return { asked, filter: Object.assign(filter, more) as MessageFilter }
}

const through = async (type: string, filter: MessageFilter, ...pieces: string[]): Promise<string> => {
  const text = textFilter(type, filter) ?? expect.fail('no filter')
  let out = ''
  for (const piece of pieces) out += await text.push(piece)
  return out + (await text.end())
}

test('messages are in JSON and in event streams, whatever else the media type says', async () => {
  const { filter } = hiding()
  for (const type of ['application/json', ' Application/JSON ; charset=utf-8', 'application/json;x']) {
    expect(await through(type, filter, '{"secret":1}'), type).toBe('{}')
  }
  for (const type of ['text/event-stream', 'Text/Event-Stream ; charset=utf-8', ' text/event-stream;x']) {
    expect(await through(type, filter, 'data: {"secret":1}\n\n'), type).toBe('data: {}\n\n')
  }
  for (const type of [
    null,
    '',
    'text/html',
    'application/json-seq',
    'text/plain;application/json',
    'x application/json',
  ]) {
    expect(textFilter(type, filter), String(type)).toBeUndefined()
  }
})

test('an event stream is known by its media type', () => {
  for (const type of ['text/event-stream', ' TEXT/Event-Stream; charset=utf-8']) expect(isEventStream(type)).toBe(true)
  for (const type of [null, '', 'text/event', 'application/json', 'x text/event-stream']) {
    expect(isEventStream(type)).toBe(false)
  }
})

test.each([
  [null, 'private'],
  ['', 'private'],
  ['public, max-age=60', 'private, max-age=60'],
  ['max-age=60,public', 'private, max-age=60'],
  [' private ,no-store,,no-cache ', 'private, no-store, no-cache'],
])('what one caller alone may see is kept by no cache for others: %j', (said, expected) => {
  expect(privately(said)).toBe(expected)
})

describe('JSON', () => {
  test('in which nothing is changed goes as it came, byte for byte', async () => {
    const { filter, asked } = hiding()
    const text = ' { "id" : 1,\n"result":{} }\n'
    expect(await through('application/json', filter, text.slice(0, 7), text.slice(7))).toBe(text)
    expect(asked).toEqual([{ id: 1, result: {} }])
  })

  test('is sent when it is whole, never a part of it before', async () => {
    const json = textFilter('application/json', hiding().filter) ?? expect.fail('no filter')
    expect([await json.push('{"secret":'), await json.push('1,"a":2}'), await json.end()]).toEqual(['', '', '{"a":2}'])
  })

  test('that is a list is a list of messages, and each is looked at', async () => {
    const { filter, asked } = hiding()
    expect(await through('application/json', filter, '[{"secret":1}, {"b":2}]')).toBe('[{},{"b":2}]')
    expect(asked).toEqual([{ secret: 1 }, { b: 2 }])
  })

  test('without content is no message', async () => {
    const { filter, asked } = hiding()
    expect(await through('application/json', filter)).toBe('')
    expect(asked).toEqual([])
  })

  test('that can’t concern the filter is not even parsed', async () => {
    const texts: string[] = []
    const concerns = (text: string) => {
      texts.push(text)
      return text.includes('secret')
    }
    const { filter } = hiding({ concerns })
    expect(await through('application/json', filter, 'no JSON')).toBe('no JSON')
    expect(await through('application/json', filter, '{"secret":1,', '"a":2}')).toBe('{"a":2}')
    expect(texts).toEqual(['no JSON', '{"secret":1,"a":2}'])
  })

  test('that is none is not sent', async () => {
    await expect(through('application/json', hiding().filter, '{"secret":1')).rejects.toThrow()
  })
})

describe('events', () => {
  const events = (filter: MessageFilter, ...pieces: string[]) => through('text/event-stream', filter, ...pieces)

  test('in which nothing is changed go as they came, line by line', async () => {
    const { filter, asked } = hiding()
    const text = ': ping\n\nid: 1\nevent: message\ndata: {"text":"a  b",\ndata:"c":" d"}\nretry: 5\n\nid: 2\ndata: \n\n'
    expect(await events(filter, text)).toBe(text)
    expect(asked).toEqual([{ text: 'a  b', c: ' d' }])
  })

  test('that are changed keep all but their data', async () => {
    const { filter, asked } = hiding()
    expect(await events(filter, 'id: 1\ndata: {"secret":1,\nevent: message\ndata: "a":2}\n\n')).toBe(
      'id: 1\nevent: message\ndata: {"a":2}\n\n',
    )
    expect(await events(filter, 'data:[{"secret":1},{"b":2}]\n\n')).toBe('data: [{},{"b":2}]\n\n')
    expect(asked).toEqual([{ secret: 1, a: 2 }, { secret: 1 }, { b: 2 }])
  })

  test('an event is a message by its last type, or without one', async () => {
    const { filter, asked } = hiding()
    for (const type of [
      'event: message',
      'event:message',
      'event:',
      'event:  message ',
      'event: other\nevent: message',
    ]) {
      expect(await events(filter, `${type}\ndata: {"secret":1}\n\n`), type).toBe(`${type}\ndata: {}\n\n`)
    }
    expect(asked).toHaveLength(5)
    for (const type of ['event: endpoint', 'event: messages', 'event: message\nevent: endpoint']) {
      const text = `${type}\ndata: /messages?secret=1\n\n`
      expect(await events(filter, text), type).toBe(text)
    }
    expect(asked).toHaveLength(5)
  })

  test('data of several lines are read as their client reads them', async () => {
    // With a line's end between them these are two numbers, and no JSON.
    await expect(events(hiding().filter, 'data: {"a":1\ndata: 2}\n\n')).rejects.toThrow()
  })

  test('that can’t concern the filter are not even parsed', async () => {
    const texts: string[] = []
    const concerns = (text: string) => {
      texts.push(text)
      return text.includes('secret')
    }
    const { filter } = hiding({ concerns })
    expect(await events(filter, 'id: 1\ndata:no JSON\ndata:  at all\n\ndata: {"secret":1}\n\n: x\n\n')).toBe(
      'id: 1\ndata:no JSON\ndata:  at all\n\ndata: {}\n\n: x\n\n',
    )
    expect(texts).toEqual(['no JSON\n at all', '{"secret":1}'])
  })

  test('are sent when they are whole, and what is not finished is not sent', async () => {
    const stream = textFilter('text/event-stream', hiding().filter) ?? expect.fail('no filter')
    expect(await stream.push('id: 1\r')).toBe('')
    expect(await stream.push('\ndata: {"a":1}\r\n\r')).toBe('')
    expect(await stream.push('\n\r\n\n\rid: 2\rdata: {}\r\rdata')).toBe('id: 1\ndata: {"a":1}\n\nid: 2\ndata: {}\n\n')
    expect(await stream.push(': {"unfinished":1}\n')).toBe('')
    expect(await stream.end()).toBe('')
  })
})

test('a message without bound is not kept', async () => {
  const longest = 64 * 1024 * 1024
  for (const type of ['application/json', 'text/event-stream']) {
    const { push } = textFilter(type, hiding().filter) ?? expect.fail('no filter')
    expect(await push('x'.repeat(longest))).toBe('')
    await expect(push('x')).rejects.toThrow('without bound')
  }
})

test.each([
  ['\n\n', true],
  ['data: x\n\n', true],
  ['data: x\r\n\r\n', true],
  ['data: x\n\r\n', true],
  ['', false],
  ['\n', false],
  ['\r\n', false],
  ['x\n', false],
  ['x\r\n', false],
  ['\nx\n', false],
  ['\n\nx', false],
  ['\n\n\r', false],
  ['\n\rx', false],
  // A line feed may follow that belongs to it.
  ['\r\r', false],
])('between two events is where one ended: %j', (text, expected) => {
  expect(endsEvent(new TextEncoder().encode(text))).toBe(expected)
})

test('a client is told when to come again, in an event of its own', () => {
  expect(reconnection(250)).toBe('retry: 250\n\n')
})
