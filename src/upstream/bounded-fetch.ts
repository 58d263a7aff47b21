import { ProviderUnavailable } from './provider.ts'

/** Milliseconds that one request to a provider may take, its answer included. */
export const requestTimeout = 10_000

const largestAnswer = 1024 * 1024

export type BoundedFetch = (url: string, init: RequestInit) => Promise<Response>

/** A fetch whose answers are bounded in size and time, and read to their end. Redirects are not followed: no endpoint here has any. */
export const boundedFetch =
  (inner: typeof fetch): BoundedFetch =>
  async (url, init) => {
    const timeout = AbortSignal.timeout(requestTimeout)
    const signal = init.signal ? AbortSignal.any([init.signal, timeout]) : timeout
    const response = await inner(url, { ...init, redirect: 'manual', signal })
    const { status, statusText, headers } = response
    return new Response(await readBounded(response), { status, statusText, headers })
  }

const readBounded = async (response: Response): Promise<Uint8Array<ArrayBuffer> | null> => {
  if (!response.body) return null
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    length += chunk.length
    if (length > largestAnswer) throw new ProviderUnavailable('the provider’s answer is too large')
    chunks.push(chunk)
  }
  // Some statuses may not have a body, not even an empty one.
  return length === 0 ? null : Uint8Array.from(Buffer.concat(chunks))
}

const unsentCodes = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
])

/** Whether a request surely never reached the provider. */
export const neverSent = (error: unknown): boolean => {
  for (let each = error, depth = 0; each instanceof Error && depth < 5; each = each.cause, depth++) {
    if ('code' in each && typeof each.code === 'string' && unsentCodes.has(each.code)) return true
  }
  return false
}
