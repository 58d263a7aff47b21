import type { MessageFilter } from './handler.ts'

/** Filters the JSON-RPC messages in a response's text, piece by piece. */
export interface TextFilter {
  /** @returns what may be sent on now, perhaps nothing yet */
  push(text: string): Promise<string>
  /** @returns the rest */
  end(): Promise<string>
}

/**
 * The filter for a response's media type; undefined where it can't hold messages in a form that could be filtered.
 * @throws (its methods) where the text is not what its type says, or without bound: then nothing more of it may be sent
 */
export const textFilter = (contentType: string | null, filter: MessageFilter): TextFilter | undefined => {
  const type = mediaType(contentType)
  if (type === eventStream) return eventStreamFilter(filter)
  return type === json ? jsonFilter(filter) : undefined
}

export const isJson = (contentType: string | null): boolean => contentType === json || mediaType(contentType) === json

const mediaType = (contentType: string | null): string | undefined => contentType?.split(';')[0]?.trim().toLowerCase()

export const isEventStream = (contentType: string | null): boolean =>
  contentType?.trimStart().slice(0, eventStream.length).toLowerCase() === eventStream

/** `Cache-Control` for what one caller alone may see. */
export const privately = (cacheControl: string | null): string =>
  ['private', ...(cacheControl ?? '').split(',').map((each) => each.trim())]
    .filter((each, at) => each !== '' && each !== 'public' && (at === 0 || each !== 'private'))
    .join(', ')

const jsonFilter = (filter: MessageFilter): TextFilter => {
  let whole = ''
  return {
    async push(text) {
      whole = bounded(whole + text)
      return ''
    },
    end: async () => (filter.concerns?.(whole) === false ? whole : filteredJson(whole, filter)),
  }
}

/** A whole JSON text, filtered. @throws Error where it is none, or without bound */
export const filteredJson = async (whole: string, filter: MessageFilter): Promise<string> => {
  if (whole === '') return whole
  const body: unknown = JSON.parse(bounded(whole))
  const filtered = Array.isArray(body) ? await Promise.all(body.map(filter)) : await filter(body)
  return filtered === body ? whole : JSON.stringify(filtered)
}

/** @see HTML, Server-sent events, 9.2.6 */
const eventStreamFilter = (filter: MessageFilter): TextFilter => {
  let rest = ''
  let lines: string[] = []

  const event = async (): Promise<string> => {
    const fields = lines
    lines = []
    const data = fields.filter((line) => line.startsWith('data:')).map((line) => line.slice(5).replace(/^ /, ''))
    const text = data.join('\n')
    const asItIs = `${fields.join('\n')}\n\n`
    if (text === '' || filter.concerns?.(text) === false) return asItIs
    const type =
      fields
        .findLast((line) => line.startsWith('event:'))
        ?.slice(6)
        .trim() ?? 'message'
    // Of another type, for instance where an older transport says where to post to.
    if (type !== 'message' && type !== '') return asItIs
    const message: unknown = JSON.parse(text)
    const filtered = Array.isArray(message) ? await Promise.all(message.map(filter)) : await filter(message)
    if (filtered === message) return asItIs
    return `${fields.filter((line) => !line.startsWith('data')).join('\n')}\ndata: ${JSON.stringify(filtered)}\n\n`.trimStart()
  }

  return {
    async push(text) {
      rest = bounded(rest + text)
      let out = ''
      for (;;) {
        const found = lineEnd.exec(rest)
        // A carriage return at the end may be half of a line's end.
        if (!found || (found[0] === '\r' && found.index === rest.length - 1)) return out
        const line = rest.slice(0, found.index)
        rest = rest.slice(found.index + found[0].length)
        if (line !== '') lines.push(line)
        else if (lines.length > 0) out += await event()
      }
    },
    // An event that was not finished counts for nobody.
    end: async () => '',
  }
}

const bounded = (text: string): string => {
  if (text.length > maximumText) throw new Error('a response that must be filtered has a message without bound')
  return text
}

const eventStream = 'text/event-stream'
const json = 'application/json'
const lineEnd = /\r\n|\n|\r/
/** Characters. */
const maximumText = 64 * 1024 * 1024

/** Whether an event stream is between two events after these bytes. */
export const endsEvent = (bytes: Uint8Array): boolean => {
  const [before, last] = [bytes.at(-2), bytes.at(-1)]
  return last === lineFeed && (before === lineFeed || (before === carriageReturn && bytes.at(-3) === lineFeed))
}

const lineFeed = 0x0a
const carriageReturn = 0x0d

/** Tells the client of an event stream when to open it again. @see HTML, server-sent events, `retry` */
export const reconnection = (milliseconds: number): string => `retry: ${milliseconds}\n\n`
