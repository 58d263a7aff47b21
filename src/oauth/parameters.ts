import { OAuthError } from './errors.ts'
import { waitAtMost } from './patience.ts'

/** Only `resource` and `audience` may be sent more than once. @see RFC 8707 §2, RFC 8693 §2.1 */
export type Parameters<Name extends string> = {
  readonly [Key in Name]?: Key extends 'resource' | 'audience' ? readonly string[] : string
}

/**
 * Reads the named parameters of a query or a form. Unknown ones are ignored, and one without a value counts as left out.
 * @throws OAuthError `invalid_request` for a parameter that is repeated, too long, or holds control characters
 * @see RFC 6749 §3.1
 */
export const readParameters = <const Name extends string>(
  source: URLSearchParams,
  names: readonly Name[],
): Parameters<Name> => {
  const parameters: Record<string, string | readonly string[]> = {}
  for (const name of names) {
    const values = source.getAll(name)
    for (const value of values) checkValue(name, value)
    const [first] = values
    if (name === 'resource' || name === 'audience') {
      if (values.length > maximumResources) throw new OAuthError('invalid_request', `too many ${name} parameters`)
      const present = values.filter((value) => value !== '')
      if (present.length > 0) parameters[name] = present
    } else if (values.length > 1) {
      throw new OAuthError('invalid_request', `${name} was sent more than once`)
    } else if (first !== undefined && first !== '') {
      parameters[name] = first
    }
  }
  return parameters as Parameters<Name>
}

const maximumResources = 16
const maximumLength = 4096
/** Where a bound of its own is known; in UTF-16 units. */
const maximumLengths: Readonly<Record<string, number>> = {
  client_id: 2048,
  redirect_uri: 2048,
  resource: 2048,
  audience: 2048,
  // A platform may say much of a person or a workload.
  assertion: 16_384,
  // Some clients keep a whole signed request in it, and it must come back unchanged.
  state: 8192,
  // Access tokens carry the claims that the server names.
  token: 16_384,
  subject_token: 16_384,
  actor_token: 16_384,
}

const checkValue = (name: string, value: string): void => {
  if (value.length > (maximumLengths[name] ?? maximumLength))
    throw new OAuthError('invalid_request', `${name} is too long`)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\x00-\x1f\x7f]/.test(value)) throw new OAuthError('invalid_request', `${name} holds control characters`)
}

/**
 * Reads a form.
 * @throws OAuthError `invalid_request`: another content type, a body that can't be read; with status 413, one above `maxBytes`
 */
export const readForm = async (request: Request, maxBytes: number): Promise<URLSearchParams> =>
  new URLSearchParams(await readFormText(request, maxBytes))

/** As `readForm`, not decoded. */
export const readFormText = async (request: Request, maxBytes: number): Promise<string> => {
  if (mediaType(request) !== formType) {
    throw new OAuthError('invalid_request', 'the content type must be application/x-www-form-urlencoded')
  }
  const text = await readText(request, maxBytes, readWholeText)
  // What can't be decoded became this, and no form has it as it is.
  if (text.includes('\ufffd')) throw notUtf8()
  return text
}

/**
 * Reads a JSON body.
 * @param code what to answer when it is no JSON
 * @throws OAuthError `code`: another content type, no JSON; `invalid_request` with status 413: a body above `maxBytes`
 */
export const readJson = async (
  request: Request,
  maxBytes: number,
  code: 'invalid_request' | 'invalid_client_metadata' = 'invalid_request',
): Promise<unknown> => {
  const type = mediaType(request)
  // Not only tidiness: a page elsewhere can't send this type without asking first (a CORS preflight).
  if (type !== 'application/json' && !/^application\/[^;]+\+json$/.test(type)) {
    throw new OAuthError(code, 'the content type must be application/json')
  }
  const text = await readText(request, maxBytes, readWholeBytes)
  try {
    return JSON.parse(text)
  } catch {
    // The parser's message quotes the body, which may hold secrets.
    throw new OAuthError(code, 'the body is not valid JSON')
  }
}

const formType = 'application/x-www-form-urlencoded'

const mediaType = (request: Request): string => {
  const type = request.headers.get('content-type') ?? ''
  // As most write it: nothing has to be taken apart.
  return type === formType ? type : type.split(';', 1).join('').trim().toLowerCase()
}

