import type { EventIds } from './handler.ts'
import { endsEvent } from './message-text.ts'

/** Writes an event stream's ids and endpoints as its caller may see them. */
export interface EventRewriter {
  /**
   * @returns what may be sent on now, perhaps nothing yet. Only lines that may be changed are waited for, so that nothing large is kept.
   * @throws Error where the stream says what can't be bound: then nothing more of it may be sent
   */
  push(text: string): string
  /** Whether these bytes, the next ones, are whole events in which nothing is to be changed: most are, and need not be read any closer. */
  passes(bytes: Uint8Array): boolean
}

/** @see HTML, Server-sent events, 9.2.6 */
export const createEventRewriter = (ids: EventIds): EventRewriter => {
  /** The beginning of a line that may be changed; undefined within one that isn't. */
  let held: string | undefined = ''
  let endsInReturn = false
  let endpoint = false
  let sawData = false
  /** The last bytes may be the beginning of a character: whoever decodes them waits for the rest. */
  let cut = false

  const line = (text: string): string => {
    if (text === '') endpoint = sawData = false
    const [, name, value = ''] = field.exec(text) ?? []
    switch (name) {
      case 'id':
        return value === '' ? text : `id: ${ids.issue(value)}`
      case 'event':
        endpoint = value === 'endpoint'
        if (endpoint && sawData) throw new Error('an event says only after its data that it is an endpoint')
        return text
      case 'data':
        sawData = true
        return endpoint ? `data: ${ids.issueEndpoint(value)}` : text
      default:
        return text
    }
  }

  const mayChange = (beginning: string): boolean =>
    fields.some((name) => name.startsWith(beginning)) ||
    beginning.startsWith('id:') ||
    beginning.startsWith('event:') ||
    (endpoint && beginning.startsWith('data:'))

  return {
    passes(bytes) {
      const clean = held === '' && !endpoint && !sawData && !endsInReturn && !cut
      if (bytes.length > 0) cut = (bytes.at(-1) ?? 0) >= firstBeyondAscii
      if (!clean || !endsEvent(bytes) || bytes[0] === byteOrderMark || bytes.includes(carriageReturn)) return false
      for (let at = 0; at < bytes.length; at = bytes.indexOf(lineFeed, at) + 1) {
        const [first, value, later] = [bytes[at], bytes[at + 'event:'.length], bytes[at + 'event: '.length]]
        if (first === letterI || (first === letterE && (value === letterE || later === letterE))) return false
      }
      return true
    },

    push(text) {
      let out = ''
      let at = 0
      // The second half of a line's end.
      if (endsInReturn && text.startsWith('\n')) {
        out = '\n'
        at = 1
      }
      if (text !== '') endsInReturn = text.endsWith('\r')
      while (at < text.length) {
        lineEnd.lastIndex = at
        const end = lineEnd.exec(text)
        const part = text.slice(at, end?.index ?? text.length)
        at = end ? lineEnd.lastIndex : text.length
        if (held !== undefined) {
          const beginning: string = held + part
          if (end) out += line(beginning)
          else if (mayChange(beginning)) {
            if (beginning.length > longestLine) throw new Error('an event id without bound')
            held = beginning
            return out
          } else {
            sawData ||= beginning.startsWith('data:')
            out += beginning
          }
        } else out += part
        out += end?.[0] ?? ''
        held = end ? '' : undefined
      }
      return out
    },
  }
}

const field = /^([^:]*)(?::[ ]?(.*))?$/s
const fields = ['id', 'event', 'data']
const [lineFeed, carriageReturn, letterE, letterI, byteOrderMark] = [0x0a, 0x0d, 0x65, 0x69, 0xef]
const firstBeyondAscii = 0x80
const lineEnd = /\r\n|\n|\r/g
/** Characters. */
const longestLine = 65_536
