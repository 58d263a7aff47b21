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
      if (!leave(waiting)) return
      try {
        resolve(use(body))
      } catch (error) {
        reject(error)
      }
    }
    const waiting = wait(() => answer(unreadable))
    const reading = announced ? request.text() : readStream(request.body, limit)
    reading.then(
      // An HTTP server reads no more than the announced length; the check is for hosts that are none.
      (text) => answer(text === undefined || text.length > limit ? refused('too_large') : { ok: true, text }),
      () => answer(unreadable),
    )
  })
}

const refused = (problem: 'too_large' | 'encoded' | 'unreadable'): ReadBody => ({ ok: false, problem })

const unreadable = refused('unreadable')

/** How long a whole body may take, in seconds. */
const maximumTime = 60

interface Waiting {
  /** How often it was looked at. */
  looks: number
  /** Where it is in the list; nowhere once its body is there. */
  at: number | undefined
  readonly giveUp: () => void
}

/** One timer looks at all bodies that are being read, each second: most are there at once, and a timer for each would cost more than reading it. */
const underWay: Waiting[] = []
let timer: ReturnType<typeof setInterval> | undefined

const wait = (giveUp: () => void): Waiting => {
  const waiting: Waiting = { looks: 0, at: underWay.length, giveUp }
  underWay.push(waiting)
  if (timer === undefined) {
    timer = setInterval(look, 1_000)
    // Whose connection is gone waits for nothing; hosts other than Node have numbers here.
    ;(timer as { unref?: () => void }).unref?.()
  }
  return waiting
}

/** Its place is taken by the last, so that nothing has to be looked for. @returns whether it was there */
const leave = (waiting: Waiting): boolean => {
  const { at } = waiting
  if (at === undefined) return false
  const last = underWay.pop()
  if (last && last !== waiting) {
    underWay[at] = last
    last.at = at
  }
  waiting.at = undefined
  return true
}

const look = (): void => {
  for (const waiting of [...underWay]) {
    waiting.looks += 1
    if (waiting.looks <= maximumTime) continue
    waiting.giveUp()
  }
  if (underWay.length > 0) return
  clearInterval(timer)
  timer = undefined
}

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
