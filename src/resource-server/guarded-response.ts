import { rpcErrorResponse } from './challenge.ts'
import type { ResponseGuard } from './handler.ts'
import { endsEvent, isEventStream, privately, reconnection, type TextFilter, textFilter } from './message-text.ts'

/** A response as it may reach the caller: filtered, and ended with its token where it is a stream. */
export const guardedResponse = async (response: Response, guard: ResponseGuard): Promise<Response> => {
  const type = response.headers.get('content-type')
  const stream = isEventStream(type)
  const { filter } = guard
  if (response.body === null || (!filter && !stream)) return response
  if (!filter) return unfiltered(response, guard, stream)
  const text = textFilter(type, filter)
  if (!text && (!guard.messagesOnly || !response.ok)) return response
  if (!text || !isPlain(response))
    return filter.ifReadable ? unfiltered(response, guard, stream) : unfilterable(response)
  if (stream) return withBody(response, guardedBody(response.body, guard, text), true)
  try {
    return withBody(response, (await text.push(await response.text())) + (await text.end()), true)
  } catch {
    return rpcErrorResponse(500, internalError, 'The response could not be filtered')
  }
}

const unfiltered = (response: Response, guard: ResponseGuard, stream: boolean): Response =>
  stream && response.body ? withBody(response, guardedBody(response.body, guard, undefined), false) : response

const isPlain = ({ headers }: Response): boolean =>
  (headers.get('content-encoding') ?? 'identity').trim().toLowerCase() === 'identity'

const unfilterable = (response: Response): Response => {
  void response.body?.cancel().catch(() => {})
  return rpcErrorResponse(500, internalError, 'The response could not be filtered')
}

const withBody = (response: Response, body: ReadableStream<Uint8Array> | string, filtered: boolean): Response => {
  const { status, statusText } = response
  if (!filtered) return new Response(body, { status, statusText, headers: response.headers })
  const headers = new Headers(response.headers)
  headers.delete('content-length')
  headers.set('cache-control', privately(headers.get('cache-control')))
  return new Response(body, { status, statusText, headers })
}

const guardedBody = (
  body: ReadableStream<Uint8Array>,
  guard: ResponseGuard,
  text: TextFilter | undefined,
): ReadableStream<Uint8Array> => {
  const reader = body.getReader()
  const decoder = text && new TextDecoder()
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
            const bytes = text && decoder ? await filtered(text, decoder, value) : value
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

const filtered = async (text: TextFilter, decoder: TextDecoder, bytes: Uint8Array): Promise<Uint8Array> =>
  utf8.encode(await text.push(decoder.decode(bytes, { stream: true })))

const utf8 = new TextEncoder()

/** JSON-RPC's. */
const internalError = -32603
