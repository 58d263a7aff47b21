import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import type { LookupFunction } from 'node:net'
import { type Clock, systemClock } from '../events/clock.ts'
import { type Budgets, createBudgets } from './budgets.ts'
import { createDeadline, type Deadline } from './deadline.ts'
import { GuardedFetchError } from './guarded-fetch-error.ts'
import { isPermitted, permittedAddresses, type Resolve, resolveName } from './names.ts'
import { readAnswer } from './read-answer.ts'

/**
 * Gets a JSON document from a URL that a stranger named. The answer was read to its end. Headers are sent as they are; no cookies, no
 * credentials, no referrer.
 * @throws GuardedFetchError
 */
export type GuardedFetch = (url: string, headers?: Readonly<Record<string, string>>) => Promise<Response>

export interface GuardedFetchLimits extends Budgets {
  /** Bytes of an answer's body. */
  readonly bytes: number
  /** Milliseconds that a whole request may take, and each part of it: the name, the connection, the answer's head, the wait for more of it. */
  readonly whole: number
  readonly phase: number
}

export interface GuardedFetchOptions {
  /** For development: this computer may be asked too, also by `http`. */
  readonly loopback?: boolean
  readonly limits?: Partial<GuardedFetchLimits>
  /** Who says which addresses a name has. */
  readonly resolve?: Resolve
  /** Certificate authorities in place of the known ones, in PEM. */
  readonly authorities?: string
  readonly clock?: Clock
}

const defaultLimits: GuardedFetchLimits = {
  bytes: 32_768,
  whole: 8_000,
  phase: 4_000,
  concurrency: 100,
  concurrencyPerOrigin: 4,
  perMinute: 600,
  perMinutePerOrigin: 60,
}

/**
 * A fetch that can't be turned against the network that it runs in: `https` alone, no redirects, only public addresses, and the connection
 * goes to an address that was checked, whatever the name says a moment later. Bounded in size, time, and number.
 * @see draft-ietf-oauth-client-id-metadata-document §8.6, RFC 6890
 */
export const createGuardedFetch = (options: GuardedFetchOptions = {}): GuardedFetch => {
  const { loopback = false, resolve = resolveName, clock = systemClock, authorities } = options
  const limits = { ...defaultLimits, ...options.limits }
  const begin = createBudgets(limits, clock)

  return async (text, headers = {}) => {
    const url = checkUrl(text, loopback)
    const end = begin(url.origin)
    const deadline = createDeadline(limits)
    try {
      deadline.enter('the name')
      const addresses = await deadline.bound(permittedAddresses(url.hostname, loopback, resolve, deadline.signal))
      deadline.enter('the connection')
      const message = await deadline.bound(
        connect(url, { addresses, loopback, authorities, headers: { ...fixedHeaders, ...headers } }, deadline),
      )
      return await deadline.bound(readAnswer(message, limits.bytes, () => deadline.enter('the answer')))
    } catch (error) {
      throw error instanceof GuardedFetchError
        ? error
        : new GuardedFetchError('unreachable', `the request failed: ${codeOf(error)}`, { cause: error })
    } finally {
      deadline.end()
      end()
    }
  }
}

// Nothing that must be unpacked: a small answer can't become a large one.
const fixedHeaders = {
  Accept: 'application/json, application/*+json;q=0.9',
  'Accept-Encoding': 'identity',
  'User-Agent': 'countersign',
}

const checkUrl = (text: string, loopback: boolean): URL => {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url) throw new GuardedFetchError('refused', 'not a URL')
  if (url.protocol !== 'https:' && !(loopback && url.protocol === 'http:')) {
    throw new GuardedFetchError('refused', 'not an https URL')
  }
  if (url.username !== '' || url.password !== '') throw new GuardedFetchError('refused', 'a URL with a user name')
  // Services that a TLS greeting could disturb listen below.
  const port = Number(url.port === '' ? 443 : url.port)
  if (!loopback && port !== 443 && port < 1024) throw new GuardedFetchError('refused', 'a port of another service')
  return url
}

interface Connecting {
  readonly addresses: readonly string[]
  readonly loopback: boolean
  readonly authorities: string | undefined
  readonly headers: Readonly<Record<string, string>>
}

/** Answers the head of the response. */
const connect = (
  url: URL,
  { addresses, loopback, authorities, headers }: Connecting,
  deadline: Deadline,
): Promise<IncomingMessage> =>
  new Promise((resolve, reject) => {
    const secure = url.protocol === 'https:'
    const request: ClientRequest = (secure ? httpsRequest : httpRequest)({
      method: 'GET',
      host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
      port: url.port === '' ? undefined : Number(url.port),
      path: `${url.pathname}${url.search}`,
      headers,
      // A connection of its own: one that is kept could have been opened for another name.
      agent: false,
      lookup: pinned(addresses),
      maxHeaderSize: 16_384,
      // Also where the environment says otherwise.
      ...(secure ? { rejectUnauthorized: true, ...(authorities === undefined ? {} : { ca: authorities }) } : {}),
    })
    const stop = () => request.destroy(deadline.signal.reason)
    deadline.signal.addEventListener('abort', stop, { once: true })
    request.on('error', reject)
    request.on('socket', (socket) => {
      socket.once('connect', () => {
        if (!isPermitted(socket.remoteAddress ?? '', loopback)) {
          request.destroy(new GuardedFetchError('refused', 'connected to an address that is not public'))
        }
      })
      socket.once(secure ? 'secureConnect' : 'connect', () => deadline.enter('the answer'))
    })
    request.on('response', resolve)
    request.end()
  })

/** The host's name stays the one of the certificate and of the `Host` header; its addresses are those that were checked. */
const pinned =
  (addresses: readonly string[]): LookupFunction =>
  (_hostname, options, callback) => {
    const all = addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }))
    const [first] = all
    if (options.all) callback(null, all)
    else callback(null, first?.address ?? '', first?.family)
  }

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'no code'
