import type { Audit } from '../events/audit.ts'
import type { Clock } from '../events/clock.ts'
import type { AccessToken } from '../identity/access-token.ts'
import { boundKeyOf } from '../identity/confirmation.ts'
import { TokenInvalid, type TokenVerifier } from '../identity/verifier.ts'
import type { EndStream } from './handler.ts'

/** Responses that go on, each for as long as its token is good. One timer for all of them, and none while there are none. */
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
  readonly answers: boolean
  readonly end: EndStream
}

interface Watched {
  readonly token: AccessToken
  readonly streams: Set<OpenStream>
  /** When its token was last known to be good, in milliseconds since the epoch. */
  goodAt: number
}

/** Asks the verifier again while a stream is open: whatever it learns of revocations, streams learn with it. */
export const createOpenStreams = ({ verifier, clock, audit }: OpenStreamsOptions): OpenStreams => {
  const watched = new Map<string, Watched>()
  let timer: ReturnType<typeof setInterval> | undefined
  let looking = false

  const forget = (key: string): void => {
    watched.delete(key)
    if (watched.size > 0) return
    clearInterval(timer)
    timer = undefined
  }

  const end = (
    key: string,
    { token, streams }: Watched,
    which: readonly OpenStream[],
    reason: string,
    comeBack?: () => number,
  ): void => {
    for (const stream of which) streams.delete(stream)
    if (streams.size === 0) forget(key)
    const { resource, clientId, issuer, subject } = token
    for (const stream of which) {
      audit({ type: 'access.ended', reason, resource, clientId, issuer, subject })
      stream.end(comeBack?.())
    }
  }

  const look = async (key: string, entry: Watched): Promise<void> => {
    const { token, streams } = entry
    const expiredFor = clock.now() - token.expiresAt * 1000
    if (expiredFor >= 0) {
      // An answer that a call under way is to give would be lost, and the call made again.
      const late = expiredFor >= answerGrace
      return end(key, entry, late ? [...streams] : [...streams].filter(({ answers }) => !answers), 'expired')
    }
    try {
      await verifier.verify(token.token, token.resource, boundKeyOf(token.claims))
      entry.goodAt = clock.now()
    } catch (error) {
      if (error instanceof TokenInvalid) return end(key, entry, [...streams], error.reason)
      const unknownFor = clock.now() - entry.goodAt
      // What can't be known is not assumed; the request that follows is told 503.
      if (unknownFor < 0 || unknownFor >= patience) end(key, entry, [...streams], 'verifier_unavailable')
    }
  }

  const lookAtAll = async (): Promise<void> => {
    if (looking) return
    looking = true
    try {
      const all = [...watched]
      for (let at = 0; at < all.length; at += atOnce) {
        await Promise.all(all.slice(at, at + atOnce).map(([key, entry]) => look(key, entry)))
      }
    } finally {
      looking = false
    }
  }

  return {
    watch(token, answers, onEnd) {
      const key = `${token.token} ${token.resource}`
      let entry = watched.get(key)
      if (!entry) {
        entry = { token, streams: new Set(), goodAt: clock.now() }
        watched.set(key, entry)
      }
      const stream: OpenStream = { answers, end: onEnd }
      const { streams } = entry
      streams.add(stream)
      if (timer === undefined) {
        timer = setInterval(() => void lookAtAll(), interval)
        // What only waits for streams must not keep a process; hosts other than Node have numbers here.
        ;(timer as { unref?: () => void }).unref?.()
      }
      return () => {
        streams.delete(stream)
        if (streams.size === 0 && watched.get(key)?.streams === streams) forget(key)
      }
    },

    stop(which, comeBack) {
      for (const [key, entry] of [...watched]) {
        const ending = [...entry.streams].filter(({ answers }) => which === 'all' || !answers)
        end(key, entry, ending, 'shutdown', comeBack)
      }
    },

    get size() {
      let size = 0
      for (const { streams } of watched.values()) size += streams.size
      return size
    },
  }
}

/** Milliseconds, as all times here: within the bound of a second together with the notification of a revocation. */
const interval = 500
/** How long an answer may take beyond its token. */
const answerGrace = 60_000
/** How long a token whose state can't be learned may keep its streams. */
const patience = 4_000
/** How many tokens are looked at together. */
const atOnce = 100
