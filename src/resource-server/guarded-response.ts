import { rpcErrorResponse } from './challenge.ts'
import { createEventRewriter, type EventRewriter } from './event-rewriter.ts'
import type { MessageFilter, ResponseGuard } from './handler.ts'
import { endsEvent, filteredJson, isEventStream, isJson, privately, reconnection, textFilter } from './message-text.ts'

/**
 * A response as it may reach the caller: filtered, with ids of its own, and ended with its token where it is a stream.
 * @param dress what else is done to it, whatever became of it
 */
export const guardedResponse = (
  response: Response,
  guard: ResponseGuard,
  dress: (guarded: Response) => Response,
): Response | Promise<Response> => {
  const { filter } = guard
  const type = response.headers.get('content-type')
  // Without a look at its body: where a host makes responses of its own form, that builds a whole one.
  if (filter && isJson(type) && isPlain(response)) return filteredWhole(response, filter, dress)
  return dress(guardedStream(response, guard, type))
}

const guardedStream = (response: Response, guard: ResponseGuard, type: string | null): Response => {
  const stream = isEventStream(type)
  const { filter } = guard
  if ((!filter && !stream) || response.body === null) return response
  if (!filter) return unfiltered(response, guard, stream)
  const text = textFilter(type, filter)
  if (!text && (!guard.messagesOnly || !response.ok)) return response
  if (!text || !isPlain(response))
    return filter.ifReadable ? unfiltered(response, guard, stream) : unfilterable(response)
  const rewriter = rewriterOf(guard)
  const push = rewriter ? async (piece: string) => rewriter.push(await text.push(piece)) : text.push
  return withBody(response, guardedBody(response.body, guard, { push }), true)
}

/** Few answers concern their filter: for all others there is one promise, and no more. */
const filteredWhole = (
  response: Response,
  filter: MessageFilter,
  dress: (guarded: Response) => Response,
): Promise<Response> => {
  const failed = (): Response => dress(notFiltered())
  return response.text().then((text) => {
    if (filter.concerns?.(text) === false) return dress(withBody(response, text, 'rewritten'))
    return filteredJson(text, filter).then((filtered) => dress(withBody(response, filtered, true)), failed)
  }, failed)
}

const unfiltered = (response: Response, guard: ResponseGuard, stream: boolean): Response => {
  if (!stream || !response.body) return response
  // In what is compressed ids stay the server's own, and are good for nobody.
  const rewriter = isPlain(response) ? rewriterOf(guard) : undefined
  return withBody(response, guardedBody(response.body, guard, rewriter), rewriter ? 'rewritten' : false)
}

const rewriterOf = ({ session }: ResponseGuard): EventRewriter | undefined =>
  session?.events && createEventRewriter(session.events)

interface Step {
  push(text: string): string | Promise<string>
  passes?(bytes: Uint8Array): boolean
}

const isPlain = ({ headers }: Response): boolean =>
  (headers.get('content-encoding') ?? 'identity').toLowerCase() === 'identity'

const unfilterable = (response: Response): Response => {
  void response.body?.cancel().catch(() => {})
  return notFiltered()
}

const notFiltered = (): Response => rpcErrorResponse(500, internalError, 'The response could not be filtered')

const withBody = (
  response: Response,
  content: ReadableStream<Uint8Array> | string,
  changed: boolean | 'rewritten',
): Response => {
  const { status, statusText } = response
  // Some statuses allow no body, not even an empty one.
  const body = content === '' ? null : content
  const asIs = !changed || (changed === 'rewritten' && !response.headers.has('content-length'))
  if (asIs) return new Response(body, { status, statusText, headers: response.headers })
  const headers = new Headers(response.headers)
  headers.delete('content-length')
  if (changed === true) headers.set('cache-control', privately(headers.get('cache-control')))
  return new Response(body, { status, statusText, headers })
}

const guardedBody = (
  body: ReadableStream<Uint8Array>,
  guard: ResponseGuard,
  step: Step | undefined,
): ReadableStream<Uint8Array> => {
  const reader = body.getReader()
  let decoder: TextDecoder | undefined
  let unwatch = () => {}
  let ended = false
  /** Between two events: only there can another be put in. */
  let between = true

  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        unwatch = guard.watch((comeBack) => {
          if (ended) return
          ended = true
          if (comeBack !== undefined && between) controller.enqueue(utf8.encode(reconnection(comeBack)))
          controller.close()
          void reader.cancel().catch(() => {})
        })
      },
      async pull(controller) {
        try {
          for (;;) {
            const { done, value } = await reader.read()
            if (ended) return
            if (done) {
              ended = true
              unwatch()
              controller.close()
              return
            }
            let bytes = value
            if (step && step.passes?.(value) !== true) {
              decoder ??= new TextDecoder()
              bytes = utf8.encode(await step.push(decoder.decode(value, { stream: true })))
            }
            if (ended) return
            if (bytes.length > 0) {
              between = endsEvent(bytes)
              return controller.enqueue(bytes)
            }
          }
        } catch (error) {
          if (ended) return
          ended = true
          unwatch()
          controller.error(error)
          void reader.cancel().catch(() => {})
        }
      },
      async cancel(reason) {
        ended = true
        unwatch()
        await reader.cancel(reason)
      },
    },
    { highWaterMark: 0 },
  )
}

const utf8 = new TextEncoder()

/** JSON-RPC's. */
const internalError = -32603
