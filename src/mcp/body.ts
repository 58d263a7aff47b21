import type { GateRequest } from '../resource-server/handler.ts'

export type ReadBody =
  | { readonly ok: true; readonly text: string }
  | { readonly ok: false; readonly problem: 'too_large' | 'encoded' | 'unreadable' }

/** Reads a request's body as text, at most `limit` bytes of it. */
export const readBody = async (request: GateRequest, limit: number): Promise<ReadBody> => {
  const encoding = request.headers.get('content-encoding')
  // What we can't read ourselves, something behind us might: then it would see another request than we do.
  if (encoding !== null && encoding.trim().toLowerCase() !== 'identity') return { ok: false, problem: 'encoded' }
  const length = request.headers.get('content-length')
  return new Promise((resolve) => {
    const waiting = wait(() => resolve(unreadable))
    const answer = (body: ReadBody): void => {
      underWay.delete(waiting)
      resolve(body)
    }
    read(request, length, limit).then(answer, () => answer(unreadable))
  })
}

const unreadable: ReadBody = { ok: false, problem: 'unreadable' }

/** How long a whole body may take, in seconds. */
const maximumTime = 60

interface Waiting {
  /** How often it was looked at. */
  looks: number
  readonly giveUp: () => void
}

/** One timer looks at all bodies that are being read, each second: most are there at once, and a timer for each would cost more than reading it. */
const underWay = new Set<Waiting>()
let timer: ReturnType<typeof setInterval> | undefined

const wait = (giveUp: () => void): Waiting => {
  const waiting = { looks: 0, giveUp }
  underWay.add(waiting)
  if (timer === undefined) {
    timer = setInterval(look, 1_000)
    // Whose connection is gone waits for nothing; hosts other than Node have numbers here.
    ;(timer as { unref?: () => void }).unref?.()
  }
  return waiting
}

const look = (): void => {
  for (const waiting of underWay) {
    waiting.looks += 1
    if (waiting.looks <= maximumTime) continue
    underWay.delete(waiting)
    waiting.giveUp()
  }
  if (underWay.size > 0) return
  clearInterval(timer)
  timer = undefined
}

const read = async (request: GateRequest, length: string | null, limit: number): Promise<ReadBody> => {
  if (length === null || !/^\d+$/.test(length)) return readStream(request.body, limit)
  if (Number(length) > limit) return { ok: false, problem: 'too_large' }
  // An HTTP server reads no more than the announced length; the check after it is for hosts that are none.
  const text = await request.text()
  return text.length > limit ? { ok: false, problem: 'too_large' } : { ok: true, text }
}

const readStream = async (body: ReadableStream<Uint8Array> | null, limit: number): Promise<ReadBody> => {
  if (body === null) return { ok: true, text: '' }
  const decoder = new TextDecoder()
  const reader = body.getReader()
  let text = ''
  let size = 0
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return { ok: true, text: text + decoder.decode() }
    size += value.byteLength
    if (size > limit) {
      // Not waited for: a sender that never ends would keep us here.
      void reader.cancel().catch(() => {})
      return { ok: false, problem: 'too_large' }
    }
    text += decoder.decode(value, { stream: true })
  }
}
