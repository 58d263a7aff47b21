import { rpcErrorResponse } from './challenge.ts'
import type { ResponseGuard } from './handler.ts'
import { isEventStream, privately, textFilter } from './message-text.ts'

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
  text: ReturnType<typeof textFilter>,
): ReadableStream<Uint8Array> => {
  const reader = body.getReader()
  const decoder = text && new TextDecoder()
  let unwatch = () => {}
  let ended = false

  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        unwatch = guard.watch(() => {
          if (ended) return
          ended = true
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
            if (!text || !decoder) return controller.enqueue(value)
            const piece = await text.push(decoder.decode(value, { stream: true }))
            if (ended) return
            if (piece !== '') return controller.enqueue(new TextEncoder().encode(piece))
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

/** JSON-RPC's. */
const internalError = -32603
