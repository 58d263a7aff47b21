import { waitAtMost } from '../oauth/patience.ts'
import type { GateRequest } from '../resource-server/handler.ts'

export type ReadBody =
  | { readonly ok: true; readonly text: string }
  | { readonly ok: false; readonly problem: 'too_large' | 'encoded' | 'unreadable' }

/**
 * Reads a request's body as text, at most `limit` bytes of it. What is made of it is made at once: each promise between costs as much as a look at a
 * short body.
 */
export const readBody = <T>(
  request: GateRequest,
  limit: number,
  use: (body: ReadBody) => T | Promise<T>,
): T | Promise<T> => {
  const encoding = request.headers.get('content-encoding')
  // What we can't read ourselves, something behind us might: then it would see another request than we do.
  if (encoding !== null && encoding.trim().toLowerCase() !== 'identity') return use(refused('encoded'))
  const length = request.headers.get('content-length')
  const announced = length !== null && /^\d+$/.test(length)
  if (announced && Number(length) > limit) return use(refused('too_large'))
  return new Promise((resolve, reject) => {
    const answer = (body: ReadBody): void => {
      try {
        resolve(use(body))
      } catch (error) {
        reject(error)
      }
    }
    // First, since a host of its own kind may refuse at once: then nobody waits.
    const reading = announced ? request.text() : readStream(request.body, limit)
    const waiting = waitAtMost(maximumTime, () => answer(unreadable))
    reading.then(
      // An HTTP server reads no more than the announced length; the check is for hosts that are none.
      (text) => {
        if (waiting.leave())
          answer(text === undefined || text.length > limit ? refused('too_large') : { ok: true, text })
      },
      () => {
        if (waiting.leave()) answer(unreadable)
      },
    )
  })
}

const refused = (problem: 'too_large' | 'encoded' | 'unreadable'): ReadBody => ({ ok: false, problem })

const unreadable = refused('unreadable')

/** How long a whole body may take, in seconds. */
const maximumTime = 60

/** Undefined where there is more than `limit`. */
const readStream = async (body: ReadableStream<Uint8Array> | null, limit: number): Promise<string | undefined> => {
  if (body === null) return ''
  const decoder = new TextDecoder()
  const reader = body.getReader()
  let text = ''
  let size = 0
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return text + decoder.decode()
    size += value.byteLength
    if (size > limit) {
      // Not waited for: a sender that never ends would keep us here.
      void reader.cancel().catch(() => {})
      return undefined
    }
    text += decoder.decode(value, { stream: true })
  }
}
