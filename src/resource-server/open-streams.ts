import type { Audit } from '../events/audit.ts'
import type { Clock } from '../events/clock.ts'
import type { AccessToken } from '../identity/access-token.ts'
import { boundKeyOf } from '../identity/confirmation.ts'
import { TokenInvalid, type TokenVerifier } from '../identity/verifier.ts'
import type { EndStream } from './handler.ts'

/** Responses that go on, each for as long as its token is good. One timer for all of them, and none when there are none. */
export interface OpenStreams {
  /**
   * @param answers the stream answers a call that is under way; without it, it only listens
   * @param end is called once, when the stream must end
   * @returns takes the stream off the watch
   */
  watch(token: AccessToken, answers: boolean, end: EndStream): () => void
  /** Ends those that only listen, or all, because this process stops. @param comeBack when a client may come again, in milliseconds; asked for each */
  stop(which: 'listening' | 'all', comeBack: () => number): void
  readonly size: number
}

export interface OpenStreamsOptions {
  readonly verifier: TokenVerifier
  readonly clock: Clock
  readonly audit: Audit
}

interface OpenStream {
  readonly token: AccessToken
  readonly answers: boolean
  readonly end: EndStream
  /** When its token was last known to be good, in milliseconds since the epoch. */
  goodAt: number
}

/** Asks the verifier again while a stream is open: whatever it learns of revocations, streams learn with it. */
export const createOpenStreams = ({ verifier, clock, audit }: OpenStreamsOptions): OpenStreams => {
  const open = new Set<OpenStream>()
  let timer: ReturnType<typeof setInterval> | undefined
  let looking = false

  const end = (streams: readonly OpenStream[], reason: string, comeBack?: () => number): void => {
    const ending = streams.filter((stream) => open.delete(stream))
    for (const stream of ending) {
      const { resource, clientId, issuer, subject } = stream.token
      audit({ type: 'access.ended', reason, resource, clientId, issuer, subject })
      stream.end(comeBack?.())
    }
  }

  const look = async (streams: Streams): Promise<void> => {
    const [{ token }] = streams
    const expiredFor = clock.now() - token.expiresAt * 1000
    if (expiredFor >= 0) {
      // An answer that a call under way is to give would be lost, and the call made again.
      const late = expiredFor >= answerGrace
      return end(late ? streams : streams.filter(({ answers }) => !answers), 'expired')
    }
    try {
      await verifier.verify(token.token, token.resource, boundKeyOf(token.claims))
      for (const stream of streams) stream.goodAt = clock.now()
    } catch (error) {
      if (error instanceof TokenInvalid) return end(streams, error.reason)
      // What can't be known is not assumed; the request that follows is told 503.
      const unknown = ({ goodAt }: OpenStream) => clock.now() < goodAt || clock.now() - goodAt >= patience
      end(streams.filter(unknown), 'verifier_unavailable')
    }
  }

  const rest = (): void => {
    if (open.size > 0) return
    clearInterval(timer)
    timer = undefined
  }

  const lookAtAll = async (): Promise<void> => {
    if (looking) return
    looking = true
    try {
      const all = [...byToken(open)]
      for (let at = 0; at < all.length; at += atOnce) await Promise.all(all.slice(at, at + atOnce).map(look))
    } finally {
      looking = false
    }
    // Not with the last stream: most end at once, and the next one comes soon.
    rest()
  }

  return {
    watch(token, answers, onEnd) {
      const stream: OpenStream = { token, answers, end: onEnd, goodAt: clock.now() }
      open.add(stream)
      if (timer === undefined) {
        timer = setInterval(() => void lookAtAll(), interval)
        // What only waits for streams must not keep a process; hosts other than Node have numbers here.
        ;(timer as { unref?: () => void }).unref?.()
      }
      return () => void open.delete(stream)
    },

    stop(which, comeBack) {
      const ending = [...open].filter(({ answers }) => which === 'all' || !answers)
      end(ending, 'shutdown', comeBack)
      rest()
    },

    get size() {
      return open.size
    },
  }
}

type Streams = readonly [OpenStream, ...OpenStream[]]

/** Streams of one token are looked at together. */
const byToken = (open: Iterable<OpenStream>): Iterable<Streams> => {
  const together = new Map<string, [OpenStream, ...OpenStream[]]>()
  for (const stream of open) {
    const { token, resource } = stream.token
    const key = `${token} ${resource}`
    const others = together.get(key)
    if (others) others.push(stream)
    else together.set(key, [stream])
  }
  return together.values()
}

/** Milliseconds, as all times here: within the bound of a second together with the notification of a revocation. */
const interval = 500
/** How long an answer may take beyond its token. */
const answerGrace = 60_000
/** How long a token whose state can't be learned may keep its streams. */
const patience = 4_000
/** How many tokens are looked at together. */
const atOnce = 100