/** @param readWhole reads what says how long it is: that needs no stream, which would cost more than all that is done with a small body */
const readText = (
  request: Request,
  maxBytes: number,
  readWhole: (request: Request, maxBytes: number) => Promise<string>,
): Promise<string> => {
  const declared = request.headers.get('content-length')
  if (Number(declared ?? 0) > maxBytes) throw tooLarge(maxBytes)
  if (declared === null) return inTime(readChunks(request, maxBytes))
  if (request.bodyUsed) throw alreadyRead()
  return inTime({ text: readWhole(request, maxBytes), stop() {} })
}

const decoded = (bytes: Uint8Array): string => {
  try {
    return decoder.decode(bytes)
  } catch {
    throw notUtf8()
  }
}

// Made once: making one costs more than reading a small body with it.
const decoder = new TextDecoder('utf-8', { fatal: true })

const joined = (chunks: readonly Uint8Array[]): Uint8Array => {
  const [first = new Uint8Array(), ...others] = chunks
  if (others.length === 0) return first
  const whole = new Uint8Array(chunks.reduce((length, chunk) => length + chunk.length, 0))
  let at = 0
  for (const chunk of chunks) {
    whole.set(chunk, at)
    at += chunk.length
  }
  return whole
}

/** How long a whole body may take, in seconds: who sends a byte a minute must not keep us. */
const maximumTime = 30

const inTime = ({ text, stop }: Reading): Promise<string> =>
  new Promise((resolve, reject) => {
    const fail = (error: unknown) => {
      stop()
      reject(error)
    }
    const waiting = waitAtMost(maximumTime, () => fail(tooSlow()))
    text.then(
      (read) => {
        waiting.leave()
        resolve(read)
      },
      (error: unknown) => {
        if (waiting.leave()) fail(error)
      },
    )
  })

interface Reading {
  readonly text: Promise<string>
  /** Not waited for: what sends may never end. */
  readonly stop: () => void
}

/** What is no UTF-8 is replaced in it, without a word. */
const readWholeText = (request: Request, maxBytes: number): Promise<string> =>
  request.text().then((text) => {
    if (text.length > maxBytes) throw tooLarge(maxBytes)
    return text
  }, failed)

const readWholeBytes = (request: Request, maxBytes: number): Promise<string> =>
  request.arrayBuffer().then((buffer) => {
    if (buffer.byteLength > maxBytes) throw tooLarge(maxBytes)
    return decoded(new Uint8Array(buffer))
  }, failed)

const failed = (cause: unknown): never => {
  throw unreadable(cause)
}

const readChunks = (request: Request, maxBytes: number): Reading => {
  if (!request.body) return { text: Promise.resolve(''), stop() {} }
  const reader = readerOf(request.body)
  return { text: readAll(reader, maxBytes), stop: () => void reader.cancel().catch(() => {}) }
}

const readAll = async (reader: ReadableStreamDefaultReader<Uint8Array>, maxBytes: number): Promise<string> => {
  const chunks: Uint8Array[] = []
  let length = 0
  for (;;) {
    const { done, value } = await reader.read().catch((cause: unknown) => {
      throw unreadable(cause)
    })
    if (done) return decoded(joined(chunks))
    length += value.byteLength
    if (length > maxBytes) throw tooLarge(maxBytes)
    chunks.push(value)
  }
}

const readerOf = (body: ReadableStream<Uint8Array>): ReadableStreamDefaultReader<Uint8Array> => {
  try {
    return body.getReader()
  } catch (cause) {
    throw alreadyRead(cause)
  }
}

const alreadyRead = (cause?: unknown): OAuthError =>
  new OAuthError('server_error', 'the body was read before', {
    reason: 'the request body was already consumed: mount the routes before any body parser',
    cause,
  })

const unreadable = (cause: unknown): OAuthError =>
  new OAuthError('invalid_request', 'the body could not be read', { cause })

const notUtf8 = (): OAuthError => new OAuthError('invalid_request', 'the body is not valid UTF-8')

const tooSlow = (): OAuthError => new OAuthError('invalid_request', 'the body did not arrive in time', { status: 408 })

const tooLarge = (maxBytes: number): OAuthError =>
  new OAuthError('invalid_request', `the body is larger than ${maxBytes} bytes`, { status: 413 })
