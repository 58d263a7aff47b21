import type { IncomingMessage } from 'node:http'
import { GuardedFetchError } from './guarded-fetch-error.ts'

const redirects: readonly (number | undefined)[] = [301, 302, 303, 307, 308]

/** @param progress called for each piece that arrives */
export const readAnswer = async (
  message: IncomingMessage,
  maximumBytes: number,
  progress: () => void,
): Promise<Response> => {
  try {
    const { statusCode: status = 0 } = message
    checkHead(message, maximumBytes)
    const chunks: Uint8Array[] = []
    let length = 0
    for await (const chunk of message as AsyncIterable<Uint8Array>) {
      progress()
      length += chunk.length
      if (length > maximumBytes) throw tooLarge(maximumBytes)
      chunks.push(chunk)
    }
    const body = status === 204 || status === 205 || status === 304 ? null : Buffer.concat(chunks)
    return new Response(body, { status, headers: headersOf(message) })
  } finally {
    message.destroy()
  }
}

const checkHead = ({ statusCode: status = 0, headers }: IncomingMessage, maximumBytes: number): void => {
  if (status < 200 || status > 599) throw new GuardedFetchError('refused', `the answer has the status ${status}`)
  if (redirects.includes(status)) throw new GuardedFetchError('refused', 'the answer is a redirect')
  const encoding = headers['content-encoding']?.trim().toLowerCase() ?? ''
  if (encoding !== '' && encoding !== 'identity') {
    throw new GuardedFetchError('refused', 'the answer is packed, which was not asked for')
  }
  if (Number(headers['content-length'] ?? 0) > maximumBytes) throw tooLarge(maximumBytes)
  if (status === 200 && !isJson(headers['content-type'])) {
    throw new GuardedFetchError('refused', 'the answer’s content type is not JSON')
  }
}

const isJson = (contentType = ''): boolean =>
  /^application\/([a-z0-9.-]+\+)?json$/i.test(contentType.split(';', 1).join('').trim())

const tooLarge = (maximumBytes: number): GuardedFetchError =>
  new GuardedFetchError('refused', `the answer is larger than ${maximumBytes} bytes`)

const headersOf = ({ headers }: IncomingMessage): Headers => {
  const copy = new Headers()
  for (const [name, value] of Object.entries(headers)) {
    if (name !== 'set-cookie' && typeof value === 'string') copy.set(name, value)
  }
  return copy
}
