import type { OutgoingHttpHeader, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import { createEventRewriter, type EventRewriter } from '../resource-server/event-rewriter.ts'
import type { EventIds, MessageFilter, ResponseGuard, SessionIds } from '../resource-server/handler.ts'
import {
  endsEvent,
  isEventStream,
  privately,
  reconnection,
  type TextFilter,
  textFilter,
} from '../resource-server/message-text.ts'
import { sessionHeader } from '../resource-server/session-header.ts'

/**
 * Does to what a handler in Node's form writes what the gate asks of it: lists are filtered, streams end with their token. Responses
 * that need neither are written as ever.
 */
export const guardServerResponse = (response: ServerResponse, guard: ResponseGuard): void => {
  response.once('close', guard.begin())
  if (guard.session) issueSession(response, guard.session)
  if (guard.session?.events) issueEvents(response, guard.session.events)
  watchStream(response, guard)
  if (guard.filter) filterBody(response, guard.filter, guard.messagesOnly)
}

/** What the server calls its session goes out as what this caller is to call it. */
const issueSession = (response: ServerResponse, session: SessionIds): void => {
  const { writeHead } = response
  response.writeHead = ((...head: [number, ...HeadArguments]) => {
    response.writeHead = writeHead
    const given = headersIn(head).some(([name]) => name.toLowerCase() === sessionHeader)
    if (given) setHeaders(response, head)
    const id = headerOf(response, sessionHeader)
    if (id !== null) response.setHeader(sessionHeader, session.issue(id))
    return Reflect.apply(writeHead, response, given ? withoutHeaders(head) : head) as ServerResponse
  }) as ServerResponse['writeHead']
}

/** The same for the ids in an event stream; in what is compressed they stay the server's own, and are good for nobody. */
const issueEvents = (response: ServerResponse, ids: EventIds): void => {
  const { write, end, writeHead } = response
  let decoder: TextDecoder | undefined
  let rewriter: EventRewriter | undefined
  let decided = false

  const decide = (head: readonly [number, ...HeadArguments] = [response.statusCode]): void => {
    if (decided) return
    decided = true
    const [type, encoding = 'identity'] = ['content-type', 'content-encoding'].map(
      (name) => headerIn(head, name) ?? headerOf(response, name) ?? undefined,
    )
    if (encoding !== 'identity' || !isEventStream(type ?? null)) return
    rewriter = createEventRewriter(ids)
    response.removeHeader('content-length')
  }
  /** Undefined where nothing more may be sent. */
  const rewritten = (chunk: unknown, encoding: unknown, { push, passes }: EventRewriter) => {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk, bufferEncoding(encoding)) : (chunk as Uint8Array)
    if (passes(bytes)) return bytes
    decoder ??= new TextDecoder()
    try {
      return push(decoder.decode(bytes, { stream: true }))
    } catch {
      response.destroy()
      return undefined
    }
  }

  // Node calls this for implicit headers, too.
  response.writeHead = ((...head: [number, ...HeadArguments]) => {
    response.writeHead = writeHead
    decide(head)
    const tooShort = rewriter !== undefined && headerIn(head, 'content-length') !== undefined
    if (tooShort) {
      setHeaders(response, head)
      response.removeHeader('content-length')
    }
    return Reflect.apply(writeHead, response, tooShort ? withoutHeaders(head) : head) as ServerResponse
  }) as ServerResponse['writeHead']

  response.write = ((...given: [chunk: unknown, encoding?: unknown, callback?: Callback]) => {
    decide()
    if (!rewriter) return Reflect.apply(write, response, given) as boolean
    const [chunk, encoding, callback] = given
    const text = rewritten(chunk, encoding, rewriter)
    const done = typeof encoding === 'function' ? (encoding as Callback) : callback
    return text === undefined ? false : write.call(response, text, 'utf8', (error) => done?.(error))
  }) as ServerResponse['write']

  response.end = ((...given: [chunk?: unknown, encoding?: unknown, callback?: Callback]) => {
    decide()
    const [chunk, encoding] = given
    if (!rewriter || chunk === undefined || chunk === null || typeof chunk === 'function') {
      return Reflect.apply(end, response, given) as ServerResponse
    }
    const text = rewritten(chunk, encoding, rewriter)
    if (text === undefined) return response
    const done = given.find((each) => typeof each === 'function') as (() => void) | undefined
    return end.call(response, text, 'utf8', done)
  }) as ServerResponse['end']
}

const watchStream = (response: ServerResponse, guard: ResponseGuard): void => {
  const { writeHead, write } = response
  let between = true
  response.write = ((chunk: string | Uint8Array, ...rest: [BufferEncoding, Callback]) => {
    between = endsEvent(typeof chunk === 'string' ? Buffer.from(chunk.slice(-3)) : chunk)
    return write.call(response, chunk, ...rest)
  }) as ServerResponse['write']
  // Node calls this for implicit headers, too.
  response.writeHead = ((...head: [number, ...HeadArguments]) => {
    response.writeHead = writeHead
    if (isEventStream(headerIn(head, 'content-type') ?? headerOf(response, 'content-type'))) {
      // The connection is cut: whoever writes to the stream learns of it as of a client that went away.
      response.once(
        'close',
        guard.watch((comeBack) => {
          if (comeBack === undefined || !between) response.destroy()
          else write.call(response, reconnection(comeBack), 'utf8', () => response.destroy())
        }),
      )
    }
    return Reflect.apply(writeHead, response, head) as ServerResponse
  }) as ServerResponse['writeHead']
}

type HeadArguments = readonly (string | OutgoingHttpHeaders | readonly OutgoingHttpHeader[] | undefined)[]

/** The headers that `writeHead` was given, in any of its forms. */
const headersIn = ([, ...rest]: readonly [number, ...HeadArguments]): readonly (readonly [
  string,
  string | string[],
])[] => {
  const headers = typeof rest[0] === 'string' ? rest[1] : rest[0]
  if (typeof headers !== 'object') return []
  if (!Array.isArray(headers)) return Object.entries(headers) as [string, string][]
  const flat = headers.flat() as string[]
  return flat.flatMap((name, at) => (at % 2 === 0 ? [[name, flat[at + 1] ?? ''] as const] : []))
}

const headerIn = (head: readonly [number, ...HeadArguments], name: string): string | undefined => {
  const value = headersIn(head).find(([each]) => each.toLowerCase() === name)?.[1]
  return value === undefined ? undefined : String(value)
}

const withoutHeaders = ([status, message]: readonly [number, ...HeadArguments]): [number, ...HeadArguments] =>
  typeof message === 'string' ? [status, message] : [status]

const setHeaders = (response: ServerResponse, head: readonly [number, ...HeadArguments]): void => {
  const seen = new Set<string>()
  for (const [name, value] of headersIn(head)) {
    if (value === undefined) continue
    if (seen.has(name.toLowerCase())) response.appendHeader(name, value)
    else response.setHeader(name, value)
    seen.add(name.toLowerCase())
  }
}

const headerOf = (response: ServerResponse, name: string): string | null => {
  const value = response.getHeader(name)
  return value === undefined ? null : String(value)
}

type Callback = (error?: Error | null) => void

const filterBody = (response: ServerResponse, filter: MessageFilter, messagesOnly: boolean): void => {
  const { write, end, writeHead, flushHeaders } = response
  const decoder = new TextDecoder()
  let text: TextFilter | undefined
  let decided = false
  let refused = false
  let head: readonly [number, string | undefined] | undefined
  let sent: Promise<void> = Promise.resolve()

  /** Once, when the first byte or the headers are to be sent: whether this response is one that holds messages. */
  const decide = (): void => {
    if (decided) return
    decided = true
    const plain = (headerOf(response, 'content-encoding') ?? 'identity').toLowerCase() === 'identity'
    text = textFilter(headerOf(response, 'content-type'), filter)
    if (filter.ifReadable) text = plain ? text : undefined
    else refused = text ? !plain : messagesOnly && response.statusCode < 300
    if (!text && !refused) return
    response.removeHeader('content-length')
    response.setHeader('cache-control', privately(headerOf(response, 'cache-control')))
  }
  const sendHead = (): void => {
    if (response.headersSent) return
    const [status = response.statusCode, message] = head ?? []
    Reflect.apply(writeHead, response, message === undefined ? [status] : [status, message])
  }
  const pass = async (chunk: unknown, encoding: unknown): Promise<void> => {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk, bufferEncoding(encoding)) : (chunk as Uint8Array)
    if (refused && bytes.length > 0) throw new Error('a response that must be filtered can’t be')
    const piece = text ? await text.push(decoder.decode(bytes, { stream: true })) : bytes
    if (piece.length === 0) return
    sendHead()
    write.call(response, piece, 'utf8', () => {})
  }
  /** In the order in which it was written; what can't be filtered is not sent, nor what follows it. */
  const next = (step: () => Promise<void> | void): void => {
    sent = sent.then(step).catch(() => void response.destroy())
  }

  response.writeHead = ((...given: [number, ...HeadArguments]) => {
    setHeaders(response, given)
    head = [given[0], typeof given[1] === 'string' ? given[1] : undefined]
    response.statusCode = given[0]
    return response
  }) as ServerResponse['writeHead']

  response.flushHeaders = () => {
    decide()
    if (isEventStream(headerOf(response, 'content-type'))) {
      sendHead()
      flushHeaders.call(response)
    }
  }

  response.write = ((chunk: unknown, encoding?: unknown, callback?: Callback) => {
    decide()
    const done = typeof encoding === 'function' ? (encoding as Callback) : callback
    next(async () => {
      await pass(chunk, encoding)
      done?.()
    })
    return true
  }) as ServerResponse['write']

  response.end = ((chunk?: unknown, encoding?: unknown, callback?: Callback) => {
    decide()
    const [body, done] = typeof chunk === 'function' ? [undefined, chunk as Callback] : [chunk, callback]
    next(async () => {
      if (body !== undefined && body !== null) await pass(body, encoding)
      const rest = text ? await text.end() : ''
      sendHead()
      const finished = typeof encoding === 'function' ? (encoding as Callback) : done
      end.call(response, rest === '' ? undefined : rest, 'utf8', finished as (() => void) | undefined)
    })
    return response
  }) as ServerResponse['end']
}

const bufferEncoding = (encoding: unknown): BufferEncoding =>
  typeof encoding === 'string' ? (encoding as BufferEncoding) : 'utf8'
